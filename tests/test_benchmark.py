"""Benchmark: every network that is named, measured in a process of its own, told as a table, a figure and CSV."""

from __future__ import annotations

import csv

import pytest
from PIL import Image

from framework import benchmark
from framework.core.errors import BAD_INPUT
from tests.conftest import bash, make_images

SMALL = "data=image_folder data.dir=photos data.image_size=32 trainer.batch_size=8 trainer.epochs=3"


def test_what_is_wrong_is_told_before_anything(tmp_path):
    done = bash("python -m framework.benchmark model=mobilenet,exception optm.lr=1", tmp_path)
    assert done.returncode == BAD_INPUT
    assert "there is no model 'exception'" in done.stderr
    assert "there is no key 'optm.lr'" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_networks_are_measured_on_the_data_that_are_named(tmp_path):
    make_images(tmp_path / "photos", count=10)
    done = bash(f"python -m framework.benchmark model=cnn,mobilenet {SMALL}", tmp_path, KERAS_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((tmp_path / "benchmark" / "benchmark.csv").open()))
    assert [row["model"] for row in rows] == ["cnn", "mobilenet"]
    assert [row["top1"] for row in rows] == ["", "0.704"]
    for row in rows:
        assert row["images"] == "30"
        assert row["epochs"] == "3"
        assert 0 < float(row["head_epoch"]) < float(row["full_epoch"])
        assert 0 < float(row["later"]) <= float(row["first"])
        assert float(row["rate"]) > 0
        assert float(row["memory"]) > 0
    assert "a run: the head on 30 images for 3 epochs" in done.stdout
    with Image.open(tmp_path / "benchmark" / "benchmark.png") as figure:
        assert figure.width > figure.height
    assert not (tmp_path / "runs").exists()


def test_each_option_shows_its_own_accuracy_and_how_it_was_reached(here, photos, monkeypatch, capsys):
    pytest.importorskip("keras_hub", reason="Keras Hub has no release for Python 3.10")
    numbers = {"rate": 90.0, "head_epoch": 0.1, "full_epoch": 9.0, "memory": None, "first": 8.0, "later": 2.0}
    found = {**numbers, "images": 24, "epochs": 3}
    monkeypatch.setattr(benchmark, "speeds", lambda settings: ((place, found, 1.0) for place in range(len(settings))))
    monkeypatch.setattr(benchmark, "load_tensorflow", lambda: None)
    words = ["model=mobilenet,dinov2_small,dinov2_base", "data=image_folder", f"data.dir={photos}"]
    assert benchmark.main([*words, "data.image_size=112"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[:4] for line in said[1:4]] == [
        ["mobilenet", "70.4%", "90", "0.10"],
        ["dinov2_small", "81.1%", "p", "90"],
        ["dinov2_base", "84.5%", "p", "90"],
    ]
    assert said[-1].startswith("top1 was reached otherwise than by training on ImageNet: p: by one layer on frozen")
    assert (here / "benchmark" / "benchmark.png").exists()

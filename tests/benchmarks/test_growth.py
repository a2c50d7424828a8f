"""How cost grows is measured on what is made for it, and a power is told from seconds."""

import math
import os

import pytest

from benchmarks import growth
from framework.core.runs import RunFolder
from framework.data import columns
from tests.reports.made import make_answered


def test_the_power_is_that_of_the_last_two_sizes():
    sizes = [1e3, 1e4, 1e5]
    assert growth.power(sizes, [0.01, 1.0, 100.0]) == pytest.approx(2)
    assert growth.power(sizes, [0.5, 0.5, 5.0]) == pytest.approx(1)
    assert growth.power(sizes, [0.001, 0.002, 0.09]) is None
    grows = [size * math.log(size) / 1e5 for size in sizes]
    assert growth.power(sizes, grows) < growth.most(sizes) < 1.3


@pytest.mark.parametrize("name", ["listing", "first look", "listing and checking", "fingerprint", "cache look-up"])
def test_each_step_is_done_on_made_images(name, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    growth.make_images(tmp_path / "photos", 40)
    growth.make_features(tmp_path / "photos", 40)
    growth.note_looks(tmp_path / "photos", tmp_path)
    found = growth.measured(name, 40, tmp_path / "photos")
    assert found["size"] == 40
    assert found["seconds"] > 0
    assert found["memory"] > 20


def test_a_look_that_is_noted_beforehand_reads_no_file(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    growth.make_images(tmp_path / "photos", 20)
    growth.note_looks(tmp_path / "photos", tmp_path)
    for file in (tmp_path / "photos").rglob("*.jpg"):
        before = os.stat(file)
        file.write_bytes(bytes(before.st_size))
        os.utime(file, ns=(before.st_mtime_ns, before.st_mtime_ns))
    growth.measured("listing and checking", 20, tmp_path / "photos")


def test_each_step_is_done_on_made_shards(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(columns, "MANY", 1)
    monkeypatch.setattr(growth, "ROWS", 25)
    growth.make_shards(tmp_path / "shards", 60)
    for name in growth.OF_SHARDS:
        found = growth.measured(f"shards {name}", 60, tmp_path / "shards")
        assert found["seconds"] > 0, name


@pytest.mark.parametrize("name", list(growth.OF_RUNS))
def test_each_step_is_done_on_copies_of_a_run(name, tmp_path):
    make_answered(tmp_path / "one", [True, False] * 20)
    growth.make_runs(tmp_path / "sweep", 3, tmp_path / "one")
    rates = [RunFolder(path).read_config()["optim"]["lr"] for path in sorted((tmp_path / "sweep").glob("lr_*"))]
    assert len(set(rates)) == 3
    assert growth.measured(name, 3, tmp_path / "sweep")["seconds"] > 0
    assert (tmp_path / "sweep" / "report.html").is_file() == (name == "report")

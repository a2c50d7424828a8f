"""Which base? A table that is read by people and programs, sorted and filtered; what is not known is left open."""

from __future__ import annotations

import csv
import io
import json

import pytest

from framework.config.folders import groups
from framework.core import keras_hub_private
from framework.show import main
from tests.conftest import bash, write


def table(capsys, *arguments):
    assert main(["model", *arguments]) == 0
    return capsys.readouterr().out


def rows(capsys, *arguments):
    return json.loads(table(capsys, *arguments, "format=json"))


def test_every_option_is_a_row_with_what_is_known(capsys, here):
    text = table(capsys)
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line.startswith("  ") and line.split()}
    assert lines["name"][:5] == ["name", "top1", "parameters", "gflops", "size"]
    for name in groups()["model"]:
        assert name in lines
    assert lines["xception"][1:7] == ["79.0%", "20.9M", "3.87", "150", "71", "2017"]
    assert lines["cnn"][1:5] == ["–", "0.4M", "0.0418", "64"]
    assert lines["vit_base"][1:5] == ["84.0%", "f", "85.8M", "35.1"]
    assert "base 'mobilenet'" in text  # and below it the parameters, as of any group
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.slow
def test_sorted_and_filtered(capsys, here):
    found = rows(capsys, "sort=top1")
    known = [row["top1"] for row in found if row["top1"] is not None]
    assert known == sorted(known, reverse=True)
    assert found[-1]["top1"] is None
    assert [row["parameters"] for row in rows(capsys, "sort=parameters")[:2]] == sorted(
        row["parameters"] for row in found if row["parameters"] is not None
    )[:2]
    most = max(row["gflops"] for row in found if row["gflops"] is not None)
    assert rows(capsys, "sort=-gflops")[0]["gflops"] == most
    small = rows(capsys, "where=parameters<10M,top1>=75%")
    assert small
    assert all(row["parameters"] < 10e6 and row["top1"] >= 0.75 for row in small)
    assert rows(capsys, "where=parameters<10M,top1>=0.75") == small
    assert [row["name"] for row in rows(capsys, "where=name=vgg16")] == ["vgg16"]


def test_csv_is_read_back(capsys, here):
    found = list(csv.DictReader(io.StringIO(table(capsys, "format=csv", "where=year>=2021", "sort=name"))))
    assert [row["name"] for row in found] == sorted(row["name"] for row in rows(capsys, "where=year>=2021"))
    assert float(found[0]["megabytes"]) == int(found[0]["parameters"]) * 4 / 1e6


def test_whether_the_weights_are_here(capsys, here, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(here))
    assert {row["here"] for row in rows(capsys)} == {False, None}
    (here / "models").mkdir()
    (here / "models" / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5").touch()
    assert [row["name"] for row in rows(capsys, "where=here=yes")] == ["vgg16"]
    assert rows(capsys, "sort=here")[0]["name"] == "vgg16"


def test_a_base_of_a_recipe_of_which_nothing_is_known_is_a_row(capsys, here):
    write(
        here / "recipes" / "own",
        {
            "recipe.yaml": "defaults:\n  - override /model: mine\n",
            "conf/model/mine.yaml": "name: mine\nweights: null\ntrainable: true\nimage_size: [40, 50]\n",
            "parts.py": "from framework.core.registry import base\n\n\n@base('mine', minimum_size=9)\n"
            "def mine(images):\n    'Mine.'\n    return images\n",
        },
    )
    (row,) = rows(capsys, "recipe=own", "where=name=mine")
    assert (row["minimum_size"], row["top1"], row["parameters"], row["here"]) == (9, None, None, None)
    assert " –" in table(capsys, "recipe=own", "where=name=mine")


@pytest.mark.parametrize(
    ("line", "what", "right"),
    [
        ("sort=top", "there is no column 'top'", "top1"),
        ("where='params<10M'", "there is no column 'params'", "parameters"),
        ("where='parameters<many'", "'many' is no number", "10M"),
        ("where=small", "'small' is no condition", "where="),
        ("format=xml", "there is no format 'xml'", "one of: table, csv, json"),
    ],
)
def test_what_makes_no_sense_is_said(line, what, right, here, capsys):
    import shlex

    assert main(["model", *shlex.split(line)]) == 2
    said = capsys.readouterr().err
    assert what in said
    assert right in said


def test_as_it_is_typed(tmp_path):
    done = bash("python -m framework.show model where='parameters<10M, top1 > 75%' sort=gflops format=csv", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("name,top1,top1_by,parameters,gflops,size,minimum_size,year,megabytes,here\n")


def test_whether_a_preset_is_here(capsys, here, monkeypatch):
    if not keras_hub_private.installed():
        pytest.skip("for Python 3.10 there is no Keras Hub")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(here))
    assert [row["here"] for row in rows(capsys, "where=name=dinov2_small")] == [False]
    assert [row["here"] for row in rows(capsys, "where=name=vit_tiny")] == [None]
    handle = keras_hub_private.presets("dinov2")["dinov2_small"]
    folder = here / "models" / handle.partition("://")[2]
    write(folder, {"config.json": "{}", "model.weights.h5": ""})
    assert [row["here"] for row in rows(capsys, "where=name=dinov2_small")] == [True]

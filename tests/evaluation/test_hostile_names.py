"""Class names are text: in what evaluate, visualize, predict and doctor print and write, whatever stands in them."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from PIL import Image

from benchmarks.hostile.names import HOSTILE, is_plain
from framework import doctor, evaluate, predict, visualize
from framework.core.backend import keras
from framework.core.task import Multiclass
from framework.evaluation.predictions import Prediction, form_of, writer
from tests.conftest import make_images
from tests.evaluation.common import SIZE, make_run

NAMES = tuple(sorted(HOSTILE))


@pytest.fixture
def run(tmp_path):
    """A run that takes every image for one of its classes, folders of such names, and $ in the folder's name."""
    make_images(tmp_path / "photos $0_$9" / "train", NAMES, count=2)
    make_images(tmp_path / "photos $0_$9" / "validation", NAMES, count=2, seed=1)
    keras.utils.set_random_seed(1)  # which names are said first, whatever tests came before
    images = keras.Input((SIZE, SIZE, 3), name="image")
    x = keras.layers.Conv2D(4, 3, name="conv")(images)
    x = keras.layers.GlobalAveragePooling2D(name="pooling")(x)
    model = keras.Model(images, keras.layers.Dense(len(NAMES), name="logits")(x))
    run = make_run(tmp_path / "run $0_$9", tmp_path / "photos $0_$9", model)
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "classes": NAMES}))
    return run


def plain(text: str) -> bool:
    return all(map(is_plain, text.split("\n")))


def test_evaluate(run, capsys):
    assert evaluate.main([f"run={run}"]) == 0
    said = capsys.readouterr()
    assert plain(said.out)
    assert plain(said.err)
    assert max(map(len, said.out.splitlines())) < 130
    assert "$0_$9" in said.out
    folder = run / "evaluation" / "validation"
    assert json.loads((folder / "metrics.json").read_text())["classes"] == list(NAMES)
    formulas = {"=cmd|' calc'!A1", "+1+1", "@sum(A1)"}
    for name, column in (("confusion.csv", 0), ("predictions.csv", 1)):
        with open(folder / name, newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        assert {row[column] for row in rows[1:]} == {f"'{name}" if name in formulas else name for name in NAMES}


def test_visualize(run, capsys):
    assert visualize.main([f"run={run}", "top=25"]) == 0
    assert plain(capsys.readouterr().err)
    for file in (run / "visualize").glob("*.png"):
        with Image.open(file) as image:
            assert max(image.size) < 6000, file
    assert visualize.main([f"run={run}", "target=\x1b[31m"]) == 2
    assert plain(capsys.readouterr().err)


def test_predict(run, tmp_path, capsys):
    images = str(tmp_path / "photos $0_$9" / "validation")
    assert predict.main([images, f"run={run}", "top=3"]) == 0
    said = capsys.readouterr().out
    assert plain(said)
    assert len(said.splitlines()) == 2 * len(NAMES)
    # a name has a % too
    shares = [re.search(r"\.\d%", line) for line in said.splitlines() if line.isascii()]
    assert len({share and share.start() for share in shares}) == 1
    assert predict.main([images, f"run={run}", "top=30", "format=csv"]) == 0
    for row in csv.reader(io.StringIO(capsys.readouterr().out, newline="")):
        assert not any(cell.startswith(("=", "+1", "@")) for cell in row)
    assert predict.main([images, f"run={run}", "format=jsonl"]) == 0
    assert {json.loads(line)["class"] for line in capsys.readouterr().out.splitlines()} <= set(NAMES)


def test_doctor(run, tmp_path, capsys):
    assert doctor.main([f"data.dir={tmp_path / 'photos $0_$9'}", f"output={tmp_path / 'told'}"]) == 0
    said = capsys.readouterr()
    assert plain(said.out)
    assert plain(said.err)
    assert ":dress:" in said.out
    assert list((tmp_path / "told").glob("*.png"))


@pytest.mark.parametrize("terminal", [True, False])
def test_names_in_csv_are_no_commands_to_a_terminal_and_elsewhere_as_they_are(monkeypatch, terminal):
    class Screen(io.TextIOWrapper):
        def isatty(self):
            return terminal

    screen = Screen(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr("sys.stdout", screen)
    name = "\x1b]0;owned\x07.jpg"
    with writer("csv", None, form_of(Multiclass(("a", "b\x1b[2J")), 1)) as table:
        table.write([Prediction(name, ("b\x1b[2J",), (("b\x1b[2J", 0.75),))])
    said = screen.buffer.getvalue().decode()
    assert ("\x1b" in said) is not terminal
    assert "0.75" in said
    assert len(said.splitlines()) == 2

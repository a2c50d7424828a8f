"""What becomes of an image's aspect, through the commands: whoever reads a run, or a file of it, reads images as it did."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from framework import evaluate, export, predict, visualize
from framework.core.backend import keras
from framework.core.geometry import Geometry
from framework.exports.calling import load
from framework.model.saved import ModelOptions, open_trained
from framework.serving.decoding import Decoder
from framework.serving.limits import Limits
from tests.conftest import COLOURS, bash
from tests.evaluation.common import SIZE, colour_network, make_run


def named_as(geometry):
    model = colour_network()
    return keras.Model(model.input, model.output, name=geometry.model_name)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Strips: their middle is of their class, and two thirds of them are not."""
    folder = tmp_path_factory.mktemp("strips")
    others = dict(zip(COLOURS, [*list(COLOURS)[1:], next(iter(COLOURS))], strict=True))
    for split in ("train", "validation"):
        for name, colour in COLOURS.items():
            (folder / split / name).mkdir(parents=True)
            for number in range(2):
                strip = np.full((30, 90, 3), COLOURS[others[name]], np.uint8)
                strip[:, 30:60] = colour
                Image.fromarray(strip).save(folder / split / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module", params=["crop", "stretch"])
def run(request, tmp_path_factory, photos):
    geometry = Geometry((SIZE, SIZE), request.param)
    return make_run(tmp_path_factory.mktemp("runs") / request.param, photos, named_as(geometry), resize=request.param)


@pytest.mark.slow
def test_every_command_reads_as_the_run_did(run, photos, tmp_path, capsys):
    right = run.name == "crop"
    assert evaluate.main([f"run={run}"]) == 0
    assert json.loads((run / "evaluation" / "validation" / "metrics.json").read_text())["accuracy"] == float(right)
    capsys.readouterr()
    assert predict.main([str(photos / "validation"), f"run={run}", "format=csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert {row["class"] == row["path"].split("/")[-2] for row in rows} == {right}
    assert visualize.main([f"run={run}", f"output={tmp_path}/figures"]) == 0
    assert export.main([f"run={run}", f"output={tmp_path}/out"]) == 0
    told = json.loads((tmp_path / "out" / "export.json").read_text())
    assert told["input"] == {**told["input"], **Geometry((SIZE, SIZE), run.name).record()}
    assert told["replay"]["largest_difference_of_pixels"] == 0
    assert told["replay"]["accuracy"] == {"before": float(right), "after": float(right)}
    called = load(tmp_path / "out" / "call.py")
    share = called["answer"](called["pixels"](str(photos / "validation" / "red" / "0.png")))
    assert (called["CLASSES"][share.argmax()] == "red") == right
    # the exported file says by itself how its images are read
    again = open_trained(ModelOptions(model=str(tmp_path / "out" / "model.keras"), classes=["blue", "green", "red"]))
    assert again.geometry == Geometry((SIZE, SIZE), run.name)


@pytest.mark.slow
def test_a_model_from_elsewhere_is_told(photos, tmp_path, capsys):
    colour_network().save(tmp_path / "theirs.keras")
    given = [f"model={tmp_path}/theirs.keras", "classes=[blue,green,red]", f"data.dir={photos}", "split=validation"]
    for resize, accuracy in (("crop", 1.0), ("stretch", 0.0)):
        assert evaluate.main([*given, f"resize={resize}", f"output={tmp_path}/{resize}"]) == 0
        assert json.loads((tmp_path / resize / "metrics.json").read_text())["accuracy"] == accuracy
    trained = open_trained(
        ModelOptions(model=f"{tmp_path}/theirs.keras", classes=["a", "b", "c"], resize="pad", fill=9)
    )
    assert {"resize=pad", "fill=9"} < set(trained.words)
    assert Geometry.of(trained.load()) == Geometry((SIZE, SIZE), "pad", 9)


def test_a_run_of_before_there_was_a_choice_is_stretched(photos, tmp_path, capsys):
    run = make_run(tmp_path / "run", photos)
    assert "resize" not in (run / "config.yaml").read_text()
    assert evaluate.main([f"run={run}"]) == 0
    assert json.loads((run / "evaluation" / "validation" / "metrics.json").read_text())["accuracy"] == 0.0


def test_people_are_shown_what_the_network_sees(tmp_path):
    Image.new("RGB", (300, 100), "red").save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    shapes = {}
    for resize in ("stretch", "crop", "pad"):
        decoder = Decoder(Geometry((SIZE, SIZE), resize, 200), Limits())
        shapes[resize] = decoder.upright(data, "a").shape
        decoder.close()
    assert shapes == {"stretch": (100, 300, 3), "crop": (300, 300, 3), "pad": (300, 300, 3)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("data.resize=croop", "data.resize=croop is not one of stretch, crop, pad"),
        ("data.fill=256", "data.fill=256 is not a whole number of at least 0 and at most 255"),
        ("data.channels=2", "data.channels=2 is not one of 1, 3"),
    ],
)
def test_what_can_not_be_is_told_at_once(tmp_path, wrong, right):
    done = bash(f"python -m framework.check {wrong}", tmp_path)
    assert done.returncode == 2
    assert right in done.stderr
    assert "Traceback" not in done.stderr

"""Several runs as one model: what is chosen, that it is a run as any other, and what can't be combined."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from framework.core.backend import keras
from framework.core.runs import RunFolder
from framework.ensemble import main
from framework.evaluate import main as evaluate
from framework.export import main as export
from framework.model.saved import open_run
from framework.predict import main as predict
from framework.visualize import main as visualize
from tests.conftest import make_images
from tests.evaluation.common import answered, colour_network, make_run, weighed

# from red, green and blue to blue, green and red: one takes red for green, the other blue for green, neither is sure of it
NO_RED, NO_BLUE = [[0, 1, 0], [0, 1, 0], [3, 0, 0]], [[0, 0, 3], [0, 1, 0], [0, 1, 0]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A sweep's folder of two runs that are right about two of three colours each, and one that knows nothing."""
    folder = tmp_path_factory.mktemp("ensemble")
    make_images(folder / "photos" / "train", count=2)
    make_images(folder / "photos" / "validation", count=4, seed=1)
    for name, weights in (("red", NO_RED), ("blue", NO_BLUE), ("none", np.zeros((3, 3)))):
        answered(make_run(folder / "sweep" / name, folder / "photos", weighed(weights)))
    return folder / "sweep"


@pytest.fixture(scope="module")
def both(runs):
    """The ensemble of two of them."""
    folder = runs.parent / "both"
    assert main([f"sweep={runs}", f"output={folder}"]) == 0
    return folder


@pytest.mark.parametrize("method", ["ensemble", "soup"])
def test_two_that_make_up_for_each_other_are_one_run(runs, method, here, capsys):
    assert main([f"sweep={runs}", f"method={method}"]) == 0
    out, err = capsys.readouterr()
    folder = RunFolder(here / "runs" / f"sweep-{method}")
    assert "val_accuracy 0.6667 → 1.0000" in out
    assert f"next: python -m framework.evaluate run=runs/sweep-{method}" in err
    said = folder.read_run()
    members = {member["run"].rpartition("/")[2]: member["share"] for member in said["made"]["members"]}
    assert members == {"red": 0.5, "blue": 0.5}
    assert said["best"]["metrics"]["val_accuracy"] == 1
    assert [row["val_accuracy"] for row in folder.read_history()] == pytest.approx([2 / 3, 1])

    assert evaluate([f"run={folder.path}", "min_accuracy=0.999"]) == 0
    measured = json.loads((folder.path / "evaluation" / "validation" / "metrics.json").read_text())
    assert measured["accuracy"] == 1
    assert measured["loss"] == pytest.approx(said["best"]["metrics"]["val_loss"], abs=1e-4)


def test_every_command_takes_it(runs, both, here, capsys):
    photos = runs.parent / "photos" / "validation"
    assert predict([str(photos / "red"), f"run={both}", "format=jsonl", "calibrate=true", "reject=0.1"]) == 0
    assert '"class": "red"' in capsys.readouterr().out.splitlines()[-1]
    assert visualize([f"run={both}", "output=seen"]) == 0
    assert (here / "seen" / "attention.png").is_file()
    assert export([f"run={both}", "format=litert", "max_drop=0"]) == 0


def test_the_model_is_the_mean_of_probabilities(runs, both):
    images = np.random.default_rng(0).uniform(0, 255, (5, 24, 24, 3)).astype(np.float32)
    mean, first, second = (open_run(str(run)) for run in (both, runs / "red", runs / "blue"))
    found = mean.task.probabilities(np.asarray(mean.load()(images)))
    wanted = [one.task.probabilities(np.asarray(one.load()(images))) for one in (first, second)]
    np.testing.assert_allclose(found, (wanted[0] + wanted[1]) / 2, atol=1e-5)
    kept = RunFolder(both).read_logits()
    assert (kept.logits.argmax(axis=1) == kept.labels).all()


def test_a_second_time_takes_its_place_and_nothing_else_is_written_over(runs, here, capsys):
    for _ in range(2):
        assert main([f"sweep={runs}", "output=alone", "most=1"]) == 0
        assert "it stands alone" in capsys.readouterr().err
    assert main([f"runs=[{runs}/red,{runs}/blue]", f"output={runs}/none"]) == 2
    assert "holds something else" in capsys.readouterr().err


def test_a_soup_is_of_one_network_only(runs, here, capsys):
    deeper = colour_network()
    deeper = keras.Model(deeper.input, keras.layers.Dense(3, name="more")(deeper.output))
    other = answered(make_run(here / "other", runs.parent / "photos", deeper))
    assert main([f"runs=[{runs}/red,{other}]", "method=soup"]) == 2
    assert "no other of 2 runs has the network of the best" in capsys.readouterr().err
    assert not (here / "runs").exists()


def test_what_was_not_trained_is_not_trained_again(both, here, capsys):
    from framework.train import main as train

    for word in ("from", "resume"):
        assert train([f"{word}={both}"]) == 2
        assert "was not trained: it is the ensemble of 2 runs" in capsys.readouterr().err


def test_other_images_other_classes_and_too_few_are_told_before_tensorflow(runs, tmp_path):
    make_images(tmp_path / "photos" / "train", count=2)
    make_images(tmp_path / "photos" / "validation", count=3, seed=2)
    other = answered(make_run(tmp_path / "other", tmp_path / "photos", weighed(NO_RED)))
    code = (
        "import sys; from framework.ensemble import main\n"
        f"codes = [main(['--help']), main(['runs=[{runs}/red,{other}]']), main(['runs=[{runs}/red]']), main([]),\n"
        f"  main(['sweep={runs}', 'method=mean']), main(['sweep={tmp_path}/none'])]\n"
        "assert codes == [0, 2, 2, 2, 2, 2], codes\n"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "it was measured on other images" in done.stderr
    assert "there are no two finished runs to combine, but 1" in done.stderr

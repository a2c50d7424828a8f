"""Damage that only reading shows: with data.on_error=skip a training gets through all the same."""

import json

import pytest

from framework.core.backend import tf
from framework.train import main
from tests.data.test_unreadable import badly_compressed

SMALL = ["data.image_size=32", "model=mobilenet", "model.alpha=0.25", "model.weights=null", "trainer.epochs=1"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["features", "memory", "files"])
def test_training_begins_again_without_a_file_that_reading_shows_to_be_damaged(photos, here, capsys, how):
    bad = badly_compressed(photos / "train" / "red" / "a.png")
    given = ["data=image_folder", f"data.dir={photos}", *SMALL, "hydra.run.dir=run"]
    given += {"features": [], "memory": ["cache=off"], "files": ["cache=off", "data.memory_limit=0"]}[how]
    assert main([*given, "data.on_error=skip"]) == 0
    told = json.loads((here / "run" / "run.json").read_text())
    assert list(told["data"]["skipped"]) == [bad]
    assert told["status"] == "finished"
    out, err = capsys.readouterr()
    assert "beginning again without them" in err
    assert "node" not in out + err
    # known from now on: a run that is not to skip says so before it computes anything
    assert main([*given, "data.on_error=stop", "hydra.run.dir=other"]) == 2
    assert bad in capsys.readouterr().err


def test_without_skip_the_file_is_named(photos, here, capsys):
    bad = badly_compressed(photos / "train" / "red" / "a.png")
    given = ["data=image_folder", f"data.dir={photos}", *SMALL]
    assert main([*given, "cache=off", "data.memory_limit=0"]) == 2
    err = capsys.readouterr().err
    assert bad in err
    assert "data.on_error=skip" in err
    assert "Traceback" not in err


def test_another_fault_of_tensorflow_stays_what_it_is(photos, here, capsys, monkeypatch):
    def fail(self):
        raise tf.errors.InvalidArgumentError(None, None, "shapes differ")

    monkeypatch.setattr("framework.training.trainer.Trainer.train", fail)
    given = ["data=image_folder", f"data.dir={photos}", *SMALL]
    assert main([*given, "data.on_error=skip"]) == 1
    assert "shapes differ" in capsys.readouterr().err

"""A signal is heeded within a chunk of steps and within validation, and the run goes on to the same bits."""

import os
import signal
from pathlib import Path

import pytest

from framework import train
from framework.core.runs import RunFolder
from framework.training import loop
from framework.training.callback_list import CallbackList
from framework.training.state import State

FROZEN = ["model=mobilenet", "model.alpha=0.25", "model.weights=null", "data.image_size=32", "trainer.batch_size=4"]
KEPT = [*FROZEN, "data=image_folder", "trainer.epochs=3", "trainer.steps_per_execution=1000", "head.dropout=0.3"]


def rows(name):
    return [
        {key: value for key, value in row.items() if key != "seconds"} for row in RunFolder(Path(name)).read_history()
    ]


def signalled(method, call):
    """The method of ``CallbackList`` with SIGTERM sent in its n-th call."""
    original, calls = getattr(CallbackList, method), []

    def sends(self, *given):
        calls.append(given)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, *given)

    return sends


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "call", "step", "callbacks"),
    [
        ("look", 8, 3, "default"),  # calls 1 to 5 are between the six steps of the first epoch
        ("look_while_validating", 2, 6, "default"),
        ("look_while_validating", 2, 6, "[default,weight_averaging]"),
    ],
)
def test_stopped_in_a_chunk_or_in_validation_it_goes_on_to_the_same_bits(
    photos, tmp_path, monkeypatch, method, call, step, callbacks
):
    monkeypatch.chdir(tmp_path)
    given = [*KEPT, f"data.dir={photos}", f"callbacks={callbacks}", "metrics=[accuracy,auc]"]
    # no time to run more than a step before the next look
    monkeypatch.setattr(loop, "LOOK_SECONDS", 0.0)
    assert train.main([*given, "hydra.run.dir=whole"]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(CallbackList, method, signalled(method, call))
        assert train.main([*given, "hydra.run.dir=run"]) == 3
    state = State.read(RunFolder(Path("run")).state)
    assert (state.epoch, state.step) == (1, step)
    assert train.main([*given, "hydra.run.dir=run"]) == 0
    assert rows("run") == rows("whole")
    assert RunFolder(Path("run")).read_run()["best"] == RunFolder(Path("whole")).read_run()["best"]


@pytest.mark.slow
def test_states_are_saved_every_so_many_steps_also_over_epochs_and_within_chunks(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written = []
    monkeypatch.setattr(State, "write", lambda self, path: written.append((self.epoch, self.step)))
    given = [*KEPT, f"data.dir={photos}", "trainer.epochs=3", "trainer.steps_per_execution=auto"]
    assert train.main([*given, "hydra.run.dir=often", "trainer.save_steps=4"]) == 0
    assert written == [(0, 4), (1, 4), (2, 0), (2, 4), (3, 0)]
    written.clear()
    assert train.main([*given, "hydra.run.dir=seldom", "trainer.save_steps=10"]) == 0
    assert written == [(2, 0), (3, 0)]

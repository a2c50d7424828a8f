"""The trainer by itself: no command line, no run folder; a store in memory, a recorder that remembers."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from framework.core.backend import keras
from framework.core.errors import RunFailed
from tests.options.made import Noted

STAGES = ["stages=head_then_all", "stages.head.epochs=1", "stages.all.epochs=2"]


class Memory:
    """A store that keeps every state and the last history."""

    def __init__(self, state=None):
        self.state, self.states, self.rows = state, [], []

    def read(self):
        return self.state

    def write(self, state):
        self.states.append(copy.deepcopy(state))

    def write_history(self, rows):
        self.rows = [dict(row) for row in rows]


class Phases(Noted):
    """Remembers phases, too."""

    def __init__(self):
        super().__init__()
        self.phases = []

    def phase(self, name):
        self.phases.append(name)
        return super().phase(name)


def weights(trainer):
    return [np.array(weight) for weight in trainer.network.model.weights]


def without_seconds(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_it_trains_and_leaves_nothing(made, here):
    before = sorted(here.iterdir())
    trainer = made("trainer.epochs=2")
    first = weights(trainer)
    trainer.train()
    assert [row["epoch"] for row in trainer.history] == [1, 2]
    assert any(not np.array_equal(one, other) for one, other in zip(first, weights(trainer), strict=True))
    assert trainer.answers().shape == (12, 3)
    assert trainer.restore_best()[2] == "last"
    assert sorted(here.iterdir()) == before


@pytest.mark.slow
def test_from_any_stored_state_it_goes_on_to_the_same_bits(made, photos):
    for path in sorted((photos / "train" / "red").iterdir())[3:]:
        path.unlink()
    whole, chosen = Memory(), [*STAGES, "data.balance=over"]
    trainer = made(*chosen, "trainer.save_steps=1", "head.dropout=0.3", "metrics=[accuracy,auc]", store=whole)
    trainer.train()
    assert whole.rows == trainer.history
    stood = [(state.stage, state.epoch, state.step) for state in whole.states]
    assert ("all", 1, 1) in stood
    assert stood[-1] == ("all", 3, 0)
    for place in (stood.index(("head", 0, 2)), stood.index(("all", 1, 1)), stood.index(("all", 2, 2))):
        again = Memory(whole.states[place])
        resumed = made(*chosen, "head.dropout=0.3", "metrics=[accuracy,auc]", store=again)
        resumed.train()
        assert without_seconds(again.rows) == without_seconds(whole.rows)
        for one, other in zip(weights(trainer), weights(resumed), strict=True):
            np.testing.assert_array_equal(one, other)


def test_who_listens_is_told(made):
    recorder = Phases()
    made(*STAGES, recorder=recorder).train()
    assert [name for name in recorder.phases if name != "features"] == ["training", "reading", "reading", "training"]
    assert recorder.noted["features"]["computed"] + recorder.noted["features"]["from_cache"] == 36


class Faulty(keras.callbacks.Callback if hasattr(keras, "callbacks") else object):
    """Ends the training after its first epoch, as failed."""

    reason, failed, advice = None, True, "optim.lr=1e-9"

    def on_epoch_end(self, epoch, logs=None):
        self.reason = "enough"
        self.model.stop_training = True


def test_a_callback_that_finds_a_fault_ends_all_stages_and_no_state_is_stored_after_it(made):
    store = Memory()
    trainer = made(*STAGES, callbacks={"faulty": Faulty()}, store=store)
    with pytest.raises(RunFailed, match=r"enough; try optim\.lr=1e-9"):
        trainer.train()
    assert len(trainer.history) == 1
    assert store.states == []


def test_callbacks_that_want_to_are_told_of_stages(made):
    told = []
    listener = type("Listener", (keras.callbacks.Callback,), {"on_stage_begin": lambda self, name: told.append(name)})()
    made(*STAGES, callbacks={"listener": listener}).train()
    assert told == ["head", "all"]


def test_features_are_kept_and_nothing_is_trained(made, own_cache):
    trainer = made(*STAGES)
    before = weights(trainer)
    trainer.fill_cache()
    assert trainer.history == []
    assert all(np.array_equal(one, other) for one, other in zip(before, weights(trainer), strict=True))


@pytest.mark.parametrize("optimizer", ["optim=adam", "optim=sgd"])
def test_a_stage_s_step_is_traced_once(made, optimizer):
    trainer = made(*STAGES, optimizer, "metrics=[accuracy,auc]")
    traced = []
    fit = trainer._fit

    def fitted(inputs, at, *more):
        fit(inputs, at, *more)
        loops = (inputs.tail.train_function, inputs.tail.test_function)
        traced.append([loop._run.experimental_get_tracing_count() for loop in loops])

    trainer._fit = fitted
    trainer.train()
    assert traced == [[1, 1], [1, 1]]

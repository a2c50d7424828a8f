"""A training that takes up what the one before has traced: to the bit what it is by itself, and only where it can be."""

from __future__ import annotations

import numpy as np
import pytest

from framework.core import registry
from framework.core.backend import keras
from framework.core.errors import RunFailed
from framework.model.bases import Bases
from framework.runs.keeping import make_callbacks
from framework.runs.prepare import look, network
from framework.training.traced import LastTraced, graph_of
from framework.training.trainer import Trainer
from tests.options.made import SMALL, settings
from tests.training.test_trainer import Memory, weights, without_seconds

HEAD = ("model.trainable=false", "head=mlp", "head.hidden=[8]", "head.dropout=0.3", "trainer.epochs=3")


@pytest.fixture
def trained(photos, here, tmp_path):
    """Trains heads on kept features of one base, one after the other in one process."""
    chosen = [*SMALL, f"data.dir={photos}"]
    base = network(look(settings(*chosen)).experiment)
    model = keras.Model(base.model.input, base.flat.get_layer(base.base_layers[-1]).output)
    model.save_weights(tmp_path / "base.weights.h5")
    chosen += [*HEAD, f"model.weights={tmp_path}/base.weights.h5", f"cache.dir={tmp_path}/cache"]
    bases, run = Bases(), tmp_path / "run"

    def train(*overrides, last=None, store=None):
        looked = look(settings(*chosen, *overrides))
        built = network(looked.experiment, bases if last is not None else None)
        callbacks = make_callbacks(looked.experiment.settings, run)
        trainer = Trainer(
            looked.experiment, built, callbacks, store=store or Memory(), data=looked.fingerprint, last=last
        )
        trainer.train()
        return trainer

    train()
    return train


def same(one, other):
    assert without_seconds(one.history) == without_seconds(other.history)
    for mine, its in zip(weights(one), weights(other), strict=True):
        np.testing.assert_array_equal(mine, its)


def traced(trainer):
    """The loops of a training, each with how often it was traced."""
    return [(loop, loop._run.experimental_get_tracing_count()) for loop in loops(trainer)]


def loops(trainer):
    tail = trainer._last.tail
    return [tail.train_function, tail.test_function]


@pytest.mark.parametrize(
    "chosen",
    [
        (),
        ("optim=adam", "optim.clipnorm=1", "metrics=[accuracy,auc]"),
        ("callbacks=[stop_on_nan,reduce_on_plateau]", "callbacks.reduce_on_plateau.patience=1"),
        ("trainer.precision=mixed_float16", "trainer.gradient_accumulation_steps=2"),
    ],
)
def test_at_another_rate_a_training_is_to_the_bit_what_it_is_by_itself(trained, chosen):
    trained(*chosen)  # the features that it wants are kept
    last, rates = LastTraced(), ("optim.lr=0.3", "optim.lr=0.01", "optim.lr=0.1")
    held = [trained(*chosen, rate, last=last) for rate in rates]
    assert len({id(loop) for trainer in held for loop in loops(trainer)}) == 2
    assert {count for trainer in held for _, count in traced(trainer)} == {1}
    for trainer, rate in zip(held[1:], rates[1:], strict=True):
        assert trainer.network is held[0].network
        by_itself = trained(*chosen, rate)
        assert by_itself.network is not held[0].network
    # the network is one, so only the last training's weights are there to be compared
    same(held[-1], by_itself)
    assert without_seconds(held[1].history) == without_seconds(trained(*chosen, rates[1]).history)


def test_from_a_stored_state_it_goes_on_to_the_same_bits(trained):
    last, whole = LastTraced(), Memory()
    expected = trained("optim.lr=0.01", "trainer.save_steps=2", store=whole)
    trained("optim.lr=0.3", "trainer.save_steps=2", last=last)
    middle = next(state for state in whole.states if state.epoch == 1 and state.step)
    resumed = trained("optim.lr=0.01", "trainer.save_steps=2", last=last, store=Memory(middle))
    assert {count for _, count in traced(resumed)} == {1}
    same(resumed, expected)


@pytest.mark.parametrize(
    "changed",
    [
        "head.hidden=[4]",
        "head.dropout=0.5",
        "trainer.seed=7",
        "trainer.epochs=2",
        "trainer.batch_size=4",
        "optim.momentum=0.5",
        "loss.label_smoothing=0.1",
        "data.limit=30",
    ],
)
def test_one_of_another_graph_is_traced_by_itself(trained, changed):
    last = LastTraced()
    first, second = trained(last=last), trained(changed, last=last)
    assert second.network is not first.network
    same(second, trained(changed))


def test_one_that_failed_is_not_taken_up(trained):
    last = LastTraced()
    first = trained(last=last)
    with pytest.raises(RunFailed, match="became"):
        trained("optim.lr=1.0e+38", last=last)
    assert trained(last=last).network is not first.network


@pytest.mark.parametrize(
    "changed", ["stages=head_then_all", "stages.main.train=all", "optim/schedule=cosine", "cache=off"]
)
def test_no_other_run_has_the_graph_of_such(changed):
    assert graph_of(settings(*SMALL, *HEAD, "data.dir=x", changed)) is None


def test_what_other_people_s_parts_leave_behind_is_not_known(monkeypatch):
    assert (
        graph_of(settings(*SMALL, *HEAD, "data.dir=x"))
        == graph_of(settings(*SMALL, *HEAD, "data.dir=x", "optim.lr=0.5"))
        is not None
    )
    for kind, name in (("optimizer", "sgd"), ("callback", "stop_on_nan"), ("metric", "accuracy"), ("head", "dense")):
        with monkeypatch.context() as patched:
            patched.setattr(registry.get(kind, name).function, "__module__", "parts")
            assert graph_of(settings(*SMALL, *HEAD, "data.dir=x")) is None

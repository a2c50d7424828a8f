"""The state's file: whole, what was written comes back, damage is told; variables and callbacks take what it says."""

from __future__ import annotations

import numpy as np
import pytest

from framework.core.backend import keras
from framework.core.errors import BadInput
from framework.training.state import (
    State,
    callback_states,
    collect,
    ends_no_more,
    layer_variables,
    restore,
    restore_callbacks,
)


def state(**changed):
    usual = dict(stage="main", stage_start=0, epoch=2, step=3, stopped=False, history=[{"epoch": 1}], callbacks={})
    return State(**{**usual, **changed})


def network():
    inputs = keras.Input((4,))
    x = keras.layers.Dense(3, name="low")(inputs)
    x = keras.layers.Dropout(0.5, seed=1, name="drop")(x)
    return keras.Model(inputs, keras.layers.Dense(2, name="top")(x))


def test_what_was_written_comes_back(tmp_path):
    arrays = {"layer/low/0": np.arange(6, dtype=np.float32).reshape(2, 3)}
    state(arrays=arrays, given={"steps": 4}).write(tmp_path / "state.npz")
    found = State.read(tmp_path / "state.npz")
    assert (found.stage, found.epoch, found.step, found.history) == ("main", 2, 3, [{"epoch": 1}])
    assert found.given == {"steps": 4}
    np.testing.assert_array_equal(found.arrays["layer/low/0"], arrays["layer/low/0"])
    assert State.read(tmp_path / "state.npz", arrays=False).arrays == {}
    assert State.read(tmp_path / "none.npz") is None


@pytest.mark.parametrize("kept", [0, 1, 10, 100])
def test_a_damaged_file_is_told(tmp_path, kept):
    file = tmp_path / "state.npz"
    state(arrays={"a": np.zeros(100)}).write(file)
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(BadInput, match="is damaged") as caught:
        State.read(file)
    assert "begins anew" in caught.value.problems[0].right


def test_frozen_layers_are_left_out_but_for_their_random_generators():
    model = network()
    names = [name for name, _ in layer_variables(model, {"top"})]
    assert [name for name in names if name.startswith("layer/low")] == []
    assert [name for name in names if name.startswith("layer/top")] == ["layer/top/0", "layer/top/1"]
    assert [name for name in names if name.startswith("layer/drop")] != []


def test_variables_take_what_the_state_says_and_another_network_is_told():
    one, other = network(), network()
    found = state(arrays=collect(layer_variables(one, {"low", "top"}), {}))
    restore(layer_variables(other, {"low", "top"}), found)
    np.testing.assert_array_equal(one.get_layer("low").kernel, other.get_layer("low").kernel)
    with pytest.raises(BadInput, match="has nothing for layer/low/0"):
        restore(layer_variables(other, {"low"}), state())


class Waiting:
    """A callback of the documented protocol."""

    def __init__(self):
        self.waited, self.kept = 0, np.zeros(2)

    def get_state(self):
        return {"waited": self.waited}

    def set_state(self, said):
        self.waited = said["waited"]

    def get_arrays(self):
        return {"kept": self.kept}

    def set_arrays(self, arrays):
        self.kept = arrays["kept"]


def test_callbacks_that_remember_are_asked_and_told():
    one, other = Waiting(), Waiting()
    one.waited, one.kept = 5, np.ones(2)
    callbacks = {"waiting": one, "plain": object()}
    found = state(callbacks=callback_states(callbacks), arrays=collect([], callbacks))
    assert found.callbacks == {"waiting": {"waited": 5}}
    restore_callbacks({"waiting": other, "plain": object()}, found)
    assert other.waited == 5
    np.testing.assert_array_equal(other.kept, np.ones(2))


def test_an_ended_stage_goes_on_if_what_ended_it_is_another_now():
    ended = state(
        stopped=True,
        callbacks={"early": {"reason": "nothing better"}, "other": {}},
        given={"callbacks": {"early": ["early_stopping", {"patience": 2}], "other": ["csv_log", {}]}},
    )
    then = ended.given["callbacks"]
    assert not ends_no_more(ended, then)
    assert not ends_no_more(ended, {**then, "other": ["csv_log", {"x": 1}]})
    assert ends_no_more(ended, {**then, "early": ["early_stopping", {"patience": 9}]})
    assert ends_no_more(ended, {"other": then["other"]})

"""All it takes to go on with a run as if it had never stopped: one file, whole or not there, of arrays and JSON."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from framework.config.settings import Settings
from framework.core.backend import keras
from framework.core.errors import BadInput, Problem
from framework.core.files import open_own, whole
from framework.core.runs import NO_ARRAYS
from framework.core.runs import arrays as stored_arrays
from framework.training.stages import Stage

_JSON = "json"


@dataclass
class StageProgress:
    """Where a stage stands while it trains: its fitted model and metrics, the epochs before it, what is done."""

    stage: Stage
    tail: keras.Model
    metrics: list[Any]
    start: int
    epoch: int
    step: int = 0
    stopped: bool = False


@dataclass
class State:
    """Where a run stands.

    Attributes:
        stage: name of the stage that runs.
        stage_start: epochs of the whole run before this stage.
        epoch: epochs of the whole run that are done.
        step: steps done of the epoch after those; all of them where its validation is still to come.
        stopped: whether a callback has ended the stage.
        history: rows so far.
        callbacks: state of each callback that has one.
        given: what the run was given when this was written, as ``Fit.given`` says; empty in states of before.
        arrays: weights, optimizer, random generators and running metrics, by a name that says whose.
    """

    stage: str
    stage_start: int
    epoch: int
    step: int
    stopped: bool
    history: list[dict[str, Any]]
    callbacks: dict[str, dict[str, Any]]
    given: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    def write(self, path: Path) -> None:
        """Write the run's state whole; the one before stays until then."""
        plain = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "arrays"}
        text = np.frombuffer(json.dumps(plain).encode(), np.uint8)
        with whole(path) as beside, open(beside, "wb") as file:
            np.savez(file, allow_pickle=False, **{_JSON: text}, **self.arrays)

    @staticmethod
    def read(path: Path, arrays: bool = True) -> State | None:
        """The run's state, None if it has none.

        Args:
            path: of the file.
            arrays: whether they are wanted too; the rest is read in no time.

        Raises:
            BadInput: the file is damaged.
        """
        if not path.is_file():
            return None
        try:
            with open_own(path, path.parent) as file, stored_arrays(file) as stored:
                found = {name: stored[name] for name in (stored.files if arrays else [_JSON])}
            return State(**json.loads(found.pop(_JSON).tobytes()), arrays=found)
        except (*NO_ARRAYS, KeyError, RecursionError) as error:
            right = "delete it: the run then begins anew, and ends the same"
            raise BadInput(Problem(f"{path} is damaged: {error}", str(path), right)) from None


def callback_choices(settings: Settings) -> dict[str, Any]:
    """Part and parameters of each callback, as JSON gives them back."""
    chosen = {name: [callback.name, dict(callback.parameters)] for name, callback in settings.callbacks.items()}
    return dict(json.loads(json.dumps(chosen)))


def ends_no_more(state: State, choices: Mapping[str, Any]) -> bool:
    """Whether the callback that ended the stage is another one now, or gone; any, where none says that it was it.

    Args:
        state: of a stage that a callback has ended.
        choices: the callbacks now, as ``callback_choices`` says.
    """
    then = state.given.get("callbacks", {})
    ended = [name for name, said in state.callbacks.items() if said.get("reason")] or list(then)
    return any(then.get(name) != choices.get(name) for name in ended)


def layer_variables(model: keras.Model, trained: Collection[str]) -> Iterator[tuple[str, Any]]:
    """Every variable of the network that a run changes, by a name that is the same in every process.

    Args:
        model: the whole model.
        trained: names of the layers that any stage so far has trained; what else has weights is as it was loaded.
    """
    for layer in model.layers:
        own = {id(weight) for weight in layer.weights}
        for number, variable in enumerate(layer.variables):
            # what is no weight is the state of a random generator
            if layer.name in trained or id(variable) not in own:
                yield f"layer/{layer.name}/{number}", variable


def optimizer_variables(tail: keras.Model) -> Iterator[tuple[str, Any]]:
    """What the built optimizer of a compiled model remembers."""
    for number, variable in enumerate(tail.optimizer.variables):
        yield f"optimizer/{number}", variable


def metric_variables(at: StageProgress) -> Iterator[tuple[str, Any]]:
    """The running sums of loss and metrics.

    The metrics as they were made, not ``tail.metrics``: that has them only once a step has been traced.
    """
    loss = at.tail.metrics[0]
    for place, metric in enumerate([loss, *at.metrics]):
        for number, variable in enumerate(metric.variables):
            yield f"metric/{place}/{number}", variable


def measured(at: StageProgress) -> dict[str, float]:
    """Loss and metrics as their running sums are, named as Keras logs them."""
    loss = at.tail.metrics[0]
    return {metric.name: float(metric.result()) for metric in [loss, *at.metrics]}


def collect(variables: Iterable[tuple[str, Any]], callbacks: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Values of these variables, and the arrays that callbacks keep beside the model."""
    arrays = {name: np.asarray(variable) for name, variable in variables}
    for name, callback in callbacks.items():
        if hasattr(callback, "get_arrays"):
            arrays |= {f"callback/{name}/{key}": array for key, array in callback.get_arrays().items()}
    return arrays


def restore(variables: Iterable[tuple[str, Any]], state: State) -> None:
    """Give variables what the state says.

    Raises:
        BadInput: the state is not one of this network.
    """
    for name, variable in variables:
        array = state.arrays.get(name)
        if array is None or array.shape != tuple(variable.shape):
            found = "nothing" if array is None else f"an array of shape {array.shape}"
            raise BadInput(Problem(f"the run's state has {found} for {name}, a variable of shape {variable.shape}"))
        variable.assign(array)


def callback_states(callbacks: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """State of each callback that has one, as JSON can hold it."""
    return {name: callback.get_state() for name, callback in callbacks.items() if hasattr(callback, "get_state")}


def restore_callbacks(callbacks: Mapping[str, Any], state: State) -> None:
    """Give callbacks what the state says."""
    for name, callback in callbacks.items():
        if name in state.callbacks and hasattr(callback, "set_state"):
            callback.set_state(state.callbacks[name])
        if hasattr(callback, "set_arrays"):
            prefix = f"callback/{name}/"
            own = {key.removeprefix(prefix): array for key, array in state.arrays.items() if key.startswith(prefix)}
            callback.set_arrays(own)

"""The weight averaging callback's class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from framework.core.backend import keras, tf
from framework.parts.callbacks import Logs, State


class WeightAveraging(keras.callbacks.Callback):
    """A running average of the trainable weights, which takes their place from validation to the epoch's end.

    So validation, every other callback and every saved model see the average, and training goes on from the weights
    as it left them; after training the average stays. The average follows faster at first, its momentum being at
    most (1 + n) / (10 + n) after n updates, so that it forgets the start in a short run too. A weight that a later
    stage sets free joins with its value then; one that it freezes stays at its average.

    The average moves within the optimizer's step: where many batches run in one call, no hook is called between them.
    So ``on_epoch_begin`` must come before the step is traced, as it does in ``fit``. A resumed run needs
    ``get_arrays`` beside ``get_state``: at an epoch's end the model holds the average, and the weights that training
    goes on from are here.

    Source: https://www.tensorflow.org/api_docs/python/tf/train/ExponentialMovingAverage.
    """

    def __init__(self, momentum: float):
        super().__init__()
        self.momentum = momentum
        self.updates = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.in_model = False
        self._weights: dict[str, Any] = {}
        # Of each weight what the model does not hold: the average while training, the trained value in validation.
        self._others: dict[str, Any] = {}
        self._optimizer: Any = None

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Go back to the weights that are trained, and take in those that this stage sets free."""
        self._show_average(False)
        self._join({weight.path: weight.value for weight in self.model.trainable_weights})
        if self.model.optimizer is not self._optimizer:
            self._optimizer = self.model.optimizer
            self._follow(self._optimizer)

    def on_test_begin(self, logs: Logs = None) -> None:
        """Validate the average."""
        self._show_average(True)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Leave the average in the model, also where nothing was validated."""
        self._show_average(True)

    def get_state(self) -> State:
        """Number of updates, and whether the model holds the average."""
        return {"updates": int(self.updates), "in_model": self.in_model}

    def set_state(self, state: State) -> None:
        """Go on from a state."""
        self.updates.assign(state["updates"])
        self.in_model = state["in_model"]

    def get_arrays(self) -> dict[str, Any]:
        """Numpy arrays by the path of their weight: what the model does not hold."""
        return {path: other.numpy() for path, other in self._others.items()}

    def set_arrays(self, arrays: Mapping[str, Any]) -> None:
        """Go on from the arrays of ``get_arrays``; the model must be set."""
        weights = {weight.path: weight.value for weight in self.model.weights}
        self._join({path: weights[path] for path in arrays})
        for path, array in arrays.items():
            self._others[path].assign(array)

    def _join(self, weights: dict[str, Any]) -> None:
        """Average these weights from now on; those already known keep their average."""
        if weights.keys() == self._weights.keys():
            return
        for path in self._weights.keys() - weights.keys():
            self._weights[path].assign(self._others[path])
        self._weights = weights
        self._others = {
            path: self._others[path] if path in self._others else tf.Variable(weight, trainable=False)
            for path, weight in weights.items()
        }

    def _follow(self, optimizer: Any) -> None:
        """Make the average part of a new stage's optimizer step."""
        apply = optimizer.apply
        pairs = [(weight, self._others[path]) for path, weight in self._weights.items()]

        def apply_and_follow(*arguments: Any, **named: Any) -> None:
            apply(*arguments, **named)
            updates = tf.cast(self.updates.assign_add(1), tf.float32)
            momentum = tf.minimum(self.momentum, updates / (9 + updates))
            for weight, average in pairs:
                average.assign_sub(tf.cast(1 - momentum, average.dtype) * (average - weight))

        optimizer.apply = apply_and_follow

    def _show_average(self, wanted: bool) -> None:
        if wanted == self.in_model:
            return
        for path, weight in self._weights.items():
            held = tf.identity(weight)
            weight.assign(self._others[path])
            self._others[path].assign(held)
        self.in_model = wanted

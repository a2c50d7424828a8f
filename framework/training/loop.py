"""The steps that ``fit`` and ``evaluate`` run in one call, as one loop in TensorFlow."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from framework.core.backend import keras, tf
from framework.data.pipeline import Gathered

# a signal is looked at this often; a single step that takes longer is waited for
LOOK_SECONDS = 1.0
# the first steps are quick where batches lie ready: how much more than the last time may be run before a look
GROWTH = 8


class StepLoop:
    """What a compiled model calls for each chunk of an epoch, in place of the function that Keras would make.

    Keras's function carries every batch and result as an optional, for an epoch may end anywhere, and wants an iterator
    for each epoch: on a head's kept features the two took two thirds of an epoch's time. Here the number of steps is
    known, so a dataset may be endless, and one iterator serves all epochs. Results are those of the metrics after the
    last step.

    To be set as ``model.train_function`` or ``model.test_function`` after ``compile``, which forgets it.

    Args:
        model: whose metrics are reported.
        step: its ``train_step`` or ``test_step``.
        steps: of an epoch.
        at_once: of a call, at most; the model's ``steps_per_execution``.
        first: steps that are left of the first epoch, from 1 to ``steps``; all of them if None.
        look: called with the steps of the epoch that are done, about every ``LOOK_SECONDS`` of a call that takes
            longer; it may raise. Without it a call is never divided.
        gathered: what the batches are gathered from; the iterator gives the numbers of epochs then. None where it gives
            batches.

    Raises:
        ValueError: ``first`` is no part of an epoch.
    """

    def __init__(
        self,
        model: keras.Model,
        step: Callable[[Any], Any],
        steps: int,
        at_once: int,
        first: int | None = None,
        look: Callable[[int], None] | None = None,
        gathered: Gathered | None = None,
    ):
        self.model, self.step = model, step
        self.steps, self.at_once = steps, at_once
        self._few = 1
        self._gathers = gathered
        self._run = tf.function(self._chunk, autograph=False, reduce_retracing=True)
        self.begin(first, look)

    def begin(self, first: int | None = None, look: Callable[[int], None] | None = None) -> None:
        """Begin a training, anew with what is traced; arguments and error as those of the class."""
        self._left = self.steps if first is None else first
        if not 0 < self._left <= self.steps:
            raise ValueError(f"{self._left} steps are left of an epoch of {self.steps}")
        self.look = look
        self._order: tf.Tensor | None = None

    def __call__(self, iterator: Any) -> dict[str, tf.Tensor]:
        """Run the next steps of the epoch; loss and metrics so far."""
        if self._gathers is not None and self._order is None:
            self._order = tf.constant(self._gathers.order(int(next(iterator))))
        source = iterator if self._gathers is None else self._order
        after = self._left - min(self.at_once, self._left)
        while True:
            count = self._left - after if self.look is None else min(self._few, self._left - after)
            results = self._call(source, count)
            self._left -= count
            if self._left == after:
                if not self._left:
                    self._left, self._order = self.steps, None
                return results
            if self.look is not None:
                self.look(self.steps - self._left)

    def _call(self, source: Any, count: int) -> dict[str, tf.Tensor]:
        """Run so many steps, and see how many are few enough before the next look."""
        started = time.perf_counter()
        results = self._run(source, tf.constant(count), tf.constant(self.steps - self._left, tf.int64))
        self._few = few_enough(count, time.perf_counter() - started)
        return results

    def _chunk(self, source: Any, count: tf.Tensor, first: tf.Tensor) -> dict[str, tf.Tensor]:
        gathers = self._gathers

        def body(done: tf.Tensor) -> tf.Tensor:
            self.step(next(source) if gathers is None else gathers.batch(source, first + tf.cast(done, tf.int64)))
            return done + 1

        tf.while_loop(lambda done: done < count, body, [tf.constant(0)], parallel_iterations=1)
        return self.model.get_metrics_result()


def few_enough(count: int, seconds: float) -> int:
    """Steps that take about ``LOOK_SECONDS``, where the last ``count`` took so many seconds."""
    return max(1, min(int(count * LOOK_SECONDS / max(seconds, 1e-9)), GROWTH * count))

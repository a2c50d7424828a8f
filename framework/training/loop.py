"""The steps that ``fit`` and ``evaluate`` run in one call, as one loop in TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from framework.core.backend import keras, tf


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
        first: steps that are left of the first epoch; all of them if None.
    """

    def __init__(
        self, model: keras.Model, step: Callable[[Any], Any], steps: int, at_once: int, first: int | None = None
    ):
        self.steps, self.at_once = steps, at_once
        self._left = first or steps

        def run(iterator: Any, count: tf.Tensor) -> dict[str, tf.Tensor]:
            def body(done: tf.Tensor) -> tf.Tensor:
                step(next(iterator))
                return done + 1

            tf.while_loop(lambda done: done < count, body, [tf.constant(0)], parallel_iterations=1)
            return model.get_metrics_result()

        self._run = tf.function(run, autograph=False, reduce_retracing=True)

    def __call__(self, iterator: Any) -> dict[str, tf.Tensor]:
        """Run the next steps of the epoch; loss and metrics so far."""
        count = min(self.at_once, self._left)
        self._left = self._left - count or self.steps
        return self._run(iterator, tf.constant(count))

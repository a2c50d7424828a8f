"""Callbacks see the whole model, whichever part of it a stage fits; imported once Keras is loaded."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import keras

from framework.training.progress import Progress


class Clock:
    """Where the run stands: the epoch, counted over all stages from 0, and the step at which to enter it."""

    def __init__(self) -> None:
        self.epoch = 0
        self.first_step = 0

    def __call__(self) -> tuple[int, int]:
        return self.epoch, self.first_step


class Bridge(keras.callbacks.Callback):
    """Hands the events of the fitted model on to callbacks that belong to the whole one, and keeps the history.

    Args:
        whole: the model that callbacks see; its optimizer is the one in use.
        callbacks: the run's callbacks.
        stage: the stage's name.
        clock: told each epoch's number before its pictures are read.
        progress: told each step and epoch.
        write: called with each new row of the history, before callbacks see the epoch's end.
    """

    def __init__(
        self,
        whole: keras.Model,
        callbacks: Sequence[keras.callbacks.Callback],
        stage: str,
        clock: Clock,
        progress: Progress,
        write: Callable[[dict[str, Any]], None],
    ):
        super().__init__()
        self.whole, self.callbacks = whole, list(callbacks)
        self.stage, self.clock, self.progress, self.write = stage, clock, progress, write
        self._watch_batches = any(_has_own(callback, "on_train_batch_end") for callback in self.callbacks)
        self._started = 0.0
        self._steps_seen = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Tell the clock, then the callbacks."""
        self.clock.epoch, self._steps_seen, self._started = epoch, 0, time.perf_counter()
        for callback in self.callbacks:
            callback.on_epoch_begin(epoch, logs)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Hand on."""
        for callback in self.callbacks:
            callback.on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Hand on; ``batch`` is the last of the steps that ran together."""
        if self._watch_batches:
            for callback in self.callbacks:
                callback.on_train_batch_end(batch, logs)
        done = batch + 1 - self._steps_seen
        self._steps_seen = batch + 1
        self.progress.step(self.clock.epoch, done, logs.get("loss") if logs else None)
        if self.whole.stop_training:
            self.model.stop_training = True

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Hand on."""
        for callback in self.callbacks:
            callback.on_test_begin(logs)

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Hand on."""
        for callback in self.callbacks:
            callback.on_test_end(logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Add the epoch's row to the history, then let callbacks act on it."""
        logs = dict(logs or {})
        logs["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row = {
            "stage": self.stage,
            "epoch": epoch + 1,
            "learning_rate": logs["learning_rate"],
            **{key: float(value) for key, value in logs.items() if key != "learning_rate"},
            "seconds": time.perf_counter() - self._started,
        }
        self.write(row)
        self.progress.epoch(row)
        for callback in self.callbacks:
            callback.on_epoch_end(epoch, logs)
        if self.whole.stop_training:
            self.model.stop_training = True


def _has_own(callback: keras.callbacks.Callback, hook: str) -> bool:
    return getattr(type(callback), hook) is not getattr(keras.callbacks.Callback, hook)

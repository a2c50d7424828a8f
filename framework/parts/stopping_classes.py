"""Classes of the callbacks that look at the history: they stop a stage or a run, or lower its rate."""

from __future__ import annotations

import math
import time
from typing import Any

from framework.core.backend import keras
from framework.parts.callbacks import Logs, State


def _number(value: Any) -> float | None:
    """A value of Keras's logs as JSON can hold it."""
    return None if value is None else float(value)


class EarlyStopping(keras.callbacks.EarlyStopping):
    """Keras's, with its state and a sentence on why it stopped.

    Attributes:
        reason: why the run was stopped, None if it was not.
        failed: whether that makes it a failed run.
    """

    failed = False

    def __init__(self, **parameters: Any):
        super().__init__(**parameters)
        self.best_epoch = 0
        self.reason: str | None = None

    def on_stage_begin(self, stage: str) -> None:
        """Judge each stage by itself: at another rate the loss may rise before it falls."""
        self.on_train_begin()
        self.reason = None

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Compare; stop when patience is over."""
        super().on_epoch_end(epoch, logs)
        if self.stopped_epoch == epoch and epoch > 0:
            self.reason = f"{self.monitor} has not improved since epoch {self.best_epoch + 1}"

    def get_state(self) -> State:
        """Best value, its epoch, for how many epochs it has stood, and why the stage was ended, if it was."""
        state = {"best": _number(self.best), "best_epoch": self.best_epoch, "wait": self.wait}
        return state | {"reason": self.reason}

    def set_state(self, state: State) -> None:
        """Go on from a state, perhaps with more patience."""
        self.best, self.best_epoch, self.wait = state["best"], state["best_epoch"], state["wait"]
        self.reason = None


class ReduceOnPlateau(keras.callbacks.ReduceLROnPlateau):
    """Keras's, with its state. The rate itself is the optimizer's."""

    def on_stage_begin(self, stage: str) -> None:
        """Begin anew: a stage has a rate of its own."""
        self.on_train_begin()

    def get_state(self) -> State:
        """Best value, for how many epochs it has stood, and the cooldown left."""
        return {"best": _number(self.best), "wait": self.wait, "cooldown": self.cooldown_counter}

    def set_state(self, state: State) -> None:
        """Go on from a state."""
        self.best, self.wait, self.cooldown_counter = state["best"], state["wait"], state["cooldown"]


class TimeLimit(keras.callbacks.Callback):
    """Ends the stage where another epoch would take the run beyond its time.

    Attributes:
        reason: why the stage was ended, None if it was not.
        failed: whether that makes it a failed run.
    """

    failed = False

    def __init__(self, seconds: float, so_far: float = 0.0):
        super().__init__()
        self.seconds = seconds
        self.reason: str | None = None
        self.spent = 0.0  # seconds, at the end of the latest epoch
        self._before, self._began = 0.0, time.monotonic() - so_far
        self._epoch = self._began

    def on_stage_begin(self, stage: str) -> None:
        """Nothing has ended this stage."""
        self.reason = None

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Know when the epoch began."""
        self._epoch = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """See whether another one fits."""
        now = time.monotonic()
        self.spent, took = self._before + now - self._began, now - self._epoch
        if self.spent + took > self.seconds:
            self.reason = f"another epoch of {took:.1f} s would take it beyond {self.seconds:g} s (time_limit)"
            self.model.stop_training = True

    def get_state(self) -> State:
        """Seconds spent so far, and why the stage was ended, if it was."""
        return {"spent": self.spent, "reason": self.reason}

    def set_state(self, state: State) -> None:
        """Go on from a state."""
        self.spent = self._before = state["spent"]
        self.reason = state["reason"]


class StopOnNan(keras.callbacks.Callback):
    """Stops when the loss is not finite: after the batch, or after the epoch if only validation shows it.

    Where many batches run in one call, the batch named is the last of them.

    Attributes:
        reason: what was seen and where, counted from 1; None if nothing was.
        advice: what to try.
        failed: whether that makes it a failed run.
    """

    failed = True
    advice = "a lower learning rate (optim.lr) or a limit on the gradients (optim.clipnorm=1.0)"

    def __init__(self) -> None:
        super().__init__()
        self.epoch = 0
        self.reason: str | None = None

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Know the epoch."""
        self.epoch = epoch + 1

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Look at the mean loss of the epoch so far: one bad batch makes it bad for good."""
        self._look("training", (logs or {}).get("loss", 0.0), f", batch {batch + 1}")

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Look at the validation loss, and at the training loss where no batch was reported."""
        for name, what in (("loss", "training"), ("val_loss", "validation")):
            self._look(what, (logs or {}).get(name, 0.0), "")

    def get_state(self) -> State:
        """What was seen."""
        return {"reason": self.reason}

    def set_state(self, state: State) -> None:
        """Go on from a state."""
        self.reason = state["reason"]

    def _look(self, what: str, loss: Any, batch: str) -> None:
        if self.reason is None and not math.isfinite(loss := float(loss)):
            self.reason = f"the {what} loss became {loss} in epoch {self.epoch}{batch}"
            self.model.stop_training = True

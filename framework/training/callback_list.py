"""Callbacks see the whole model, whichever part of it a stage fits; imported once Keras is loaded."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from framework.core.digits import kept
from framework.training.interruption import Interruption
from framework.training.progress import Progress
from framework.training.state import StageProgress, metric_variables

STATE_SECONDS = 10.0


class CallbackList(keras.callbacks.Callback):
    """Hands the events of the fitted model on to callbacks that belong to the whole one; keeps history and state.

    The state is written at an epoch's end, if the last writing is ``STATE_SECONDS`` ago: a run that is begun again from
    an older state, or from none, ends the same.

    Args:
        whole: the model that callbacks see; its optimizer is the one in use.
        callbacks: the run's callbacks.
        at: where the stage stands; kept true.
        progress: told each step and epoch.
        interruption: looked at after each step.
        steps: of an epoch.
        write: called with each new row of the history, before callbacks see the epoch's end.
        save: writes the run's state.
        save_steps: write the state every so many steps too, counted over epochs; None for not.
        metrics: running metrics of an epoch that is entered in its middle, as in ``State.arrays``.
        agree: whether the stage ends here, given whether a callback of this worker wants it to.
    """

    def __init__(
        self,
        whole: keras.Model,
        callbacks: Sequence[keras.callbacks.Callback],
        at: StageProgress,
        progress: Progress,
        interruption: Interruption,
        *,
        steps: int,
        write: Callable[[dict[str, Any]], None],
        save: Callable[[StageProgress], None],
        save_steps: int | None,
        metrics: Mapping[str, Any],
        agree: Callable[[bool], bool],
    ):
        super().__init__()
        self.whole, self.callbacks = whole, list(callbacks)
        self.at, self.progress, self.interruption = at, progress, interruption
        self.steps, self.write, self.save, self.save_steps = steps, write, save, save_steps
        self._metrics, self.agree = dict(metrics), agree
        self._offset = at.step
        self._started = 0.0
        self._saved = time.monotonic()
        self._saved_step = self._steps_done()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Put running metrics where they stood, if the epoch is entered in its middle; hand on."""
        self._started = time.perf_counter()
        if self._offset:
            self._put_metrics()
        self._hand_on("on_epoch_begin", epoch, logs)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Hand on."""
        self._hand_on("on_train_batch_begin", batch + self._offset, logs)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Hand on; ``batch`` is the last of the steps that ran together. Save and stop where that is due."""
        batch = min(batch + self._offset, self.steps - 1)  # Keras counts the last ones as if there were as many as ever
        self._hand_on("on_train_batch_end", batch, logs)
        before, self.at.step = self.at.step, batch + 1
        self.progress.step(self.at.epoch, batch + 1 - before, logs.get("loss") if logs else None)
        if self.whole.stop_training:
            self.model.stop_training = True
        elif batch + 1 < self.steps:  # behind the last step the epoch's end saves, with all that belongs to it
            self.look(batch + 1)
            if self._is_due():
                self._save()

    def look(self, step: int) -> None:
        """Leave the run with its state saved, if a signal wants that; so many steps of the epoch are done.

        Raises:
            RunStopped: after SIGTERM.
            KeyboardInterrupt: after Ctrl-C.
        """
        if self.interruption.signal is not None and not self.whole.stop_training:
            self.at.step = step
            self._save()
            self.interruption.obey()

    def look_while_validating(self, _: int = 0) -> None:
        """The same between batches of validation, which begins anew where the run goes on."""
        if self.interruption.signal is not None:
            self._put_metrics()
            self.look(self.steps)

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Keep what training has measured, for validation measures by the same variables; hand on."""
        self._metrics = {name: np.array(variable) for name, variable in metric_variables(self.at)}
        self._hand_on("on_test_begin", logs)

    def on_test_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Stop where that is due; hand on."""
        self.look_while_validating()
        self._hand_on("on_test_batch_begin", batch, logs)

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Hand on."""
        self._hand_on("on_test_batch_end", batch, logs)

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Hand on."""
        self._hand_on("on_test_end", logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Add the epoch's row to the history, let callbacks act on it, save the state if that is due."""
        logs = dict(logs or {})
        logs["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row = {
            "stage": self.at.stage.name,
            "epoch": epoch + 1,
            "learning_rate": kept(logs["learning_rate"]),
            **{key: kept(float(logs[key])) for key in sorted(logs, key=_column) if key != "learning_rate"},
            "seconds": time.perf_counter() - self._started,
        }
        self.write(row)
        self.progress.epoch(row)
        self._hand_on("on_epoch_end", epoch, logs)
        self.whole.stop_training = self.agree(self.whole.stop_training)
        if self.whole.stop_training:
            self.model.stop_training = True
        self.at.epoch, self.at.step = epoch + 1, 0
        self._offset = 0
        self.at.stopped = self.whole.stop_training
        stops = self.interruption.signal is not None
        if stops or self._is_due() or time.monotonic() - self._saved >= STATE_SECONDS:
            self._save()
            self._saved = time.monotonic()
        if stops:
            self.interruption.obey()

    def _hand_on(self, hook: str, *given: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(*given)

    def _put_metrics(self) -> None:
        for name, variable in metric_variables(self.at):
            variable.assign(self._metrics[name])

    def _steps_done(self) -> int:
        return self.at.epoch * self.steps + self.at.step

    def _is_due(self) -> bool:
        """Whether ``save_steps`` wants the state written now."""
        every = self.save_steps
        return every is not None and self._steps_done() // every > self._saved_step // every

    def _save(self) -> None:
        self.save(self.at)
        self._saved_step = self._steps_done()


def _column(name: str) -> tuple[bool, bool, str]:
    """Training before validation, loss before metrics."""
    return name.startswith("val_"), not name.endswith("loss"), name

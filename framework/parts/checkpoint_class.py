"""The checkpoint callback's class: the best models as files, and the best epoch's weights."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from framework.core.backend import keras
from framework.core.better import Mode, Yardstick
from framework.core.digits import kept
from framework.core.files import whole
from framework.parts.callbacks import Logs, State
from framework.parts.lora import plain_weights, set_plain_weights


@dataclass
class _Saved:
    """One model that is kept: what it is ranked by, its file, and its weights while they are not in the file yet."""

    epoch: int
    value: float
    path: Path
    weights: list[Any] | None


class Checkpoint(keras.callbacks.Callback):
    """Writes the best models, and remembers the very best one's weights.

    Writing a model takes from a tenth of a second to some seconds, an epoch on cached features less. So an improvement
    is kept in memory at once, and written if the last writing is more than ``INTERVAL`` seconds ago, else later, at the
    latest in ``on_train_end``. With ``save="every"`` files are written in the epoch they belong to.

    Attributes:
        best: best value of the monitored column so far, None before the first.
        best_epoch: its epoch, counted from 1, None before the first.
        best_weights: tensors as of ``lora.plain_weights``; None if they are in the best epoch's file only.
    """

    INTERVAL = 10.0

    def __init__(
        self,
        folder: Path,
        *,
        filename: str,
        monitor: str,
        mode: Mode,
        save: Literal["best", "every"],
        keep: int | None,
    ):
        super().__init__()
        self.folder = folder
        self.filename = filename if filename.endswith((".keras", ".h5")) else f"{filename}.keras"
        self.monitor = monitor
        self.yardstick = Yardstick.of(monitor, mode)
        self.save = save
        self.keep = keep
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.best_weights: list[Any] | None = None
        self._kept: list[_Saved] = []
        self._moved: set[int] = set()  # ids of the weights that may be others than when training began
        self._last_write = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Know what the stage trains: of a network that is mostly frozen most weights need not be moved about."""
        self._moved |= {id(weight) for layer in self.model.layers if layer.trainable for weight in layer.weights}

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Take the epoch's model if it deserves it; write what is due."""
        logs = logs or {}
        value = float(logs[self.monitor])
        finite = self.yardstick.can_judge(logs)
        improved = finite and self.yardstick.beats(value, self.best)
        if improved:
            self.best, self.best_epoch, self.best_weights = value, epoch + 1, plain_weights(self.model)
        if improved or (finite and self.save == "every"):
            numbers = {name: kept(float(number)) for name, number in logs.items()}
            path = self.folder / self.filename.format(epoch=epoch + 1, **numbers)
            weights = self.best_weights if improved else plain_weights(self.model)
            self._take(_Saved(epoch + 1, value, path, weights))
        if self.save == "every" or time.monotonic() - self._last_write >= self.INTERVAL:
            self.flush()

    def on_train_end(self, logs: Logs = None) -> None:
        """Write what is not written yet."""
        self.flush()

    def flush(self) -> None:
        """Write every kept model whose file is not there yet."""
        waiting = [saved for saved in self._kept if saved.weights is not None]
        if not waiting:
            return
        present = [(weight, weight.value.value()) for weight in self.model.weights if id(weight) in self._moved]
        for saved in waiting:
            set_plain_weights(self.model, saved.weights or [], self._moved)
            with whole(saved.path) as beside:
                _save(self.model, beside)
            saved.weights = None
        for weight, value in present:
            weight.assign(value)
        self._last_write = time.monotonic()

    def restore_best(self) -> None:
        """Give the model the best epoch's weights; leaves it as it is if no epoch was finite."""
        if self.best_weights is not None:
            set_plain_weights(self.model, self.best_weights, self._moved)
        elif self._kept:
            # not load_weights, which would take the optimizer back to that epoch too
            best = keras.saving.load_model(self._ranked()[0].path, compile=False)
            set_plain_weights(self.model, best.get_weights())

    def best_file(self) -> Path | None:
        """The file that holds the best epoch's whole model; None if there is none, or one of weights and layers only."""
        best = next((saved for saved in self._kept if saved.epoch == self.best_epoch and saved.weights is None), None)
        return best.path if best and best.path.suffix == ".keras" and best.path.is_file() else None

    def get_state(self) -> State:
        """Best value and epoch, and the files; what is kept in memory is written first, so that they are there."""
        self.flush()
        files = [[saved.epoch, saved.value, saved.path.relative_to(self.folder).as_posix()] for saved in self._kept]
        return {"best": self.best, "best_epoch": self.best_epoch, "files": files}

    def set_state(self, state: State) -> None:
        """Go on from a state whose files are in the folder."""
        self.best, self.best_epoch, self.best_weights = state["best"], state["best_epoch"], None
        self._kept = [_Saved(epoch, value, self.folder / name, None) for epoch, value, name in state["files"]]

    def _ranked(self) -> list[_Saved]:
        """Best first; of equals the earlier."""
        return sorted(self._kept, key=lambda saved: (self.yardstick.order(saved.value), saved.epoch))

    def _take(self, new: _Saved) -> None:
        """Keep a model if it is among the best; drop what is not any more, with its file.

        Where a template gives two epochs one name, the file is the better one's.
        """
        best_of_name: dict[Path, _Saved] = {}
        self._kept.append(new)
        for saved in self._ranked():
            best_of_name.setdefault(saved.path, saved)
        kept = list(best_of_name.values())[: self.keep]
        for saved in self._kept:
            if saved.weights is None and all(saved.path != other.path for other in kept):
                saved.path.unlink(missing_ok=True)
        self._kept = sorted(kept, key=lambda saved: saved.epoch)


def _save(model: Any, path: Path) -> None:
    """``model.save`` without Keras's advice against .h5, which the user chose."""
    from absl import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        model.save(path)
    finally:
        logging.set_verbosity(verbosity)

"""The callbacks' classes: Keras's own where it has them, made so that a resumed run goes on exactly.

What they remember, and when they are told of what, is said in ``callbacks``.
"""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from framework.core.backend import keras, tf
from framework.core.better import Mode, Yardstick
from framework.core.digits import kept
from framework.core.files import whole, write_whole
from framework.core.runs import RunFolder
from framework.parts.tracking import hyperparameters

State = dict[str, Any]
Logs = Mapping[str, Any] | None


def _snapshot(model: Any) -> list[Any]:
    """The weights as they are now, as tensors, in the order of ``model.weights``.

    TensorFlow copies a weight's memory only when the weight is next changed: what is frozen costs nothing.
    """
    return [tf.identity(weight.value) for weight in model.weights]


def _restore(model: Any, weights: list[Any]) -> None:
    for weight, value in zip(model.weights, weights, strict=True):
        weight.assign(value)


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
        best_weights: tensors in the order of ``model.weights``; None if they are in the best epoch's file only.
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
        self._last_write = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Take the epoch's model if it deserves it; write what is due."""
        logs = logs or {}
        value = float(logs[self.monitor])
        finite = self.yardstick.can_judge(logs)
        improved = finite and self.yardstick.beats(value, self.best)
        if improved:
            self.best, self.best_epoch, self.best_weights = value, epoch + 1, _snapshot(self.model)
        if improved or (finite and self.save == "every"):
            numbers = {name: kept(float(number)) for name, number in logs.items()}
            path = self.folder / self.filename.format(epoch=epoch + 1, **numbers)
            weights = self.best_weights if improved else _snapshot(self.model)
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
        present = _snapshot(self.model)
        for saved in waiting:
            _restore(self.model, saved.weights or [])
            with whole(saved.path) as beside:
                _save(self.model, beside)
            saved.weights = None
        _restore(self.model, present)
        self._last_write = time.monotonic()

    def restore_best(self) -> None:
        """Give the model the best epoch's weights; leaves it as it is if no epoch was finite."""
        if self.best_weights is not None:
            _restore(self.model, self.best_weights)
        elif self._kept:
            # not load_weights, which would take the optimizer back to that epoch too
            self.model.set_weights(keras.saving.load_model(self._ranked()[0].path, compile=False).get_weights())

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


class CsvLog(keras.callbacks.Callback):
    """A file like that of Keras's CSVLogger, but whole at any moment, and continued by a resumed run."""

    def __init__(self, path: Path):
        super().__init__()
        self.path = path
        self.rows: list[dict[str, float]] = []

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Write all rows, this epoch's last."""
        numbers = {name: float(value) for name, value in sorted((logs or {}).items())}
        self.rows.append({"epoch": epoch, **numbers})
        text = io.StringIO()
        columns = dict.fromkeys(name for row in self.rows for name in row)
        table = csv.DictWriter(text, list(columns), restval="NA", lineterminator="\n")
        table.writeheader()
        table.writerows(self.rows)
        write_whole(self.path, text.getvalue())

    def get_state(self) -> State:
        """The rows so far."""
        return {"rows": list(self.rows)}

    def set_state(self, state: State) -> None:
        """Go on after these rows."""
        self.rows = list(state["rows"])


class TensorBoardScalars(keras.callbacks.Callback):
    """Scalars as Keras's TensorBoard callback names them, nothing a batch, and no TensorBoard needed to write them.

    Training goes to ``train``, validation to ``validation`` below the run folder's ``log_dir``; the step is the epoch,
    from 0. What distinguishes the run goes to ``log_dir`` itself, for the HParams page, where TensorBoard is installed.
    A resumed run writes a further file, and TensorBoard reads both.
    """

    def __init__(self, folder: RunFolder, log_dir: str):
        super().__init__()
        self.run, self.folder = folder, folder.path / log_dir
        self._writers: dict[str, Any] = {}

    def on_train_begin(self, logs: Logs = None) -> None:
        """Write the run's choices."""
        choices = hyperparameters(self.run)
        if not choices or find_spec("tensorboard") is None:
            return
        from tensorboard.plugins.hparams import summary_v2

        with tf.summary.create_file_writer(str(self.folder)).as_default():
            # names of runs of their own: with none, equal choices would be taken for one run
            summary_v2.hparams(choices, trial_id=self.run.path.name)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Write the epoch's numbers."""
        from tensorflow.compat.v1 import SummaryMetadata

        metadata = SummaryMetadata(
            plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"), data_class="DATA_CLASS_SCALAR"
        )
        for name, value in (logs or {}).items():
            split = "validation" if name.startswith("val_") else "train"
            if split not in self._writers:
                self._writers[split] = tf.summary.create_file_writer(str(self.folder / split))
            with self._writers[split].as_default():
                tag = f"epoch_{name.removeprefix('val_')}"
                tf.summary.write(tag, tf.constant(value, tf.float32), step=epoch, metadata=metadata)
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs: Logs = None) -> None:
        """Close the files."""
        for writer in self._writers.values():
            writer.close()
        self._writers = {}


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

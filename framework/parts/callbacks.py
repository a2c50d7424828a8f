"""Callbacks: what happens between epochs. Each is built for one run and lives through all of its stages.

Any Keras callback will do (https://keras.io/api/callbacks/). Its ``model`` is the whole network, and it is told what
Keras tells it in one ``fit`` of the whole run: ``set_params`` and ``set_model``, ``on_train_begin`` once,
``on_train_end`` once with the last epoch's logs, between them the hooks of epochs, batches, tests and test batches.
Epochs reach the hooks counted from 0 over all stages, and people counted from 1. ``model.stop_training = True`` ends the
stage.

Beside that it may have, checked by the contract test of callbacks:

- ``on_stage_begin(stage)``: called with the stage's name where one begins, not where it is resumed;
- ``get_state()``, a dict that JSON can hold, and ``set_state(state)``, called after ``on_train_begin`` on a fresh
  callback of a run that goes on: what it remembers from epoch to epoch;
- ``get_arrays()`` and ``set_arrays(arrays)``: a dict of numpy arrays by name, for what is too large for that;
- ``reason``, a text where it has ended the stage, also in its state; with ``failed`` true the run has failed.

The classes live in the modules ``*_class`` and ``*_classes``, each imported inside its builder: they need Keras.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Literal

from framework.core.backend import keras
from framework.core.better import Mode, Yardstick
from framework.core.errors import BadInput
from framework.core.registry import callback
from framework.core.runs import RunFolder
from framework.core.schema import Count, NonNegative, PathText, Positive, Share, Whole

State = dict[str, Any]
Logs = Mapping[str, Any] | None


@callback("checkpoint", writes=True)
def checkpoint(
    folder: RunFolder,
    *,
    filename: str,
    monitor: str,
    mode: Mode,
    save: Literal["best", "every"],
    keep: Count | None,
) -> keras.callbacks.Callback:
    """Keeps the best models as files, named by a template of epoch and history columns."""
    from framework.parts.checkpoint_class import Checkpoint

    return Checkpoint(folder.checkpoints, filename=filename, monitor=monitor, mode=mode, save=save, keep=keep)


@callback("early_stopping")
def early_stopping(
    folder: RunFolder, *, monitor: str, mode: Mode, patience: Count, min_delta: NonNegative
) -> keras.callbacks.Callback:
    """Stops the run when a column of the history has not got better for so many epochs."""
    from framework.parts.stopping_classes import EarlyStopping

    return EarlyStopping(monitor=monitor, mode=Yardstick.of(monitor, mode).mode, patience=patience, min_delta=min_delta)


@callback("reduce_on_plateau")
def reduce_on_plateau(
    folder: RunFolder,
    *,
    monitor: str,
    mode: Mode,
    factor: Share,
    patience: Count,
    min_delta: NonNegative,
    cooldown: Whole,
    min_lr: NonNegative,
) -> keras.callbacks.Callback:
    """Lowers the learning rate when a column of the history has not got better for so many epochs.

    Needs a rate that nothing else moves: the schedule ``constant``.
    """
    from framework.parts.stopping_classes import ReduceOnPlateau

    return ReduceOnPlateau(
        monitor=monitor,
        mode=Yardstick.of(monitor, mode).mode,
        factor=factor,
        patience=patience,
        min_delta=min_delta,
        cooldown=cooldown,
        min_lr=min_lr,
    )


@callback("csv", writes=True)
def csv(folder: RunFolder, *, filename: str) -> keras.callbacks.Callback:
    """Writes what Keras logs as Keras's CSVLogger does: a row an epoch, epochs counted from 0."""
    from framework.parts.log_classes import CsvLog

    return CsvLog(folder.path / filename)


@callback("tensorboard", writes=True)
def tensorboard(folder: RunFolder, *, log_dir: str) -> keras.callbacks.Callback:
    """Writes each epoch's numbers for TensorBoard, and its HParams page; reading them needs ``pip install tensorboard``."""
    from framework.parts.log_classes import TensorBoardScalars

    return TensorBoardScalars(folder, log_dir)


@callback("mlflow", writes=True)
def mlflow(folder: RunFolder, *, tracking_uri: PathText, experiment: str) -> keras.callbacks.Callback:
    """Writes each run's choices and each epoch's numbers to an MLflow store (https://mlflow.org)."""
    from framework.parts.mlflow_class import MlflowRun

    return MlflowRun(folder, tracking_uri=tracking_uri, experiment=experiment)


@callback("stop_on_nan")
def stop_on_nan(folder: RunFolder) -> keras.callbacks.Callback:
    """Stops the run at the first batch whose loss is not a finite number."""
    from framework.parts.stopping_classes import StopOnNan

    return StopOnNan()


@callback("time_limit")
def time_limit(folder: RunFolder, *, seconds: Positive) -> keras.callbacks.Callback:
    """Ends each stage, and so the run, where another epoch as long as the last would take it beyond so many seconds.

    They count from the run's beginning, what it did before it was stopped and taken up again among them. A stage that
    begins after that has one epoch. The run is a finished one, with its best model.
    """
    from framework.parts.stopping_classes import TimeLimit

    return TimeLimit(seconds, _seconds_so_far(folder))


def _seconds_so_far(folder: RunFolder) -> float:
    """Since this process has begun the run, as ``run.json`` says; 0 where it says nothing."""
    try:
        started = datetime.fromisoformat(str(folder.read_run()["started"]))
        return max(0.0, (datetime.now(timezone.utc) - started).total_seconds())
    except (BadInput, KeyError, ValueError, TypeError):
        return 0.0


@callback("weight_averaging", steps=True)
def weight_averaging(folder: RunFolder, *, momentum: Share) -> keras.callbacks.Callback:
    """Validates and saves the running average of the weights in place of the last ones."""
    from framework.parts.averaging_class import WeightAveraging

    return WeightAveraging(momentum=momentum)

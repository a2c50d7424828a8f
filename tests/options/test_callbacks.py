"""Callbacks: what their keys do when epochs bring given numbers."""

from __future__ import annotations

import csv
import math
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from framework.core.backend import keras, tf
from framework.core.runs import RunFolder
from tests.options.counted import effect, effects
from tests.options.made import built, settings


@pytest.fixture
def model():
    """A network of one weight, 1."""
    made = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")])
    made.compile(keras.optimizers.SGD(1.0), "mse")
    return made


@pytest.fixture
def lived(model, tmp_path):
    """Builds a callback and leads it through epochs whose monitored column has these values.

    Gives the callback and the learning rate of each epoch; the weight is the epoch's number, from 1.
    """

    def live(option, values, column="val_loss", **changed):
        callback = built("callback", "callbacks", option, RunFolder(tmp_path), **changed)
        callback.set_model(model)
        model.stop_training = False
        model.optimizer.learning_rate = 1.0
        callback.on_train_begin()
        rates = []
        for epoch, value in enumerate(values):
            callback.on_epoch_begin(epoch)
            model.set_weights([np.array([[epoch + 1.0]])])
            rates.append(float(model.optimizer.learning_rate))
            callback.on_epoch_end(epoch, {"loss": 1.0, column: value})
            if model.stop_training:
                break
        callback.on_train_end()
        return callback, rates

    return live


def files(tmp_path):
    return {file.stem for file in (tmp_path / "checkpoints").iterdir()}


@effect("callbacks=default")
def test_the_best_model_is_kept_and_a_loss_that_is_no_number_stops():
    assert [one.name for one in settings("callbacks=default").callbacks.values()] == ["checkpoint", "stop_on_nan"]
    assert settings("callbacks=default") == settings()


@effect("callbacks=checkpoint", "callbacks.checkpoint.filename")
def test_the_best_model_is_a_file_of_the_templates_name(lived, tmp_path):
    lived("checkpoint", [0.5, 0.75, 0.6], "val_accuracy")
    assert files(tmp_path) == {"02_0.750"}
    assert float(keras.saving.load_model(tmp_path / "checkpoints" / "02_0.750.keras").get_weights()[0][0, 0]) == 2
    lived("checkpoint", [0.5], "val_accuracy", filename="mine_{epoch}")
    assert "mine_1" in files(tmp_path)


@effect("callbacks.checkpoint.monitor", "callbacks.checkpoint.mode")
@pytest.mark.parametrize(
    ("monitor", "mode", "best"), [("val_loss", "auto", 2), ("val_loss", "max", 3), ("val_f1", "auto", 3)]
)
def test_the_best_model_is_that_of_the_column_and_direction(lived, tmp_path, monitor, mode, best):
    lived("checkpoint", [0.5, 0.3, 0.9, 0.4], monitor, monitor=monitor, mode=mode, filename="{epoch}")
    assert files(tmp_path) == {str(best)}


@effect("callbacks.checkpoint.save", "callbacks.checkpoint.keep")
@pytest.mark.parametrize(
    ("save", "keep", "kept"),
    [("best", 1, {"4"}), ("best", 2, {"2", "4"}), ("every", 2, {"3", "4"}), ("every", None, {"1", "2", "3", "4"})],
)
def test_so_many_of_the_best_or_of_all_epochs_are_kept(lived, tmp_path, save, keep, kept):
    lived("checkpoint", [0.1, 0.5, 0.4, 0.6] if keep != 2 or save == "best" else [0.1, 0.4, 0.5, 0.6],
          "val_accuracy", save=save, keep=keep, filename="{epoch}")  # fmt: skip
    assert files(tmp_path) == kept


def epochs(lived, option, values, column="val_loss", **changed):
    return len(lived(option, values, column, **changed)[1])


WORSE = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.96, 0.97]


@effect("callbacks=early_stopping", "callbacks.early_stopping.patience")
def test_the_run_stops_when_patience_is_over(lived):
    assert epochs(lived, "early_stopping", WORSE) == 1 + 5
    assert epochs(lived, "early_stopping", WORSE, patience=2) == 1 + 2


@effect("callbacks.early_stopping.monitor", "callbacks.early_stopping.mode")
def test_what_stops_the_run_is_the_column_and_direction(lived):
    assert epochs(lived, "early_stopping", WORSE, "val_f1", monitor="val_f1", patience=2) == len(WORSE)
    assert epochs(lived, "early_stopping", WORSE, "val_f1", monitor="val_f1", mode="min", patience=2) == 3
    assert epochs(lived, "early_stopping", WORSE, mode="max", patience=2) == len(WORSE)


@effect("callbacks.early_stopping.min_delta")
def test_a_gain_must_be_larger_than_min_delta(lived):
    better = [0.50, 0.49, 0.48, 0.47]
    assert epochs(lived, "early_stopping", better, patience=2) == 4
    assert epochs(lived, "early_stopping", better, patience=2, min_delta=0.1) == 3


SAME = [0.5] * 7


@effects("values, changed, expected", {
    "callbacks=reduce_on_plateau": (SAME, {}, [1, 1, 1, 1, 0.1, 0.1, 0.1]),
    "callbacks.reduce_on_plateau.patience": (SAME, {"patience": 2}, [1, 1, 1, 0.1, 0.1, 0.01, 0.01]),
    "callbacks.reduce_on_plateau.factor": (SAME, {"patience": 2, "factor": 0.5}, [1, 1, 1, 0.5, 0.5, 0.25, 0.25]),
    "callbacks.reduce_on_plateau.cooldown": (SAME, {"patience": 2, "cooldown": 2}, [1, 1, 1, 0.1, 0.1, 0.1, 0.01]),
    "callbacks.reduce_on_plateau.min_lr": (SAME, {"patience": 2, "min_lr": 0.05}, [1, 1, 1, 0.1, 0.1, 0.05, 0.05]),
    "callbacks.reduce_on_plateau.min_delta": (
        [0.5, 0.49, 0.48, 0.47],
        {"patience": 2, "min_delta": 0.1},
        [1, 1, 1, 0.1],
    ),
    "callbacks.reduce_on_plateau.mode": ([0.5, 0.4, 0.3, 0.2], {"patience": 2, "mode": "max"}, [1, 1, 1, 0.1]),
    "callbacks.reduce_on_plateau.monitor": (
        [0.5, 0.4, 0.3, 0.2],
        {"patience": 2, "monitor": "val_f1"},
        [1, 1, 1, 0.1],
    ),
})  # fmt: skip
def test_the_rate_falls_when_nothing_gets_better(lived, values, changed, expected):
    column = changed.get("monitor", "val_loss")
    assert lived("reduce_on_plateau", values, column, **changed)[1] == pytest.approx(expected)


@effect("callbacks=csv", "callbacks.csv.filename")
def test_epochs_are_rows_of_a_file(lived, tmp_path):
    lived("csv", [0.5, 0.4])
    lived("csv", [0.3], filename="mine.csv")
    found = {}
    for name in ("log.csv", "mine.csv"):
        with open(tmp_path / name, newline="") as file:
            found[name] = [(row["epoch"], row["val_loss"]) for row in csv.DictReader(file)]
    assert found == {"log.csv": [("0", "0.5"), ("1", "0.4")], "mine.csv": [("0", "0.3")]}


@effect("callbacks=stop_on_nan")
def test_a_loss_that_is_no_number_ends_the_run(lived):
    callback, rates = lived("stop_on_nan", [0.5, math.nan, 0.4])
    assert (len(rates), callback.failed) == (2, True)


@effect("callbacks=time_limit", "callbacks.time_limit.seconds")
@pytest.mark.parametrize(("seconds", "epochs"), [(8.0, 4), (6.9, 3), (1.0, 1), (100.0, 5)])
def test_no_epoch_begins_that_would_end_too_late(lived, monkeypatch, seconds, epochs):
    clock = iter(range(100))  # each look at it is a second later: an epoch takes one, and so does what is between two
    monkeypatch.setattr("framework.parts.stopping_classes.time.monotonic", lambda: float(next(clock)))
    callback, rates = lived("time_limit", [0.5] * 5, seconds=seconds)
    assert len(rates) == epochs
    assert (callback.failed, bool(callback.reason)) == (False, epochs < 5)
    callback.set_state({"spent": 7.0, "reason": None})  # what was spent before counts
    callback.on_epoch_begin(5)
    callback.on_epoch_end(5)
    assert callback.spent > 7 + 2 * epochs


def test_what_a_run_did_before_its_callbacks_counts(lived, tmp_path):
    started = (datetime.now(timezone.utc) - timedelta(seconds=50)).isoformat(timespec="seconds")
    RunFolder(tmp_path).write_run({"started": started})
    assert len(lived("time_limit", [0.5] * 3, seconds=40)[1]) == 1
    assert len(lived("time_limit", [0.5] * 3, seconds=60)[1]) == 3


@effect("callbacks=tensorboard", "callbacks.tensorboard.log_dir")
def test_epochs_are_scalars_in_the_folder(lived, tmp_path):
    lived("tensorboard", [0.5, 0.25])
    lived("tensorboard", [0.75], log_dir="mine")
    found = {}
    for file in tmp_path.rglob("events*"):
        for record in tf.data.TFRecordDataset(str(file)):
            for value in tf.compat.v1.Event.FromString(record.numpy()).summary.value:
                where = file.parent.relative_to(tmp_path).as_posix()
                found.setdefault((where, value.tag), []).append(float(tf.make_ndarray(value.tensor)))
    assert found["tensorboard/validation", "epoch_loss"] == [0.5, 0.25]
    assert found["mine/validation", "epoch_loss"] == [0.75]


@effect("callbacks=weight_averaging", "callbacks.weight_averaging.momentum")
@pytest.mark.parametrize(("momentum", "share"), [(0.99, 0.1), (0.0, 0.0)])
def test_validation_sees_the_average_of_the_weights(model, tmp_path, momentum, share):
    callback = built("callback", "callbacks", "weight_averaging", RunFolder(tmp_path), momentum=momentum)
    callback.set_model(model)
    callback.on_train_begin()
    callback.on_epoch_begin(0)
    # the first step takes the weight from 1 to -1; so early the average keeps a tenth at most
    model.optimizer.apply([tf.constant([[2.0]])], model.trainable_variables)
    assert float(model.get_weights()[0][0, 0]) == -1
    callback.on_test_begin()
    assert float(model.get_weights()[0][0, 0]) == pytest.approx(share * 1 - (1 - share))

"""What is asked of an image: classes, as data and head say, or numbers, with their losses and metrics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from framework.core.task import Binary, Multiclass, Multilabel, Regression
from framework.data.images import Images, Split
from tests.options.counted import effect, effects
from tests.options.made import TASKS, built, settings

TRUE = np.float32([[20, 1.7], [60, 1.6], [40, 1.8]])
SAID = np.float32([[30, 1.7], [60, 1.9], [20, 1.7]])
# in deviations, which are 20 and 0.1
OFF = np.array([[0.5, 0], [0, 3], [-1, -1]])
HUBER = np.where(np.abs(OFF) <= 1, OFF**2 / 2, np.abs(OFF) - 0.5)


def listed(labels, classes=("a", "b"), **more):
    return Images(classes, {"train": Split(("x", "y"), np.asarray(labels))}, multilabel=False, origin="here", **more)


@effect("task=auto")
def test_data_and_head_say_what_is_asked():
    def task(images, asked=False, heads=("multiclass", "binary")):
        return built("task", "task", "auto", images, asked, heads)

    assert settings("task=auto") == settings()
    assert task(listed([0, 1])) == Multiclass(("a", "b"))
    assert task(listed([0, 1]), asked=True) == Binary(("a", "b"))
    assert task(listed([0, 1]), heads=("binary",)) == Binary(("a", "b"))
    assert task(Images(("a", "b"), {}, multilabel=True, origin="")) == Multilabel(("a", "b"))


@effect("task=regression")
def test_numbers_are_measured_in_deviations_of_the_training_images():
    task = built("task", "task", "regression", listed([[1.0], [3.0]], ("age",), numbers=True), False, ("regression",))
    assert task == Regression(("age",), mean=(2.0,), deviation=(1.0,))
    assert list(settings("task=regression").metrics) == ["mae", "rmse", "r2"]
    assert list(settings("task=regression", "metrics=[mae]").metrics) == ["mae"]


@effect("task.monitor")
def test_the_checkpoint_judges_by_the_task_s_column():
    for overrides, column in (
        ((), "val_accuracy"),
        (("task=regression",), "val_mae"),
        (("task.monitor=val_f1",), "val_f1"),
    ):
        checkpoint = settings(*overrides).callbacks["checkpoint"].parameters
        assert checkpoint["monitor"] == column
        assert checkpoint["filename"] == f"{{epoch:02d}}_{{{column}:.3f}}"
    assert not settings("task=regression").yardstick().higher


@effects("option, expected", {
    "loss=mean_squared_error": ("mean_squared_error", (OFF**2).mean()),
    "loss=mean_absolute_error": ("mean_absolute_error", np.abs(OFF).mean()),
    "loss=huber": ("huber", HUBER.mean()),
})  # fmt: skip
def test_each_loss_of_numbers_is_the_formula_of_its_name_in_deviations(option, expected):
    assert float(built("loss", "loss", option, TASKS["numbers"])(TRUE, SAID)) == pytest.approx(expected, rel=1e-5)


@effect("loss.huber.delta")
def test_delta_is_where_errors_begin_to_count_by_their_size():
    expected = np.where(np.abs(OFF) <= 0.2, OFF**2 / 2, 0.2 * (np.abs(OFF) - 0.1)).mean()
    assert float(built("loss", "loss", "huber", TASKS["numbers"], delta=0.2)(TRUE, SAID)) == pytest.approx(
        expected, rel=1e-5
    )


def test_auto_is_the_mean_squared_error_of_numbers():
    assert float(built("loss", "loss", "auto", TASKS["numbers"])(TRUE, SAID)) == pytest.approx(
        (OFF**2).mean(), rel=1e-5
    )


def explained(true, said):
    return float(np.mean(1 - ((said - true) ** 2).sum(0) / ((true - true.mean(0)) ** 2).sum(0)))


@effects("option, expected", {
    "metrics=mae": ("mae", np.abs(SAID - TRUE).mean()),
    "metrics=rmse": ("rmse", np.sqrt(((SAID - TRUE) ** 2).mean())),
    "metrics=r2": ("r2", explained(TRUE.astype(float), SAID.astype(float))),
})  # fmt: skip
def test_each_metric_of_numbers_is_what_its_name_says(option, expected):
    metric = built("metric", "metrics", option, TASKS["numbers"], option)
    for part in (slice(0, 1), slice(1, None)):
        metric.update_state(TRUE[part], SAID[part])
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)
    far = replace(TASKS["numbers"], mean=(1040.0, 1001.7))
    metric = built("metric", "metrics", option, far, option)
    metric.update_state(TRUE + 1000, SAID + 1000)
    assert float(metric.result()) == pytest.approx(expected, rel=2e-2)


@effect("metrics=regression")
def test_both_errors_and_the_variance_explained_are_measured_of_numbers():
    assert list(settings("metrics=regression").metrics) == ["mae", "rmse", "r2"]

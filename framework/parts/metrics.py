"""Metrics: what is measured after each epoch, on logits or numbers, with labels as the task encodes them.

Where Keras has the metric it is Keras's own, so that a saved model opens without this project; the others live in
``metric_classes``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from framework.core.backend import keras
from framework.core.registry import metric
from framework.core.schema import Count
from framework.core.task import Regression, Task


@metric("accuracy")
def accuracy(task: Task, name: str) -> keras.metrics.Metric:
    """Share of images that are classified right; for several labels, share of labels."""
    if task.labels in ("binary", "multi_hot"):
        return keras.metrics.BinaryAccuracy(name=name, threshold=0.0)
    if task.labels == "index":
        return keras.metrics.SparseCategoricalAccuracy(name=name)
    return keras.metrics.CategoricalAccuracy(name=name)


@metric("top_k", tasks=("multiclass",))
def top_k(task: Task, name: str, *, k: Count) -> keras.metrics.Metric:
    """Share of images whose class is among the ``k`` most likely."""
    from framework.parts.metric_classes import TopK

    return TopK(labels=task.labels, k=k, name=name)


@metric("auc")
def auc(task: Task, name: str) -> keras.metrics.Metric:
    """Area under the ROC curve, each class against the rest, averaged over the classes; keeps an epoch's logits."""
    from framework.parts.metric_classes import RocArea

    return RocArea(units=task.units, labels=task.labels, name=name)


@metric("precision")
def precision(task: Task, name: str) -> keras.metrics.Metric:
    """How often a class that is named is right: of yes, or averaged over the classes that occur."""
    from framework.parts.metric_classes import MacroPrecision

    return MacroPrecision(units=task.units, labels=task.labels, name=name)


@metric("recall")
def recall(task: Task, name: str) -> keras.metrics.Metric:
    """How much of a class is found: of yes, or averaged over the classes that occur."""
    from framework.parts.metric_classes import MacroRecall

    return MacroRecall(units=task.units, labels=task.labels, name=name)


@metric("f1")
def f1(task: Task, name: str) -> keras.metrics.Metric:
    """Harmonic mean of precision and recall: of yes, or averaged over the classes that occur."""
    from framework.parts.metric_classes import MacroF1

    return MacroF1(units=task.units, labels=task.labels, name=name)


@metric("mae", tasks=("regression",))
def mae(task: Task, name: str) -> keras.metrics.Metric:
    """Mean absolute error, in the numbers' own units; of several columns their mean."""
    return keras.metrics.MeanAbsoluteError(name=name)


@metric("rmse", tasks=("regression",))
def rmse(task: Task, name: str) -> keras.metrics.Metric:
    """Root of the mean squared error, in the numbers' own units; of several columns of them all."""
    return keras.metrics.RootMeanSquaredError(name=name)


@metric("r2", tasks=("regression",))
def r2(task: Regression, name: str) -> keras.metrics.Metric:
    """Share of the numbers' variance that is explained (R²): 1 is right, 0 no better than their mean."""
    found, mean = keras.metrics.R2Score(name=name), np.asarray(task.mean, np.float32)
    plain = found.update_state

    def around_zero(y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        plain(y_true - mean, y_pred - mean, sample_weight)

    # Keras sums squares in float32, which leaves nothing of the variance of numbers far from 0
    found.update_state = around_zero
    # it makes its variables with the first batch; a run that is taken up within an epoch needs them before
    found.update_state(np.zeros((1, task.units)), np.zeros((1, task.units)))
    found.reset_state()
    return found

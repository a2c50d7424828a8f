"""Losses: what training makes small. All read logits, so that no precision is lost in a softmax or sigmoid before.
Those of numbers are measured in deviations of the training images' own: see ``core.task.Regression``.

Shapes: logits float (batch, task.units); labels as ``task.labels`` says; the loss is one number an image, which Keras
averages with the sample weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from framework.core.backend import keras
from framework.core.errors import BadInput, Problem
from framework.core.registry import loss
from framework.core.schema import NonNegative, Positive, Share
from framework.core.task import TASKS, Regression, Task


@loss("auto", tasks=tuple(TASKS))
def auto(task: Task, *, label_smoothing: Share) -> keras.losses.Loss:
    """Cross-entropy of the kind that the head and the labels ask for; of numbers the mean squared error.

    Raises:
        BadInput: smoothing is asked of labels that are class indices.
    """
    if isinstance(task, Regression):
        return mean_squared_error(task)
    if task.labels in ("binary", "multi_hot"):
        return binary_crossentropy(task, label_smoothing=label_smoothing)
    if task.labels == "one_hot":
        return categorical_crossentropy(task, label_smoothing=label_smoothing)
    if label_smoothing:
        raise BadInput(
            Problem("class indices can't be smoothed", "loss.label_smoothing", "loss=categorical_crossentropy")
        )
    return sparse_categorical_crossentropy(task)


@loss("categorical_crossentropy", tasks=("multiclass",), labels="one_hot")
def categorical_crossentropy(task: Task, *, label_smoothing: Share) -> keras.losses.Loss:
    """Cross-entropy of a softmax with one-hot labels: one of many classes."""
    return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=label_smoothing)


@loss("sparse_categorical_crossentropy", tasks=("multiclass",), labels="index")
def sparse_categorical_crossentropy(task: Task) -> keras.losses.Loss:
    """Cross-entropy of a softmax with class indices: the same numbers, less memory for many classes."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@loss("binary_crossentropy", tasks=("binary", "multilabel"))
def binary_crossentropy(task: Task, *, label_smoothing: Share) -> keras.losses.Loss:
    """Cross-entropy of a sigmoid for each logit: yes or no, or any number of labels."""
    return keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=label_smoothing)


@loss("focal")
def focal(task: Task, *, gamma: NonNegative, alpha: Share | None, label_smoothing: Share) -> keras.losses.Loss:
    """Cross-entropy that images which are right already hardly count in; for rare classes.

    ``alpha`` is the weight of yes against ``1 - alpha`` of no; among many classes it scales the whole loss. None
    leaves both out.

    Source: Lin et al., 2017, https://arxiv.org/abs/1708.02002.
    """
    if task.labels in ("index", "one_hot"):
        return keras.losses.CategoricalFocalCrossentropy(
            alpha=1.0 if alpha is None else alpha, gamma=gamma, from_logits=True, label_smoothing=label_smoothing
        )
    return keras.losses.BinaryFocalCrossentropy(
        apply_class_balancing=alpha is not None,
        alpha=0.5 if alpha is None else alpha,
        gamma=gamma,
        from_logits=True,
        label_smoothing=label_smoothing,
    )


@loss("mean_squared_error", tasks=("regression",))
def mean_squared_error(task: Regression) -> keras.losses.Loss:
    """Mean of the squared errors of numbers: large ones count most."""
    return _in_deviations(keras.losses.MeanSquaredError(), task)


@loss("mean_absolute_error", tasks=("regression",))
def mean_absolute_error(task: Regression) -> keras.losses.Loss:
    """Mean of the absolute errors of numbers: a few that are far off count little."""
    return _in_deviations(keras.losses.MeanAbsoluteError(), task)


@loss("huber", tasks=("regression",))
def huber(task: Regression, *, delta: Positive) -> keras.losses.Loss:
    """Squared errors up to ``delta`` deviations, absolute ones beyond.

    Source: Huber, 1964, https://doi.org/10.1214/aoms/1177703732.
    """
    return _in_deviations(keras.losses.Huber(delta=delta), task)


def _in_deviations(loss: keras.losses.Loss, task: Regression) -> keras.losses.Loss:
    """Keras's own loss, which depends on differences alone, of numbers that are measured in deviations.

    It stays Keras's own, so that a saved model opens without this project; compiled there, its loss is in the numbers' units.
    """
    plain, scale = loss.fn, 1 / np.asarray(task.deviation, np.float32)

    def scaled(y_true: Any, y_pred: Any, **given: Any) -> Any:
        return plain(y_true * scale, y_pred * scale, **given)

    loss.fn = scaled
    return loss

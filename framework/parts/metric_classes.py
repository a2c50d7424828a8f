"""Metrics that Keras lacks in a form that fits logits: precision, recall, F1 and ROC area for any task, top k.

Labels and logits are as ``core.task.Task`` says: ``labels`` is ``index``, ``one_hot``, ``binary`` or ``multi_hot``;
logits are float of shape (batch, units). Soft labels count as the nearest hard ones.

Averages are scikit-learn's: of a yes-or-no question the score of yes (``average="binary"``), else the unweighted mean
over the classes that occur, as a label or as an answer (``average="macro"``); what can't be divided is 0
(``zero_division=0``).
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import numpy as np

from framework.core.backend import keras, tf
from framework.parts.ranking import log_odds, roc_area

ops = keras.ops


class _ClassMetric(keras.metrics.Metric):
    """A metric that keeps sums for each class."""

    def __init__(self, units: int, labels: str, name: str, dtype: Any = None):
        super().__init__(name=name, dtype=dtype)
        self.units = units
        self.labels = labels
        # What Keras's own metrics say of themselves, for callbacks whose mode is auto.
        self._direction = "up"

    def get_config(self) -> dict[str, Any]:
        """What makes the metric again."""
        return {**super().get_config(), "units": self.units, "labels": self.labels}

    def _truth(self, y_true: Any) -> Any:
        """Labels as 0 and 1, float of shape (batch, units)."""
        if self.labels == "index":
            return ops.one_hot(ops.reshape(ops.cast(y_true, "int32"), (-1,)), self.units, dtype=self.dtype)
        if self.labels == "one_hot":
            return ops.one_hot(ops.argmax(y_true, axis=-1), self.units, dtype=self.dtype)
        return ops.cast(ops.reshape(y_true, (-1, self.units)) > 0.5, self.dtype)

    def _weights(self, y_true: Any, sample_weight: Any) -> Any:
        """A weight an image, shape (batch, 1)."""
        if sample_weight is None:
            return ops.ones((ops.shape(y_true)[0], 1), dtype=self.dtype)
        return ops.reshape(ops.cast(sample_weight, self.dtype), (-1, 1))

    @property
    def _one_of_many(self) -> bool:
        return self.labels in ("index", "one_hot")


class _MacroScore(_ClassMetric):
    """A score of each class from how often it was right, named and there, averaged over the classes."""

    def __init__(self, units: int, labels: str, name: str, dtype: Any = None):
        super().__init__(units, labels, name, dtype)
        # The diagonal and the two margins of the confusion matrix: all that these scores need of it.
        self.right = self.add_weight(shape=(units,), initializer="zeros", name="right")
        self.named = self.add_weight(shape=(units,), initializer="zeros", name="named")
        self.there = self.add_weight(shape=(units,), initializer="zeros", name="there")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch."""
        weights = self._weights(y_true, sample_weight)
        truth = self._truth(y_true)
        if self._one_of_many:
            answer = ops.one_hot(ops.argmax(y_pred, axis=-1), self.units, dtype=self.dtype)
        else:
            answer = ops.cast(y_pred > 0, self.dtype)
        self.right.assign_add(ops.sum(weights * truth * answer, axis=0))
        self.named.assign_add(ops.sum(weights * answer, axis=0))
        self.there.assign_add(ops.sum(weights * truth, axis=0))

    def result(self) -> Any:
        """The average so far; 0 before the first batch."""
        met = ops.cast(self.named + self.there > 0, self.dtype)
        return ops.divide_no_nan(ops.sum(met * self._scores()), ops.sum(met))

    @abc.abstractmethod
    def _scores(self) -> Any:
        """Each class's score, of shape (units,)."""


@keras.saving.register_keras_serializable(package="framework")
class MacroPrecision(_MacroScore):
    """Right among those named; 0 for a class that was never named."""

    def _scores(self) -> Any:
        return ops.divide_no_nan(self.right, self.named)


@keras.saving.register_keras_serializable(package="framework")
class MacroRecall(_MacroScore):
    """Right among those there; 0 for a class that was named but never there."""

    def _scores(self) -> Any:
        return ops.divide_no_nan(self.right, self.there)


@keras.saving.register_keras_serializable(package="framework")
class MacroF1(_MacroScore):
    """Harmonic mean of precision and recall."""

    def _scores(self) -> Any:
        return ops.divide_no_nan(2 * self.right, self.named + self.there)


@keras.saving.register_keras_serializable(package="framework")
class RocArea(_ClassMetric):
    """Area under the ROC curve of each class against the rest, averaged over the classes that have both sides.

    Exact, so it keeps the epoch: 4 bytes an image for each logit, label and weight (100,000 images of 10 classes
    take 5 MB). Ranking all of them costs more than a step of training; so within a compiled step the result is NaN, and
    Keras's ``fit`` and ``evaluate`` read it where it is known, at the end of an epoch.
    """

    def __init__(self, units: int, labels: str, name: str, dtype: Any = None):
        super().__init__(units, labels, name, dtype)
        self.count = self.add_weight(shape=(), initializer="zeros", dtype="int32", name="count")
        columns = units + (1 if self._one_of_many else units) + 1
        # logits, label or labels, weight; grows, which Keras's variables can't
        self.kept = tf.Variable(tf.zeros((0, columns)), shape=(None, columns), trainable=False, name="kept")

    @property
    def variables(self) -> list[Any]:
        """All that an epoch's middle is made of, for the run's state."""
        return [*super().variables, self.kept]

    def reset_state(self) -> None:
        """Forget the epoch; its room stays."""
        self.count.assign(0)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Keep a batch."""
        if self.labels == "index":
            truth = ops.reshape(y_true, (-1, 1))
        elif self.labels == "one_hot":
            truth = ops.argmax(y_true, axis=-1)[:, None]
        else:
            truth = ops.reshape(y_true, (-1, self.units))
        columns = (y_pred, truth, self._weights(y_true, sample_weight))
        self._keep(ops.concatenate([ops.cast(column, "float32") for column in columns], axis=1))

    def gather(self, start: Any, concatenated: Callable[[Any], Any]) -> None:
        """Of several workers that measure shares: keep what all have kept since ``count`` was ``start``."""
        rows = concatenated(self.kept[start : self.count.value])
        self.count.assign(start)
        self._keep(rows)

    def _keep(self, new: Any) -> None:
        start, end = self.count.value, self.count + ops.shape(new)[0]
        room = tf.shape(self.kept)[0]
        more = tf.where(end > room, tf.maximum(end, 2 * room) - room, 0)
        tf.cond(more > 0, lambda: self._grow(more), lambda: None)
        self.kept.scatter_update(tf.IndexedSlices(new, tf.range(start, end)))
        self.count.assign(end)

    def result(self) -> Any:
        """The average so far; NaN if no class has images on both sides, or within a compiled step."""
        if not tf.executing_eagerly():
            return tf.constant(float("nan"))
        kept = self.kept.numpy()[: int(self.count)]
        logits, truth, weights = np.split(kept, [self.units, kept.shape[1] - 1], axis=1)
        if self._one_of_many:
            scores = log_odds(logits)
            sides = (truth[:, 0] == number for number in range(self.units))
        else:
            scores = iter(logits.T)
            sides = iter(truth.T > 0.5)
        areas = [roc_area(*pair, weights[:, 0]) for pair in zip(scores, sides, strict=True)]
        defined = [area for area in areas if area == area]
        return tf.constant(np.mean(defined) if defined else float("nan"), tf.float32)

    def _grow(self, more: Any) -> None:
        self.kept.assign(tf.pad(self.kept, [[0, more], [0, 0]]))


@keras.saving.register_keras_serializable(package="framework")
class TopK(keras.metrics.Mean):
    """Share of images whose class is among the ``k`` most likely; of equal ones the first is taken to be likelier.

    Keras's own counts every class that is tied with the k-th as among them: a network that says the same of all
    classes would always be right.
    """

    def __init__(self, labels: str, k: int, name: str, dtype: Any = None):
        super().__init__(name=name, dtype=dtype)
        self.labels, self.k = labels, k
        self._direction = "up"

    def get_config(self) -> dict[str, Any]:
        """What makes the metric again."""
        return {**super().get_config(), "labels": self.labels, "k": self.k}

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch."""
        number = ops.reshape(y_true, (-1,)) if self.labels == "index" else ops.argmax(y_true, axis=-1)
        number = ops.cast(number, "int32")[:, None]
        own = ops.take_along_axis(y_pred, number, axis=1)
        places = ops.arange(ops.shape(y_pred)[1], dtype="int32")
        likelier = (y_pred > own) | ((y_pred == own) & (places < number))
        rank = ops.sum(ops.cast(likelier, "int32"), axis=1)
        # what is no number equals nothing, itself neither
        super().update_state((rank < self.k) & (own == own)[:, 0], sample_weight)

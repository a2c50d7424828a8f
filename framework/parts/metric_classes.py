"""Metrics that Keras lacks in a form that fits logits: macro precision, recall and F1, and ROC area for any task.

Labels and logits are as ``core.task.Task`` says: ``labels`` is ``index``, ``one_hot``, ``binary`` or ``multi_hot``;
logits are float of shape (batch, units). Soft labels count as the nearest hard ones. A class counts in an average only
if it was met: there is nothing to say of one without pictures.
"""

from __future__ import annotations

import abc
from typing import Any

from framework.core.backend import keras

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
        """A weight a picture, shape (batch, 1)."""
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
    """Area under the ROC curve of each class against the rest, averaged over the classes.

    Scores are log-odds, counted in ``bins`` equal steps between -LIMIT and LIMIT: steps in log-odds still tell sure
    answers apart where steps in probability would lump them together. Scores in one bin count as tied.
    """

    LIMIT = 16.0

    def __init__(self, units: int, labels: str, bins: int, name: str, dtype: Any = None):
        super().__init__(units, labels, name, dtype)
        self.bins = bins
        self.yes = self.add_weight(shape=(units, bins), initializer="zeros", name="yes")
        self.no = self.add_weight(shape=(units, bins), initializer="zeros", name="no")

    def get_config(self) -> dict[str, Any]:
        """What makes the metric again."""
        return {**super().get_config(), "bins": self.bins}

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch."""
        weights = self._weights(y_true, sample_weight)
        truth = self._truth(y_true)
        odds = ops.cast(y_pred, self.dtype)
        if self._one_of_many:
            log_share = ops.log_softmax(odds, axis=-1)
            # log p - log(1 - p); expm1 keeps 1 - p above rounding where p is near 1.
            odds = log_share - ops.log(ops.maximum(-ops.expm1(log_share), keras.config.epsilon()))
        place = (ops.clip(odds, -self.LIMIT, self.LIMIT) + self.LIMIT) / (2 * self.LIMIT)
        column = ops.minimum(ops.cast(place * self.bins, "int32"), self.bins - 1)
        index = ops.reshape(column + self.bins * ops.arange(self.units, dtype="int32"), (-1,))
        for counts, share in ((self.yes, truth), (self.no, 1 - truth)):
            added = ops.segment_sum(ops.reshape(weights * share, (-1,)), index, num_segments=self.units * self.bins)
            counts.assign_add(ops.reshape(added, (self.units, self.bins)))

    def result(self) -> Any:
        """The average over classes that have pictures on both sides; 0 if there is none."""
        below = ops.cumsum(self.no, axis=1) - self.no
        won = ops.sum(self.yes * (below + self.no / 2), axis=1)
        pairs = ops.sum(self.yes, axis=1) * ops.sum(self.no, axis=1)
        met = ops.cast(pairs > 0, self.dtype)
        return ops.divide_no_nan(ops.sum(ops.divide_no_nan(won, pairs)), ops.sum(met))

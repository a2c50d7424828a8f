"""How good answers are, in NumPy alone: shares with their intervals, confusions, calibration, curves over thresholds.

Throughout: ``logits`` float (pictures, units); ``labels`` as in ``data.pictures.Split``, int (pictures,) or one where a
label applies (pictures, classes); ``probabilities`` float64 (pictures, classes).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from framework.core.registry import TaskKind

NORMAL_95 = 1.959963984540054
BINS = 15


def probabilities(logits: np.ndarray, kind: TaskKind) -> np.ndarray:
    """What a person reads: a row sums to one, or has an own probability for each label.

    A binary task has two columns, no and yes.
    """
    logits = np.asarray(logits, np.float64)
    if kind == "multiclass":
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        return exponents / exponents.sum(axis=1, keepdims=True)
    exponents = np.exp(-np.abs(logits))
    yes = np.where(logits >= 0, 1, exponents) / (1 + exponents)
    return np.concatenate([1 - yes, yes], axis=1) if kind == "binary" else yes


def wilson(right: float, total: int) -> tuple[float, float]:
    """The 95 % interval of a share, right of total; Wilson, 1927, https://doi.org/10.2307/2276774."""
    if total == 0:
        return 0.0, 1.0
    share, z = right / total, NORMAL_95
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, middle - half), min(1.0, middle + half)


def top_k(probabilities: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Share of pictures whose class is among the ``k`` most likely."""
    own = probabilities[np.arange(len(labels)), labels]
    return float(np.mean((probabilities > own[:, None]).sum(axis=1) < k))


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts, int64 (classes, classes): a row for each true class, a column for each predicted one."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def class_scores(
    hits: np.ndarray, named: np.ndarray, there: np.ndarray, classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Precision, recall and F1 of each class, 0 where nothing was named or there; and its support.

    Args:
        hits: how often it was named and there, (classes,).
        named: how often it was named.
        there: how often it was there.
        classes: names.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(named > 0, hits / named, 0.0)
        recall = np.where(there > 0, hits / there, 0.0)
        f1 = np.where(named + there > 0, 2 * hits / (named + there), 0.0)
    rows = zip(classes, precision.tolist(), recall.tolist(), f1.tolist(), there.tolist(), strict=True)
    return [
        {"class": name, "precision": p, "recall": r, "f1": f, "support": int(support)}
        for name, p, r, f, support in rows
    ]


def most_confused(confusion: np.ndarray, classes: Sequence[str], most: int = 10) -> list[dict[str, Any]]:
    """Pairs that are mistaken most often: true and predicted class, count, and share of the true class's pictures."""
    wrong = confusion - np.diag(np.diag(confusion))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [divmod(int(place), len(classes)) for place in order]
    return [
        {
            "true": classes[true],
            "predicted": classes[predicted],
            "count": int(wrong[true, predicted]),
            "share": float(wrong[true, predicted] / confusion[true].sum()),
        }
        for true, predicted in pairs
        if wrong[true, predicted]
    ]


@dataclass(frozen=True)
class Calibration:
    """Confidence against accuracy in bins of equal width.

    Attributes:
        error: expected calibration error: mean distance of the two, weighted by count.
        counts: pictures a bin, int (bins,).
        confidence: mean of each bin, NaN where it is empty.
        accuracy: share that is right in each bin, NaN where it is empty.
    """

    error: float
    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def calibration(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> Calibration:
    """Whether confidence means what it says; Guo et al., 2017, https://arxiv.org/abs/1706.04599.

    Args:
        confidence: of each answer, in [0, 1].
        right: whether it was right.
        bins: how many, of equal width over [0, 1].
    """
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(place, weights=confidence, minlength=bins) / counts
        share = np.bincount(place, weights=right.astype(float), minlength=bins) / counts
    filled = counts > 0
    error = float(np.sum(counts[filled] * np.abs(mean - share)[filled]) / max(counts.sum(), 1))
    return Calibration(error, counts, mean, share)


@dataclass(frozen=True)
class Thresholds:
    """A yes-or-no question at every threshold that changes an answer, from the highest down.

    Attributes:
        threshold: yes where the probability is at least this, (steps,).
        hits: true positives at it.
        alarms: false positives at it.
        positives: pictures that are yes.
        negatives: pictures that are no.
    """

    threshold: np.ndarray
    hits: np.ndarray
    alarms: np.ndarray
    positives: int
    negatives: int

    @property
    def recall(self) -> np.ndarray:
        """True positive rate, 0 where there is nothing to find."""
        return self.hits / max(self.positives, 1)

    @property
    def false_alarm_rate(self) -> np.ndarray:
        """False positive rate."""
        return self.alarms / max(self.negatives, 1)

    @property
    def precision(self) -> np.ndarray:
        """Share of yes that is right."""
        return self.hits / (self.hits + self.alarms)

    @property
    def f1(self) -> np.ndarray:
        """Harmonic mean of precision and recall."""
        return 2 * self.hits / (self.hits + self.alarms + self.positives)

    @property
    def roc_area(self) -> float | None:
        """Area under the ROC curve; None where only one answer occurs."""
        if not self.positives or not self.negatives:
            return None
        x, y = np.r_[0, self.false_alarm_rate], np.r_[0, self.recall]
        return float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2))

    @property
    def average_precision(self) -> float | None:
        """Mean precision over recall, by steps; None where nothing is to be found."""
        return float(np.sum(np.diff(np.r_[0, self.recall]) * self.precision)) if self.positives else None

    @property
    def best_f1(self) -> int:
        """Index of the threshold with the highest F1."""
        return int(np.argmax(self.f1))


def thresholds(yes: np.ndarray, labels: np.ndarray) -> Thresholds:
    """Counts at every threshold.

    Args:
        yes: probability of yes, (pictures,).
        labels: 1 for yes, 0 for no, (pictures,).
    """
    order = np.argsort(-yes, kind="stable")
    scores, truth = yes[order], labels[order].astype(np.int64)
    last = np.r_[np.flatnonzero(np.diff(scores)), len(scores) - 1]
    hits = np.cumsum(truth)[last]
    return Thresholds(scores[last], hits, last + 1 - hits, int(truth.sum()), int(len(truth) - truth.sum()))

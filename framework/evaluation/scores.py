"""How good answers are: scores of classes, confusions, calibration, curves over thresholds.

Throughout: ``logits`` float (images, units); ``labels`` as in ``data.images.Split``, int (images,) or one where a
label applies (images, classes). What scikit-learn has is scikit-learn's.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from framework.core.task import BLOCK, Task
from framework.parts.ranking import log_odds

BINS = 15


def rank_scores(logits: np.ndarray, task: Task) -> Iterator[np.ndarray]:
    """For one logit after the other what images are ranked by for its class, float (images,).

    Of many classes the log-odds of each against all others; else the logits themselves.
    """
    return log_odds(logits) if "top_k" in task.measures else iter(logits.T)


def top_k(logits: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Share of images whose class is among the ``k`` likeliest; of equal ones the first counts as likelier."""
    places, hits = np.arange(logits.shape[1]), 0
    for part in _blocks(len(labels)):
        block, number = logits[part], labels[part, None]
        own = np.take_along_axis(block, number, axis=1)
        likelier = (block > own) | ((block == own) & (places < number))
        hits += int((likelier.sum(axis=1) < k).sum())
    return hits / len(labels)


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts, int64 (classes, classes): a row for each true class, a column for each predicted one."""
    return np.bincount(labels.astype(np.int64) * classes + predicted, minlength=classes * classes).reshape(
        classes, classes
    )


def class_scores(labels: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Precision, recall and F1 of each class, 0 where it has no image or no answer; its support and how often it was predicted.

    Args:
        labels: of the images.
        predicted: the answers, of the same shape.
        classes: names.
    """
    from sklearn.metrics import precision_recall_fscore_support

    found = precision_recall_fscore_support(
        labels, predicted, labels=range(len(classes)), average=None, zero_division=0
    )
    named = np.bincount(predicted, minlength=len(classes)) if predicted.ndim == 1 else predicted.sum(axis=0)
    return [
        {"class": name, "precision": p, "recall": r, "f1": f, "support": int(support), "named": int(said)}
        for name, p, r, f, support, said in zip(classes, *(column.tolist() for column in (*found, named)), strict=True)
    ]


def roc_area(scores: np.ndarray, truth: np.ndarray) -> float | None:
    """Area under the ROC curve; None where only one answer occurs."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(truth, scores)) if 0 < truth.sum() < len(truth) else None


def average_precision(scores: np.ndarray, truth: np.ndarray) -> float | None:
    """Mean precision over recall, by steps; None where nothing is to be found."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(truth, scores)) if truth.any() else None


def most_confused(confusion: np.ndarray, classes: Sequence[str], most: int = 10) -> list[dict[str, Any]]:
    """Pairs that are mistaken most often: true and predicted class, count, and share of the true class's images."""
    true, predicted = np.nonzero(confusion)
    cells = zip(confusion[true, predicted].tolist(), true.tolist(), predicted.tolist(), strict=True)
    pairs = sorted((one for one in cells if one[1] != one[2]), key=lambda one: -one[0])
    return [
        {
            "true": classes[row],
            "predicted": classes[column],
            "count": count,
            "share": float(count / confusion[row].sum()),
        }
        for count, row, column in pairs[:most]
    ]


@dataclass(frozen=True)
class Calibration:
    """Confidence against accuracy in bins of equal width.

    Attributes:
        error: expected calibration error: mean distance of the two, weighted by count.
        by_chance: what the error of so many answers is on average where each confidence is exactly true.
        counts: images a bin, int (bins,).
        confidence: mean of each bin, NaN where it is empty.
        accuracy: share that is right in each bin, NaN where it is empty.
    """

    error: float
    by_chance: float
    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def calibration(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> Calibration:
    """Whether confidence means what it says; Guo et al., 2017, https://arxiv.org/abs/1706.04599.

    Few answers leave an error by chance: the mean distance of a bin's share from its own expectation, taken as normal.
    Compare Bröcker and Smith, 2007, https://doi.org/10.1175/WAF993.1.

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
    variance = np.bincount(place, weights=confidence * (1 - confidence), minlength=bins)
    by_chance = float(np.sqrt(2 / np.pi) * np.sum(np.sqrt(variance)) / max(counts.sum(), 1))
    return Calibration(error, by_chance, counts, mean, share)


@dataclass(frozen=True)
class Thresholds:
    """A yes-or-no question at every threshold that changes an answer, from the highest down; each array (steps,).

    Attributes:
        threshold: yes where the score is at least this.
        recall: true positive rate, 0 where there is nothing to find.
        false_alarm_rate: false positive rate, 0 where every image is yes.
        precision: share of yes that is right.
    """

    threshold: np.ndarray
    recall: np.ndarray
    false_alarm_rate: np.ndarray
    precision: np.ndarray

    @property
    def f1(self) -> np.ndarray:
        """Harmonic mean of precision and recall."""
        both = self.precision + self.recall
        return np.divide(2 * self.precision * self.recall, both, out=np.zeros_like(both), where=both > 0)

    @property
    def best_f1(self) -> int:
        """Index of the threshold with the highest F1."""
        return int(np.argmax(self.f1))


def thresholds(scores: np.ndarray, truth: np.ndarray) -> Thresholds:
    """What happens at every threshold.

    Args:
        scores: higher where yes is likelier, (images,).
        truth: 1 for yes, 0 for no, (images,).
    """
    from sklearn.metrics import precision_recall_curve, roc_curve

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is not defined where there is one answer only
        false_alarms, recall, at = roc_curve(truth, scores, drop_intermediate=False)
        precision = precision_recall_curve(truth, scores)[0]
    # one starts before the first threshold, the other goes from the lowest up and ends there
    return Thresholds(at[1:], np.nan_to_num(recall[1:]), np.nan_to_num(false_alarms[1:]), precision[-2::-1])


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, start + BLOCK) for start in range(0, count, BLOCK))

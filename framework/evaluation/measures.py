"""An evaluation: every score of a classifier's answers on labelled images, as one plain record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from framework.core.task import HALF, Classification, sigmoid
from framework.evaluation import rejection, scores
from framework.evaluation.given import Given
from framework.reports.interval import wilson

OVERALL = ("precision", "recall", "f1", "auc")


@dataclass(frozen=True)
class Unknown:
    """What a classifier gave for images that show none of the classes.

    Attributes:
        logits: float (images, units).
        distances: to the training images, float (images,); None where they are not known.
    """

    logits: np.ndarray
    distances: np.ndarray | None = None


@dataclass(frozen=True)
class Answers(Given):
    """What a classifier said of labelled images: labels int (images,), or one where a label applies (images, classes).

    Attributes:
        unknown: images that show none of the classes; None where none were asked.
        distances: to the training images, float (images,); None where they are not known.
    """

    task: Classification
    unknown: Unknown | None = None
    distances: np.ndarray | None = None

    @cached_property
    def predicted(self) -> np.ndarray:
        """The answer, like ``labels``: the likeliest class, or each label that is likelier than not."""
        return self.task.answers(self.logits)

    def named(self, value: Any) -> str:
        """The class of one image's label or answer, or its labels joined by ``|``."""
        return "|".join(self.task.named(value))

    def probabilities(self, places: slice | np.ndarray) -> np.ndarray:
        """Of each class for the images at these places, float64 (places, classes)."""
        return self.task.probabilities(self.logits[places])

    @cached_property
    def right(self) -> np.ndarray:
        """Whether each answer is right: bool (images,), for several labels (images, classes)."""
        return self.predicted == self.labels

    @cached_property
    def confidence(self) -> np.ndarray:
        """Probability of each answer, shaped like ``right``."""
        return self.task.confidence(self.logits)

    @cached_property
    def calibration(self) -> scores.Calibration:
        """Whether confidence means what it says."""
        return scores.calibration(self.confidence.ravel(), self.right.ravel())

    @cached_property
    def coverage(self) -> dict[str, np.ndarray]:
        """What answering only the surest images comes to, for one label an image; as ``rejection.coverage`` has it."""
        return rejection.coverage(self.confidence, self.right)

    @cached_property
    def confidence_of_unknown(self) -> np.ndarray | None:
        """Probability of each answer to an image of none of the classes, (other images,)."""
        return None if self.unknown is None else self.task.confidence(self.unknown.logits)

    @cached_property
    def confusion(self) -> np.ndarray:
        """Counts (classes, classes), a row for each true class; for one label an image."""
        return scores.confusion_matrix(self.labels, self.predicted, len(self.task.classes))

    @cached_property
    def per_class(self) -> list[dict[str, Any]]:
        """Scores of each class, None where they are not defined; for several labels with their average precision."""
        rows = scores.class_scores(self.labels.astype(np.int64), self.predicted, self.task.classes)
        areas: list[float | None] = []
        for number, ranked in enumerate(scores.rank_scores(self.logits, self.task)):
            shown = self.task.shown(self.labels, number)
            areas.append(scores.roc_area(ranked, shown))
            if "average_precision" in self.task.measures:
                rows[number]["average_precision"] = scores.average_precision(ranked, shown)
        # of yes or no, no is ranked by the same numbers, the other way round
        areas *= len(rows) // self.task.units
        return [{**row, "auc": area} for row, area in zip(rows, areas, strict=True)]

    @cached_property
    def overall(self) -> dict[str, Any]:
        """The scores of all, as a run's history has them, and what they are of.

        Of a yes-or-no question they are those of yes, else the unweighted mean over the classes that occur, as a label
        or as an answer; scikit-learn's ``average="binary"`` and ``"macro"``. For the area a class must have images
        on both sides.
        """
        if self.task.positive is not None:
            yes = self.per_class[self.task.positive]
            return {"of": yes["class"], **{key: yes[key] for key in OVERALL}}
        occur = [row for row in self.per_class if row["support"] or row["named"]]
        of = f"mean of the {len(occur):,} of {len(self.task.classes):,} classes that occur"
        return {"of": of, **{key: _mean(row[key] for row in occur) for key in OVERALL}}

    def thresholds(self) -> scores.Thresholds:
        """Of a yes-or-no question, by its logit."""
        return scores.thresholds(self.logits[:, 0], self.task.shown(self.labels, 0))

    def mistakes(self, most: int) -> np.ndarray:
        """Positions of the wrong answers, the most confident first."""
        wrong = np.where(self.right, 0.0, self.confidence)
        wrong = wrong.max(axis=1) if wrong.ndim == 2 else wrong
        order = np.argsort(-wrong, kind="stable")[:most]
        return order[wrong[order] > 0]


def measure(answers: Answers, loss: float, top: Sequence[int]) -> dict[str, Any]:
    """Every score as plain values, ready for JSON; those that a run's history has too are the same numbers.

    Accuracy is what training calls so: the share of images that are right, for several labels the share of labels.
    Its interval counts each image once, also where it has several labels, which makes it rather too wide.

    Args:
        answers: on at least one image.
        loss: mean over the images.
        top: for one label of many, how many likeliest classes may hold the right one.
    """
    task, count = answers.task, len(answers.paths)
    accuracy = float(answers.right.mean())
    measured: dict[str, Any] = {
        "images": count,
        "task": task.kind,
        "classes": list(task.classes),
        "loss": loss,
        "accuracy": accuracy,
        "accuracy_interval": list(wilson(accuracy, count)),
    }
    if "top_k" in task.measures:
        sizes = [k for k in top if 1 < k < len(task.classes)]
        measured["top_k"] = {str(k): scores.top_k(answers.logits, answers.labels, k) for k in sizes}
    measured["overall"] = answers.overall
    if "exact_match" in task.measures:
        measured["exact_match"] = float(answers.right.all(axis=1).mean())
    if "average_precision" in task.measures:
        measured["mean_average_precision"] = _mean(row["average_precision"] for row in answers.per_class)
    if "thresholds" in task.measures:
        measured["binary"] = _binary(answers)
    measured["per_class"] = answers.per_class
    if "confusion" in task.measures:
        measured["most_confused"] = scores.most_confused(answers.confusion, task.classes)
    measured["calibration"] = _calibration(answers.calibration)
    if "confusion" in task.measures:
        measured["coverage"] = rejection.told_coverage(answers.coverage)
    if answers.unknown is not None and answers.confidence_of_unknown is not None:
        sure = answers.confidence, answers.confidence_of_unknown
        measured["unknown"] = rejection.detections(*sure, answers.distances, answers.unknown.distances)
    return measured


def _binary(answers: Answers) -> dict[str, Any]:
    curve = answers.thresholds()
    best = curve.best_f1
    return {
        "positive": answers.task.classes[1],
        "roc_area": answers.overall["auc"],
        "average_precision": scores.average_precision(answers.logits[:, 0], answers.labels == 1),
        "threshold": HALF,
        "best_f1_threshold": float(sigmoid(curve.threshold[best])),
        "best_f1": float(curve.f1[best]),
    }


def _calibration(found: scores.Calibration) -> dict[str, Any]:
    bins = [
        {
            "up_to": (place + 1) / len(found.counts),
            "answers": int(count),
            "confidence": float(sure),
            "accuracy": float(share),
        }
        for place, (count, sure, share) in enumerate(zip(found.counts, found.confidence, found.accuracy, strict=True))
        if count
    ]
    return {"error": found.error, "by_chance": found.by_chance, "bins": bins}


def _mean(values: Any) -> float | None:
    kept = [value for value in values if value is not None]
    return float(np.mean(kept)) if kept else None

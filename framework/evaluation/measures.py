"""An evaluation: every score of a classifier's answers on labelled pictures, as one plain record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from framework.core import registry
from framework.core.backend import keras
from framework.core.task import Task
from framework.data import labels as encodings
from framework.evaluation import scores
from framework.model.saved import Trained

HALF = 0.5


@dataclass(frozen=True)
class Answers:
    """What a classifier said of labelled pictures.

    Attributes:
        task: the question.
        paths: files.
        labels: int (pictures,), or one where a label applies (pictures, classes).
        logits: float (pictures, units).
    """

    task: Task
    paths: Sequence[str]
    labels: np.ndarray
    logits: np.ndarray

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Of each class, (pictures, classes)."""
        return scores.probabilities(self.logits, self.task.kind)

    @cached_property
    def predicted(self) -> np.ndarray:
        """The answer, like ``labels``: the likeliest class, or each label with a probability of a half at least."""
        if self.task.kind == "multilabel":
            return (self.probabilities >= HALF).astype(np.float32)
        return self.probabilities.argmax(axis=1)

    @cached_property
    def right(self) -> np.ndarray:
        """Whether each answer is right: bool (pictures,), for several labels (pictures, classes)."""
        return self.predicted == self.labels

    @cached_property
    def confidence(self) -> np.ndarray:
        """Probability of each answer, shaped like ``right``."""
        if self.task.kind == "multilabel":
            return np.maximum(self.probabilities, 1 - self.probabilities)
        return self.probabilities.max(axis=1)

    @cached_property
    def calibration(self) -> scores.Calibration:
        """Whether confidence means what it says."""
        return scores.calibration(self.confidence.ravel(), self.right.ravel())

    @cached_property
    def confusion(self) -> np.ndarray:
        """Counts (classes, classes), a row for each true class; for one label a picture."""
        return scores.confusion_matrix(self.labels, self.predicted, len(self.task.classes))

    @cached_property
    def per_class(self) -> list[dict[str, Any]]:
        """Precision, recall, F1 and support of each class; for several labels with its average precision too."""
        if self.task.kind != "multilabel":
            hits, named, there = np.diag(self.confusion), self.confusion.sum(axis=0), self.confusion.sum(axis=1)
            return scores.class_scores(hits, named, there, self.task.classes)
        hits = (self.predicted * self.labels).sum(axis=0)
        rows = scores.class_scores(hits, self.predicted.sum(axis=0), self.labels.sum(axis=0), self.task.classes)
        areas = [self.threshold_curve(place).average_precision for place in range(len(self.task.classes))]
        return [{**row, "average_precision": area} for row, area in zip(rows, areas, strict=True)]

    def threshold_curve(self, label: int = 1) -> scores.Thresholds:
        """Counts at every threshold of a label, for a binary task of yes."""
        there = self.labels == label if self.labels.ndim == 1 else self.labels[:, label]
        return scores.thresholds(self.probabilities[:, label], there)

    def mistakes(self, most: int) -> np.ndarray:
        """Positions of the wrong answers, the most confident first."""
        wrong = np.where(self.right, 0.0, self.confidence)
        wrong = wrong.max(axis=1) if wrong.ndim == 2 else wrong
        order = np.argsort(-wrong, kind="stable")[:most]
        return order[wrong[order] > 0]


def measure(answers: Answers, loss: float, top: Sequence[int]) -> dict[str, Any]:
    """Every score as plain values, ready for JSON.

    Accuracy is what training calls so: the share of pictures that are right, for several labels the share of labels.
    Its interval counts each picture once, also where it has several labels, which makes it rather too wide.

    Args:
        answers: on at least one picture.
        loss: mean over the pictures.
        top: for one label of many, how many likeliest classes may hold the right one.
    """
    task, count = answers.task, len(answers.paths)
    accuracy = float(answers.right.mean())
    used = [row for row in answers.per_class if row["support"]]
    measured: dict[str, Any] = {
        "pictures": count,
        "task": task.kind,
        "classes": list(task.classes),
        "loss": loss,
        "accuracy": accuracy,
        "accuracy_interval": list(scores.wilson(accuracy * count, count)),
    }
    if task.kind == "multiclass":
        sizes = [k for k in top if 1 < k < len(task.classes)]
        measured["top_k"] = {str(k): scores.top_k(answers.probabilities, answers.labels, k) for k in sizes}
    if task.kind == "multilabel":
        measured["exact_match"] = float(answers.right.all(axis=1).mean())
        measured["mean_average_precision"] = _mean(row["average_precision"] for row in used)
    measured["macro"] = {key: _mean(row[key] for row in used) for key in ("precision", "recall", "f1")}
    if task.kind == "binary":
        measured["binary"] = _binary(answers.threshold_curve(), task)
    measured["per_class"] = answers.per_class
    if task.kind != "multilabel":
        measured["most_confused"] = scores.most_confused(answers.confusion, task.classes)
    measured["calibration"] = _calibration(answers.calibration)
    return measured


def mean_loss(trained: Trained, answers: Answers) -> float:
    """The run's own loss on these answers; of a foreign model the cross-entropy."""
    task = answers.task
    if trained.run is not None:
        chosen = trained.loss()
        part, parameters = registry.get("loss", chosen.name), chosen.parameters
    else:
        name = "sparse_categorical_crossentropy" if task.kind == "multiclass" else "binary_crossentropy"
        part, parameters = registry.get("loss", name), {} if task.kind == "multiclass" else {"label_smoothing": 0.0}
    encoding = {"binary": "binary", "multilabel": "multi_hot", "multiclass": part.details["labels"]}[task.kind]
    asked = replace(task, labels=encoding)
    value = part(asked, **parameters)(encodings.encode(answers.labels, asked), answers.logits.astype(np.float32))
    return float(keras.ops.convert_to_numpy(value))


def _binary(curve: scores.Thresholds, task: Task) -> dict[str, Any]:
    best = curve.best_f1
    return {
        "positive": task.classes[1],
        "roc_area": curve.roc_area,
        "average_precision": curve.average_precision,
        "threshold": HALF,
        "best_f1_threshold": float(curve.threshold[best]),
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
    return {"error": found.error, "bins": bins}


def _mean(values: Any) -> float | None:
    kept = [value for value in values if value is not None]
    return float(np.mean(kept)) if kept else None

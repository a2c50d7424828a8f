"""None of the classes: below which confidence an image is called unknown, and how well that tells unknown images apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from framework.core.errors import BadInput, Problem
from framework.core.task import Classification
from framework.evaluation import scores
from framework.model.saved import Trained
from framework.reports.interval import wilson

UNKNOWN = "unknown"
RATES = (0.01, 0.02, 0.05)  # of known images that are rejected, for which detection is stated


@dataclass(frozen=True)
class Rejection:
    """From when on an image is called unknown.

    Attributes:
        threshold: a confidence below this is unknown.
        rejected: how many validation images, all of known classes, have less.
        images: how many there are.
    """

    threshold: float
    rejected: int
    images: int

    @property
    def told(self) -> str:
        """For people."""
        low, high = wilson(self.rejected / self.images, self.images)
        return (
            f"unknown below a confidence of {self.threshold:.4f}: so are {self.rejected} of {self.images:,} validation "
            f"images ({self.rejected / self.images:.1%}; 95 % interval {low:.1%} to {high:.1%})"
        )


def rejection(trained: Trained, rate: float) -> Rejection:
    """The threshold below which this share of the run's validation images lies, or as much of it as whole images make.

    Args:
        trained: a run, whose images have one answer each; calibrated or not, as its answers will be.
        rate: above 0, below 1.

    Raises:
        BadInput: it is no such run, has no answers to validation images, or the share is less than one of them.
    """
    where, task = f"command line: reject={rate:g}", trained.task
    if trained.run is None:
        what = "reject is set by a run's validation images, and a model from elsewhere brings none"
        raise BadInput(Problem(what, where, "run=RUN"))
    check(task, where)
    kept = trained.run.read_logits()
    assert isinstance(task, Classification)
    sure = np.sort(task.confidence(kept.logits / (trained.temperature or 1.0)))
    count = math.floor(rate * len(sure) + 1e-9)
    if not count:
        what = f"reject={rate:g} of {len(sure):,} validation images is less than one"
        raise BadInput(
            Problem(what, where, f"reject={math.ceil(1000 / len(sure)) / 1000:g}, or more validation images")
        )
    threshold = float(sure[count])
    return Rejection(threshold, int((sure < threshold).sum()), len(sure))


def check(task: Any, where: str) -> None:
    """See whether images have one answer each, which can be unknown.

    Raises:
        BadInput: they have not, or a class is called so already.
    """
    if "confusion" not in task.measures:
        raise BadInput(Problem(f"a {task.kind} model gives no one answer that could be unknown", where, "leave it out"))
    if UNKNOWN in task.classes:
        raise BadInput(Problem(f"a class is called '{UNKNOWN}' already", where, "leave it out"))


def coverage(confidence: np.ndarray, right: np.ndarray) -> dict[str, np.ndarray]:
    """What answering only the images of most confidence comes to.

    Args:
        confidence: of each answer, (images,).
        right: whether it is right, bool (images,).

    Returns:
        ``coverage``, ``accuracy`` and ``confidence`` (of the least sure that is answered), float64, a step at each
        confidence that occurs, from the surest down.
    """
    order = np.argsort(-confidence, kind="stable")
    sure, hits = confidence[order], np.cumsum(right[order])
    last = np.flatnonzero(np.append(sure[1:] != sure[:-1], True))  # images that are equally sure go together
    return {
        "coverage": (last + 1) / len(order),
        "accuracy": hits[last] / (last + 1),
        "confidence": sure[last].astype(np.float64),
    }


def told_coverage(
    steps: dict[str, np.ndarray], shares: Sequence[float] = (0.5, 0.8, 0.9, 0.95)
) -> list[dict[str, float]]:
    """The first step that answers at least each share of the images, as plain values."""
    places = [int(np.searchsorted(steps["coverage"], share - 1e-9)) for share in shares]
    return [{key: float(values[place]) for key, values in steps.items()} for place in places]


def detection(known: np.ndarray, unknown: np.ndarray) -> dict[str, Any]:
    """How well confidence tells images of no class from those of one, as plain values.

    ``auroc`` is the probability that an unknown image is less sure than a known one; ``detected`` is, for each share of
    known images that are rejected, the share of unknown ones that are.

    Args:
        known: confidence of the evaluated images.
        unknown: that of the others.
    """
    truth = np.r_[np.zeros(len(known)), np.ones(len(unknown))]
    sure = np.sort(known)
    found = {}
    for rate in RATES:
        threshold = sure[math.floor(rate * len(sure) + 1e-9)]
        found[f"{rate:g}"] = float((unknown < threshold).mean())
    return {
        "images": len(unknown),
        "auroc": scores.roc_area(-np.r_[known, unknown], truth),
        "detected": found,
    }

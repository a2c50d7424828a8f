"""None of the classes: below which confidence an image is called unknown, and how well that tells unknown images apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from framework.core.errors import BadInput, Problem
from framework.core.task import Classification
from framework.evaluation import scores
from framework.evaluation.familiar import Familiar, familiar
from framework.model.saved import Trained
from framework.reports.interval import wilson

By = Literal["confidence", "distance", "either"]
UNKNOWN = "unknown"
RATES = (0.01, 0.02, 0.05)  # of known images that are rejected, for which detection is stated


@dataclass(frozen=True)
class Rejection:
    """From when on an image is called unknown.

    Attributes:
        threshold: a confidence below this is unknown; None where confidence is not asked.
        farthest: a distance above this is unknown (``familiar``); None where distance is not asked.
        rejected: how many validation images, all of known classes, are.
        images: how many there are.
    """

    threshold: float | None
    farthest: float | None
    rejected: int
    images: int

    def unknown(self, confidence: np.ndarray, distance: np.ndarray | None) -> np.ndarray:
        """Which images are called unknown, bool (images,): by the confidence of their answers, their distances or both."""
        found = np.zeros(len(confidence), bool)
        if self.threshold is not None:
            found |= confidence < self.threshold
        if self.farthest is not None:
            assert distance is not None
            found |= distance > self.farthest
        return found

    @property
    def told(self) -> str:
        """For people."""
        low, high = wilson(self.rejected / self.images, self.images)
        ends = [f"below a confidence of {self.threshold:.4f}"] if self.threshold is not None else []
        ends += [f"beyond a distance of {self.farthest:.4f}"] if self.farthest is not None else []
        return (
            f"unknown {' or '.join(ends)}: so are {self.rejected} of {self.images:,} validation "
            f"images ({self.rejected / self.images:.1%}; 95 % interval {low:.1%} to {high:.1%})"
        )


def asked(
    trained: Trained, rate: float | None, by: By, distances: bool = False
) -> tuple[Familiar | None, Rejection | None]:
    """What a command needs for its ``reject`` and ``reject_by``: what distances are to, and when an image is unknown.

    Args:
        trained: the classifier.
        rate: of ``reject``; None rejects nothing.
        by: of ``reject_by``.
        distances: whether they are asked for anyway.

    Raises:
        BadInput: as ``rejection`` and ``familiar``; or ``by`` is given without a rate.
    """
    if rate is None and by != "confidence":
        what = f"reject_by={by} says what tells unknown images, and reject does not say how many"
        raise BadInput(Problem(what, "reject_by", "reject=0.02"))
    if rate is not None:
        check(trained.task, f"command line: reject={rate:g}")
    far = familiar(trained) if by != "confidence" or distances else None
    if rate is None:
        return far, None
    return far, rejection(trained, rate, None if by == "confidence" else far, by)


def rejection(trained: Trained, rate: float, known: Familiar | None = None, by: By = "distance") -> Rejection:
    """From when on this share of the run's validation images is unknown, or as much of it as whole images make.

    Args:
        trained: a run, whose images have one answer each; calibrated or not, as its answers will be.
        rate: above 0, below 1.
        known: what distances are to; None goes by confidence alone.
        by: with ``known``, what tells: ``distance``, or ``either`` of the two, as many images by one as by the other.

    Raises:
        BadInput: it is no such run, has no answers to validation images, or the share is less than one of them.
    """
    where, task = f"command line: reject={rate:g}", trained.task
    if trained.run is None:
        what = "reject is set by a run's validation images, and a model from elsewhere brings none"
        raise BadInput(Problem(what, where, "run=RUN"))
    check(task, where)
    assert isinstance(task, Classification)
    logits = trained.run.read_logits().logits if known is None else known.logits
    if not len(logits):
        what = f"{trained.run.path} has no validation images to set the distance by"
        raise BadInput(Problem(what, where, "a run with validation images"))
    sure = task.confidence(logits / (trained.temperature or 1.0))
    count = math.floor(rate * len(sure) + 1e-9)
    if not count:
        what = f"reject={rate:g} of {len(sure):,} validation images is less than one"
        raise BadInput(
            Problem(what, where, f"reject={math.ceil(1000 / len(sure)) / 1000:g}, or more validation images")
        )
    for each in range(count, 0, -1):  # by either, fewer of each until both together are no more
        threshold = None if known is not None and by == "distance" else float(np.sort(sure)[each])
        farthest = None if known is None else float(np.sort(known.distances)[-each - 1])
        found = Rejection(threshold, farthest, 0, len(sure))
        rejected = int(found.unknown(sure, None if known is None else known.distances).sum())
        if rejected <= count:
            return replace(found, rejected=rejected)
    what = f"reject={rate:g} of {len(sure):,} validation images is {count}, too few to go by confidence and distance"
    raise BadInput(Problem(what, where, f"reject={math.ceil(2000 / len(sure)) / 1000:g}, or more validation images"))


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


def detections(
    known: np.ndarray, unknown: np.ndarray, distances: np.ndarray | None, of_unknown: np.ndarray | None
) -> dict[str, Any]:
    """``detection`` by confidence, and where there are distances by these, and by either.

    By either, an image is as sure as the less sure of the two says: what is compared is where each lies among those of
    the known images.

    Args:
        known: confidence of the evaluated images.
        unknown: that of the others.
        distances: of the evaluated images; None where they are not known.
        of_unknown: those of the others.
    """
    found = detection(known, unknown)
    if distances is None or of_unknown is None:
        return found
    near, near_unknown = -distances, -of_unknown

    def both(sure: np.ndarray, near_: np.ndarray) -> np.ndarray:
        return np.minimum(_place(sure, known), _place(near_, near))

    by = {"distance": detection(near, near_unknown)}
    by["either"] = detection(both(known, near), both(unknown, near_unknown))
    return found | {name: {key: one[key] for key in ("auroc", "detected")} for name, one in by.items()}


def _place(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    """The share of others that are below each value, and half of those that are equal."""
    order = np.sort(among)
    return (np.searchsorted(order, values, "left") + np.searchsorted(order, values, "right")) / (2 * len(order))

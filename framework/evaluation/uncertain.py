"""Which images are most worth a label: those that a classifier is least sure of; and which it can label: the surest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from framework.core.errors import listing, many
from framework.core.task import Classification

Order = Literal["given", "margin", "entropy"]


def doubt(task: Classification, logits: np.ndarray, order: Order) -> np.ndarray:
    """How unsure a classifier is of each image, larger where it is less sure: float (images,).

    Args:
        task: of the classifier.
        logits: float (images, units).
        order: ``margin``: how near the two likeliest classes are to each other, of several labels how near the least sure
            one is to even; ``entropy``: of the probabilities, of several labels the sum of theirs (Settles, 2009,
            https://minds.wisconsin.edu/handle/1793/60660).
    """
    found = np.asarray(task.probabilities(logits), np.float64)
    if order == "margin":
        if task.several:
            return 1 - 2 * np.abs(found - 0.5).min(axis=1)
        top = np.sort(found, axis=1)[:, -2:]
        return 1 - (top[:, 1] - top[:, 0])
    shares = np.stack([found, 1 - found]) if task.several else found[None]
    return -(shares * np.log(np.maximum(shares, 1e-12))).sum(axis=(0, 2))


@dataclass
class Surest:
    """Leaves out the answers that a classifier is less sure of, and counts the others by class.

    Attributes:
        task: of the classifier.
        least: probability of an answer, of several labels of each of them, that is enough.
        asked: images so far.
        kept: those of them that are not left out.
        counts: of these, by class.
    """

    task: Classification
    least: float
    asked: int = 0
    kept: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    def of(self, paths: Sequence[str], logits: np.ndarray) -> tuple[list[str], np.ndarray]:
        """What is left of a batch: files, and logits, float (files, units)."""
        sure = self.task.confidence(logits).reshape(len(logits), -1).min(axis=1)
        places = np.flatnonzero(sure >= self.least)
        found = logits[places]
        self.asked, self.kept = self.asked + len(paths), self.kept + len(places)
        self.counts.update(name for answer in self.task.answers(found) for name in self.task.named(answer))
        return [paths[place] for place in places.tolist()], found

    @property
    def told(self) -> str:
        """For people."""
        each = listing([f"{name} {self.counts[name]:,}" for name in self.task.classes], 20)
        return f"{self.kept:,} of {many(self.asked, 'image')} with a confidence of {self.least:g} or more: {each}"


def worth_labelling(task: Classification, logits: np.ndarray, order: Order, budget: int | None) -> np.ndarray:
    """Positions of the images to label first, ``budget`` of them, all if it is None: int64.

    The least sure of each class in turn, so that one class that all is hard of does not take the whole budget.
    """
    unsure = doubt(task, logits, order)
    taken_for = np.asarray(task.probabilities(logits)).argmax(axis=1)
    turn = np.zeros(len(logits), np.int64)
    for number in np.unique(taken_for):
        own = np.flatnonzero(taken_for == number)
        turn[own[np.argsort(-unsure[own], kind="stable")]] = np.arange(len(own))
    return np.lexsort((-unsure, turn))[:budget]

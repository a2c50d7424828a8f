"""Which images are most worth a label: those that a classifier is least sure of, its classes in turn."""

from __future__ import annotations

from typing import Literal

import numpy as np

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

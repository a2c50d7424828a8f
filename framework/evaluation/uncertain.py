"""Which images are most worth a label: those that a classifier is least sure of or knows least, its classes in turn, and
of these such as differ from each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from framework.core.backend import keras
from framework.core.console import say
from framework.core.errors import BadInput
from framework.core.task import Classification
from framework.evaluation.familiar import vectors_of
from framework.evaluation.predictions import Prediction
from framework.evaluation.results import thumbnail
from framework.model.saved import Trained
from framework.reports import contact_sheet

Order = Literal["given", "margin", "entropy", "distance"]
POOL = 4  # times the budget are looked at for such as differ
SHEET = 120  # images on a contact sheet


def doubt(task: Classification, rows: np.ndarray, order: Order) -> np.ndarray:
    """How unsure a classifier is of each image, larger where it is less sure: float (images,).

    Args:
        task: of the classifier.
        rows: logits, float (images, units); for ``distance`` with that in one more column.
        order: ``margin``: how near the two likeliest classes are to each other, of several labels how near the least sure
            one is to even; ``entropy``: of the probabilities, of several labels the sum of theirs (Settles, 2009,
            https://minds.wisconsin.edu/handle/1793/60660); ``distance`` to the training images (``familiar``).
    """
    if order == "distance":
        return np.asarray(rows[:, task.units], np.float64)
    found = np.asarray(task.probabilities(rows[:, : task.units]), np.float64)
    if order == "margin":
        if task.several:
            return 1 - 2 * np.abs(found - 0.5).min(axis=1)
        top = np.sort(found, axis=1)[:, -2:]
        return 1 - (top[:, 1] - top[:, 0])
    shares = np.stack([found, 1 - found]) if task.several else found[None]
    return -(shares * np.log(np.maximum(shares, 1e-12))).sum(axis=(0, 2))


def worth_labelling(task: Classification, rows: np.ndarray, order: Order, budget: int | None) -> np.ndarray:
    """Positions of the images to label first, ``budget`` of them, all if it is None: int64.

    The least sure of each class in turn, so that one class that all is hard of does not take the whole budget.
    """
    unsure = doubt(task, rows, order)
    taken_for = np.asarray(task.probabilities(rows[:, : task.units])).argmax(axis=1)
    turn = np.zeros(len(rows), np.int64)
    for number in np.unique(taken_for):
        own = np.flatnonzero(taken_for == number)
        turn[own[np.argsort(-unsure[own], kind="stable")]] = np.arange(len(own))
    return np.lexsort((-unsure, turn))[:budget]


def most_worth(
    trained: Trained, model: keras.Model, names: Sequence[str], rows: np.ndarray, order: Order, budget: int | None
) -> np.ndarray:
    """Positions of the images to label first: as ``worth_labelling``, of a budget such as differ from each other.

    Args:
        trained: the classifier.
        model: its network.
        names: the images' files.
        rows: what it gave for each, as ``doubt`` takes it.
        order: which come first.
        budget: how many; None for all.
    """
    assert isinstance(trained.task, Classification)
    places = worth_labelling(trained.task, rows, order, None if budget is None else POOL * budget)
    if budget is None or len(places) <= budget:
        return places
    try:
        vectors = vectors_of(model, [names[place] for place in places], trained.geometry)
    except BadInput as error:
        say(f"note: not chosen so that they differ: {error.problems[0].what}")
        return places[:budget]
    return places[diverse(vectors, budget)]


def diverse(vectors: np.ndarray, count: int) -> np.ndarray:
    """Positions of ``count`` images that lie far from each other, the first one first: int64.

    Each is the one farthest from all that were taken before: T. F. Gonzalez, Theoretical Computer Science 38 (1985), as
    in active learning with core-sets, Sener and Savarese, 2018, https://arxiv.org/abs/1708.00489.

    Args:
        vectors: float (images, features), each of length 1; an image at least.
        count: of them at most.
    """
    taken = [0]
    nearest = vectors @ vectors[0]  # cosine to the nearest that was taken
    while len(taken) < min(count, len(vectors)):
        nearest[taken[-1]] = np.inf
        taken.append(int(nearest.argmin()))
        nearest = np.maximum(nearest, vectors @ vectors[taken[-1]])
    return np.array(taken)


def draw_sheet(path: Path, predictions: Sequence[Prediction], title: str, below: str) -> Path:
    """A contact sheet of the first images, each with its place in the list and what it is taken for."""
    frames = []
    for place, one in enumerate(predictions[:SHEET], start=1):
        (name, share), file = one.top[0], Path(one.path).name
        frames.append(contact_sheet.Frame(thumbnail(one.path), f"{place}  {name}", f"{share:.0%} sure", file))
    more = f"; the first {SHEET} of {len(predictions):,}" if len(predictions) > SHEET else ""
    return contact_sheet.draw(path, frames, title, below + more)

"""Labels as the loss takes them, and how much each class weighs."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from framework.core.errors import BadInput, Problem, suggestion
from framework.core.task import Task


def class_name(text: str) -> str:
    """A class's name as it is kept and compared: in Unicode's composed form.

    macOS writes folders' names decomposed, keyboards type them composed: they look alike and are one class.
    """
    return unicodedata.normalize("NFC", text)


def encode(labels: np.ndarray, task: Task) -> np.ndarray:
    """Labels of a split in the encoding that the task names; see ``core.task.Task``.

    Args:
        labels: as in ``data.images.Split``: int32 of shape (images,), or float32 of shape (images, classes).
        task: whose ``labels`` says the encoding.

    Raises:
        ValueError: several labels an image can't be one index.
    """
    several = labels.ndim == 2
    if task.labels in ("one_hot", "multi_hot"):
        return labels.astype(np.float32) if several else np.eye(len(task.classes), dtype=np.float32)[labels]
    if several:
        raise ValueError(f"several labels an image can't be encoded as {task.labels}")
    return labels.astype(np.float32)[:, None] if task.labels == "binary" else labels.astype(np.int32)


def class_weights(
    wanted: Literal["balanced"] | Mapping[str, float] | None, labels: np.ndarray, classes: Sequence[str]
) -> np.ndarray | None:
    """Weight of each class: float32 of shape (classes,), or None for none.

    Args:
        wanted: ``balanced`` weighs a class by images / (classes × its images), so that all weigh the same together
            and the mean over images is 1; or weights by name, 1 for classes not named.
        labels: of the training split, as in ``data.images.Split``.
        classes: in the order of the labels.

    Raises:
        BadInput: a name that is no class.
    """
    if wanted is None:
        return None
    if isinstance(wanted, str):
        counts = np.bincount(labels, minlength=len(classes)) if labels.ndim == 1 else labels.sum(axis=0)
        return (counts.sum() / (len(classes) * np.maximum(counts, 1))).astype(np.float32)
    wanted = {class_name(name): weight for name, weight in wanted.items()}
    unknown = [name for name in wanted if name not in classes]
    if unknown:
        raise BadInput(
            Problem(f"the data has no class '{name}'", "data.class_weights", suggestion(name, classes))
            for name in unknown
        )
    return np.asarray([wanted.get(name, 1.0) for name in classes], np.float32)

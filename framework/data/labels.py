"""The names of classes, and how much each class weighs."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from framework.core.errors import BadInput, Problem, suggestion
from framework.data.columns import counted


def class_name(text: str) -> str:
    """A class's name as it is kept and compared: in Unicode's composed form.

    macOS writes folders' names decomposed, keyboards type them composed: they look alike and are one class.
    """
    return unicodedata.normalize("NFC", text)


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
        counts = counted(labels, len(classes)) if labels.ndim == 1 else labels.sum(axis=0)
        return (counts.sum() / (len(classes) * np.maximum(counts, 1))).astype(np.float32)
    wanted = {class_name(name): weight for name, weight in wanted.items()}
    unknown = [name for name in wanted if name not in classes]
    if unknown:
        raise BadInput(
            Problem(f"the data has no class '{name}'", "data.class_weights", suggestion(name, classes))
            for name in unknown
        )
    return np.asarray([wanted.get(name, 1.0) for name in classes], np.float32)

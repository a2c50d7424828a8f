"""Labels that an image's neighbours contradict, in the features of a frozen base."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Each image is held against so many neighbours; of them this share must agree on another class.
NEIGHBOURS, AGREED = 10, 0.9
_BLOCK = 1024


class Suspect(NamedTuple):
    """An image whose label may be wrong: its position, the class that its neighbours have, and their share of it."""

    position: int
    suggested: int
    share: float


def suspects(features: np.ndarray, labels: np.ndarray) -> list[Suspect]:
    """Images whose neighbours have another label, the surest first.

    Args:
        features: float (images, numbers) of the frozen base; they are compared by the angle between them.
        labels: int (images,).
    """
    rows = features - features.mean(axis=0)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    count, classes = min(NEIGHBOURS, len(rows) - 1), int(labels.max()) + 1
    found = []
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK] @ rows.T
        own = np.arange(len(block))
        block[own, own + start] = -np.inf
        nearest = np.argpartition(-block, count - 1, axis=1)[:, :count]
        for offset, neighbours in enumerate(nearest):
            votes = np.bincount(labels[neighbours], minlength=classes)
            best = int(votes.argmax())
            if best != labels[start + offset] and votes[best] >= AGREED * count:
                found.append(Suspect(start + offset, best, float(votes[best] / count)))
    return sorted(found, key=lambda one: (-one.share, one.position))

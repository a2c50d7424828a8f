"""Images that are the same, and images that are nearly so: resized, compressed again, made a little brighter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from framework.core.console import progress
from framework.inspection.look import Look

# Two small versions, each taken to mean 0 and length 1, whose product is above this are nearly the same. Of 300 clothing
# photos, copies of half the size or of JPEG quality 40 reach 0.995 at least, 15 % brighter ones 0.9898; of all pairs of
# different photos among 3,409 the most alike reach 0.984.
NEAR = 0.988
# An image without contrast is like any other one.
_FLAT = 4.0
_BLOCK = 2048


def same(looks: Sequence[Look]) -> list[list[int]]:
    """Groups of positions of files with the same bytes, two at least in each."""
    groups: dict[str, list[int]] = defaultdict(list)
    for position, look in enumerate(looks):
        if look.hash:
            groups[look.hash].append(position)
    return [group for group in groups.values() if len(group) > 1]


def near(looks: Sequence[Look], apart: float = NEAR) -> list[list[int]]:
    """Groups of positions of images that look the same and are other files, two at least in each.

    Files with the same bytes count once. All are held against all, as a product of matrices: 100,000 images take
    some minutes.
    """
    first: dict[str, int] = {}
    for position, look in enumerate(looks):
        if look.small is not None and look.small.std() > _FLAT:
            first.setdefault(look.hash, position)
    positions = np.array(list(first.values()), np.int64)
    if len(positions) < 2:
        return []
    rows = np.stack([vector(look.small) for look in map(looks.__getitem__, positions) if look.small is not None])
    pairs: list[tuple[int, int]] = []
    with progress("Comparing images", len(rows), "images") as advance:
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            ours, theirs = np.nonzero(block @ rows[start:].T > apart)
            later = theirs > ours
            pairs += zip(positions[ours[later] + start], positions[theirs[later] + start], strict=True)
            advance(len(block))
    return _joined(pairs)


def vector(small: np.ndarray) -> np.ndarray:
    """A small version as float32 of length 1: what is left of it beside its brightness and its contrast."""
    centred = small.astype(np.float32).ravel() - small.mean(dtype=np.float32)
    return centred / max(float(np.linalg.norm(centred)), 1e-6)


def _joined(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Groups of what hangs together."""
    head: dict[int, int] = {}

    def top(one: int) -> int:
        while head.setdefault(one, one) != one:
            head[one] = head[head[one]]
            one = head[one]
        return one

    for first, second in pairs:
        head[max(top(first), top(second))] = min(top(first), top(second))
    groups: dict[int, list[int]] = defaultdict(list)
    for one in sorted(head):
        groups[top(one)].append(int(one))
    return list(groups.values())

"""Images that are the same, and images that are nearly so."""

from dataclasses import replace

import numpy as np

from framework.inspection.alike import near, same
from framework.inspection.look import SIDE, Look


def looks(count):
    rng = np.random.default_rng(0)
    return [
        Look(f"{number}.png", hash=str(number), small=rng.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8))
        for number in range(count)
    ]


def test_the_same_bytes():
    seen = looks(5)
    seen += [replace(seen[1], path="again.png"), Look("broken.png"), Look("broken too.png")]
    assert same(seen) == [[1, 5]]


def test_a_little_brighter_is_near_and_a_chain_is_one_group():
    seen = looks(4)
    for factor in (0.95, 0.9):
        small = (seen[2].small * factor).astype(np.uint8)
        seen.append(Look("darker.png", hash=f"{factor}", small=small))
    assert near(seen) == [[2, 4, 5]]
    assert near(looks(30)) == []


def test_what_has_no_contrast_is_like_nothing():
    flat = np.full((SIDE, SIDE, 3), 80, np.uint8)
    assert near([Look("a", hash="a", small=flat), Look("b", hash="b", small=flat + 1)]) == []

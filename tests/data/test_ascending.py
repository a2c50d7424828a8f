"""Whole numbers in bits are read as the list of them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from framework.data import ascending
from framework.data.ascending import Ascending, Numbers


@pytest.fixture
def rng(monkeypatch):
    monkeypatch.setattr(ascending, "PIECE", 100)
    monkeypatch.setattr(ascending, "_FEW", 7)
    return np.random.default_rng(0)


def drawn(rng, size=2000):
    """Ascending numbers, few or many of them, and as bits."""
    numbers = np.flatnonzero(rng.random(size) < rng.choice([0, 0.01, 0.5, 1]))
    pieces = np.array_split(numbers, 3)
    return numbers, Ascending.of(pieces, size)


def test_ascending_numbers_are_their_list(rng):
    for _ in range(30):
        numbers, found = drawn(rng)
        count = len(numbers)
        assert (len(found), found) == (count, numbers.tolist())
        np.testing.assert_array_equal(np.asarray(found), numbers)
        np.testing.assert_array_equal(np.concatenate([[], *found.pieces()]), numbers)
        assert Ascending.where(np.isin(np.arange(1999), numbers[numbers < 1999])) == numbers[numbers < 1999].tolist()
        limits = rng.integers(0, 3000, 50)
        np.testing.assert_array_equal(found.below(limits), np.searchsorted(numbers, limits))
        np.testing.assert_array_equal(found.has(np.arange(2000)), np.isin(np.arange(2000), numbers))
        for start, stop in rng.integers(0, 2100, (10, 2)):
            assert found[start:stop] == numbers[start:stop].tolist()
            np.testing.assert_array_equal(found[start:stop].below(limits), np.searchsorted(numbers[start:stop], limits))
        if count:
            places = rng.integers(0, count, 60)  # in any order, near each other and far
            np.testing.assert_array_equal(found.at(places), numbers[places])
            np.testing.assert_array_equal(found[::-3], numbers[::-3])
            assert (found[0], found[-1]) == (numbers[0], numbers[-1])
            np.testing.assert_array_equal(found[1:].at(places[places > 0] - 1), numbers[places[places > 0]])
    with pytest.raises(IndexError):
        found[2000]


def test_parts_are_read_one_after_the_other(rng):
    ends = np.array([0, 300, 300, 900, 2000])
    for _ in range(30):
        pairs = [drawn(rng) for _ in range(3)]
        mixed = rng.permutation(2000)[: rng.integers(0, 50)]
        plain = np.concatenate([*(numbers for numbers, _ in pairs), mixed])
        found = Numbers([*(one for _, one in pairs), mixed])
        assert len(found) == len(plain)
        np.testing.assert_array_equal(np.concatenate([[], *found.pieces()]), plain)
        ranges = found.ranges(ends)
        for number, (first, last) in enumerate(pairwise(ends)):
            expected = np.flatnonzero((plain >= first) & (plain < last))
            np.testing.assert_array_equal(ranges.places(number), expected)
            assert ranges.counts[number] == len(expected)
        start, stop = np.sort(rng.integers(0, len(plain) + 1, 2)).tolist()
        np.testing.assert_array_equal(np.concatenate([[], *found.between(start, stop).pieces()]), plain[start:stop])
        mask = rng.random(len(plain)) < 0.3
        chosen = found.where(Ascending.where(mask))
        np.testing.assert_array_equal(np.concatenate([[], *chosen.pieces()]), plain[mask])
        assert found.without(chosen) == np.flatnonzero(~np.isin(plain, plain[mask])).tolist()
        if len(plain):
            places = rng.integers(0, len(plain), 60)
            np.testing.assert_array_equal(found.at(places), plain[places])


def test_a_number_takes_little_more_than_a_bit():
    found = Ascending.where(np.ones(10**6, bool))
    assert found._bits.nbytes + found._before.nbytes < 10**6 / 8 * 1.3

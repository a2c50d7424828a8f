"""Very many whole numbers in little memory: where they ascend, a bit for each that there might be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

PIECE = 1 << 14  # numbers that are in memory as such at once
_BLOCK = 256  # bits that are counted together
_BYTES = _BLOCK // 8
_FEW = 1 << 12  # numbers that are looked up at once
_DENSE = 32  # numbers that are read for one of them, before each is looked for by itself
_ONES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1, dtype=np.uint8)


class Ascending(Sequence[int]):
    """Whole numbers from 0 on, ascending and none twice; read as if they were a list.

    Args:
        bits: uint8 (blocks, 32), the first number's bit is the highest of the first byte.
        before: how many numbers there are before each block, and in all: int64 (blocks + 1,).
        start: the first of them that counts.
        stop: what comes after the last that counts.
    """

    def __init__(self, bits: np.ndarray, before: np.ndarray, start: int, stop: int):
        self._bits, self._before, self._start, self._stop = bits, before, start, stop

    @classmethod
    def of(cls, pieces: Iterable[np.ndarray], size: int) -> Ascending:
        """Numbers below ``size`` that come in arrays, one after the other."""
        bits = np.zeros((-(-size // _BLOCK), _BYTES), np.uint8)
        flat = bits.reshape(-1)
        for some in pieces:
            np.bitwise_or.at(flat, some >> 3, (128 >> (some & 7)).astype(np.uint8))
        return cls._counted(bits)

    @classmethod
    def where(cls, mask: np.ndarray) -> Ascending:
        """Places of what is true: bool (size,)."""
        bits = np.zeros((-(-len(mask) // _BLOCK), _BYTES), np.uint8)
        packed = np.packbits(mask)
        bits.reshape(-1)[: len(packed)] = packed
        return cls._counted(bits)

    @classmethod
    def _counted(cls, bits: np.ndarray) -> Ascending:
        before = np.concatenate([[0], np.cumsum(_ONES[bits].sum(axis=1, dtype=np.int64))])
        return cls(bits, before, 0, int(before[-1]))

    @property
    def size(self) -> int:
        """What all of them are less than."""
        return len(self._bits) * _BLOCK

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            start, stop, step = place.indices(len(self))
            if step != 1:
                return self.at(np.arange(start, stop, step))
            return Ascending(self._bits, self._before, self._start + start, self._start + max(start, stop))
        return int(self.at(np.array([range(len(self))[place]]))[0])

    def __iter__(self) -> Iterator[int]:
        return (number for piece in self.pieces() for number in piece.tolist())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(one == another for one, another in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.between(0, len(self)).astype(dtype or np.int64, copy=False)

    def between(self, start: int, stop: int) -> np.ndarray:
        """Those at places from ``start`` up to ``stop``: int64."""
        if start >= stop:
            return np.zeros(0, np.int64)
        first, last = np.searchsorted(self._before, [self._start + start, self._start + stop - 1], "right") - 1
        found = np.flatnonzero(np.unpackbits(self._bits[first : last + 1]))
        begin = self._start + start - int(self._before[first])
        return found[begin : begin + stop - start] + int(first) * _BLOCK

    def at(self, places: np.ndarray) -> np.ndarray:
        """Those at any places: int64, shaped like these."""
        found = np.empty(len(places), np.int64)
        for start in range(0, len(places), _FEW):
            some = places[start : start + _FEW]
            first, last = int(some.min()), int(some.max())
            near = last - first < _DENSE * len(some)
            found[start : start + _FEW] = self.between(first, last + 1)[some - first] if near else self._apart(some)
        return found

    def _apart(self, places: np.ndarray) -> np.ndarray:
        """Those at a few places that lie far from each other."""
        places = places + self._start
        block = np.searchsorted(self._before, places, "right") - 1
        counts = np.cumsum(np.unpackbits(self._bits[block], axis=1), axis=1, dtype=np.int16)
        return block * _BLOCK + (counts == (places - self._before[block] + 1)[:, None]).argmax(axis=1)

    def below(self, limits: np.ndarray) -> np.ndarray:
        """How many are less than each of some numbers: int64, shaped like these."""
        limits = np.minimum(limits, self.size)
        block = limits // _BLOCK
        inside = np.arange(_BLOCK) < (limits % _BLOCK)[:, None]
        rows = np.zeros((len(limits), _BYTES), np.uint8)
        rows[block < len(self._bits)] = self._bits[block[block < len(self._bits)]]
        found = self._before[block] + (np.unpackbits(rows, axis=1) & inside).sum(axis=1, dtype=np.int64)
        return np.clip(found, self._start, self._stop) - self._start

    def has(self, numbers: np.ndarray) -> np.ndarray:
        """Which of some numbers below ``size`` are among them: bool, shaped like these."""
        return self._bits.reshape(-1)[numbers >> 3] & (128 >> (numbers & 7)) > 0

    def pieces(self) -> Iterator[np.ndarray]:
        """All of them in arrays, int64, one after the other."""
        return (self.between(start, min(start + PIECE, len(self))) for start in range(0, len(self), PIECE))


class Numbers:
    """Whole numbers in parts, each of which is an array, in any order, or ``Ascending``."""

    def __init__(self, parts: Sequence[np.ndarray | Ascending]):
        self.parts = tuple(part for part in parts if len(part)) or (np.zeros(0, np.int64),)
        self._ends = np.cumsum([0, *map(len, self.parts)])

    @classmethod
    def joined(cls, several: Iterable[Numbers]) -> Numbers:
        """One after the other."""
        return cls([part for one in several for part in one.parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def at(self, places: np.ndarray) -> np.ndarray:
        """Those at any places: int64."""
        found = np.empty(len(places), np.int64)
        part_of = np.searchsorted(self._ends, places, "right") - 1
        for number, part in enumerate(self.parts):
            own = part_of == number
            inside = places[own] - self._ends[number]
            found[own] = part.at(inside) if isinstance(part, Ascending) else part[inside]
        return found

    def between(self, start: int, stop: int) -> Numbers:
        """Those at places from ``start`` up to ``stop``, which are not copied."""
        ends = zip(self.parts, self._ends[:-1].tolist(), strict=True)
        return Numbers([part[max(start - end, 0) : max(stop - end, 0)] for part, end in ends])

    def where(self, chosen: Ascending) -> Numbers:
        """Those at chosen places."""
        parts: list[np.ndarray | Ascending] = []
        for part, end in zip(self.parts, self._ends[:-1].tolist(), strict=True):
            first, last = chosen.below(np.array([end, end + len(part)])).tolist()
            places = (some - end for some in chosen[first:last].pieces())
            if isinstance(part, Ascending):
                parts.append(Ascending.of(map(part.at, places), part.size))
            else:
                parts.append(np.concatenate([np.zeros(0, np.int64), *(part[some] for some in places)]))
        return Numbers(parts)

    def pieces(self) -> Iterator[np.ndarray]:
        """All of them in arrays, int64, one after the other."""
        for part in self.parts:
            if isinstance(part, Ascending):
                yield from part.pieces()
            else:
                yield from (part[start : start + PIECE] for start in range(0, len(part), PIECE))

    def without(self, others: Numbers) -> Ascending:
        """Places of those that are not among others."""
        size = 1 + max((int(piece.max()) for one in (self, others) for piece in one.pieces() if len(piece)), default=0)
        there = Ascending.of(others.pieces(), size)
        left = np.empty(len(self), bool)
        done = 0
        for piece in self.pieces():
            left[done : done + len(piece)] = ~there.has(piece)
            done += len(piece)
        return Ascending.where(left)

    def ranges(self, ends: np.ndarray) -> Ranges:
        """Where those of some ranges are: ``ends`` are the first number of each, and what comes after the last one."""
        return Ranges(self.parts, ends)


class Ranges:
    """Where numbers of some ranges are; arguments as for ``Numbers.ranges``."""

    def __init__(self, parts: Sequence[np.ndarray | Ascending], ends: np.ndarray):
        self._cuts: list[tuple[int, np.ndarray, np.ndarray | None]] = []
        start = 0
        for part in parts:
            order = None if isinstance(part, Ascending) else np.argsort(part, kind="stable")
            cuts = part.below(ends) if isinstance(part, Ascending) else np.searchsorted(part[order], ends)
            self._cuts.append((start, cuts, order))
            start += len(part)

    @property
    def counts(self) -> np.ndarray:
        """How many numbers there are in each range."""
        return sum((np.diff(cuts) for _, cuts, _ in self._cuts), np.zeros(1, np.int64))

    def places(self, number: int) -> np.ndarray:
        """Places of those in a range: int64, ascending."""
        found = []
        for start, cuts, order in self._cuts:
            first, last = cuts[number], cuts[number + 1]
            found.append(start + (np.arange(first, last) if order is None else np.sort(order[first:last])))
        return found[0] if len(found) == 1 else np.concatenate(found)

"""Very many images in columns: what is known of each in a few bytes, and read as if it were a list.

An image of a shard is the number of its shard and of its row there; its path, and the key of its features, are made when they
are asked for. Values of which few are different stand once each.
"""

from __future__ import annotations

import copy
import os
import zlib
from abc import abstractmethod
from array import array
from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any, Generic, TypeVar, overload

import numpy as np

from framework.data.folders import relative

T = TypeVar("T", bound=Hashable)
S = TypeVar("S", bound="InShards")

# So many images of shards are held in columns, and known by their shards. Fewer are paths as any others, known by their own
# bytes, so that they share their features with the folder that they were packed from.
MANY = 100_000
_TOGETHER = 4096  # texts made at once


@dataclass(frozen=True)
class Shard:
    """A file of rows.

    Attributes:
        file: its path.
        state: its size in bytes and time of change in nanoseconds, when it was listed.
        rows: how many it has.
        called: paths of rows, from their numbers, int64 (some,).
        part: what of a row an image is, where it could be one or another: a column, a feature.
        first: how many rows there are in the shards before it.
    """

    file: str
    state: tuple[int, int]
    rows: int
    called: Callable[[np.ndarray], Iterable[str]]
    part: str = ""
    first: int = 0


class InShards(Sequence[str]):
    """A text for each image, that follows from its shard and its row.

    Args:
        shards: what is known of each.
        shard: whose number is each image's, int32 (images,).
        row: and which row it is there, int64 (images,).
    """

    def __init__(self, shards: Sequence[Any], shard: np.ndarray, row: np.ndarray):
        self.shards = tuple(shards)
        self.shard, self.row = shard.astype(np.int32, copy=False), row.astype(np.int64, copy=False)

    @abstractmethod
    def told(self, shard: Any, rows: np.ndarray) -> Iterable[str]:
        """The texts of some rows of a shard."""

    def __len__(self) -> int:
        return len(self.row)

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self: S, place: slice | np.ndarray) -> S: ...

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice | np.ndarray):
            found = copy.copy(self)
            found.shard, found.row = self.shard[place], self.row[place]
            return found
        return next(iter(self.told(self.shards[self.shard[place]], self.row[[place]])))

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _TOGETHER):
            some = self[start : start + _TOGETHER]
            ends = [*np.flatnonzero(np.diff(some.shard)) + 1, len(some)]
            for first, last in zip([0, *ends], ends, strict=False):
                yield from self.told(self.shards[some.shard[first]], some.row[first:last])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(one == another for one, another in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    @property
    def used(self) -> list[int]:
        """Numbers of the shards that images lie in."""
        return np.flatnonzero(np.bincount(self.shard, minlength=len(self.shards))).tolist()

    @property
    def numbers(self) -> np.ndarray:
        """Of each image one that no other row has: int64 (images,)."""
        return self.shard.astype(np.int64) << 40 | self.row

    def by_shard(self) -> Iterator[tuple[int, np.ndarray]]:
        """Numbers of shards, each with the positions of its images, int64, ascending."""
        order = np.argsort(self.shard, kind="stable")
        ends = np.cumsum(np.bincount(self.shard, minlength=len(self.shards)))
        for number in self.used:
            yield number, order[ends[number - 1] if number else 0 : ends[number]]


class ShardPaths(InShards):
    """Paths of images in shards (``Shard``), from the folder ``root`` on if one is named."""

    root = ""

    def told(self, shard: Shard, rows: np.ndarray) -> Iterable[str]:
        """Paths of some rows."""
        paths, before = shard.called(rows), os.path.join(self.root, "")
        if not self.root:
            return paths
        return (path[len(before) :] if path.startswith(before) else relative(path, self.root) for path in paths)

    def below(self, root: str) -> ShardPaths:
        """The same as seen from a folder."""
        found = self[:]
        found.root = root
        return found


class Keys(InShards):
    """What images in shards are: ``SHARD:ROW``, or the number of the row alone where a shard's name is empty."""

    def told(self, shard: str, rows: np.ndarray) -> Iterable[str]:
        """Keys of some rows."""
        before = f"{shard}:" if shard else ""
        return (f"{before}{row}" for row in rows.tolist())

    def alone(self) -> Keys:
        """The same without the shards that none of them lies in."""
        used = self.used
        number = np.zeros(len(self.shards), np.int32)
        number[used] = np.arange(len(used))
        return Keys([self.shards[one] for one in used], number[self.shard], self.row)


def at(texts: Sequence[str], positions: np.ndarray) -> Any:
    """Those at some positions: in columns where they are, else a tuple."""
    if isinstance(texts, InShards):
        return texts[positions]
    return tuple(texts[position] for position in positions.tolist())


def joined(parts: Sequence[Sequence[str]]) -> Any:
    """Texts one after the other: in columns where all are, of the same shards, else a tuple."""
    first, *others = parts
    if isinstance(first, InShards) and all(isinstance(one, InShards) and one.shards is first.shards for one in others):
        found = first[:]
        found.shard = np.concatenate([one.shard for one in parts])  # type: ignore[attr-defined]
        found.row = np.concatenate([one.row for one in parts])  # type: ignore[attr-defined]
        return found
    return tuple(text for one in parts for text in one)


def in_full(paths: Sequence[str]) -> Sequence[str]:
    """Paths as they are kept: a tuple, unless they are in columns and many."""
    return paths if isinstance(paths, InShards) and len(paths) >= MANY else tuple(paths)


class Coded(Sequence[T], Generic[T]):
    """A value for each image, of which few are different: each of them once, and its number for each image, int32."""

    def __init__(self, values: Sequence[T], codes: np.ndarray):
        self.values, self.codes = list(values), codes

    @classmethod
    def of(cls, values: Iterable[T]) -> Coded[T]:
        """Any values, which are looked at once."""
        if isinstance(values, cls):
            return values
        known: dict[T, int] = {}
        codes = np.fromiter((known.setdefault(value, len(known)) for value in values), np.int32)
        return cls(list(known), codes)

    @classmethod
    def joined(cls, parts: Sequence[Coded[Any]]) -> Coded[Any]:
        """One after the other."""
        both = cls.of(value for part in parts for value in part.values)
        starts = np.cumsum([0, *(len(part.values) for part in parts)])
        codes = [both.codes[start:][part.codes] for start, part in zip(starts, parts, strict=False)]
        return cls(both.values, np.concatenate([np.zeros(0, np.int32), *codes]))

    def mapped(self, function: Callable[[T], Any]) -> Coded[Any]:
        """A function of each; values that no image has are left out."""
        used = np.flatnonzero(np.bincount(self.codes, minlength=len(self.values)))
        found, number = Coded.of(function(self.values[one]) for one in used), np.zeros(len(self.values), np.int32)
        number[used] = found.codes
        return Coded(found.values, number[self.codes])

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice | np.ndarray):
            return Coded(self.values, self.codes[place])
        return self.values[self.codes[place]]

    def __iter__(self) -> Iterator[T]:
        return map(self.values.__getitem__, self.codes.tolist())


class Texts(Sequence[str]):
    """Texts of which none stands twice, in one piece of memory, found again by what they are."""

    def __init__(self, texts: Iterable[str] = ()):
        pieces = [text.encode(errors="surrogateescape") for text in texts]
        self._data, self._ends = b"".join(pieces), array("q", [0, *accumulate(map(len, pieces))])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def _piece(self, place: int) -> bytes:
        return self._data[self._ends[place] : self._ends[place + 1]]

    def __getitem__(self, place: Any) -> Any:
        return self._piece(range(len(self))[place]).decode(errors="surrogateescape")

    def __iter__(self) -> Iterator[str]:
        data = self._data
        return (data[start:stop].decode(errors="surrogateescape") for start, stop in pairwise(self._ends))

    @cached_property
    def _by_checksum(self) -> tuple[array[int], array[int]]:
        """Checksums, ascending, and whose each is."""
        pieces = (self._data[start:stop] for start, stop in pairwise(self._ends))
        checksums = np.fromiter(map(zlib.crc32, pieces), np.uint32, len(self))
        order = np.argsort(checksums, kind="stable")
        # not NumPy's: one number of these is read in a tenth of the time
        return array("I", checksums[order].tobytes()), array("i", order.astype(np.int32).tobytes())

    def find(self, text: str) -> int:
        """Its place; -1 where it is not among them."""
        piece, (checksums, places) = text.encode(errors="surrogateescape"), self._by_checksum
        checksum = zlib.crc32(piece)
        place = bisect_left(checksums, checksum)
        while place < len(places) and checksums[place] == checksum:
            if self._piece(places[place]) == piece:
                return places[place]
            place += 1
        return -1


def runs_of(numbers: np.ndarray) -> np.ndarray:
    """Ascending numbers as runs of such that follow one another: int64 (runs, 2), the first, and what comes after the last."""
    breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
    starts = np.concatenate([np.zeros(min(1, len(numbers)), np.int64), breaks])
    return np.stack([numbers[starts], numbers[np.append(breaks, len(numbers))[: len(starts)] - 1] + 1], axis=1)


def numbers_of(runs: np.ndarray) -> np.ndarray:
    """The numbers in runs, one after the other: the converse of ``runs_of``."""
    counts = runs[:, 1] - runs[:, 0]
    return np.repeat(runs[:, 0] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())


def within(runs: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Which numbers are in runs that are ascending and apart: bool (numbers,)."""
    place = np.searchsorted(runs[:, 0], numbers, "right") - 1
    if not len(runs):
        return np.zeros(len(numbers), bool)
    return (place >= 0) & (numbers < runs[place, 1])


def in_shards(shards: Sequence[Shard], rows: Sequence[np.ndarray]) -> ShardPaths:
    """Paths of these rows of each shard."""
    firsts = np.cumsum([0, *(one.rows for one in shards)]).tolist()
    placed = [replace(one, first=first) for one, first in zip(shards, firsts, strict=False)]
    numbers = np.repeat(np.arange(len(shards)), [len(some) for some in rows])
    return ShardPaths(placed, numbers, np.concatenate([np.zeros(0, np.int64), *rows]))


def of_each(values: Sequence[T], paths: InShards) -> Coded[T]:
    """What is said of each shard, said of the images in it."""
    coded = Coded.of(values)
    return Coded(coded.values, coded.codes[paths.shard]).mapped(lambda value: value)


def others(count: int, rows: np.ndarray) -> np.ndarray:
    """Numbers of all rows but these."""
    left = np.ones(count, bool)
    left[rows] = False
    return np.flatnonzero(left)

"""Very many images in columns: what is known of each in a few bytes, and read as if it were a list.

An image of a shard is the number of its row, mostly a bit; its path, and the key of its features, are made when they are asked
for. Values of which few are different stand once each, and a number of one byte, if that is enough, for each image.
"""

from __future__ import annotations

import copy
import os
import zlib
from abc import abstractmethod
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Generic, TypeVar, overload

import numpy as np

from framework.data.ascending import PIECE, Ascending, Numbers, Ranges
from framework.data.folders import relative
from framework.data.spilled import spilled

T = TypeVar("T", bound=Hashable)
S = TypeVar("S", bound="InShards")

# So many images of shards are held in columns, and known by their shards. Fewer are paths as any others, known by their own
# bytes, so that they share their features with the folder that they were packed from.
MANY = 100_000
_TOGETHER = 4096  # texts made at once
_APART = 64  # checksums of which one is in memory


@dataclass(frozen=True)
class Shard:
    """A file of rows.

    Attributes:
        file: its path.
        state: its size in bytes and time of change in nanoseconds, when it was listed.
        rows: how many it has.
        called: paths of rows, from their numbers, int64 (some,).
        part: what of a row an image is, where it could be one or another: a column, a feature.
    """

    file: str
    state: tuple[int, int]
    rows: int
    called: Callable[[np.ndarray], Iterable[str]]
    part: str = ""


class InShards(Sequence[str]):
    """A text for each image, that follows from its shard and its row.

    Args:
        shards: what is known of each.
        ends: how many rows there are before each, and in all: int64 (shards + 1,).
        numbers: of each image the number of its row, counted over all shards.
    """

    def __init__(self, shards: Sequence[Any], ends: np.ndarray, numbers: Numbers):
        self.shards, self.ends, self.numbers = tuple(shards), ends, numbers

    @abstractmethod
    def told(self, shard: Any, rows: np.ndarray) -> Iterable[str]:
        """The texts of some rows of a shard."""

    def __len__(self) -> int:
        return len(self.numbers)

    def _with(self: S, numbers: Numbers) -> S:
        found = copy.copy(self)
        found.numbers = numbers
        return found

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self: S, place: slice | np.ndarray | Ascending) -> S: ...

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            start, stop, step = place.indices(len(self))
            if step == 1:
                return self._with(self.numbers.between(start, stop))
            place = np.arange(start, stop, step)
        if isinstance(place, Ascending):
            return self._with(self.numbers.where(place))
        if isinstance(place, np.ndarray):
            return self._with(Numbers([self.numbers.at(np.flatnonzero(place) if place.dtype == bool else place)]))
        return next(iter(self[np.array([range(len(self))[place]])]))

    def __iter__(self) -> Iterator[str]:
        for numbers in self.numbers.pieces():
            shard, row = self._found(numbers)
            ends = [*np.flatnonzero(np.diff(shard)) + 1, len(shard)]
            for first, last in zip([0, *ends], ends, strict=False):
                for start in range(first, last, _TOGETHER):
                    yield from self.told(self.shards[shard[first]], row[start : min(start + _TOGETHER, last)])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(one == another for one, another in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def _found(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shard = np.searchsorted(self.ends, numbers, "right") - 1
        return shard, numbers - self.ends[shard]

    def pieces(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Numbers of shards, int64, and of rows there, int64, of some images after the others."""
        return map(self._found, self.numbers.pieces())

    @property
    def row(self) -> np.ndarray:
        """Of each image its row in its shard, int64 (images,); for some images, not for very many."""
        return np.concatenate([row for _, row in self.pieces()] or [np.zeros(0, np.int64)])

    @property
    def shard(self) -> np.ndarray:
        """Of each image the number of its shard, the same."""
        return np.concatenate([shard for shard, _ in self.pieces()] or [np.zeros(0, np.int64)])

    def by_shard(self) -> Ranges:
        """Where the images of each shard are."""
        return self.numbers.ranges(self.ends)

    @property
    def used(self) -> list[int]:
        """Numbers of the shards that images lie in."""
        return np.flatnonzero(self.by_shard().counts).tolist()


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

    def keys(self, names: Sequence[str]) -> Keys:
        """What the images are, where shards are called so."""
        return Keys(names, self.ends, self.numbers)

    def counted(self) -> Keys:
        """The same by the numbers of rows over all shards."""
        return Keys([""], self.ends[[0, -1]], self.numbers)


class Keys(InShards):
    """What images in shards are: ``SHARD:ROW``, or the number of the row alone where a shard's name is empty."""

    @classmethod
    def of(cls, names: Sequence[str], shard: np.ndarray, row: np.ndarray) -> Keys:
        """Those of rows of shards: numbers of shards (images,), and of rows there."""
        rows = np.zeros(len(names), np.int64)
        np.maximum.at(rows, shard, row + 1)
        ends = np.concatenate([[0], np.cumsum(rows)])
        return cls(names, ends, Numbers([ends[shard] + row]))

    def told(self, shard: str, rows: np.ndarray) -> Iterable[str]:
        """Keys of some rows."""
        before = f"{shard}:" if shard else ""
        return (f"{before}{row}" for row in rows.tolist())

    def alone(self) -> Keys:
        """The same without the shards that none of them lies in; of some images, not of very many."""
        used, shard = self.used, self.shard
        number = np.zeros(len(self.shards), np.int64)
        number[used] = np.arange(len(used))
        return Keys.of([self.shards[one] for one in used], number[shard], self.row)


def at(texts: Sequence[str], positions: np.ndarray | Ascending) -> Any:
    """Those at some positions: in columns where they are, else a tuple."""
    if isinstance(texts, InShards):
        return texts[positions]
    return tuple(texts[position] for position in np.asarray(positions).tolist())


def joined(parts: Sequence[Sequence[str]]) -> Any:
    """Texts one after the other: in columns where all are, of the same shards, else a tuple."""
    first, *others = parts
    if isinstance(first, InShards) and all(isinstance(one, InShards) and one.shards is first.shards for one in others):
        found = first[:]
        found.numbers = Numbers.joined([one.numbers for one in parts])  # type: ignore[attr-defined]
        return found
    return tuple(text for one in parts for text in one)


def in_full(paths: Sequence[str]) -> Sequence[str]:
    """Paths as they are kept: a tuple, unless they are in columns and many."""
    return paths if isinstance(paths, InShards) and len(paths) >= MANY else tuple(paths)


class Coded(Sequence[T], Generic[T]):
    """A value for each image, of which few are different: each of them once, and its number for each image.

    These are of the smallest kind that holds them, so nothing may be added to them.
    """

    def __init__(self, values: Sequence[T], codes: np.ndarray):
        self.values, self.codes = list(values), codes.astype(smallest(len(values)), copy=False)

    @classmethod
    def of(cls, values: Iterable[T]) -> Coded[T]:
        """Any values, which are looked at once."""
        if isinstance(values, cls):
            return values
        known: dict[T, int] = {}
        codes = array("i", (known.setdefault(value, len(known)) for value in values))
        return cls(list(known), np.frombuffer(codes, np.int32))

    @classmethod
    def joined(cls, parts: Sequence[Coded[Any]]) -> Coded[Any]:
        """One after the other."""
        both = cls.of(value for part in parts for value in part.values)
        codes, start, done = np.empty(sum(map(len, parts)), both.codes.dtype), 0, 0
        for part in parts:
            codes[done : done + len(part)] = both.codes[start : start + len(part.values)][part.codes]
            start, done = start + len(part.values), done + len(part)
        return cls(both.values, codes)

    def mapped(self, function: Callable[[T], Any]) -> Coded[Any]:
        """A function of each; values that no image has are left out."""
        used = np.flatnonzero(self.counts())
        found = Coded.of(function(self.values[one]) for one in used)
        number = np.zeros(len(self.values), found.codes.dtype)
        number[used] = found.codes
        # the same numbers are not written once more
        same = np.array_equal(number, np.arange(len(number)))
        return Coded(found.values, self.codes if same else number[self.codes])

    def counts(self) -> np.ndarray:
        """How many images have each value: int64 (values,)."""
        return counted(self.codes, len(self.values))

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice | np.ndarray):
            return Coded(self.values, self.codes[place])
        return self.values[self.codes[place]]

    def __iter__(self) -> Iterator[T]:
        return map(self.values.__getitem__, self.codes.tolist())


class Texts(Sequence[str]):
    """Texts of which none stands twice, on disk where they are many, found again by what they are."""

    def __init__(self, texts: Iterable[str] = ()):
        pieces = [text.encode(errors="surrogateescape") for text in texts]
        self._data = spilled(np.frombuffer(b"".join(pieces), np.uint8))
        self._ends = spilled(np.cumsum([0, *map(len, pieces)], dtype=np.int64))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def _piece(self, place: int) -> bytes:
        start, stop = self._ends[place : place + 2].tolist()
        return bytes(self._data[start:stop].data)

    def _all(self) -> Iterator[bytes]:
        for start in range(0, len(self), _TOGETHER):
            ends = self._ends[start : min(start + _TOGETHER, len(self)) + 1].tolist()
            data = self._data[ends[0] : ends[-1]].tobytes()
            yield from (data[first - ends[0] : last - ends[0]] for first, last in pairwise(ends))

    def __getitem__(self, place: Any) -> Any:
        return self._piece(range(len(self))[place]).decode(errors="surrogateescape")

    def __iter__(self) -> Iterator[str]:
        return (piece.decode(errors="surrogateescape") for piece in self._all())

    @cached_property
    def _by_checksum(self) -> tuple[array[int], Any, Any]:
        """Checksums, ascending: every so many-th, all of them, and whose each is."""
        checksums = np.fromiter(map(zlib.crc32, self._all()), np.uint32, len(self))
        order = np.argsort(checksums, kind="stable")
        checksums = checksums[order]
        # the first not NumPy's: one number of these is read in a tenth of the time
        return array("I", checksums[::_APART].tobytes()), spilled(checksums), spilled(order.astype(np.int32))

    def find(self, text: str) -> int:
        """Its place; -1 where it is not among them."""
        piece, (some, checksums, places) = text.encode(errors="surrogateescape"), self._by_checksum
        checksum = zlib.crc32(piece)
        first = max(0, bisect_left(some, checksum) - 1) * _APART
        while first < len(self):
            near = checksums[first : first + _APART].tolist()
            start, stop = bisect_left(near, checksum), bisect_right(near, checksum)
            for place in places[first + start : first + stop].tolist() if stop > start else ():
                if self._piece(place) == piece:
                    return int(place)
            if stop < len(near):
                break
            first += _APART
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


def in_shards(shards: Sequence[Shard], rows: Sequence[Ascending]) -> ShardPaths:
    """Paths of these rows of each shard, ascending as they are."""
    ends = np.cumsum([0, *(one.rows for one in shards)])
    pieces = (piece + end for some, end in zip(rows, ends[:-1], strict=True) for piece in some.pieces())
    return ShardPaths(shards, ends, Numbers([Ascending.of(pieces, int(ends[-1]))]))


def of_each(values: Sequence[T], paths: InShards) -> Coded[T]:
    """What is said of each shard, said of the images in it."""
    coded = Coded.of(values)
    if len(coded.values) == 1:
        return Coded(coded.values, np.broadcast_to(coded.codes[:1], len(paths)))
    codes, done = np.empty(len(paths), coded.codes.dtype), 0
    for shard, _ in paths.pieces():
        codes[done : done + len(shard)] = coded.codes[shard]
        done += len(shard)
    return Coded(coded.values, codes).mapped(lambda value: value)


def smallest(count: int) -> np.dtype:
    """Whole numbers that so many can be told apart by."""
    return np.min_scalar_type(max(count - 1, 0))


def counted(numbers: np.ndarray, count: int) -> np.ndarray:
    """How often each of the first whole numbers stands among some: int64 (count,), piece by piece."""
    found = np.zeros(count, np.int64)
    for start in range(0, len(numbers), PIECE):
        found += np.bincount(numbers[start : start + PIECE], minlength=count)
    return found

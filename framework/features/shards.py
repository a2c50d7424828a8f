"""Shards of the feature cache: records of some images in one file, and the index beside it that says which.

Images that are known by their own shard (``data.columns.Keys``) are told in runs of rows that follow one another; all others
by their keys.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from framework.core.files import read_own
from framework.data.columns import Keys, numbers_of, runs_of

FORMAT = 1  # an index of keys
BY_SHARD = 2  # an index of runs
NO_INDEX = (OSError, ValueError, LookupError, TypeError, RecursionError, MemoryError)
_CHUNK = 8 << 20
_NAMES = 4096  # that are made at once


@dataclass(frozen=True)
class Layout:
    """How an image's record is made up: its tensors one after another, row-major, little-endian.

    Attributes:
        shapes: of each tensor, for one image.
        dtype: in which the numbers are kept: float32, float16 or bfloat16.
    """

    shapes: tuple[tuple[int, ...], ...]
    dtype: str

    @property
    def bytes(self) -> int:
        """Size of one record."""
        return sum(prod(shape) for shape in self.shapes) * numpy_type(self.dtype).itemsize

    def tensors(self, records: np.ndarray) -> list[np.ndarray]:
        """Float32 tensors of shape (images, …) from uint8 records of shape (images, bytes)."""
        values = records.view(numpy_type(self.dtype))
        ends = np.cumsum([prod(shape) for shape in self.shapes])
        parts = np.split(values, ends[:-1], axis=1)
        return [
            np.ascontiguousarray(part, np.float32).reshape(len(records), *shape)
            for part, shape in zip(parts, self.shapes, strict=True)
        ]


@dataclass(frozen=True)
class Runs:
    """Keys of images in shards, in runs of rows that follow one another.

    Attributes:
        names: of the shards.
        shard: of each run the number of its name.
        ends: of each run its first row and what comes after its last: int64 (runs, 2).
    """

    names: tuple[str, ...]
    shard: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, keys: Keys) -> Runs:
        """These, in their order."""
        keys = keys.alone()
        breaks = [0, *np.flatnonzero(np.diff(keys.shard)) + 1, len(keys)]
        runs = [runs_of(keys.row[start:stop]) for start, stop in pairwise(breaks)]
        shard = np.repeat(keys.shard[breaks[:-1]], [len(some) for some in runs])
        return cls(keys.shards, shard, np.concatenate(runs))

    @classmethod
    def read(cls, index: Any) -> Runs:
        """As ``written`` has them; raises one of ``NO_INDEX`` for what is none."""
        names, shard = tuple(index["shards"]), np.array(index["of"], np.int64)
        ends = np.array(index["runs"], np.int64).reshape(len(shard), 2)
        if not 0 <= shard.min() <= shard.max() < len(names) or (ends[:, 0] >= ends[:, 1]).any() or ends.min() < 0:
            raise ValueError("its runs make no sense")
        return cls(tuple(map(str, names)), shard, ends)

    def written(self) -> dict[str, Any]:
        """For JSON."""
        return {"shards": self.names, "of": self.shard.tolist(), "runs": self.ends.tolist()}

    def __len__(self) -> int:
        return int(np.diff(self.ends).sum())

    def __iter__(self) -> Iterator[str]:
        return iter(Keys.of(self.names, np.repeat(self.shard, np.diff(self.ends)[:, 0]), numbers_of(self.ends)))


@dataclass(frozen=True)
class Shard:
    """Some images' records in one file."""

    path: Path
    rows: tuple[str, ...] | Runs
    size: int
    checksum: int

    def fault(self, thorough: bool) -> str | None:
        """What is wrong with the file: its size, and if ``thorough`` its checksum; None if nothing is."""
        try:
            size = self.path.stat().st_size
            if size != self.size:
                return f"it has {size:,} bytes, not {self.size:,}"
            if thorough and checksum_of(self.path) != self.checksum:
                return "its contents have changed"
        except OSError as error:
            return str(error.strerror)
        return None

    def remove(self) -> None:
        """Take it out of the cache; who has it open can read on."""
        for path in (self.path.with_suffix(".json"), self.path):
            path.unlink(missing_ok=True)


def indexes(folder: Path) -> list[Path]:
    """Of all whole shards in a key's folder."""
    return [path for path in sorted(folder.glob("[!.]*.json")) if path.name != "key.json" and path.is_file()]


def read_index(path: Path) -> tuple[Shard, Layout]:
    """A shard from its index; raises one of ``NO_INDEX`` where that is none."""
    index = json.loads(read_own(path, path.parent))
    if index["format"] not in (FORMAT, BY_SHARD):
        raise ValueError(f"format {index['format']}")
    rows = tuple(index["rows"]) if index["format"] == FORMAT else Runs.read(index["rows"])
    said = rows if isinstance(rows, tuple) else [json.dumps(index["rows"])]
    if index.get("rows_crc32", of_names := names_checksum(said)) != of_names:
        raise ValueError("the names in it have changed")
    layout = Layout(tuple(tuple(shape) for shape in index["shapes"]), index["dtype"])
    return Shard(path.with_suffix(".rows"), rows, index["bytes"], index["crc32"]), layout


def index_of(rows: Sequence[str], layout: Layout, size: int, checksum: int) -> str:
    """What stands in the index of a shard of these rows, whose file has so many bytes and this CRC-32."""
    told = Runs.of(rows).written() if isinstance(rows, Keys) else rows
    said = [json.dumps(told)] if isinstance(rows, Keys) else rows
    index = {
        "format": BY_SHARD if isinstance(rows, Keys) else FORMAT,
        "dtype": layout.dtype,
        "shapes": layout.shapes,
        "bytes": size,
        "crc32": checksum,
        "rows_crc32": names_checksum(said),
        "rows": told,
    }
    return json.dumps(index)


def names_checksum(rows: Iterable[str]) -> int:
    """CRC-32 of which images a shard is of; shards of earlier versions have none."""
    checksum, names = 0, iter(rows)
    for number, some in enumerate(iter(lambda: list(islice(names, _NAMES)), [])):
        checksum = zlib.crc32("\n".join(chain([""] * bool(number), some)).encode(), checksum)
    return checksum


def checksum_of(path: Path) -> int:
    """CRC-32 of a file."""
    checksum = 0
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            checksum = zlib.crc32(chunk, checksum)
    return checksum


def numpy_type(dtype: str) -> np.dtype:
    """In which numbers lie in the file: little-endian."""
    if dtype == "bfloat16":
        from ml_dtypes import bfloat16

        return np.dtype(bfloat16)
    return np.dtype(dtype).newbyteorder("<")


def fill(file: IO[bytes], view: memoryview) -> None:
    """Read until the view is full, for one call may give less."""
    while len(view):
        count = file.readinto(view)  # type: ignore[attr-defined]
        if not count:
            raise EOFError("it is truncated")
        view = view[count:]


def as_bytes(array: np.ndarray) -> memoryview:
    """An array's memory."""
    return array.reshape(-1).view(np.uint8).data


def write_all(file: IO[bytes], view: memoryview) -> None:
    """Write until nothing is left, for one call may take less."""
    while len(view):
        view = view[file.write(view) :]

"""Shards of the feature cache: records of some images in one file, and the index beside it that says which."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO

import numpy as np

from framework.core.files import read_own

FORMAT = 1
NO_INDEX = (OSError, ValueError, LookupError, TypeError, RecursionError, MemoryError)
_CHUNK = 8 << 20


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
class Shard:
    """Some images' records in one file."""

    path: Path
    rows: tuple[str, ...]
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
    if index["format"] != FORMAT:
        raise ValueError(f"format {index['format']}")
    if index.get("rows_crc32", of_names := names_checksum(index["rows"])) != of_names:
        raise ValueError("the names in it have changed")
    layout = Layout(tuple(tuple(shape) for shape in index["shapes"]), index["dtype"])
    return Shard(path.with_suffix(".rows"), tuple(index["rows"]), index["bytes"], index["crc32"]), layout


def names_checksum(rows: Iterable[str]) -> int:
    """CRC-32 of which images a shard is of; shards of earlier versions have none."""
    return zlib.crc32("\n".join(rows).encode())


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

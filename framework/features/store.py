"""The feature cache on disk: a folder for each key, filled in whole shards, shared by all processes of a machine.

    <root>/<key>/key.json      what the features depend on; its time is when they were last used
    <root>/<key>/<id>.rows     the features of some pictures: one record a picture, one after another
    <root>/<key>/<id>.json     which pictures, in which order, with shapes, dtype, size and checksum of the rows
    <root>/locks/<key>.*       who writes (one process) and who uses (any number): locks that die with their process

A shard is there once its ``.json`` is, which is written last; both are written beside their names and renamed. What a
killed writer leaves besides is never read, and swept by the next one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
import time
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from framework.core.console import progress, say, warn
from framework.core.errors import BadInput, Problem, RunFailed
from framework.core.files import cache_folder, locked, whole, write_whole
from framework.features.key import digest

FORMAT = 1
SHARD_BYTES = 64 << 20
SHARD_SECONDS = 20.0
# Opening a key compares so many bytes with their checksums, a tenth of a second's work; of the rest it checks the size.
CHECKED_BYTES = 256 << 20
GIB = 1 << 30

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CHUNK = 8 << 20
_KEY = re.compile(r"[0-9a-f]{32}")


def root_folder(folder: str | None) -> Path:
    """Where features are kept: ``cache.dir``, or the user's cache folder."""
    return Path(folder).expanduser() if folder else cache_folder() / "features"


def amount(size: float) -> str:
    """Bytes in words: ``3.4 MiB``."""
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:,.1f} GiB"


@dataclass(frozen=True)
class Layout:
    """How a picture's record is made up: its tensors one after another, row-major, little-endian.

    Attributes:
        shapes: of each tensor, for one picture.
        dtype: in which the numbers are kept: float32, float16 or bfloat16.
    """

    shapes: tuple[tuple[int, ...], ...]
    dtype: str

    @property
    def bytes(self) -> int:
        """Size of one record."""
        return sum(prod(shape) for shape in self.shapes) * _numpy(self.dtype).itemsize

    def tensors(self, records: np.ndarray) -> list[np.ndarray]:
        """Float32 tensors of shape (pictures, …) from uint8 records of shape (pictures, bytes)."""
        values = records.view(_numpy(self.dtype))
        ends = np.cumsum([prod(shape) for shape in self.shapes])
        parts = np.split(values, ends[:-1], axis=1)
        return [
            np.ascontiguousarray(part, np.float32).reshape(len(records), *shape)
            for part, shape in zip(parts, self.shapes, strict=True)
        ]


@dataclass(frozen=True)
class Shard:
    """Some pictures' records in one file."""

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
            if thorough and _checksum(self.path) != self.checksum:
                return "its contents have changed"
        except OSError as error:
            return str(error.strerror)
        return None

    def remove(self) -> None:
        """Take it out of the cache; who has it open can read on."""
        for path in (self.path.with_suffix(".json"), self.path):
            path.unlink(missing_ok=True)


class Store:
    """The features of one key; what is read of them is what was there at the last ``refresh``.

    Args:
        root: the cache's folder.
        description: all that the features depend on.
        layout: of a record.
    """

    def __init__(self, root: Path, description: Mapping[str, Any], layout: Layout):
        self.root, self.description, self.layout = root, description, layout
        self.key = digest({**description, "format": FORMAT})
        self.folder = root / self.key
        self._use: IO[bytes] | None = None
        self._shards: dict[Path, Shard] = {}
        self._places: dict[str, tuple[int, int]] = {}

    def open(self, about: Mapping[str, Any]) -> None:
        """Keep others from clearing the features until closed, and note the time of use.

        Args:
            about: what a person wants to read of the features in a list.

        Raises:
            BadInput: the folder can't be used.
        """
        try:
            self._use = _lock(self.root, self.key, fcntl.LOCK_SH)
            self.folder.mkdir(parents=True, exist_ok=True)
            record = self.folder / "key.json"
            if record.exists():
                os.utime(record)
            else:
                content = {"format": FORMAT, "about": about, "depends_on": self.description}
                write_whole(record, json.dumps(content, indent=2) + "\n")
        except OSError as error:
            if error.errno in _FULL:
                raise _disk_full(self.root, error) from None
            problem = f"the feature cache can't be kept in {self.root}: {error.strerror}"
            raise BadInput(Problem(problem, "cache.dir", "cache.dir=<another folder>, or cache=off")) from None

    def close(self) -> None:
        """Let others clear the features."""
        if self._use is not None:
            self._use.close()
            self._use = None

    def refresh(self) -> None:
        """Take notice of the shards that are there now; one that is damaged is named, removed and not used."""
        for path in _indexes(self.folder):
            if path in self._shards:
                continue
            shard = self._read_shard(path)
            if shard is not None:
                self._shards[path] = shard
                number = len(self._shards) - 1
                self._places.update((row, (number, place)) for place, row in enumerate(shard.rows))

    def missing(self, rows: Iterable[str]) -> list[str]:
        """The rows that are not kept, each once, in order."""
        return [row for row in dict.fromkeys(rows) if row not in self._places]

    def places(self, rows: Sequence[str]) -> np.ndarray:
        """Where rows are: int64 of shape (rows, 2), number of the shard and position in it."""
        return np.array([self._places[row] for row in rows], np.int64).reshape(len(rows), 2)

    def read(self, places: np.ndarray) -> np.ndarray:
        """Records at these places: uint8 of shape (places, bytes); neighbours in a file are read at once.

        Reads, and does not map, files: mapped pages would count as this process's memory.

        Raises:
            RunFailed: a file has vanished or shrunk since it was opened.
        """
        records = np.empty((len(places), self.layout.bytes), np.uint8)
        breaks = np.flatnonzero(np.any(np.diff(places, axis=0) != (0, 1), axis=1)) + 1
        paths = [shard.path for shard in self._shards.values()]
        for start, stop in zip([0, *breaks], [*breaks, len(places)], strict=True):
            if start == stop:
                continue
            path, place = paths[places[start, 0]], int(places[start, 1])
            try:
                with open(path, "rb", buffering=0) as file:
                    file.seek(place * self.layout.bytes)
                    _fill(file, _bytes(records[start:stop]))
            except (OSError, EOFError) as error:
                raise RunFailed(f"{path} can't be read any more: {error}; start again to compute it anew") from None
        return records

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Be the one process that writes, after any other has ended; what a killed one left is swept."""

        def waiting() -> None:
            say(f"Waiting: another process computes these features ({self.folder}).")

        with locked(self.root / "locks" / f"{self.key}.write", waiting):
            for path in self.folder.iterdir():
                if path.name.startswith(".") or (path.suffix == ".rows" and not path.with_suffix(".json").exists()):
                    path.unlink(missing_ok=True)
            self.refresh()
            yield

    def add(self, stream: Iterable[tuple[Sequence[str], np.ndarray]]) -> None:
        """Keep records as they come, in shards of 64 MiB or 20 seconds, so that a kill loses no more than that.

        Args:
            stream: rows and their records, uint8 of shape (rows, bytes).

        Raises:
            RunFailed: the disk is full; whole shards stay.
        """
        stream = iter(stream)
        try:
            for first in stream:
                self._write_shard(chain([first], stream))
        except OSError as error:
            if error.errno in _FULL:
                raise _disk_full(self.root, error) from None
            raise
        self.refresh()

    def make_room(self, pictures: int, limit: float) -> None:
        """Before so many pictures are added, clear other keys until all keep to ``limit``, least recently used first.

        Args:
            pictures: how many records will be added.
            limit: GiB that all features may take.

        Raises:
            BadInput: these features alone would take more.
            RunFailed: the disk has no room for them.
        """
        more = pictures * self.layout.bytes
        own = sum(shard.size for shard in self._shards.values())
        if own + more > limit * GIB:
            raise BadInput(
                Problem(
                    f"the features take {amount(own + more)}, more than the cache may hold ({limit:g} GiB)",
                    "cache.size_limit",
                    f"cache.size_limit={np.ceil((own + more) / GIB):g}, cache.dtype=float16, or cache=off",
                )
            )
        trim(self.root, limit, more)
        free = shutil.disk_usage(self.root).free
        if free < more:
            raise RunFailed(
                f"The features take {amount(more)}, and {self.root} has {amount(free)} free. "
                "Make room, or try cache.dir=<a folder on another disk>, cache.dtype=float16, or cache=off."
            )

    def _read_shard(self, path: Path) -> Shard | None:
        try:
            shard, layout = _shard(path)
            checked = sum(other.size for other in self._shards.values()) + shard.size
            fault = shard.fault(thorough=checked <= CHECKED_BYTES)
            if layout != self.layout or shard.size != len(shard.rows) * layout.bytes:
                fault = "its records are of another shape"
        except FileNotFoundError:  # cleared since it was listed
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            shard, fault = Shard(path.with_suffix(".rows"), (), 0, 0), f"its index can't be read ({error})"
        if fault is None:
            return shard
        warn(f"{shard.path}: {fault}. Its features are computed again.")
        shard.remove()
        return None

    def _write_shard(self, stream: Iterator[tuple[Sequence[str], np.ndarray]]) -> None:
        path = self.folder / f"{uuid.uuid4().hex[:16]}.rows"
        rows: list[str] = []
        size = checksum = 0
        started = time.monotonic()
        with whole(path) as beside, open(beside, "wb", buffering=0) as file:
            for names, records in stream:
                data = _bytes(np.ascontiguousarray(records))
                _write_all(file, data)
                rows += names
                size += len(data)
                checksum = zlib.crc32(data, checksum)
                if size >= SHARD_BYTES or time.monotonic() - started >= SHARD_SECONDS:
                    break
        index = {
            "format": FORMAT,
            "dtype": self.layout.dtype,
            "shapes": self.layout.shapes,
            "bytes": size,
            "crc32": checksum,
            "rows": rows,
        }
        try:
            write_whole(path.with_suffix(".json"), json.dumps(index))
        except BaseException:
            path.unlink(missing_ok=True)
            raise


@dataclass(frozen=True)
class Entry:
    """What the cache keeps under one key.

    Attributes:
        key: the folder's name.
        about: what was said of the features when they were first computed.
        depends_on: their description.
        pictures: how many records.
        bytes: size on disk.
        last_used: seconds since the epoch.
        in_use: whether a process reads or writes them now.
    """

    key: str
    about: Mapping[str, Any]
    depends_on: Mapping[str, Any]
    pictures: int
    bytes: int
    last_used: float
    in_use: bool


def listing(root: Path) -> list[Entry]:
    """All that is kept, last used first."""
    entries = []
    for folder in _key_folders(root):
        record = _record(folder)
        rows = 0
        for path in _indexes(folder):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                rows += len(_shard(path)[0].rows)
        with _held(root, folder.name) as alone:
            in_use = not alone
        used = _last_used(folder)
        about, depends_on = record.get("about", {}), record.get("depends_on", {})
        entries.append(Entry(folder.name, about, depends_on, rows, _size(folder), used, in_use))
    return sorted(entries, key=lambda entry: entry.last_used, reverse=True)


def verify(root: Path, keys: Sequence[str] | None = None) -> list[tuple[Path, str]]:
    """Read every shard (of these keys) and compare it with its checksum; damaged ones are removed.

    Returns:
        The file of each damaged shard, with what was wrong.
    """
    faults = []
    folders = [folder for folder in _key_folders(root) if keys is None or folder.name in keys]
    indexes = [path for folder in folders for path in _indexes(folder)]
    with progress("Verifying features", len(indexes), "files") as advance:
        for path in indexes:
            shard = Shard(path.with_suffix(".rows"), (), 0, 0)
            try:
                shard, _ = _shard(path)
                fault = shard.fault(thorough=True)
            except FileNotFoundError:  # cleared since it was listed
                fault = None
            except (OSError, ValueError, KeyError, TypeError) as error:
                fault = f"its index can't be read ({error})"
            if fault is not None:
                faults.append((shard.path, fault))
                shard.remove()
            advance(1)
    return faults


def clear(root: Path, keys: Sequence[str] | None = None) -> tuple[int, list[str]]:
    """Remove all features (of these keys) that no process uses.

    Returns:
        Bytes freed, and the keys left because they are in use.
    """
    freed, left = 0, []
    for folder in _key_folders(root):
        if keys is None or folder.name in keys:
            size = _size(folder)
            if _remove(root, folder):
                freed += size
            else:
                left.append(folder.name)
    return freed, left


def trim(root: Path, limit: float, more: int = 0) -> int:
    """Remove features, least recently used first and none in use, until ``more`` bytes would keep to ``limit`` GiB.

    Returns:
        Bytes freed.
    """
    folders = sorted(_key_folders(root), key=_last_used)
    sizes = {folder: _size(folder) for folder in folders}
    freed = 0
    for folder in folders:
        if sum(sizes.values()) - freed + more <= limit * GIB:
            break
        if _remove(root, folder):
            freed += sizes[folder]
            say(f"Cleared features from the cache, to keep within {limit:g} GiB: {folder.name}")
    return freed


def _key_folders(root: Path) -> list[Path]:
    """Folders of keys; those that a killed process was removing are removed. Whatever else is there is left alone."""
    if not root.is_dir():
        return []
    for path in root.glob(".removed-*"):
        if _KEY.fullmatch(path.name.removeprefix(".removed-")):
            shutil.rmtree(path, ignore_errors=True)
    return sorted(path for path in root.iterdir() if _KEY.fullmatch(path.name) and path.is_dir())


def _remove(root: Path, folder: Path) -> bool:
    """Remove a key's folder whole, unless a process uses it; whether it is gone."""
    with _held(root, folder.name) as alone:
        if alone:
            gone = root / f".removed-{uuid.uuid4().hex}"
            with contextlib.suppress(FileNotFoundError):
                folder.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
        return alone


def _lock(root: Path, key: str, mode: int) -> IO[bytes] | None:
    """Hold the key's lock of use until the file is closed; None if ``mode`` does not wait and others hold it."""
    path = root / "locks" / f"{key}.use"
    path.parent.mkdir(parents=True, exist_ok=True)
    file = open(path, "ab")  # noqa: SIM115 - closing it gives the lock back
    try:
        fcntl.flock(file, mode)
    except BlockingIOError:
        file.close()
        return None
    return file


@contextlib.contextmanager
def _held(root: Path, key: str) -> Iterator[bool]:
    """Whether no other holds the key's lock of use; if so, nobody can take it meanwhile."""
    file = _lock(root, key, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield file is not None
    finally:
        if file is not None:
            file.close()


def _indexes(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("[!.]*.json")) if path.name != "key.json"]


def _shard(path: Path) -> tuple[Shard, Layout]:
    """A shard from its index; raises ValueError, KeyError or TypeError where that is no index."""
    index = json.loads(path.read_text(encoding="utf-8"))
    if index["format"] != FORMAT:
        raise ValueError(f"format {index['format']}")
    layout = Layout(tuple(tuple(shape) for shape in index["shapes"]), index["dtype"])
    return Shard(path.with_suffix(".rows"), tuple(index["rows"]), index["bytes"], index["crc32"]), layout


def _record(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads((folder / "key.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _last_used(folder: Path) -> float:
    for path in (folder / "key.json", folder):
        with contextlib.suppress(OSError):
            return path.stat().st_mtime
    return 0.0


def _size(folder: Path) -> int:
    total = 0
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                total += entry.stat().st_size
    return total


def _checksum(path: Path) -> int:
    checksum = 0
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            checksum = zlib.crc32(chunk, checksum)
    return checksum


def _numpy(dtype: str) -> np.dtype:
    if dtype == "bfloat16":
        from ml_dtypes import bfloat16

        return np.dtype(bfloat16)
    return np.dtype(dtype).newbyteorder("<")


def _fill(file: IO[bytes], view: memoryview) -> None:
    """Read until the view is full, for one call may give less."""
    while len(view):
        count = file.readinto(view)  # type: ignore[attr-defined]
        if not count:
            raise EOFError("it is truncated")
        view = view[count:]


def _bytes(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _write_all(file: IO[bytes], view: memoryview) -> None:
    while len(view):
        view = view[file.write(view) :]


def _disk_full(root: Path, error: OSError) -> RunFailed:
    return RunFailed(
        f"The feature cache can't be written: {str(error.strerror).lower()} ({root}). What was finished is kept. "
        "Make room and start again, or try cache.dir=<a folder on another disk>, or cache=off."
    )

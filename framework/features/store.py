"""The feature cache on disk: a folder for each key, filled in whole shards, shared by all processes of one or more machines.

    <root>/<key>/key.json      what the features depend on; its time is when they were last used
    <root>/<key>/<id>.rows     the features of some images: one record an image, one after another
    <root>/<key>/<id>.json     which images, in which order, with shapes, dtype, size and checksum of the rows
                               (their keys, or of very many in shards runs of rows of these: two keys of the cache)
    <root>/locks/<key>.*       who writes, who uses (a file each), who removes: locks that die with their process

A shard is there once its ``.json`` is, which is written last; both are written beside their names and renamed. No two
writers have a name in common, so any number of them may write one key: locks only keep processes of one machine, or of a
disk that keeps locks between machines, from computing the same twice. What a killed writer leaves besides is never read, and
swept by a later one once it is so old that nobody can be at work on it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from framework.core.console import amount, say, warn
from framework.core.errors import BadInput, Problem, RunFailed
from framework.core.files import in_use, is_full, locked, whole, write_whole
from framework.data.columns import at, joined
from framework.features.key import digest
from framework.features.places import Places
from framework.features.shards import (
    BY_SHARD,
    FORMAT,
    NO_INDEX,
    Layout,
    Runs,
    Shard,
    as_bytes,
    fill,
    index_of,
    indexes,
    read_index,
    write_all,
)
from framework.features.upkeep import GIB, trim

SHARD_BYTES = 64 << 20
SHARD_SECONDS = 20.0
# A half-written file that has not grown for so many seconds is a killed writer's.
STALE = 3600.0
# Opening a key compares so many bytes with their checksums, a tenth of a second's work; of the rest it checks the size.
CHECKED_BYTES = 256 << 20


class Store:
    """The features of one key; what is read of them is what was there at the last ``refresh``.

    Args:
        root: the cache's folder.
        description: all that the features depend on.
        layout: of a record.
        by_shard: whether its rows are ``Keys``, of which it holds runs, or any other texts.
    """

    def __init__(self, root: Path, description: Mapping[str, Any], layout: Layout, by_shard: bool = False):
        self.root, self.description, self.layout, self.by_shard = root, description, layout, by_shard
        self.key = digest({**description, "format": BY_SHARD if by_shard else FORMAT})
        self.folder = root / self.key
        self._use = contextlib.ExitStack()
        self._shards: dict[Path, Shard] = {}
        self._places = Places()

    def open(self, about: Mapping[str, Any]) -> None:
        """Keep others from clearing the features until closed, and note the time of use.

        Args:
            about: what a person wants to read of the features in a list.

        Raises:
            BadInput: the folder can't be used.
        """
        try:
            self._use.enter_context(in_use(self.root, self.key))
            self.folder.mkdir(parents=True, exist_ok=True)
            record = self.folder / "key.json"
            if record.exists():
                os.utime(record)
            else:
                content = {"format": FORMAT, "about": about, "depends_on": self.description}
                write_whole(record, json.dumps(content, indent=2) + "\n")
        except OSError as error:
            if is_full(error):
                raise _disk_full(self.root, error) from None
            problem = f"the feature cache can't be kept in {self.root}: {error.strerror}"
            raise BadInput(Problem(problem, "cache.dir", "cache.dir=<another folder>, or cache=off")) from None

    def close(self) -> None:
        """Let others clear the features."""
        self._use.close()

    def refresh(self) -> None:
        """Take notice of the shards that are there now; one that is damaged is named, removed and not used."""
        for path in indexes(self.folder):
            if path in self._shards:
                continue
            shard = self._read_shard(path)
            if shard is not None:
                self._shards[path] = shard
                self._places.add(len(self._shards) - 1, shard.rows)

    def absent(self, rows: Sequence[str]) -> np.ndarray:
        """Positions of the rows that are not kept, int64, of each row one: in order, ``Keys`` in that of their shards."""
        return self._places.absent(rows)

    def missing(self, rows: Sequence[str]) -> Sequence[str]:
        """The rows that are not kept, each once, in the order of ``absent``."""
        found = at(rows, self.absent(rows))
        return list(found) if isinstance(found, tuple) else found

    def finder(self, rows: Sequence[str]) -> Callable[[np.ndarray], np.ndarray]:
        """From positions among these rows, int64, to where they are: int64 (positions, 2), shard and position in it.

        Raises:
            KeyError: one is not kept; of ``Keys`` it is noticed when that one is asked for.
        """
        return self._places.finder(rows)

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
                    fill(file, as_bytes(records[start:stop]))
            except (OSError, EOFError) as error:
                raise RunFailed(f"{path} can't be read any more: {error}; start again to compute it anew") from None
        return records

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Be the one process that writes, as far as the disk keeps locks; what was killed long ago has its leavings swept."""

        def waiting() -> None:
            say(f"Waiting: another process computes these features ({self.folder}).")

        with locked(self.root / "locks" / f"{self.key}.write", waiting):
            self._sweep()
            self.refresh()
            yield

    def add(self, stream: Iterable[tuple[Sequence[str], np.ndarray]]) -> None:
        """Keep records as they come, in shards of 64 MiB or 20 seconds, so that a kill loses no more than that.

        Args:
            stream: rows and their records, uint8 of shape (rows, bytes).

        Raises:
            RunFailed: the disk is full; whole shards stay.
        """
        self.write(stream)
        self.refresh()

    def write(self, stream: Iterable[tuple[Sequence[str], np.ndarray]], called: str = "") -> None:
        """The same, without taking notice of the shards, for one of several writers.

        Args:
            stream: as for ``add``.
            called: what the names of the shards begin with.
        """
        stream = iter(stream)
        try:
            for first in stream:
                self._write_shard(chain([first], stream), called)
        except OSError as error:
            if is_full(error):
                raise _disk_full(self.root, error) from None
            raise

    def written(self, called: str) -> set[str]:
        """The rows of all whole shards whose names begin so; one that can't be read has none."""
        rows: set[str] = set()
        for path in self.folder.glob(f"{called}*.json"):
            with contextlib.suppress(*NO_INDEX):
                rows.update(read_index(path)[0].rows)
        return rows

    def make_room(self, images: int, limit: float) -> None:
        """Before so many images are added, clear other keys until all keep to ``limit``, least recently used first.

        Args:
            images: how many records will be added.
            limit: GiB that all features may take.

        Raises:
            BadInput: these features alone would take more.
            RunFailed: the disk has no room for them.
        """
        more = images * self.layout.bytes
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
            shard, layout = read_index(path)
            checked = sum(other.size for other in self._shards.values()) + shard.size
            fault = shard.fault(thorough=checked <= CHECKED_BYTES)
            if (
                layout != self.layout
                or shard.size != len(shard.rows) * layout.bytes
                or isinstance(shard.rows, Runs) != self.by_shard
            ):
                fault = "its records are of another shape"
        except FileNotFoundError:  # cleared since it was listed
            return None
        except NO_INDEX as error:
            shard, fault = Shard(path.with_suffix(".rows"), (), 0, 0), f"its index can't be read ({error})"
        if fault is None:
            return shard
        warn(f"{shard.path}: {fault}. Its features are computed again.")
        shard.remove()
        return None

    def _sweep(self) -> None:
        """Remove what killed writers have left; by its age alone, for who writes may be on another machine."""
        with contextlib.suppress(FileNotFoundError):
            # set at ``open`` by the clock of the disk, which is that of its other files
            now = (self.folder / "key.json").stat().st_mtime
            for path in self.folder.iterdir():
                half = path.name.startswith(".") or (path.suffix == ".rows" and not path.with_suffix(".json").exists())
                if half and now - path.stat().st_mtime > STALE:
                    path.unlink(missing_ok=True)

    def _write_shard(self, stream: Iterator[tuple[Sequence[str], np.ndarray]], called: str) -> None:
        path = self.folder / f"{called}{uuid.uuid4().hex[:16]}.rows"
        rows: list[Sequence[str]] = []
        size = checksum = 0
        started = time.monotonic()
        with whole(path) as beside, open(beside, "wb", buffering=0) as file:
            for names, records in stream:
                data = as_bytes(np.ascontiguousarray(records))
                write_all(file, data)
                rows.append(names)
                size += len(data)
                checksum = zlib.crc32(data, checksum)
                if size >= SHARD_BYTES or time.monotonic() - started >= SHARD_SECONDS:
                    break
        try:
            write_whole(path.with_suffix(".json"), index_of(joined(rows), self.layout, size, checksum))
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def _disk_full(root: Path, error: OSError) -> RunFailed:
    return RunFailed(
        f"The feature cache can't be written: {str(error.strerror).lower()} ({root}). What was finished is kept. "
        "Make room and start again, or try cache.dir=<a folder on another disk>, or cache=off."
    )

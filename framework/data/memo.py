"""Remembers a short text about each file for as long as the file does not change."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from framework.core.console import progress
from framework.core.files import cache_folder, write_whole
from framework.data import containers
from framework.data.columns import ShardPaths, numbers_of, runs_of, within

# A file changed a moment ago may change again within the clock's tick and keep size and time: it is not remembered yet.
_SETTLED_NS = 2_000_000_000
# So many files are one task: by itself each costs a thread's task more than reading it, and of a million a GiB.
_TOGETHER = 64
_SAVED = 20.0  # seconds after which what was found of shards is written


def remembered(
    paths: Sequence[str], what: str, compute: Callable[[list[str]], list[str]], *, anew: bool = False
) -> list[str]:
    """``compute(paths)``, called only for files whose path, size or time of change is not known from before.

    The memory is a file in the user's cache folder for each folder that holds an image, one of a container too, so that
    it does not matter which files are asked for together. A file that can't be looked at is left to ``compute`` each
    time; a memory that can't be read or written is done without.

    Args:
        paths: files.
        what: names the computation and its version.
        compute: files to one text each.
        anew: compute for every file, and remember that.
    """
    parents = list(map(os.path.dirname, paths))
    in_full = {parent: os.path.abspath(parent) for parent in dict.fromkeys(parents)}
    folders = [in_full[parent] for parent in parents]
    memories = {folder: _Memory(folder, what) for folder in dict.fromkeys(folders)}
    states = [containers.state(path) for path in paths]
    values: dict[int, str] = {}
    for number, (path, folder, state) in enumerate(zip(paths, folders, states, strict=True)):
        value = None if anew else memories[folder].get(path, state)
        if value is not None:
            values[number] = value
    unknown = [number for number in range(len(paths)) if number not in values]
    now = time.time_ns()
    computed = compute([paths[number] for number in unknown]) if unknown else []
    for number, value in zip(unknown, computed, strict=True):
        values[number] = value
        state = states[number]
        if state is not None and now - state[1] > _SETTLED_NS:
            memories[folders[number]].set(paths[number], state, value)
    for memory in memories.values():
        memory.write()
    return [values[number] for number in range(len(paths))]


def remembered_of_rows(
    paths: ShardPaths, what: str, title: str, function: Callable[[str], str], *, anew: bool = False
) -> dict[int, str]:
    """``function`` of images in shards, as ``remembered`` and ``by_threads``: texts that are not empty, by position.

    A shard's images are looked at together, and remembered as long as the shard does not change: runs of rows that were
    looked at, and what there is to say of some. What is done of many shards is kept now and then.
    """
    folders = {number: os.path.dirname(os.path.abspath(paths.shards[number].file)) for number in paths.used}
    memories = {folder: _Memory(folder, what) for folder in dict.fromkeys(folders.values())}
    found: dict[int, str] = {}
    left: dict[int, int] = {}
    ranges = paths.by_shard()

    def unknown(number: int, runs: np.ndarray) -> np.ndarray:
        positions = ranges.places(number)
        return positions if anew else positions[~within(runs, paths[positions].row)]

    for number in folders:
        file = paths.shards[number].file
        runs, said = _of_rows(memories[folders[number]].get(file, containers.state(file)))
        if count := len(unknown(number, runs)):
            left[number] = count
        if said:
            positions = ranges.places(number)
            rows = paths[positions].row.tolist()
            found |= {place: said[row] for place, row in zip(positions.tolist(), rows, strict=True) if row in said}
    if not left:
        return dict(sorted(found.items()))
    saved = time.monotonic()
    with progress(title, sum(left.values()), "files") as advance:
        for number in left:
            file, memory = paths.shards[number].file, memories[folders[number]]
            state, now = containers.state(file), time.time_ns()
            runs, said = _of_rows(memory.get(file, state))
            positions = unknown(number, runs)
            rows_of = paths[positions].row
            texts = _in_threads(function, paths[positions], advance)
            for place, row, text in zip(positions.tolist(), rows_of.tolist(), texts, strict=True):
                for known, key in ((found, place), (said, row)):
                    known.pop(key, None)
                    if text:
                        known[key] = text
            if state is not None and now - state[1] > _SETTLED_NS:
                runs = runs_of(np.union1d(numbers_of(runs), rows_of))
                memory.set(file, state, json.dumps({"rows": runs.tolist(), "said": said}))
            if time.monotonic() - saved > _SAVED:
                memory.write()
                saved = time.monotonic()
    for memory in memories.values():
        memory.write()
    return dict(sorted(found.items()))


def _of_rows(text: str | None) -> tuple[np.ndarray, dict[int, str]]:
    """What is remembered of a shard: runs of rows, int64 (runs, 2), and texts by row."""
    try:
        known = json.loads(text or "")
        return np.array(known["rows"], np.int64).reshape(-1, 2), {
            int(row): str(one) for row, one in known["said"].items()
        }
    except (ValueError, LookupError, TypeError, AttributeError):
        return np.zeros((0, 2), np.int64), {}


def by_threads(what: str, function: Callable[[str], str], paths: Sequence[str]) -> list[str]:
    """``function`` of each file, several at once, with progress; errors are those of the function."""
    with progress(what, len(paths), "files") as advance:
        return _in_threads(function, paths, advance)


def _in_threads(function: Callable[[str], str], paths: Sequence[str], advance: Callable[[int], object]) -> list[str]:
    together = max(1, min(_TOGETHER, len(paths) // 100))
    some = [paths[start : start + together] for start in range(0, len(paths), together)]
    found: list[str] = []
    with ThreadPoolExecutor() as pool:
        for texts in pool.map(lambda names: list(map(function, names)), some):
            found += texts
            advance(len(texts))
    return found


class _Memory:
    """What is known of the files of one folder."""

    def __init__(self, folder: str, what: str):
        key = hashlib.blake2b(folder.encode(errors="surrogateescape"), digest_size=8).hexdigest()
        self._file = cache_folder() / "files" / f"{what}-{key}.json"
        self._news = False
        try:
            known = json.loads(self._file.read_bytes())
        except (OSError, ValueError):
            known = None
        self._known: dict[str, object] = known if isinstance(known, dict) else {}

    def get(self, path: str, state: list[int] | None) -> str | None:
        entry = self._known.get(os.path.basename(path))
        fits = state is not None and isinstance(entry, list) and entry[:2] == state and len(entry) == 3
        return str(entry[2]) if fits and isinstance(entry, list) else None

    def set(self, path: str, state: list[int], value: str) -> None:
        self._known[os.path.basename(path)] = [*state, value]
        self._news = True

    def write(self) -> None:
        if self._news:
            with contextlib.suppress(OSError):  # a full or read-only cache folder costs time, no more
                write_whole(self._file, json.dumps(self._known))
            self._news = False

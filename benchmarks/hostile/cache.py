"""The feature cache: damaged, mixed up, left by a writer that died at each of its calls to the system, on a full disk.

What is read of it must be what was written; what is damaged is noticed when the cache is opened, said once, and computed
again. What a writer asks of the system goes through a few functions of Python: each call of each is one moment to die at,
before it, and of a write also in its middle.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import itertools
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.hostile.child import in_child
from benchmarks.hostile.tally import Tally
from framework.core.errors import FrameworkError, RunFailed
from framework.core.files import is_full
from framework.features import store as module
from framework.features.shards import Layout
from framework.features.store import Store
from framework.features.upkeep import clear, listing, trim, verify

LAYOUT = Layout(((4, 2), (3,)), "float32")
ROWS = [str(number) for number in range(12)]
CALLS = ("replace", "rename", "fsync", "unlink", "remove", "mkdir", "utime", "open", "link", "ftruncate")
NEED_NO_ROOM = ("unlink", "remove", "utime")
DIED = 77


def carry_out(tally: Tally, folder: Path, short: bool, requests: int) -> None:
    """All of it; ``short``: fewer damaged bytes."""
    with mock.patch.object(module, "SHARD_BYTES", 3 * LAYOUT.bytes):
        _damage(tally, folder, 40 if short else 500)
        _mixed_up(tally, folder)
        for name, work in (("filling", _fill), ("going on", _go_on), ("clearing", _clear)):
            _die(tally, folder, name, work)
            _fill_the_disk(tally, folder, name, work)


def record(row: str) -> np.ndarray:
    """What belongs to a row."""
    return np.random.default_rng(int(row)).standard_normal(LAYOUT.bytes // 4).astype(np.float32).view(np.uint8)


def opened(root: Path, description: str = "abc") -> Store:
    """A store, open."""
    store = Store(root, {"prefix": description}, LAYOUT)
    store.open({"base": "small"})
    store.refresh()
    return store


def filled(root: Path, rows: Sequence[str] = ROWS, description: str = "abc") -> Store:
    """A store that holds these rows; what it held already is not computed again."""
    store = opened(root, description)
    with store.writing():
        missing = store.missing(rows)
        store.add(
            (missing[at : at + 2], np.stack([record(row) for row in missing[at : at + 2]]))
            for at in range(0, len(missing), 2)
        )
    return store


def _kept(store: Store, row: str) -> np.ndarray:
    return store.read(store.finder([row])(np.array([0])))[0]


def fault(root: Path, rows: Sequence[str] = ROWS, kept: int = 0) -> str:
    """What is wrong with a cache, whatever has happened to it: with what is there, and with going on."""
    with _silent() as said:
        store = opened(root)
        there = [row for row in rows if not store.missing([row])]
        if any((_kept(store, row) != record(row)).any() for row in there):
            return "a record is not what was written"
        if len(there) < kept:
            return f"{len(there)} records are left of {kept} that were whole"
        store.close()
        for path in store.folder.glob(".*"):  # what a dead writer has left goes once it is old
            os.utime(path, (0, time.time() - module.STALE - 60))
        filled(root, rows).close()
        again = opened(root)
        if again.missing(rows):
            return "going on did not make it whole"
        if any((_kept(again, row) != record(row)).any() for row in rows):
            return "a record is not what was written, after going on"
        if faults := verify(root):
            return f"verify finds {faults}"
        left = [path.name for path in again.folder.iterdir() if path.name.startswith(".")]
        again.close()
    if left:
        return f"left behind: {left}"
    lines = said.getvalue().splitlines()
    return "said twice" if len(set(lines)) < len(lines) else ""


@contextlib.contextmanager
def _silent() -> Iterator[io.StringIO]:
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        yield said


def _damage(tally: Tally, folder: Path, count: int) -> None:
    """A byte of a file flipped, a file cut, longer, empty, gone."""
    draw, root, whole = random.Random(0), folder / "damaged", folder / "whole"
    with _silent():
        filled(whole).close()
    files = sorted(path for path in whole.rglob("*") if path.suffix in (".rows", ".json"))

    def damaged(file: Path, content: bytes) -> Callable[[], str]:
        def ask() -> str:
            shutil.rmtree(root, ignore_errors=True)
            shutil.copytree(whole, root)
            (root / file.relative_to(whole)).write_bytes(content)
            return fault(root)

        return ask

    cases = []
    for number in range(count):
        file = draw.choice(files)
        data, at = file.read_bytes(), draw.randrange(file.stat().st_size)
        flipped = data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]
        changes = {"flipped": flipped, "cut": data[:at], "longer": data + b"x" * at, "of zeros": bytes(len(data))}
        what = draw.choice(["flipped", *changes])
        cases.append((f"{file.suffix} {what}, {number}", damaged(file, changes[what])))
    tally.cases(cases)


def _mixed_up(tally: Tally, folder: Path) -> None:
    """What belongs elsewhere, or was never the cache's."""

    def prepared(change: Callable[[Path, Path], Any]) -> Callable[[], str]:
        def ask() -> str:
            root = folder / "mixed"
            shutil.rmtree(root, ignore_errors=True)
            with _silent():
                own, other = filled(root), filled(root, [str(100 + number) for number in range(12)], "another")
                own.close()
                other.close()
            change(own.folder, other.folder)
            wrong = fault(root)
            with _silent():
                listing(root)
            return wrong

        return ask

    def take(ending: str, name: str = "") -> Callable[[Path, Path], Any]:
        def change(own: Path, other: Path) -> None:
            mine = sorted(own.glob("[!k]*.json"))[0]
            theirs = sorted(other.glob("[!k]*.json"))[0]
            for one in ending.split():
                shutil.copy(theirs.with_suffix(one), (own / name if name else mine).with_suffix(one))

        return change

    outside = folder / "outside"
    outside.mkdir()
    (outside / "photo.jpg").write_bytes(b"mine")

    def link(own: Path, _: Path) -> None:
        (own / "deadbeef.rows").symlink_to(outside / "photo.jpg")
        (own / "link").symlink_to(outside)

    def whole_link(own: Path, _: Path) -> None:
        shutil.rmtree(own)
        own.symlink_to(outside)

    cases: dict[str, Callable[[Path, Path], Any]] = {
        "rows of another key": take(".rows"),
        "an index of another key": take(".json"),
        "a shard of another key, under its name": take(".rows .json"),
        "a pipe called .json": lambda own, _: os.mkfifo(own / "ffff.json"),
        "a folder called .json": lambda own, _: (own / "ffff.json").mkdir(),
        "a link to a photo": link,
        "an index of 10^9 rows": lambda own, _: sorted(own.glob("[!k]*.json"))[0].write_text(
            '{"format": 1, "rows": [' + "0," * 10**6 + "0]}"
        ),
        "an index nested deeply": lambda own, _: sorted(own.glob("[!k]*.json"))[0].write_text("[" * 10**5),
        "an index of other shapes": lambda own, _: sorted(own.glob("[!k]*.json"))[0].write_text(
            '{"format": 1, "rows": ["0"], "shapes": [[1000000, 1000000, 1000000]], "dtype": "float32", "bytes": 1, "crc32": 0}'
        ),
        "an index of another dtype": lambda own, _: sorted(own.glob("[!k]*.json"))[0].write_text(
            '{"format": 1, "rows": ["0"], "shapes": [[4, 2], [3]], "dtype": "object", "bytes": 44, "crc32": 0}'
        ),
        "a key.json that is none": lambda own, _: (own / "key.json").write_text("[1"),
        "somebody's files": lambda own, _: (own.parent / "thesis.tex").write_text("mine"),
    }
    tally.cases((name, prepared(change)) for name, change in cases.items())

    def stranger() -> str:
        """A folder that is not the cache's is not cleared."""
        root = folder / "stranger"
        (root / "photos").mkdir(parents=True)
        (root / "photos" / "a.jpg").write_bytes(b"mine")
        (root / "thesis.tex").write_text("mine")
        with _silent():
            filled(root).close()
            clear(root)
            trim(root, 0.0)
        kept = (
            (root / "photos" / "a.jpg").exists() and (root / "thesis.tex").exists() and (outside / "photo.jpg").exists()
        )
        return "" if kept else "somebody's file was removed"

    tally.case("clearing a stranger's folder", stranger)


# what a writer asks of the system


class _File(io.RawIOBase):
    """A file opened for writing, whose writes are asked first."""

    def __init__(self, file: Any, asked: Callable[[str], bool]):
        self._file, self._asked = file, asked

    def write(self, data: Any) -> int:
        if self._asked("write"):
            self._file.write(bytes(data)[: len(data) // 2])
            self._file.flush()
            raise _Now
        return int(self._file.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()


class _Now(BaseException):
    """The moment has come."""


@contextlib.contextmanager
def _asking(asked: Callable[[str], bool], act: Callable[[], None]) -> Iterator[None]:
    """While entered, each call is asked about before it is made; where the answer is yes, ``act`` comes in its place."""

    def wrapped(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if asked(name):
                act()
            return real(*arguments, **named)

        return call

    real_open = io.open

    def open_file(file: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        opened = real_open(file, mode, *arguments, **named)
        if "w" not in mode or "b" not in mode:
            return opened

        def stopping(name: str) -> bool:
            return asked(name)

        return _Acting(_File(opened, stopping), act)

    with contextlib.ExitStack() as stack:
        for name in CALLS:
            if hasattr(os, name) and name != "open":
                stack.enter_context(mock.patch.object(os, name, wrapped(name, getattr(os, name))))
        stack.enter_context(mock.patch.object(builtins, "open", open_file))
        stack.enter_context(mock.patch.object(io, "open", open_file))
        yield


class _Acting:
    """A file whose torn write ends in the act."""

    def __init__(self, file: _File, act: Callable[[], None]):
        self._file, self._act = file, act

    def write(self, data: Any) -> int:
        try:
            return self._file.write(memoryview(data))
        except _Now:
            self._act()
            raise OSError(errno.EIO, "the act came back") from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _Acting:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _fill(root: Path) -> None:
    filled(root).close()


def _go_on(root: Path) -> None:
    filled(root, ROWS[:5]).close()
    filled(root).close()


def _clear(root: Path) -> None:
    filled(root).close()
    clear(root)


def _calls(work: Callable[[Path], None], root: Path) -> int:
    """How many calls the work makes."""
    made: list[str] = []
    shutil.rmtree(root, ignore_errors=True)

    def asked(name: str) -> bool:
        made.append(name)
        return False

    with _silent(), _asking(asked, lambda: None):
        work(root)
    shutil.rmtree(root, ignore_errors=True)
    return len(made)


def _once(moment: int, but: Sequence[str] = ()) -> Callable[[str], bool]:
    """Whether the call that is made is the one of this number, and not one of these names."""
    made = itertools.count()
    return lambda call: next(made) == moment and call not in but


def _die(tally: Tally, folder: Path, name: str, work: Callable[[Path], None]) -> None:
    """A process that dies at each call in turn; what it has left is whole, and another goes on."""
    root = folder / "dying"
    count = _calls(work, root)

    def at(moment: int) -> Callable[[], str]:
        def dying() -> None:
            with _silent(), _asking(_once(moment), lambda: os._exit(DIED)):
                work(root)

        def ask() -> str:
            shutil.rmtree(root, ignore_errors=True)
            ended = in_child(dying)
            return fault(root) if ended == f"it ended with {DIED}" else f"it did not die: {ended}"

        return ask

    tally.cases((f"died while {name}, at call {moment + 1} of {count}", at(moment)) for moment in range(count))
    tally.facts.append(f"{count} moments to die at while {name}")


def _fill_the_disk(tally: Tally, folder: Path, name: str, work: Callable[[Path], None]) -> None:
    """A disk that is full at each call in turn: one message, and what was whole stays."""
    root = folder / "full"

    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def at(moment: int) -> Callable[[], str]:
        def ask() -> str:
            shutil.rmtree(root, ignore_errors=True)
            try:
                with _silent(), _asking(_once(moment, NEED_NO_ROOM), full):
                    work(root)
            except RunFailed as error:
                if "no space left" not in str(error):
                    return f"another message: {error}"
            except FrameworkError as error:
                return f"another message: {error}"
            except OSError as error:  # which a command tells as it is
                if not is_full(error):
                    raise
            return fault(root)

        return ask

    tally.cases((f"full while {name}, at call {moment + 1}", at(moment)) for moment in range(_calls(work, root)))

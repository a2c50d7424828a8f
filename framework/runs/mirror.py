"""A copy of the run folder in an object store, kept up while the run goes on, and taken up by another machine.

    <address>/…                 the run folder's files, each whole, the state behind all that it belongs to
    <address>/.claims/<n>.json  who writes here: the one with the highest number, which it made where there was none

A store replaces an object whole, so a kill leaves the old file or the new one. There is no lock in one: a writer claims the
copy by an object that it makes on the condition that there is none of that name (``If-None-Match``), beats while it lives, and
stops writing where it finds a later claim. A claim that beats no more, or whose process is gone, is a killed writer's.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from framework.config.folders import shown
from framework.core.console import progress, say, warn
from framework.core.errors import BadInput, Problem, many
from framework.core.files import BESIDE, whole, write_whole
from framework.core.runs import RunFolder
from framework.data import remote

WHERE = "mirror"
CLAIMS = ".claims"
RECORD = ".mirror.json"  # in the run folder: the claims that were this folder's
LINKS = ".mirror"  # in the run folder: files as they were when a round of copying began
EVERY = 2.0  # seconds between two rounds of copying
BEAT = 10.0  # seconds between two beats of a claim
LEASE = 35.0  # a claim that has not beaten for so many seconds is a killed writer's
TRIES = 3  # rounds at the end, where the store does not answer

# what counts most when the folder is taken up is copied last, and fetched last: a run is there once its ``run.json`` is
_LAST = ("state.npz", "run.json")
_CLAIM = ("token", "beat", "over", "process", "machine")
_UNKNOWN = (-1, -1, -1)  # of a file that is there, as nobody knows which


def address_of(mirror: str, folder: Path) -> str:
    """Where a run's copy is: at the address itself, in a sweep in a folder there that is called as the run's."""
    in_sweep = (folder.parent / "sweep.json").is_file()
    return f"{mirror.rstrip('/')}/{folder.name}" if in_sweep else mirror.rstrip("/")


class Mirror:
    """Keeps the copy up while it is entered.

    Args:
        address: of the copy, ``s3://bucket/path``.
        folder: the run's, locked by this process.
    """

    def __init__(self, address: str, folder: RunFolder):
        self.address, self.folder = address, folder
        self._record, self._links = folder.path / RECORD, folder.path / LINKS
        self._claim, self._token, self._beats = "", uuid.uuid4().hex, 0
        self._there: dict[str, tuple[int, int, int]] = {}  # what was copied, by name, and what it was then
        self._lost = self._fault = ""
        self._over = threading.Event()
        self._one_at_a_time, self._speaking = threading.Lock(), threading.Lock()

    def __enter__(self) -> Mirror:
        """Claim the copy, and take it up where this folder holds no run.

        Raises:
            BadInput: the store does not answer or refuses, somebody else writes there, or has gone on there since.
        """
        self._system, self._root = remote.system_of(self.address, WHERE)
        shutil.rmtree(self._links, ignore_errors=True)
        begun = self.folder.run_json.is_file() and self.folder.config.is_file()
        try:
            before = self._last_claim()
            there = self._listed()
            if begun and there and (before is None or before["token"] not in self._own()):
                who = f"by process {before['process']} on {before['machine']}" if before else "by something else"
                what = f"{self.address} was written {who} since {shown(self.folder.path)} was last copied there"
                raise BadInput(Problem(what, WHERE, "hydra.run.dir=<an empty folder> takes it up, or another mirror"))
            self._take(before)
            self._there = dict.fromkeys(there, _UNKNOWN)
            if not begun and _LAST[-1] in there:
                self._fetch(there)
        except BadInput:
            raise
        except Exception as error:  # of many kinds, as libraries of stores have them
            raise BadInput(_unreachable(self.address, error)) from None
        for work, seconds in ((self._beat, BEAT), (self.copy, EVERY)):
            threading.Thread(target=self._again, args=(work, seconds), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Copy what is left, and give the claim back; says how the copy stands."""
        self._over.set()
        for number in range(TRIES):
            if self.copy(quietly=True):
                break
            if self._lost:
                return
            time.sleep(number)
        else:
            warn(f"{self.address} is behind {shown(self.folder.path)}: {self._fault}; the same command copies the rest")
            return
        with contextlib.suppress(Exception):
            self._say(over=True)
        say(f"mirror {self.address}: {many(len(self._there), 'file')}, all as here")

    def copy(self, quietly: bool = False) -> bool:
        """Copy what has changed, once; whether all is there. What goes wrong is told once, and ends nothing."""
        with self._one_at_a_time:
            try:
                if self._lost or not self._is_own():
                    return False
                self._copy()
            except Exception as error:
                reason = remote.why(error)
                if not self._fault and not quietly:
                    warn(f"{self.address} can't be written: {reason}; the run goes on here, and is copied later")
                self._fault = reason
                return False
            finally:
                shutil.rmtree(self._links, ignore_errors=True)
            if self._fault and not quietly:
                say(f"{self.address} is written again")
            self._fault = ""
            return True

    def _copy(self) -> None:
        # those that come last are held first: all others are then at least as new as they
        last = {name: held for name in _LAST if (held := self._held(name)) is not None}
        names = sorted(path.relative_to(self.folder.path).as_posix() for path in self._files())
        for name in names:
            if name not in _LAST and (held := self._held(name)) is not None:
                self._put(name, *held)
        for name, held in last.items():
            self._put(name, *held)
        for name in [name for name in self._there if name not in (*names, *last)]:
            if not (self.folder.path / name).exists():
                self._system.rm_file(f"{self._root}/{name}")
                del self._there[name]

    def _put(self, name: str, file: Path, state: tuple[int, int, int]) -> None:
        if self._there.get(name) != state:
            self._system.put_file(str(file), f"{self._root}/{name}")
            self._there[name] = state
        file.unlink(missing_ok=True)

    def _held(self, name: str) -> tuple[Path, tuple[int, int, int]] | None:
        """A file as it is now, under a name of its own, whatever takes its place meanwhile; None if it is not there."""
        file, link = self.folder.path / name, self._links / uuid.uuid4().hex
        self._links.mkdir(exist_ok=True)
        try:
            state = _state(file)
            if self._there.get(name) == state:
                return link, state
            try:
                os.link(file, link)
                return link, _state(link)
            except FileNotFoundError:
                return None
            except OSError:  # a disk without links
                shutil.copyfile(file, link)
                return link, state
        except FileNotFoundError:
            return None

    def _files(self) -> Iterator[Path]:
        """All of the run folder but locks and what is half-written."""
        for path in self.folder.path.rglob("*"):
            inside = path.relative_to(self.folder.path).parts
            own = inside[0] in (LINKS, RECORD, self.folder.lock.name)
            if not own and not BESIDE.fullmatch(path.name) and path.is_file() and not path.is_symlink():
                yield path

    def _listed(self) -> list[str]:
        """Files of the copy, by their names in the run folder."""
        found = _find(self._system, self._root)
        names = [name.removeprefix(f"{self._root.strip('/')}/") for name in (one.strip("/") for one in found)]
        for name in names:
            if any(part in ("", ".", "..") for part in name.split("/")):
                raise BadInput(Problem(f"{self.address} has a name that leads out of it: {name}", WHERE))
        return [name for name in names if not name.startswith(f"{CLAIMS}/")]

    def _fetch(self, names: list[str]) -> None:
        """Take the copy up; a kill meanwhile leaves a folder that holds no run, and it is taken up again."""
        ordered = [*(name for name in names if name not in _LAST), *(name for name in _LAST if name in names)]
        with progress(f"Fetching {self.address}", len(ordered), "files") as advance:
            for name in ordered:
                file = self.folder.path / name
                if not name.startswith(".hydra/"):  # this command's own is there already
                    with whole(file) as beside:
                        self._system.get_file(f"{self._root}/{name}", str(beside))
                    self._there[name] = _state(file)
                advance(1)
        say(f"taken up from {self.address}: {many(len(ordered), 'file')}")

    def _take(self, before: dict[str, Any] | None) -> None:
        """Claim the copy.

        Raises:
            BadInput: somebody else writes there.
        """
        if before is not None and not before["over"] and not _is_gone(before):
            self._wait_for(before)
        number = 1 + (int(Path(before["name"]).stem) if before is not None else 0)
        self._claim = f"{self._root}/{CLAIMS}/{number:08d}.json"
        # noted before it is made: where a kill comes between, this folder still knows that the claim is its own
        write_whole(self._record, json.dumps({"claims": [*self._own()[-100:], self._token]}))
        try:
            self._system.pipe_file(self._claim, self._said(), mode="create")
        except Exception:
            now = self._last_claim()
            if now is None or (before is not None and now["token"] == before["token"]):
                raise
            if now["token"] != self._token:
                raise BadInput(_written_by(self.address, now)) from None
        if before is not None:
            with contextlib.suppress(Exception):
                self._system.rm_file(before["name"])

    def _wait_for(self, other: dict[str, Any]) -> None:
        """Wait until a claim has not beaten for long.

        Raises:
            BadInput: it beats.
        """
        say(
            f"Waiting {LEASE:.0f} s to see whether process {other['process']} on {other['machine']} still writes there."
        )
        until = time.monotonic() + LEASE
        while time.monotonic() < until:
            time.sleep(min(1.0, LEASE / 10))
            now = self._last_claim()
            if now is not None and (now["over"], now["beat"], now["token"]) != (False, other["beat"], other["token"]):
                if now["over"]:
                    return
                raise BadInput(_written_by(self.address, now))

    def _last_claim(self) -> dict[str, Any] | None:
        """The claim that holds, with its name; None if there is none."""
        names = _find(self._system, f"{self._root}/{CLAIMS}")
        if not names:
            return None
        try:
            said = json.loads(self._system.cat_file(max(names)))
            return {"name": max(names), **{key: said[key] for key in _CLAIM}}
        except FileNotFoundError:  # a later one has taken its place just now
            return self._last_claim()
        except (ValueError, KeyError, TypeError):
            what = f"{max(names)} is no claim that this program has written"
            raise BadInput(Problem(what, WHERE, "another address")) from None

    def _beat(self) -> None:
        """Say that this process is alive."""
        with contextlib.suppress(Exception):  # copying tells what is wrong with the store
            if self._is_own():
                self._say()

    def _is_own(self) -> bool:
        """Whether the copy is still this process's to write; where somebody else has claimed it, it writes no more."""
        now = self._last_claim()
        if now is not None and now["token"] != self._token and not self._lost:
            self._lost = f"process {now['process']} on {now['machine']} writes there now"
            warn(f"{self.address} is copied to no more: {self._lost}; the run goes on here")
        return not self._lost

    def _say(self, over: bool = False) -> None:
        with self._speaking:
            if over or not self._over.is_set():  # a beat behind the last word would take it back
                self._beats += 1
                self._system.pipe_file(self._claim, self._said(over))

    def _said(self, over: bool = False) -> bytes:
        said = {"token": self._token, "beat": self._beats, "over": over}
        return json.dumps({**said, "process": os.getpid(), "machine": platform.node()}).encode()

    def _own(self) -> list[str]:
        """Claims that were this folder's."""
        try:
            return list(json.loads(self._record.read_text(encoding="utf-8"))["claims"])
        except (OSError, ValueError, KeyError, TypeError):
            return []

    def _again(self, work: Any, seconds: float) -> None:
        while not self._over.wait(seconds):
            work()


def _is_gone(claim: dict[str, Any]) -> bool:
    """Whether the process of a claim is one of this machine's that is no more."""
    if claim["machine"] != platform.node():
        return False
    try:
        os.kill(int(claim["process"]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _find(system: Any, path: str) -> list[str]:
    """Files below a path, asked of the store itself."""
    system.invalidate_cache()
    try:
        return sorted(system.find(path))
    except FileNotFoundError:
        return []


def _state(file: Path) -> tuple[int, int, int]:
    found = file.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


def _written_by(address: str, claim: dict[str, Any]) -> Problem:
    what = f"process {claim['process']} on {claim['machine']} writes to {address}"
    return Problem(what, WHERE, "another mirror, or wait for its end")


def _unreachable(address: str, error: Exception) -> Problem:
    return Problem(f"{address} can't be used: {remote.why(error)}", WHERE, "a bucket that is there, and access to it")

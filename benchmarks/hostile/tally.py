"""Cases of a section: tried, answered well, failed; and what a command answers when it is called in this process."""

from __future__ import annotations

import contextlib
import io
import math
import os
import random
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

# of processor time for an answer: what grows without bounds is found, a slow machine is not
SECONDS = 30.0
WORD_EVERY = 15.0


@dataclass
class Tally:
    """What came of a section's cases.

    Attributes:
        name: of the section.
        share: of its cases that are tried, drawn; the same ones each time.
        until: when no more are tried, on the monotonic clock.
        tried: how many there were.
        failed: what was wrong with each that was not answered well.
        facts: what else is to be told of the section, a line each.
    """

    name: str
    share: float = 1.0
    until: float = math.inf
    tried: int = 0
    failed: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    _draw: random.Random = field(default_factory=lambda: random.Random(0))
    _said: float = field(default_factory=time.monotonic)

    def case(self, name: str, ask: Callable[[], str | None]) -> None:
        """Try one: ``ask`` gives what was wrong, nothing if it was answered well."""
        if self._draw.random() >= self.share or time.monotonic() > self.until:
            return
        started = time.process_time()
        try:
            wrong = ask()
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}"
        seconds = time.process_time() - started
        if not wrong and seconds > SECONDS:
            wrong = f"it took {seconds:.1f} s of processor time"
        self.slowest = max(self.slowest, (seconds, name))
        self.count(name, wrong or "")

    def count(self, name: str, wrong: str = "") -> None:
        """Note a case that was tried elsewhere."""
        self.tried += 1
        if wrong:
            self.failed.append(f"{name}: {wrong}")
            print(f"  FAILED {self.name}: {name}: {wrong[:500]}", flush=True)
        if time.monotonic() - self._said > WORD_EVERY:
            self._said = time.monotonic()
            print(f"  {self.name}: {self.tried:,} cases, {len(self.failed)} failed", flush=True)


class Told(NamedTuple):
    """What a command came to: its exit code, all that it printed, seconds of processor time."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def said(self) -> str:
        """Both streams."""
        return self.out + self.err


class Accepted(BaseException):
    """The command has accepted what it was given, and would begin."""


def ask(command: Any, arguments: Sequence[str]) -> Told:
    """A command (a module with ``main``) as it answers in this process; ``Accepted`` counts as an exit code of 0."""
    kept = dict(os.environ), list(sys.argv)
    out = io.TextIOWrapper(io.BytesIO(), "utf-8", "surrogateescape")
    err = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace")
    started = time.process_time()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = command.main(list(arguments))
    except Accepted:
        code = 0
    finally:
        seconds = time.process_time() - started
        os.environ.clear()
        os.environ.update(kept[0])
        sys.argv[:] = kept[1]
    out.flush()
    err.flush()
    said = (stream.buffer.getvalue().decode("utf-8", "replace") for stream in (out, err))  # type: ignore[attr-defined]
    return Told(code, *said, seconds)


def unclean(told: Told, codes: Sequence[int] = (2,)) -> str:
    """Why an answer is no clean one of these exit codes; empty if it is."""
    if told.code not in codes:
        return f"exit code {told.code}: {told.said.strip()[-400:]}"
    for word in ("Traceback", "HYDRA_FULL_ERROR", "a fault of this program"):
        if word in told.said:
            return f"{word} in {told.said.strip()[-400:]}"
    if told.code == 2 and not told.err.strip():
        return "no message"
    if any(ord(letter) < 32 and letter not in "\n\t\r" for letter in told.said):
        return f"control characters in {told.said[-400:]!r}"
    return ""


def most_memory() -> float:
    """The most memory that this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

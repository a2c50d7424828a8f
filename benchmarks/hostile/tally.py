"""Cases of a section: tried, answered well, failed; and what a command answers when it is called in this process."""

from __future__ import annotations

import contextlib
import io
import math
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from benchmarks.hostile.child import PROCESSOR_SECONDS, Ended, Measured, in_child

# of processor time for an answer: what grows without bounds is found, a slow machine is not
SECONDS = 30.0
MEBIBYTES = 2048.0
WORD_EVERY = 15.0
Ask = Callable[
    [], str | None
]  # gives what was wrong, nothing or how, if it was answered ``Well``| None]  # gives what was wrong, nothing if it was answered well


@dataclass
class Tally:
    """What came of a section's cases, each tried in a fork of this process, its time and its memory bounded.

    Attributes:
        name: of the section.
        share: of its cases that are tried, drawn; the same ones each time.
        until: when no more are tried, on the monotonic clock.
        most: MiB of memory that a case may take.
        tried: how many there were.
        failed: what was wrong with each that was not answered well.
        facts: what else is to be told of the section, a line each.
        answers: how often cases were answered well in each way that they tell.
        slowest: seconds of processor time of the case that took most, and its name.
        largest: MiB of memory of the case that took most, and its name.
    """

    name: str
    share: float = 1.0
    until: float = math.inf
    most: float = MEBIBYTES
    tried: int = 0
    failed: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, str] = (0.0, "")
    largest: tuple[float, str] = (0.0, "")
    _draw: random.Random = field(default_factory=lambda: random.Random(0))
    _said: float = field(default_factory=time.monotonic)

    def case(self, name: str, ask: Ask) -> None:
        """Try one."""
        self.cases([(name, ask)])

    def cases(self, given: Iterable[tuple[str, Ask]]) -> None:
        """Try several that have something in common, one after the other in one fork; each alone if one ends it."""
        drawn = [one for one in given if self._draw.random() < self.share]
        if not drawn or time.monotonic() > self.until:
            return
        came = in_child(lambda: [_answer(ask) for _, ask in drawn], PROCESSOR_SECONDS + 2.0 * len(drawn))
        if isinstance(came, Ended) and len(drawn) > 1:
            came = [in_child(lambda ask=ask: _answer(ask)) for _, ask in drawn]  # type: ignore[misc]
        for (name, _), one in zip(drawn, [came] if isinstance(came, Ended) else came, strict=True):
            self._note(name, one)

    def _note(self, name: str, came: Ended | _Answer) -> None:
        if isinstance(came, Ended):
            self.count(name, came)
            return
        wrong, seconds, mebibytes = came
        if isinstance(wrong, Well):
            self.answers[wrong] += 1
            wrong = ""
        if not wrong and seconds > SECONDS:
            wrong = f"it took {seconds:.1f} s of processor time"
        if not wrong and mebibytes > self.most:
            wrong = f"it took {mebibytes:,.0f} MiB of memory"
        self.slowest = max(self.slowest, (seconds, name))
        self.largest = max(self.largest, (mebibytes, name))
        self.count(name, wrong)

    def count(self, name: str, wrong: str = "") -> None:
        """Note a case that was tried elsewhere."""
        self.tried += 1
        if wrong:
            self.failed.append(f"{name}: {wrong}")
            print(f"  FAILED {self.name}: {name}: {wrong[:500]}", flush=True)
        if time.monotonic() - self._said > WORD_EVERY:
            self._said = time.monotonic()
            print(f"  {self.name}: {self.tried:,} cases, {len(self.failed)} failed", flush=True)


class Well(str):
    """How a case was answered well."""


class _Answer(NamedTuple):
    came: str
    seconds: float
    mebibytes: float


def _answer(ask: Ask) -> _Answer:
    with Measured() as took:
        try:
            came = ask()
        except Exception as error:
            came = f"{type(error).__name__}: {error}"
    return _Answer(came or "", took.seconds, took.mebibytes)


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

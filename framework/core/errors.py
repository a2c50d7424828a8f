"""What can go wrong, said as entries a person can act on, and the exit code that each kind ends with."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from framework.core.names import text

DONE = 0
FAILED = 1
BAD_INPUT = 2
STOPPED = 3
INTERRUPTED = 130


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with what the user gave: what, where it was set, what would be right."""

    what: str
    where: str = ""
    right: str = ""

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  set in: {self.where}")
        if self.right:
            lines.append(f"  try:    {self.right}")
        return "\n".join(lines)


class FrameworkError(Exception):
    """An error whose text is meant for the user: it is printed without a traceback."""

    exit_code = FAILED


class BadInput(FrameworkError):
    """The user's input can't be used; carries every problem that was found, not only the first."""

    exit_code = BAD_INPUT

    def __init__(self, problems: Iterable[Problem] | Problem | str):
        if isinstance(problems, str):
            problems = Problem(problems)
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class RunFailed(FrameworkError):
    """A training or a gate came to nothing, through no fault of the command line."""

    exit_code = FAILED


class RunStopped(FrameworkError):
    """A run ended before its time and can be resumed."""

    exit_code = STOPPED


def nearest(name: object, names: Iterable[str]) -> str | None:
    """The name most like ``name``, or None where nothing is near."""
    found = difflib.get_close_matches(str(name), list(names), n=1, cutoff=0.6)
    return found[0] if found else None


def listing(names: Sequence[str], most: int = 12) -> str:
    """``a, b, c``, cut after ``most`` names with the number of those left out."""
    shown = ", ".join(map(text, names[:most]))
    return shown if len(names) <= most else f"{shown}, … ({len(names) - most} more)"


def suggestion(name: object, names: Iterable[str]) -> str:
    """What to try in place of an unknown ``name``: the nearest first, else what there is."""
    names = list(names)
    near = nearest(name, names)
    return f"{near} (one of: {listing(names)})" if near else f"one of: {listing(names)}"

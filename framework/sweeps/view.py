"""What a person sees while a sweep runs: on a terminal the runs under way, each with its epoch; elsewhere plain lines."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from framework.core.better import Yardstick
from framework.core.console import clock, lasting, say_under
from framework.core.errors import BadInput
from framework.core.runs import RunFolder
from framework.sweeps.estimate import Course, seconds_left
from framework.sweeps.folder import Outcome, rows_of
from framework.sweeps.log import LOG

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

DRAWN_EVERY = 1.0
WORD_EVERY = 60.0
LAST_WORDS = 2000
# what changes nothing about how long a run takes
CHEAP = ("optim", "loss", "trainer.seed", "trainer.epochs", "head.dropout")


class Shown(Protocol):
    """A run that can be shown: a job, or what the index of a sweep says of one."""

    @property
    def folder(self) -> Path:
        """Of the run."""

    @property
    def overrides(self) -> tuple[str, ...]:
        """What was typed for it."""

    @property
    def epochs(self) -> int:
        """How many it is to have in the end."""


@dataclass
class _Run:
    """A run under way, and what its folder shows of it.

    Attributes:
        folder: of the run.
        label: what was varied.
        epochs: that it is to have in the end.
        kind: what its speed depends on.
        began: a moment of ``time.monotonic``.
        before: epochs that it had behind it then.
        rows: of its history.
        written: when the history was, in seconds since 1970.
    """

    folder: RunFolder
    label: str
    epochs: int
    kind: Hashable
    began: float = field(default_factory=time.monotonic)
    before: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    written: float | None = None

    def look(self) -> None:
        """Read the history if it has changed."""
        try:
            written = self.folder.history.stat().st_mtime
        except OSError:
            return
        if written != self.written:
            self.written, self.rows = written, rows_of(self.folder)
            self.before = min(self.before, len(self.rows))

    def course(self) -> Course:
        """As the estimate sees it now."""
        self.look()
        elapsed = time.monotonic() - self.began
        done = tuple(row.get("seconds") or 0.0 for row in self.rows[self.before :])
        since = min(max(0.0, time.time() - (self.written or 0.0)), elapsed) if done else elapsed
        return Course(max(1, self.epochs - self.before), "running", self.kind, elapsed, since, done)

    def last_words(self) -> str:
        """The last line of its log: what it does before its first epoch."""
        try:
            with open(self.folder.path / LOG, "rb") as file:
                file.seek(max(0, file.seek(0, 2) - LAST_WORDS))
                lines = file.read().decode("utf-8", errors="replace").split("\n")
        except OSError:
            return "starts"
        last = next((line for line in reversed(lines) if line.strip()), "")
        return "".join(character for character in last if character.isprintable()).strip() or "starts"


class View:
    """The runs of one command: those that wait, those under way, and what came of the others.

    While entered it is on the screen; it may be entered again and again, for one batch after the other. It draws when it
    is told something and when ``look`` is called, and has no thread: a process with threads can't be forked.

    Args:
        label: what was varied, of a run's overrides.
        yardstick: how runs are judged.
        total: how many runs there will be, if more than have been expected so far.
    """

    def __init__(self, label: Callable[[Sequence[str]], str], yardstick: Yardstick, total: int = 0):
        self.label, self.yardstick, self.total = label, yardstick, total
        self.ends: Counter[str] = Counter()
        self.best: tuple[str, Outcome] | None = None
        self.at_once = 1
        self._waiting: dict[Path, Course] = {}
        self._running: dict[Path, _Run] = {}
        self._ended: list[Course] = []
        self._console: Console | None = None
        self._live: Live | None = None
        self._drawn = self._said = 0.0
        self._first_end: float | None = None

    def __enter__(self) -> View:
        from rich.live import Live

        self._console = lasting()
        if self._console.is_terminal:
            # a stream put in place of standard error would go on to the forked processes
            self._live = Live(
                console=self._console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._live.start()
        self._said = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def skip(self, overrides: Sequence[str], found: Outcome) -> None:
        """A run that was done before."""
        self.ends["skipped"] += 1
        self._judge(self.label(overrides), found)

    def expect(self, job: Shown, done: int) -> None:
        """A run that is to come, and has so many epochs behind it."""
        self._waiting[job.folder] = Course(max(1, job.epochs - done), kind=_kind(job))

    def begin(self, job: Shown) -> None:
        """A run begins."""
        self._waiting.pop(job.folder, None)
        run = _Run(RunFolder(job.folder), self.label(job.overrides), job.epochs, _kind(job))
        run.look()
        run.before = len(run.rows)
        self._running[job.folder] = run
        self.at_once = max(self.at_once, len(self._running))
        if self._live is None:
            self._say("begun  ", [run.label])
        self._draw()

    def end(self, job: Shown, found: Outcome) -> None:
        """A run has ended."""
        run = self._running.pop(job.folder)
        course = run.course()
        # one that failed says nothing of the others' time
        done = () if found.status == "failed" else course.done
        # what one of the first has made is there for all others
        first = self._first_end is None or run.began < self._first_end
        self._ended.append(replace(course, state="ended", done=done, shared=_shared(run.folder) if first else 0.0))
        self._first_end = self._first_end or time.monotonic()
        self.ends[found.status] += 1
        self._judge(run.label, found)
        result = f"FAILED: {first_line(found.reason)}" if found.status == "failed" else found.status
        if found.value is not None:
            result = f"{found.metric} {found.value:.4f} (epoch {found.epoch})"
            result += ", pruned" if found.status == "pruned" else ""
        left = [text] if self._live is None and (text := self._left()) else []
        self._say(f"[{len(self._ended)}/{self._all()}]  ", [run.label, result, f"{course.elapsed:.1f} s", *left])
        self._draw()

    def look(self) -> None:
        """See how far the runs have come, and show it if that is due."""
        now = time.monotonic()
        if self._live is not None and now - self._drawn >= DRAWN_EVERY:
            self._draw()
        if self._live is None and now - self._said >= WORD_EVERY:
            left = self._left()
            stands = "; ".join(f"{run.label} {_stand(run)}" for run in self._running.values())
            self._say(f"{self._counts()}: ", [stands, *([left] if left else [])])

    def _all(self) -> int:
        known = len(self._ended) + len(self._running) + len(self._waiting)
        return max(self.total - self.ends["skipped"], known)

    def _judge(self, label: str, found: Outcome) -> None:
        value, best = found.value, self.best[1].value if self.best else None
        if found.status == "finished" and self.yardstick.beats(value, best):
            self.best = label, found

    def _say(self, head: str, pieces: Sequence[str]) -> None:
        self._said = time.monotonic()
        say_under(head, pieces, self._console)

    def _left(self) -> str:
        """How long the runs will still take; empty as long as that can't be told."""
        unknown = self._all() - len(self._ended) - len(self._running) - len(self._waiting)
        example = next(iter([*self._waiting.values(), *self._ended]), Course(1))
        courses = [*self._ended, *(run.course() for run in self._running.values()), *self._waiting.values()]
        left = seconds_left([*courses, *[Course(example.epochs)] * unknown], self.at_once)
        return f"{clock(left)} left" if left else ""

    def _counts(self) -> str:
        waiting = self._all() - len(self._ended) - len(self._running)
        counts = {"under way": len(self._running), "waiting": waiting, **self.ends}
        return ", ".join(f"{count} {what}" for what, count in counts.items() if count)

    def _draw(self) -> None:
        if self._live is None:
            return
        self._drawn = time.monotonic()
        self._live.update(self._image(), refresh=True)

    def _image(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        left = self._left()
        lines = [Text(self._counts() + (f"; {left}" if left else ""), style="bold")]
        if self.best is not None:
            label, found = self.best
            lines.append(Text(f"best so far: {found.metric} {found.value:.4f} (epoch {found.epoch})  {label}"))
        return Group(self._table(), *lines)

    def _table(self) -> RenderableType:
        """A line for each run under way, as many as there is room for."""
        from rich.table import Table
        from rich.text import Text

        assert self._console is not None
        columns = [name for name in dict.fromkeys(["loss", self.yardstick.column])]
        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
        table.add_column("under way", overflow="fold", ratio=1)
        for name in ("epoch", *columns, "time"):
            table.add_column(Text(name.replace("val_", "val\n")), justify="right", no_wrap=True, vertical="bottom")
        room = max(1, self._console.height - 8)
        for run in list(self._running.values())[:room]:
            numbers = [run.rows[-1].get(name) if run.rows else None for name in columns]
            label = Text(run.label)
            if not run.rows:
                words = run.last_words()
                half = self._console.width // 2
                label.append("\n" + (words if len(words) <= half else f"{words[: half - 1]}…"), "dim")
            cells = [f"{value:.4f}" if value is not None else "" for value in numbers]
            passed = clock(time.monotonic() - run.began)
            table.add_row(label, f"{len(run.rows)}/{run.epochs}", *map(Text, cells), passed)
        if len(self._running) > room:
            table.add_row(Text(f"and {len(self._running) - room} more", style="dim"))
        return table


def first_line(text: str | None) -> str:
    """The first line of a reason."""
    return (text or "").strip().split("\n", 1)[0]


def _kind(job: Shown) -> Hashable:
    """What a run's speed depends on, of what was typed for it."""
    names = [line.lstrip("+").partition("=")[0].replace("/", ".") for line in job.overrides]
    dear = zip(names, job.overrides, strict=True)
    return frozenset(line for name, line in dear if not any(f"{name}.".startswith(f"{one}.") for one in CHEAP))


def _shared(folder: RunFolder) -> float:
    """Seconds in which a run got its images ready and their features."""
    try:
        seconds = folder.read_run().get("seconds", {})
    except BadInput:
        return 0.0
    return sum(seconds.get(phase, 0.0) for phase in ("data", "features"))


def _stand(run: _Run) -> str:
    return f"epoch {len(run.rows)}/{run.epochs}" if run.rows else run.last_words()

"""What the user reads while a command works: messages and progress on standard error, results on standard output."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from framework.core.notebook import NotebookBar, in_notebook

if TYPE_CHECKING:
    from rich.console import Console


WORD_EVERY = 15.0


def messages() -> Console:
    """Console on standard error, made anew so that a redirected or forked stream is honoured.

    In a notebook on standard output, as plain text: there standard error looks like a fault, and Rich makes a page of
    each line.
    """
    from framework.core.terminal import PlainConsole

    return PlainConsole(stderr=not in_notebook(), force_jupyter=False, soft_wrap=True)


def say(text: str = "") -> None:
    """One message, as it is: no markup is read in it."""
    messages().print(text, markup=False)


def warn(text: str) -> None:
    """A message that should not be missed."""
    messages().print(f"! {text}", markup=False, style="bold yellow")


def program() -> tuple[str, ...]:
    """The command that is running, as it was typed."""
    path = Path(sys.argv[0])
    if path.suffix != ".py":
        return (path.name if shutil.which(path.name) else str(path),)
    module = f"framework.{path.stem}"
    # of the ways to name Python, the one that found it
    python = sys.orig_argv[0] if sys.orig_argv[1:3] == ["-m", module] else "python"
    return (python, "-m", module)


def follow(*words: str) -> None:
    """Say what one may do next, as a line that a shell takes as it stands."""
    say(f"next: {in_bash(*words)}")


def in_bash(*words: str) -> str:
    """Words as a line that a shell takes as it stands, in the quotes that read best: ``"data.dir='my photos'"``."""

    def written(word: str) -> str:
        plain = not set(word) & set('"$`\\!')
        return f'"{word}"' if plain and "'" in word else shlex.quote(word)

    return " ".join(map(written, words))


def lasting() -> Console:
    """Console on standard error as it is now, wherever that is redirected to later; it folds what is too wide."""
    from framework.core.terminal import PlainConsole

    try:
        stream = open(os.dup(sys.stderr.fileno()), "w", encoding=sys.stderr.encoding, errors=sys.stderr.errors)  # noqa: SIM115
    except (OSError, ValueError):  # not a stream of the system's
        return PlainConsole(stderr=True)
    return PlainConsole(file=stream)


def say_under(head: str, text: str | Sequence[str], console: Console | None = None) -> None:
    """A message of a head and what stands behind it.

    Where a terminal is too narrow for it, it is broken at blanks, or between the pieces of a sequence, which two blanks
    separate; further lines begin under the first. A piece, such as a path, is never broken: it can be copied.
    """
    console = console or messages()
    lines = under(head, text, console.width if console.is_terminal else None)
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def under(head: str, text: str | Sequence[str], width: int | None) -> list[str]:
    """Lines of ``width`` cells, as ``say_under`` writes them; None for one line, however long."""
    from rich.cells import cell_len

    pieces, gap = (text.split(" "), " ") if isinstance(text, str) else (text, "  ")
    lines, empty = [head], True
    for piece in pieces:
        if not empty and width is not None and cell_len(lines[-1] + gap + piece) > width:
            lines.append(" " * cell_len(head))
            empty = True
        lines[-1] += piece if empty else gap + piece
        empty = False
    return lines


@contextlib.contextmanager
def progress(what: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
    """A bar with count, rate of work and time left while it lasts; ``advance(n)`` moves it. ``total`` None is
    not known.

    On a terminal and in a notebook it is gone when done. Anywhere else a line every ``WORD_EVERY`` seconds takes its
    place: a log file gets no half-drawn bars.
    """
    console = messages()
    if in_notebook() and total != 0:
        bar = NotebookBar(total)
        try:
            yield lambda count: bar.advance(count, f"{what}: {bar.done:,} {unit}")
        finally:
            bar.close()
        return
    if not console.is_terminal or total == 0:
        yield _by_lines(what, total, unit)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as drawn:
        task = drawn.add_task(what, total=total)
        yield lambda count: drawn.advance(task, count)


@contextlib.contextmanager
def passing(text: str) -> Iterator[None]:
    """A word on a terminal for as long as the block takes, where nothing can be counted and nothing be drawn."""
    shows = sys.stderr.isatty() and not in_notebook() and not messages().is_dumb_terminal
    if shows:
        print(f"{text}\r", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        if shows:
            print("\x1b[2K", end="", file=sys.stderr, flush=True)


def _by_lines(what: str, total: int | None, unit: str) -> Callable[[int], None]:
    done, said = 0, time.monotonic()

    def advance(count: int) -> None:
        nonlocal done, said
        done += count
        if time.monotonic() - said >= WORD_EVERY:
            said = time.monotonic()
            say(f"{what}: {done:,}" + (f" of {total:,} {unit}" if total is not None else f" {unit}"))

    return advance


def clock(seconds: float) -> str:
    """``1:02`` or ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


def amount(size: float) -> str:
    """Bytes in words: ``3.4 MiB``."""
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:,.1f} GiB"

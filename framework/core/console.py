"""What the user reads while a command works: messages and progress on standard error, results on standard output."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def messages() -> Console:
    """Console on standard error, made anew so that a redirected or forked stream is honoured."""
    from framework.core.terminal import PlainConsole

    return PlainConsole(stderr=True, soft_wrap=True)


def say(text: str = "") -> None:
    """One message, as it is: no markup is read in it."""
    messages().print(text, markup=False)


def warn(text: str) -> None:
    """A message that should not be missed."""
    messages().print(f"! {text}", markup=False, style="bold yellow")


@contextlib.contextmanager
def progress(what: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
    """A bar with count, rate of work and time left while it lasts; ``advance(n)`` moves it. ``total`` None is
    not known.

    Shown on a terminal only, and gone when done: a log file gets no half-drawn bars.
    """
    console = messages()
    if not console.is_terminal or total == 0:
        yield lambda _: None
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
    ) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)


def is_terminal() -> bool:
    """Whether messages go to a person's terminal."""
    return sys.stderr.isatty()


def amount(size: float) -> str:
    """Bytes in words: ``3.4 MiB``."""
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:,.1f} GiB"


def many(count: int, one: str, several: str | None = None) -> str:
    """A number of things: ``1 picture``, ``1,200 classes``."""
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"

"""When Python looks for garbage: much of what a command imports and composes is walked through for nothing."""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
from collections.abc import Iterator

SELDOM = 100_000  # objects more than before, in place of 700


@functools.cache
def spare_command() -> None:
    """For a process that is a command: look for garbage seldom, and not at its end, where the system takes everything back."""
    gc.set_threshold(SELDOM, *gc.get_threshold()[1:])
    spare_end()


@functools.cache
def spare_end() -> None:
    """Have no garbage looked for when this process ends."""
    atexit.register(gc.freeze)


@contextlib.contextmanager
def collecting_nothing() -> Iterator[None]:
    """While entered, no garbage is looked for: what is imported stays, and to walk it takes a quarter of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def keep_no_more() -> None:
    """Look for garbage among all that is kept, too."""
    gc.unfreeze()


def keep() -> None:
    """Take all that there is for what stays: a fork that walked through it would have a copy of its own of each page."""
    gc.freeze()

"""How a process is begun: by copying this one where that can be done, and which signals must not meet it half begun."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

FORKS = sys.platform.startswith("linux") and hasattr(os, "fork")
HEARD = (signal.SIGINT, signal.SIGTERM)


def forks() -> bool:
    """Whether a process that is begun now is a copy of this one, and knows what this one has imported.

    A copy of a process that speaks to Ray has its sockets and what it does on SIGTERM, without its threads, and may die of
    that: https://docs.ray.io/en/latest/ray-core/patterns/fork-new-processes.html
    """
    return FORKS and "ray" not in sys.modules


def context() -> Any:
    """The way of ``multiprocessing`` to begin a process."""
    return multiprocessing.get_context("fork" if forks() else "spawn")


def is_copy() -> bool:
    """Whether this process was begun as a copy of another."""
    return FORKS and isinstance(multiprocessing.current_process(), multiprocessing.context.ForkProcess)


@contextlib.contextmanager
def deaf() -> Iterator[None]:
    """Signals wait: one that met a child before it is itself would have it go on as its parent."""
    if not FORKS:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

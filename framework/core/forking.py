"""How a process is begun by copying this one: where that can be done, and which signals must not meet it half begun."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator

FORKS = sys.platform.startswith("linux") and hasattr(os, "fork")
HEARD = (signal.SIGINT, signal.SIGTERM)


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

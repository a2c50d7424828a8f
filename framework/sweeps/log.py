"""Where what a run says goes: a file in its folder, whoever has started the run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

LOG = "log.txt"


def say_to_log(folder: Path) -> Callable[[], None]:
    """Have all that this process says from now on, native libraries too, added to the log; returns what undoes that."""
    folder.mkdir(parents=True, exist_ok=True)
    streams = sys.stdout, sys.stderr
    for stream in streams:
        stream.flush()
    before = os.dup(1), os.dup(2)
    log = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    # by line, so that a run that is killed has said its last words
    sys.stdout = sys.stderr = open(1, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115 - to the end

    def undo() -> None:
        sys.stdout.flush()
        sys.stdout, sys.stderr = streams
        for number, own in zip((1, 2), before, strict=True):
            os.dup2(own, number)
            os.close(own)

    return undo

"""Work in a fork of this process, which may die of it, hang, or take all memory; Linux alone can tell what it took."""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import resource
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LONGEST = 900.0  # seconds on the clock
PROCESSOR_SECONDS = 60.0
MOST = 6 << 30  # bytes beyond what this process holds that can be had at all, so that the machine goes on


class Ended(str):
    """How work ended that gave nothing."""


def in_child(work: Callable[[], Any], seconds: float = PROCESSOR_SECONDS) -> Any:
    """What a function gives in a fork of this process, within so many seconds of processor time; ``Ended`` where it gives nothing."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reads)
            _limit(seconds)
            with open(writes, "wb") as file:
                pickle.dump(work(), file)
            code = 0
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    os.close(writes)
    data, until = b"", time.monotonic() + LONGEST
    with open(reads, "rb", buffering=0) as file:
        while True:
            # at its end the child closes the pipe, whatever it dies of
            ready, _, _ = select.select([file], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                os.kill(child, 9)
                os.waitpid(child, 0)
                return Ended(f"nothing came for {LONGEST:g} s")
            if not (piece := file.read(1 << 16)):
                break
            data += piece
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return pickle.loads(data) if code == 0 and data else Ended(f"it ended with {code}")


def _limit(seconds: float) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(seconds), resource.RLIM_INFINITY))
    held = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (held + MOST, resource.RLIM_INFINITY))


class Measured:
    """While entered: the processor time and the memory that the block takes.

    Attributes:
        seconds: of processor time.
        mebibytes: that were resident at most beyond those at the begin.
    """

    def __enter__(self) -> Measured:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the peak is forgotten: man 5 proc
        self._peak, self._started = _peak(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.process_time() - self._started
        self.mebibytes = max(0.0, _peak() - self._peak)


def _peak() -> float:
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))

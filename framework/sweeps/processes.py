"""Calls in processes of their own, several at once; one that dies takes nothing with it.

On Linux they are forked: what this process has imported they have too, and what they use up is given back whole. A
process that has imported TensorFlow and run nothing yet can be forked; elsewhere each call starts a new interpreter.

Windows has no way to ask another process to stop. Ctrl-C reaches all processes of a console there by itself; where one
is to end for another reason it is given as long as after a Ctrl-C, and then ended, or at once where it is unwanted.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import multiprocessing
import multiprocessing.connection
import multiprocessing.util
import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from framework.core.errors import INTERRUPTED

PATIENCE = 20.0
LOOK_EVERY = 0.5
FORKS = sys.platform.startswith("linux") and hasattr(os, "fork")
ASKS = hasattr(os, "setpgid")  # not on Windows
HEARD = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Ended:
    """A call is over.

    Attributes:
        place: the call's place in the order of calls.
        code: the exit code; below 0 the signal that ended it.
        seconds: how long it took.
    """

    place: int
    code: int
    seconds: float


def in_processes(
    calls: Iterable[Callable[[], int]],
    at_once: int,
    *,
    unwanted: Callable[[int], bool] = lambda place: False,
    meanwhile: Callable[[], object] = lambda: None,
    stopping: Callable[[int], object] = lambda count: None,
) -> Generator[Ended, None, None]:
    """Make the calls, at most ``at_once`` at a time, and yield each end as it comes.

    A call is taken from ``calls`` just before it starts. Closing the iterator, or an interruption, interrupts those
    that run and waits for them.

    Args:
        calls: each returns an exit code; where they are not forked they must pickle.
        at_once: how many run side by side.
        unwanted: asked again and again of each call that runs, by its place, whether it is to be ended by SIGTERM.
        meanwhile: called again and again, as long as any runs.
        stopping: told how many are about to be interrupted, before that is waited for.
    """
    context: Any = multiprocessing.get_context("fork" if FORKS else "spawn")
    waiting = enumerate(calls)
    running: dict[int, tuple[int, Any, float]] = {}
    told: set[int] = set()
    gc.freeze()
    try:
        while True:
            while len(running) < at_once and (following := next(waiting, None)) is not None:
                place, call = following
                process = context.Process(target=_child, args=(call,))
                with _deaf():
                    process.start()
                running[process.sentinel] = place, process, time.perf_counter()
            if not running:
                return
            ended = multiprocessing.connection.wait(list(running), LOOK_EVERY)
            meanwhile()
            for place, process, _ in running.values():
                if place not in told and unwanted(place):
                    told.add(place)
                    process.terminate()
            for sentinel in ended:
                place, process, started = running[sentinel]  # type: ignore[index]
                process.join()
                del running[sentinel]  # type: ignore[arg-type]
                yield Ended(place, process.exitcode, time.perf_counter() - started)
    finally:
        if running:
            stopping(len(running))
        _interrupt([process for _, process, _ in running.values()])
        gc.unfreeze()


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Signals wait: one that met a child before it is itself would have it go on as its parent."""
    if not FORKS:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _child(call: Callable[[], int]) -> None:
    if FORKS and sys.version_info < (3, 13):
        # as Python 3.13 does: what is left to the child's exit is done, TensorFlow's temporary files removed for one
        atexit._clear()  # type: ignore[attr-defined]
        multiprocessing.util.Finalize(None, atexit._run_exitfuncs, exitpriority=0)  # type: ignore[attr-defined]
    try:
        # a group of its own: Ctrl-C reaches the parent alone, which then interrupts each child once
        if ASKS:
            os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if FORKS:
            _go_first()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)
        code = call()
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


def _go_first() -> None:
    """End with the parent, however that ends, and before it where memory runs out."""
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGINT)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")


def _interrupt(processes: list[Any]) -> None:
    for process in processes if ASKS else []:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGINT)
    deadline = time.monotonic() + PATIENCE
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()

"""Calls in processes of their own, several at once; one that dies takes nothing with it.

On Linux they are forked: what this process has imported they have too, and what they use up is given back whole. A
process that has imported TensorFlow and run nothing yet can be forked; elsewhere each call starts a new interpreter.
Where the caller allows it a process that has ended a call well does another: to begin one, and to do anything in it for
the first time, takes longer than some calls do.

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
import pickle
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

from framework.core.errors import DONE, INTERRUPTED

PATIENCE = 20.0
LOOK_EVERY = 0.5
MOST_CALLS = 20  # that one process does: TensorFlow gives back not all that it takes
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
    again: Callable[[int, int], bool] | None = None,
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
        again: asked whether a process that has done the call of one place, with exit code 0, may do that of another,
            which is pickled for it. Without it each call has a process of its own.
        unwanted: asked again and again of each call that runs, by its place, whether it is to be ended by SIGTERM.
        meanwhile: called again and again, as long as any runs.
        stopping: told how many are about to be interrupted, before that is waited for.
    """
    waiting = enumerate(calls)
    running: list[_Worker] = []
    idle: list[_Worker] = []
    told: set[int] = set()
    gc.freeze()
    try:
        while True:
            while len(running) < at_once and (following := next(waiting, None)) is not None:
                place, call = following
                fit = next((one for one in idle if again is not None and again(one.place, place)), None)
                if fit is not None:
                    idle.remove(fit)
                if fit is None or not fit.take(place, call):
                    if len(running) + len(idle) >= at_once:
                        idle.pop(0).leave()
                    fit = _Worker(place, call, lasting=again is not None)
                running.append(fit)
            if not running:
                return
            ready = multiprocessing.connection.wait([thing for one in running for thing in one.awaited], LOOK_EVERY)
            meanwhile()
            for worker in running:
                if worker.place not in told and unwanted(worker.place):
                    told.add(worker.place)
                    worker.process.terminate()
            for worker in [one for one in running if not one.awaited.isdisjoint(ready)]:
                running.remove(worker)
                code = worker.code()
                if worker.lasts:
                    idle.append(worker)
                yield Ended(worker.place, code, time.perf_counter() - worker.started)
    finally:
        if running:
            stopping(len(running))
        for worker in idle:
            worker.leave()
        _interrupt([worker.process for worker in running])
        _join([worker.process for worker in idle])
        gc.unfreeze()


class _Worker:
    """A process, and the call that it does.

    Args:
        place: of its first call.
        call: that call.
        lasting: whether it is to wait for others then.
    """

    def __init__(self, place: int, call: Callable[[], int], lasting: bool):
        context: Any = multiprocessing.get_context("fork" if FORKS else "spawn")
        self.place, self.started, self.done = place, time.perf_counter(), 0
        self.lasts = False
        self._calls: Connection | None = None
        theirs = None
        if lasting:
            self._calls, theirs = context.Pipe()
        self.process = context.Process(target=_child, args=(call, theirs))
        with _deaf():
            self.process.start()
        if theirs is not None:
            theirs.close()

    @property
    def awaited(self) -> set[Any]:
        """What ``multiprocessing.connection.wait`` finds ready where the call has ended."""
        return {self.process.sentinel} | ({self._calls} if self._calls is not None else set())

    def code(self) -> int:
        """The exit code of the call that has ended; ``lasts`` tells then whether the process waits for another."""
        self.done += 1
        if self._calls is not None:
            # closed by who died, or was not reported to since the call did not end well
            with contextlib.suppress(EOFError, OSError):
                code: int = self._calls.recv()
                self.lasts = self.done < MOST_CALLS
                if not self.lasts:
                    self.leave()
                return code
        self.lasts = False
        self.process.join()
        return int(self.process.exitcode)

    def take(self, place: int, call: Callable[[], int]) -> bool:
        """Have the process that waits do another call; whether it can."""
        assert self._calls is not None
        try:
            self._calls.send_bytes(ForkingPickler.dumps(call))
        except (pickle.PicklingError, AttributeError, TypeError):
            self.leave()
            return False
        except OSError:
            return False
        self.place, self.started = place, time.perf_counter()
        return True

    def leave(self) -> None:
        """Have the process that waits end; that is not waited for."""
        assert self._calls is not None
        with contextlib.suppress(OSError):
            self._calls.send(None)


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


def _child(call: Callable[[], int] | None, calls: Connection | None) -> None:
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
        code = DONE
        while call is not None and code == DONE:
            code = call()
            if calls is None:
                break
            if code == DONE:
                calls.send(code)
                call = calls.recv()
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
    _join(processes)


def _join(processes: list[Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()

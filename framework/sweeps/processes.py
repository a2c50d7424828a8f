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
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from framework.core.errors import INTERRUPTED
from framework.sweeps.cards import NONE, VARIABLE, Cards
from framework.sweeps.engines import Call, Ended, Engine, all_ended, threads

PATIENCE = 20.0
FORKS = sys.platform.startswith("linux") and hasattr(os, "fork")
ASKS = hasattr(os, "setpgid")  # not on Windows
HEARD = (signal.SIGINT, signal.SIGTERM)


class _Running(NamedTuple):
    """A call that runs: its place, its process and the cards that it has."""

    place: int
    process: Any
    cards: tuple[str, ...]


class Processes(Engine):
    """This machine.

    Args:
        cpus: cores of a call, and as many threads; None for all that there are.
        gpus: cards of a call; None for one where there are any.
    """

    forks = FORKS

    def __init__(self, cpus: int | None = None, gpus: float | None = None):
        self.cpus, self.gpus = cpus, gpus
        self._cards = Cards(1 if gpus is None else gpus)
        self._context: Any = multiprocessing.get_context("fork" if FORKS else "spawn")
        self._running: dict[int, _Running] = {}

    def __enter__(self) -> Processes:
        gc.freeze()
        return self

    def __exit__(self, *_: object) -> None:
        gc.unfreeze()

    @property
    def room(self) -> int:
        """As many as there are cards for; without cards half as many again as cores.

        A run on kept features traces, trains and draws on little more than half a core.
        """
        if self._cards.room:
            return self._cards.room
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, cores // self.cpus) if self.cpus else cores + cores // 2

    def start(self, place: int, call: Call) -> None:
        """Begin a call, with cards of its own if there are any."""
        cards = self._cards.take()
        environment = threads(self.cpus)
        if cards or self.gpus == 0:
            environment[VARIABLE] = ",".join(cards) or NONE
        process = self._context.Process(target=_child, args=(call.function, environment))
        with _deaf():
            process.start()
        self._running[process.sentinel] = _Running(place, process, cards)

    def ended(self, patience: float) -> list[tuple[int, int, str]]:
        """Calls that have ended."""
        found = []
        for sentinel in multiprocessing.connection.wait(list(self._running), patience):
            place, process, cards = self._running.pop(sentinel)  # type: ignore[arg-type]
            process.join()
            self._cards.give_back(cards)
            found.append((place, process.exitcode, ""))
        return found

    def stop(self, place: int) -> None:
        """Have a call ended by SIGTERM."""
        for one in self._running.values():
            if one.place == place:
                one.process.terminate()

    def interrupt(self) -> None:
        """Interrupt all, and kill those that take no notice."""
        _interrupt([one.process for one in self._running.values()])
        self._running.clear()


def in_processes(
    calls: Iterable[Callable[[], int]], at_once: int, *, unwanted: Callable[[int], bool] = lambda place: False
) -> Generator[Ended, None, None]:
    """Make the calls on this machine, at most ``at_once`` at a time, as ``engines.all_ended`` does."""
    with Processes() as here:
        yield from all_ended(map(Call, calls), here, lambda: at_once, unwanted=unwanted)


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


def _child(call: Callable[[], int], environment: Mapping[str, str]) -> None:
    if FORKS and sys.version_info < (3, 13):
        # as Python 3.13 does: what is left to the child's exit is done, TensorFlow's temporary files removed for one
        atexit._clear()  # type: ignore[attr-defined]
        multiprocessing.util.Finalize(None, atexit._run_exitfuncs, exitpriority=0)  # type: ignore[attr-defined]
    os.environ.update(environment)
    sys.exit(alone(call))


def alone(call: Callable[[], int]) -> int:
    """Make a call that this process is there for, and end with its parent, however that ends; its exit code."""
    try:
        # a group of its own: Ctrl-C reaches the parent alone, which then interrupts each child once
        if ASKS:
            os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if FORKS:
            _go_first()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)
        return call()
    except KeyboardInterrupt:
        return INTERRUPTED


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

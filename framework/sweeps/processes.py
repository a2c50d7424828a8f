"""Calls in processes of their own, several at once; one that dies takes nothing with it.

On Linux they are forked: what this process has imported they have too, and what they use up is given back whole. A
process that has imported TensorFlow and run nothing yet can be forked; elsewhere each call starts a new interpreter.
A process that has ended a call well does another of the same kind: to begin one, and to do anything in it for the first
time, takes longer than some calls do.

Windows has no way to ask another process to stop. Ctrl-C reaches all processes of a console there by itself; where one
is to end for another reason it is given as long as after a Ctrl-C, and then ended, or at once where it is unwanted.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import multiprocessing
import multiprocessing.connection
import multiprocessing.util
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

from framework.core.errors import DONE, INTERRUPTED
from framework.core.forking import FORKS, HEARD, context, deaf, forks, is_copy
from framework.core.garbage import keep, keep_no_more
from framework.core.travelling import threads
from framework.sweeps.cards import NONE, VARIABLE, Cards
from framework.sweeps.engines import Call, Ended, Engine, all_ended

PATIENCE = 20.0
MOST_CALLS = 20  # that one process does: TensorFlow gives back not all that it takes
ASKS = hasattr(os, "setpgid")  # not on Windows


class _Worker:
    """A process, the cards that it has, and the call that it does.

    Args:
        place: of its first call.
        call: that call; one that has a kind is not the last, unless none of that kind comes.
        cards: of all its calls.
        environment: variables that are set for them.
    """

    def __init__(self, place: int, call: Call, cards: tuple[str, ...], environment: Mapping[str, str]):
        way = context()
        self.place, self.kind, self.graph, self.cards, self.done = place, call.kind, call.graph, cards, 0
        self.lasts = False
        self._calls: Connection | None = None
        theirs = None
        if call.kind is not None:
            self._calls, theirs = way.Pipe()
        self.process = way.Process(target=_child, args=(call.function, theirs, environment))
        with deaf():
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

    def take(self, place: int, call: Call) -> bool:
        """Have the process that waits do another call; whether it can."""
        assert self._calls is not None
        try:
            self._calls.send_bytes(ForkingPickler.dumps(call.function))
        except (pickle.PicklingError, AttributeError, TypeError):
            self.leave()
            return False
        except OSError:
            return False
        self.place, self.graph = place, call.graph
        return True

    def leave(self) -> None:
        """Have the process that waits end; that is not waited for."""
        assert self._calls is not None
        with contextlib.suppress(OSError):
            self._calls.send(None)


class Processes(Engine):
    """This machine.

    Args:
        cpus: cores of a call, and as many threads; None for all that there are.
        gpus: cards of a call; None for one where there are any.
    """

    def __init__(self, cpus: int | None = None, gpus: float | None = None):
        self.cpus, self.gpus = cpus, gpus
        self._cards = Cards(1 if gpus is None else gpus)
        self._running: list[_Worker] = []
        self._idle: list[_Worker] = []

    def __enter__(self) -> Processes:
        keep()
        return self

    def __exit__(self, *_: object) -> None:
        keep_no_more()

    @property
    def forks(self) -> bool:
        """Whether a call that is begun now knows what this process has imported."""
        return forks()

    @property
    def room(self) -> int:
        """As many as there are cards for; without cards half as many again as cores.

        A run on kept features traces, trains and draws on little more than half a core.
        """
        if self._cards.room:
            return self._cards.room
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, cores // self.cpus) if self.cpus else cores + cores // 2

    def suited(self, graphs: Iterable[Any]) -> int:
        """The first that a process waits for which has just made such a call; else the first of all."""
        had = [one.graph for one in self._idle if one.graph is not None]
        return next((place for place, graph in enumerate(graphs if had else ()) if graph in had), 0)

    def start(self, place: int, call: Call) -> None:
        """Have a process that waits begin a call of its kind, or a new one, with cards of its own if there are any."""
        fits = [one for one in self._idle if call.kind is not None and one.kind == call.kind]
        fit = next((one for one in fits if one.graph == call.graph), fits[0] if fits else None)
        if fit is not None:
            self._idle.remove(fit)
            if fit.take(place, call):
                self._running.append(fit)
                return
            self._cards.give_back(fit.cards)
        elif self._idle:
            # it makes room for one that is not of its kind
            leaving = self._idle.pop(0)
            leaving.leave()
            self._cards.give_back(leaving.cards)
        cards = self._cards.take()
        environment = threads(self.cpus)
        if cards or self.gpus == 0:
            environment[VARIABLE] = ",".join(cards) or NONE
        self._running.append(_Worker(place, call, cards, environment))

    def ended(self, patience: float) -> list[tuple[int, int, str]]:
        """Calls that have ended."""
        ready = multiprocessing.connection.wait([thing for one in self._running for thing in one.awaited], patience)
        found = []
        for worker in [one for one in self._running if not one.awaited.isdisjoint(ready)]:
            self._running.remove(worker)
            found.append((worker.place, worker.code(), ""))
            if worker.lasts:
                self._idle.append(worker)
            else:
                self._cards.give_back(worker.cards)
        return found

    def stop(self, place: int) -> None:
        """Have a call ended by SIGTERM."""
        for one in self._running:
            if one.place == place:
                one.process.terminate()

    def interrupt(self) -> None:
        """Interrupt all, and kill those that take no notice; those that wait for a call leave."""
        for worker in self._idle:
            worker.leave()
        _interrupt([one.process for one in self._running])
        _join([one.process for one in self._idle])
        self._running.clear()
        self._idle.clear()


def in_processes(
    calls: Iterable[Callable[[], int]], at_once: int, *, unwanted: Callable[[int], bool] = lambda place: False
) -> Generator[Ended, None, None]:
    """Make the calls on this machine, at most ``at_once`` at a time, as ``engines.all_ended`` does."""
    with Processes() as here:
        yield from all_ended(map(Call, calls), here, lambda: at_once, unwanted=unwanted)


def _child(call: Callable[[], int], calls: Connection | None, environment: Mapping[str, str]) -> None:
    if is_copy() and sys.version_info < (3, 13):
        # as Python 3.13 does: what is left to the child's exit is done, TensorFlow's temporary files removed for one
        atexit._clear()  # type: ignore[attr-defined]
        multiprocessing.util.Finalize(None, atexit._run_exitfuncs, exitpriority=0)  # type: ignore[attr-defined]
    os.environ.update(environment)
    sys.exit(alone(functools.partial(_in_turn, call, calls)))


def _in_turn(call: Callable[[], int], calls: Connection | None) -> int:
    """Make a call, and as long as they end well those that come; the exit code of the last."""
    code = call()
    while calls is not None and code == DONE:
        calls.send(code)
        following = calls.recv()
        if following is None:
            break
        code = following()
    return code


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
    _join(processes)


def _join(processes: list[Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()

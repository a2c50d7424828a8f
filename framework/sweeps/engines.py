"""The seam between a sweep and what starts its runs: an engine, whichever it is, and the loop that keeps it at work."""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from framework.sweeps.request import SweepRequest

LOOK_EVERY = 0.5


@dataclass(frozen=True)
class Call:
    """What is to be done in a process of its own.

    Attributes:
        function: returns an exit code; where processes are not forked it must pickle.
        folder: of the run, which is there.
        kind: one process may make all calls that have an equal one, one after the other; None for a process of its own.
        graph: a process that has just made a call with an equal one makes this one sooner; None where none does.
    """

    function: Callable[[], int]
    folder: Path = Path()
    kind: Any = None
    graph: Any = None


@dataclass(frozen=True)
class Ended:
    """A call is over.

    Attributes:
        place: the call's place in the order of calls.
        code: the exit code; below 0 the signal that ended it.
        seconds: how long it took.
        reason: why it came to nothing, where its engine knows more than the code says.
    """

    place: int
    code: int
    seconds: float
    reason: str = ""


class Engine(ABC):
    """Somewhere a call can be started, asked whether it has ended, and told to stop. To be entered.

    Calls are known by their places in the order of calls.
    """

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave it; what runs there has ended."""
        return

    @property
    def forks(self) -> bool:
        """Whether a call that is begun now knows what this process has imported."""
        return False

    @property
    def told(self) -> str:
        """What it is, for messages; empty for this machine."""
        return ""

    def suited(self, graphs: Iterable[Any]) -> int:
        """Which of the calls that wait is to come next, by their ``graph``: the first, or one that a process waits for."""
        return 0

    def clear_up(self) -> None:
        """End what is left there of an earlier command that died."""
        return

    @property
    @abstractmethod
    def room(self) -> int:
        """How many calls there is room for side by side, those that run among them; it may change."""

    def together(self) -> AbstractContextManager[object]:
        """While entered, what is started may be held back, to be begun all at once."""
        return contextlib.nullcontext()

    @abstractmethod
    def start(self, place: int, call: Call) -> None:
        """Begin a call, or have it wait for its turn there."""

    @abstractmethod
    def ended(self, patience: float) -> list[tuple[int, int, str]]:
        """Place, exit code and reason of calls that have ended since last asked; waits so many seconds for the first."""

    @abstractmethod
    def stop(self, place: int) -> None:
        """Tell a call to end soon, as SIGTERM does; it is still heard of by ``ended``."""

    @abstractmethod
    def interrupt(self) -> None:
        """End all calls, each with what it needs to go on later, and wait for that."""


class Elsewhere(Engine):
    """An engine on other machines, to which a call can be handed over while this process goes."""

    @property
    def words(self) -> tuple[str, ...]:
        """Overrides that a command needs to find the engine from a machine of its own."""
        return ()

    @abstractmethod
    def hand_over(self, call: Call) -> str:
        """Have the call made there while this process goes; gives back who makes it."""

    @abstractmethod
    def has(self, folder: Path) -> bool:
        """Whether a call of that folder was handed over and is still there."""

    @abstractmethod
    def call_back(self, folder: Path) -> None:
        """End the call of that folder that was handed over, with what it needs to go on later."""


def engine_of(request: SweepRequest) -> Engine:
    """The engine that a sweep asks for; nothing of others is imported.

    Raises:
        BadInput: it is not there.
    """
    from framework.sweeps.processes import Processes

    compute = request.compute
    if compute is not None and compute.engine == "ray":
        from framework.sweeps.on_ray import OnRay

        return OnRay(compute)
    if compute is not None and compute.engine == "slurm":
        from framework.sweeps.on_slurm import OnSlurm

        return OnSlurm(compute, request.folder)
    return Processes(compute.cpus, compute.gpus) if compute is not None else Processes()


def all_ended(
    calls: Iterable[Call],
    engine: Engine,
    room: Callable[[], int],
    *,
    unwanted: Callable[[int], bool] = lambda place: False,
    meanwhile: Callable[[], object] = lambda: None,
    stopping: Callable[[int], object] = lambda count: None,
) -> Generator[Ended, None, None]:
    """Make the calls, each as soon as there is room for it, and yield each end as it comes.

    A call is taken from ``calls`` just before it starts. Closing the iterator, or an interruption, interrupts those
    that run and waits for them.

    Args:
        calls: in their order.
        engine: where they are made.
        room: asked again and again how many may run side by side.
        unwanted: asked again and again of each call that runs, by its place, whether it is to be stopped.
        meanwhile: called again and again, as long as any runs.
        stopping: told how many are about to be interrupted, before that is waited for.
    """
    waiting = enumerate(calls)
    began: dict[int, float] = {}
    told: set[int] = set()
    try:
        while True:
            with engine.together():
                while len(began) < room() and (following := next(waiting, None)) is not None:
                    place, call = following
                    engine.start(place, call)
                    began[place] = time.perf_counter()
            if not began:
                return
            ended = engine.ended(LOOK_EVERY)
            meanwhile()
            over = {place for place, _, _ in ended}
            for place in began:
                if place not in told | over and unwanted(place):
                    told.add(place)
                    engine.stop(place)
            for place, code, reason in ended:
                yield Ended(place, code, time.perf_counter() - began.pop(place), reason)
    finally:
        if began:
            stopping(len(began))
        # always: what was being started when this was interrupted is none of those that began
        engine.interrupt()

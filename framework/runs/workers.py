"""Starts the workers of one training on this machine, and sees that all of them end if one does.

Each is a process; this one trains nothing. On Linux it imports TensorFlow once for all and forks, which can be done as
long as nothing was computed; elsewhere each starts a new interpreter. TensorFlow waits for a worker that never comes for
a quarter of an hour and is deaf meanwhile, and a worker that is stopped (SIGSTOP) never ends: here are the clocks.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

from framework.core.backend import load_tensorflow
from framework.core.console import messages, say
from framework.core.errors import STOPPED, RunStopped, listing
from framework.core.forking import FORKS, HEARD, context, deaf, forks, is_copy
from framework.core.reporting import guarded
from framework.runs.cluster import VARIABLE, Cluster, cluster_of
from framework.runs.job import Job, load_recipe, nothing
from framework.runs.preflight import Data

# seconds that the others have to end by themselves once a worker has ended, and that one may stand still
PATIENCE = 15.0
LOOK_EVERY = 0.5
# what a worker tells the process that has started it: all have come; the run is not refused
_UP, _BEGINS = "up", "begins"


def train_together(job: Job, data: Data | None = None) -> None:
    """Train a job with several workers, on data that may have been looked at already, and end as they end.

    Raises:
        BadInput: ``TF_CONFIG`` can't be followed.
        RunStopped: a worker was killed, or did not come in time.
        SystemExit: with the exit code of workers that have said themselves why they end.
    """
    cluster = cluster_of(job.settings)
    if len(cluster.here) > 1:
        say(f"{len(cluster)} workers on this machine, each with its share of every batch")
    else:
        say(f"worker {cluster.here[0]} of {len(cluster)} (from 0), as {VARIABLE} says")
    if forks():
        _load()
    try:
        _Team(job, cluster, data).work()
    finally:
        if not cluster.has_first:
            # Hydra has made it, and it is the first worker's to fill
            with contextlib.suppress(OSError):
                job.folder.rmdir()


@dataclass
class _Worker:
    """A worker's process, what it says, and since when it stands still."""

    place: int
    process: Any
    receiver: Any
    log: Path | None
    up: bool = False
    still_since: float | None = None


@dataclass
class _Team:
    """The workers that are started here."""

    job: Job
    cluster: Cluster
    data: Data | None = None
    running: dict[int, _Worker] = field(default_factory=dict)
    ended: dict[int, int] = field(default_factory=dict)
    up: bool = False
    handed_on: int | None = None

    def work(self) -> None:
        """Start them, wait for all, say why they have ended."""
        with tempfile.TemporaryDirectory(prefix="framework-workers-") as folder, self._signals_handed_on():
            try:
                for place in self.cluster.here:
                    self._start(place, Path(folder))
                self._watch()
            finally:
                self._kill()
            tell_end(self.ended, lambda place: Path(folder) / f"{place}.log", self.handed_on)

    def _start(self, place: int, folder: Path) -> None:
        way = context()
        receiver, sender = way.Pipe(duplex=False)
        log = folder / f"{place}.log" if place else None
        process = way.Process(
            target=_worker, args=(replace(self.job, begin=nothing), self.cluster, self.data, place, sender, log)
        )
        with deaf():
            process.start()
        sender.close()
        self.running[place] = _Worker(place, process, receiver, log)

    def _watch(self) -> None:
        """Wait for all to end; once one has ended, or can't go on, the others are given ``PATIENCE``.

        Raises:
            RunStopped: some worker has not come in time.
        """
        seconds = self.job.settings.trainer.workers_timeout
        until, ends = time.monotonic() + seconds, float("inf")
        while self.running and time.monotonic() < ends:
            # each is either the end of a process or something that it says
            watched = [one for worker in self.running.values() for one in (worker.process.sentinel, worker.receiver)]
            ready = multiprocessing.connection.wait(watched, LOOK_EVERY)
            for worker in list(self.running.values()):
                self._hear(worker)
                if worker.process.sentinel in ready:
                    worker.process.join()
                    del self.running[worker.place]
                    self.ended[worker.place] = worker.process.exitcode
                    ends = min(ends, time.monotonic() + PATIENCE)
                    if worker.process.exitcode:
                        self._ask(signal.SIGTERM)
                elif _stands_still(worker):
                    say(f"worker {worker.place} has stood still for {PATIENCE:g} s, and is ended")
                    worker.process.kill()
            if not self.up and not self.ended and time.monotonic() > until:
                late = listing(self.cluster.silent()) or "some worker"
                what = f"{late} did not come within {seconds:g} s (trainer.workers_timeout): nothing was trained"
                raise RunStopped(f"{what}; the same commands begin again")

    def _hear(self, worker: _Worker) -> None:
        with contextlib.suppress(EOFError, OSError):
            while worker.receiver.poll():
                said = worker.receiver.recv()
                if said == _BEGINS:
                    self.job.begin()
                else:
                    worker.up = True
        self.up = self.up or all(one.up for one in self.running.values())

    def _ask(self, number: int) -> None:
        """Hand a signal on; who is deaf to it, for not all have come yet, and has nothing to lose, is killed."""
        for worker in list(self.running.values()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.process.pid, number if worker.up else signal.SIGKILL)

    def _kill(self) -> None:
        for worker in list(self.running.values()):
            worker.process.kill()
            worker.process.join()
            self.ended[worker.place] = worker.process.exitcode
        self.running.clear()

    @contextlib.contextmanager
    def _signals_handed_on(self) -> Iterator[None]:
        """While entered, SIGTERM and Ctrl-C are for the workers, which agree on the step that they stop after."""

        def hand_on(number: int, frame: FrameType | None) -> None:
            self.handed_on = number
            self._ask(number)

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, hand_on) for number in HEARD}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def tell_end(ended: Mapping[int, int], log: Callable[[int], Path], handed_on: int | None = None) -> None:
    """End as the first worker has ended; where it has not said why, say what the one says that ended before all others.

    Args:
        ended: exit codes of the workers, by their places, in the order in which they ended.
        log: file of what a worker says that is not the first.
        handed_on: signal that was handed on to them.

    Raises:
        RunStopped: it was killed.
        KeyboardInterrupt: by Ctrl-C, before there was anything to save.
        SystemExit: with an exit code whose reason is told.
    """
    first = ended.get(0)
    failing = [(place, code) for place, code in ended.items() if code]
    if first == 0 or not failing:
        return
    if first is not None and first > 0 and first != STOPPED:
        raise SystemExit(first)
    place, code = failing[0]
    if code < 0 and handed_on == signal.SIGINT:
        raise KeyboardInterrupt
    if code < 0 and handed_on == signal.SIGTERM:
        raise RunStopped("stopped by SIGTERM; the same command goes on")
    if code < 0:
        name = signal.Signals(-code).name
        raise RunStopped(f"worker {place} was ended by {name}; the same command goes on from the last state saved")
    if place:
        text = log(place).read_text(encoding="utf-8", errors="replace").strip()
        messages().print(f"worker {place} says:\n{text}", markup=False)
    raise SystemExit(code)


def _stands_still(worker: _Worker) -> bool:
    """Whether a process is stopped, and has been for too long; where the system does not tell it is not."""
    if not hasattr(os, "waitid"):
        return False
    try:
        stopped = os.waitid(os.P_PID, worker.process.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    if stopped is None:
        worker.still_since = None
        return False
    worker.still_since = worker.still_since or time.monotonic()
    return time.monotonic() - worker.still_since > PATIENCE


def _worker(job: Job, cluster: Cluster, data: Data | None, place: int, sender: Any, log: Path | None) -> None:
    """A worker's process, from its beginning to its end; what TensorFlow would do behind that may wait for others."""
    if hasattr(os, "setpgid"):
        # Ctrl-C reaches the parent alone, which hands it on once
        os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if FORKS:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)
    if log is not None:
        with open(log, "wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    code = guarded(lambda: _train(job, cluster, data, place, sender))
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _train(job: Job, cluster: Cluster, data: Data | None, place: int, sender: Any) -> int:
    os.environ[VARIABLE] = cluster.config(place)
    if not is_copy():
        load_recipe(job)
    _load()
    from framework.runs.meeting import follow
    from framework.runs.run import Run
    from framework.training.workers import come_together

    workers = come_together(place, len(cluster), cluster.device(place))
    sender.send(_UP)
    if workers.first:
        Run(replace(job, begin=lambda: sender.send(_BEGINS)), data, workers).train()
    else:
        follow(job, data, workers)
    return 0


def _load() -> None:
    """Import all that a worker needs."""
    import framework.parts  # noqa: F401 - registers the shipped parts

    load_tensorflow()
    for module in ("runs.meeting", "runs.run", "training.callback_list"):
        import_module(f"framework.{module}")


def _end_with_parent() -> None:
    """Stop as after SIGTERM when the process that has started this one is gone, or end a while after that."""
    parent, number = multiprocessing.parent_process(), os.getppid()
    # a pipe to the parent tells, but on Linux workers that were forked later hold its end, too
    while parent is not None and parent.is_alive() and os.getppid() == number:
        time.sleep(LOOK_EVERY)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE)
    os._exit(STOPPED)

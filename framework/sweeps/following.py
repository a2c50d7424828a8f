"""How runs stand that a launcher has taken to processes of its own, as their folders tell."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from framework.core.errors import BadInput
from framework.core.runs import RunFolder
from framework.runs.job import Job
from framework.sweeps.folder import Outcome
from framework.sweeps.view import View

LOOK_EVERY = 0.5


class Following:
    """While entered, a thread looks at the folders and tells of what begins and ends.

    Args:
        jobs: the runs.
        view: told of each beginning and end.
        outcome: what the folder of a run says of it.
        enter: notes how a run stands.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        view: View,
        outcome: Callable[[Job], Outcome | None],
        enter: Callable[[Job, Outcome], None],
    ):
        self.view, self.outcome, self.enter = view, outcome, enter
        self._waiting = {job.folder: job for job in jobs}
        self._running: dict[object, Job] = {}
        self._before = {job.folder: _written(job) for job in jobs}
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(1)

    def __enter__(self) -> Following:
        self._thread = self._pool.submit(self._follow)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stop.set()
        self._pool.shutdown()
        self._look()
        for job in [*self._running.values(), *self._waiting.values()]:
            begun = job.folder in self._running
            if error is None:
                self._end(job, self.outcome(job) or Outcome("failed", "the launcher's process left nothing"))
            elif begun:
                self._end(job, self.outcome(job) or Outcome("interrupted"))
        if error is None:
            self._thread.result()

    def _follow(self) -> None:
        while not self._stop.wait(LOOK_EVERY):
            self._look()
            self.view.look()

    def _look(self) -> None:
        changed = [job for job in self._waiting.values() if _written(job) != self._before[job.folder]]
        for job in changed:
            self._begin(job)
        for job in list(self._running.values()):
            if _status(job) != "running":
                self._end(job, self.outcome(job) or Outcome("interrupted"))

    def _begin(self, job: Job) -> None:
        self._running[job.folder] = self._waiting.pop(job.folder)
        self.view.begin(job)
        self.enter(job, Outcome("running"))

    def _end(self, job: Job, found: Outcome) -> None:
        if job.folder in self._waiting:
            self._begin(job)
        del self._running[job.folder]
        self.enter(job, found)
        self.view.end(job, found)


def _written(job: Job) -> tuple[int, int] | None:
    """What changes whenever ``run.json`` is written."""
    try:
        found = RunFolder(job.folder).run_json.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _status(job: Job) -> str:
    try:
        return str(RunFolder(job.folder).read_run().get("status"))
    except BadInput:
        return "running"

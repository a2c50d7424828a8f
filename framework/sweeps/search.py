"""The runs of a search: each trial that the study draws becomes a job as soon as there is a place for it, and what came of
the job is told to the study.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from framework.core.better import Yardstick
from framework.core.errors import BadInput
from framework.core.files import is_locked
from framework.core.runs import RunFolder
from framework.runs.job import Job
from framework.runs.preflight import OF_RUNS
from framework.sweeps.folder import DONE_WITH, Outcome, rows_of
from framework.sweeps.pruning import Watched
from framework.sweeps.study import Drawn, Study


@dataclass(frozen=True)
class Ready:
    """A job that can be started.

    Attributes:
        job: the run.
        overrides: those that Hydra composed it of.
        start: has Hydra write its own files of the job.
    """

    job: Job
    overrides: Sequence[str]
    start: Callable[[], None]


class Trials:
    """The jobs of a search, drawn one by one; where there is none now there may be one later.

    Two trials may be one run: choices repeat, and other processes work on the study too. Each run is done once; a trial
    whose run is under way elsewhere waits for its end, and takes it over if it has none.

    Args:
        study: that draws them.
        ready: from a trial's overrides and its number to its job.
        outcome: what the folder of a run says of it.
        check: raises where a folder's earlier run was another experiment.
        skip: told of trials whose run was done before.
    """

    def __init__(
        self,
        study: Study,
        ready: Callable[[Sequence[str], int], Ready],
        outcome: Callable[[Job], Outcome | None],
        check: Callable[[Job], None],
        skip: Callable[[Job, Outcome], None],
    ):
        self.study, self.ready, self.outcome, self.check, self.skip = study, ready, outcome, check, skip
        self.objectives = study.search.objectives
        self._running: dict[Path, list[Drawn]] = {}
        self._watched: dict[Path, Watched] = {}
        self._twins: list[tuple[Drawn, Ready]] = []
        self._due: deque[tuple[Drawn, Ready]] = deque()
        self._failed: dict[Path, Outcome] = {}
        self.unusable: dict[str, str] = {}  # finished runs whose results are no numbers, by their folders' names

    def __iter__(self) -> Trials:
        return self

    def __next__(self) -> Ready:
        """The next job.

        Raises:
            StopIteration: there is none now.
            BadInput: its folder holds a run of another experiment.
        """
        self._settle()
        while True:
            drawn, ready = self._due.popleft() if self._due else self._draw()
            folder = ready.job.folder
            if folder in self._running:
                self._running[folder].append(drawn)
                continue
            if is_locked(RunFolder(folder).lock):
                self._twins.append((drawn, ready))
                continue
            self.check(ready.job)
            found = self._failed.get(folder) or self.outcome(ready.job)
            if found is not None and (found.status in DONE_WITH or folder in self._failed):
                self._tell(drawn, ready.job, found)
                self.skip(ready.job, found)
                continue
            self._running[folder] = [drawn]
            if self.study.prunes and self.objectives[0].column not in OF_RUNS:
                pruner = self.study.search.settings.pruner.name
                self._watched[folder] = Watched(drawn.trial, ready.job, self.objectives[0], pruner)
            return ready

    @property
    def waiting(self) -> bool:
        """Whether a trial waits for a run that another process does."""
        return bool(self._twins or self._due)

    def unpromising(self, job: Job) -> str | None:
        """Why a job that runs is to be ended; None if it is not."""
        watched = self._watched.get(job.folder)
        return watched.look() if watched else None

    def end(self, job: Job, found: Outcome) -> None:
        """Tell the study what came of a job."""
        if job.folder in self._watched:
            self._watched.pop(job.folder).look()
        if found.status == "failed":
            # drawn again by this command it would fail again
            self._failed[job.folder] = found
        for drawn in self._running.pop(job.folder, ()):
            self._tell(drawn, job, found)

    def _draw(self) -> tuple[Drawn, Ready]:
        drawn = self.study.draw()
        if drawn is None:
            raise StopIteration
        ready = self.ready(self.study.space.lines(drawn.values), drawn.trial.number)
        self.study.name_folder(drawn, ready.job.folder.name)
        return drawn, ready

    def _settle(self) -> None:
        """See which trials wait no more for a run of another process; those that it has not ended are due."""
        for drawn, ready in list(self._twins):
            if not is_locked(RunFolder(ready.job.folder).lock):
                self._twins.remove((drawn, ready))
                self._due.append((drawn, ready))

    def _tell(self, drawn: Drawn, job: Job, found: Outcome) -> None:
        if found.status == "pruned":
            self.study.prune(drawn)
        elif found.status == "failed":
            self.study.fail(drawn, found.reason or "failed")
        elif found.status == "finished":
            results = results_of(RunFolder(job.folder), self.objectives)
            if isinstance(results, str):
                self.study.fail(drawn, results)
                self.unusable[job.folder.name] = results
            else:
                self.study.tell(drawn, results)
        # else it was interrupted: the study hands it on when it is left


def results_of(folder: RunFolder, objectives: Sequence[Yardstick]) -> list[float] | str:
    """A finished run's value of each objective, at its best epoch; where one is no number, a sentence that says so.

    ``seconds`` are those of all its epochs together.
    """
    try:
        run = folder.read_run()
    except BadInput as error:
        return error.problems[0].what
    measured = (run.get("best") or {}).get("metrics") or {}
    found = {**measured, "parameters": run.get("parameters")}
    found["seconds"] = sum(row.get("seconds") or 0.0 for row in rows_of(folder))
    results = []
    for one in objectives:
        value = found.get(one.column)
        if not isinstance(value, int | float) or not math.isfinite(value):
            return f"{one.column} is no number"
        results.append(float(value))
    return results

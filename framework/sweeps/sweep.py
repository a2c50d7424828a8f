"""A sweep from what is asked for to its summary: which runs are still to be done, doing them, and what came of all."""

from __future__ import annotations

import functools
import shlex
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import framework.parts  # noqa: F401 - registers the shipped parts in a launcher's processes too
from framework.config.folders import groups, shown
from framework.config.recipe_parts import load_parts
from framework.config.recipes import bring
from framework.core.console import follow, passing, program, say, warn
from framework.core.errors import DONE, FAILED, INTERRUPTED, STOPPED, BadInput, Problem, RunFailed
from framework.core.files import locked
from framework.core.reporting import guarded
from framework.core.runs import RunFolder
from framework.core.schema import show
from framework.runs import resume
from framework.runs.job import Job
from framework.sweeps.folder import (
    DONE_WITH,
    IndexedRun,
    Outcome,
    make_ready,
    note_failure,
    note_pruned,
    outcome,
    read_index,
    rows_of,
    write_index,
)
from framework.sweeps.following import Following
from framework.sweeps.log import LOG, say_to_log
from framework.sweeps.naming import short_numbers
from framework.sweeps.processes import FORKS, Ended, in_processes
from framework.sweeps.request import Search, SweepRequest, jobs_at_once
from framework.sweeps.view import View, first_line

if TYPE_CHECKING:
    from framework.reports.comparison import Comparison
    from framework.sweeps.pruning import Pruner

Work = Callable[[Job], None]
MOST_CHANGES = 5


class Sweep:
    """Runs the jobs that Hydra hands over, each in a process of its own, and leaves out those that are done.

    Args:
        request: name, folder and settings.
        work: does one run; called in the run's process.
        begin: called once before the first run, to import what all runs need.
    """

    def __init__(self, request: SweepRequest, work: Work, begin: Callable[[], object]):
        self.request, self.work, self.begin = request, work, begin
        before = read_index(request.folder)
        self.indexed = {entry["folder"]: IndexedRun(**entry) for entry in before.get("runs", [])}
        self.about = {
            "name": request.name,
            "command": shlex.join(request.command),
            "varied": list(dict.fromkeys([*before.get("varied", []), *request.varied])),
            "metric": request.settings.metric,
            "direction": request.settings.direction,
        }
        self.batch: list[str] = []
        self._begun = False
        self._view: View | None = None
        self._pruner: Pruner | None = None
        self._pruned: dict[Path, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        """What a launcher brings to another process: no terminal."""
        return {**self.__dict__, "_view": None}

    def start(self, launch: Callable[[Sweep], object]) -> int:
        """Do the whole sweep; returns its exit code.

        Args:
            launch: brings the sweep its jobs, batch after batch: calls ``run`` or ``hand_over``.
        """
        folder = self.request.folder
        say(f"sweep {self.request.name} in {shown(folder)}")
        with locked(folder / ".lock", lambda: say("another sweep is at work in this folder: waiting for it")):
            try:
                launch(self)
            except (KeyboardInterrupt, RunFailed):
                self._tell_how_on()
                raise
            return self._end()

    def run(
        self, jobs: Sequence[Job], start: Callable[[int], None], search: Search | None = None
    ) -> list[float | None]:
        """Run those jobs of a batch that are not finished, several at once, in processes of their own.

        Args:
            jobs: the batch.
            start: has Hydra write its own files of the job at this place.
            search: the study whose trials they are.

        Returns:
            the metric of each job, None for one that failed.

        Raises:
            BadInput: runs of that name were another experiment.
        """
        todo = self._todo(jobs, search.trials if search else 0)
        self._pruner = None
        if search and self.request.settings.prune:
            from framework.sweeps.pruning import Pruner

            self._pruner = Pruner(search, jobs)
        if todo:
            self._work_off(todo, [jobs.index(job) for job in todo], start)
        if self._pruner:
            for job in jobs:
                self._pruner.tell(job)
        return [self._value(job) for job in jobs]

    def hand_over(self, jobs: Sequence[Job], launch: Callable[[list[int]], None]) -> list[float | None]:
        """Have a launcher run those jobs of a batch that are not finished.

        Args:
            jobs: the batch.
            launch: runs the jobs at these places.

        Returns:
            the metric of each job, None for one that failed.

        Raises:
            BadInput: runs of that name were another experiment.
        """
        todo = self._todo(jobs)
        for job in todo:
            make_ready(RunFolder(job.folder))
        if todo:
            say(f"what a run says goes to {LOG} in its folder")
            assert self._view is not None
            with self._view, Following(todo, self._view, self._outcome, self._enter):
                launch([jobs.index(job) for job in todo])
        return [self._value(job) for job in jobs]

    def alone(self, job: Job) -> float | None:
        """Run one job in this process, which a launcher has started for it."""
        back = say_to_log(job.folder)
        try:
            guarded(functools.partial(_done, self.work, job))
        finally:
            back()
        return self._value(job)

    def _todo(self, jobs: Sequence[Job], trials: int = 0) -> list[Job]:
        """Jobs of the batch that are to be run, each folder once, with a word on those that were begun before."""
        once = {job.folder: job for job in jobs}
        problems = [_twins(job, once[job.folder]) for job in jobs if once[job.folder].config != job.config]
        problems += filter(None, map(_changed, once.values()))
        if problems:
            raise BadInput(problems)
        known = {folder: self._outcome(job) for folder, job in once.items()}
        statuses: list[str] = ["new" if found is None else found.status for found in known.values()]
        words = {"finished": "finished before, skipped", "failed": "failed before, run again"}
        words |= {"pruned": "pruned before, skipped", "interrupted": "interrupted before, resumed", "new": "new"}
        counts = [f"{statuses.count(status)} {text}" for status, text in words.items() if status in statuses]
        if trials and self._view is None:
            say(f"a search of {trials} trials")
        if not trials or set(statuses) != {"new"}:
            say(f"{len(once)} run{'s' * (len(once) > 1)}: {'; '.join(counts)}")
        todo = [
            job for job, status in zip(once.values(), statuses, strict=True) if status not in DONE_WITH or _goes_on(job)
        ]
        if self._view is None:
            self._view = View(self._label, jobs[0].settings.sweep_yardstick(), trials)
        for job in once.values():
            before = known[job.folder]
            self._enter(job, Outcome("waiting") if job in todo else before or Outcome("waiting"))
            if job in todo:
                begun = before is not None and before.status != "failed"
                self._view.expect(job, len(rows_of(RunFolder(job.folder))) if begun else 0)
            elif before is not None:
                self._view.skip(job.overrides, before)
        return todo

    def _work_off(self, todo: list[Job], places: list[int], start: Callable[[int], None]) -> None:
        view = self._view
        assert view is not None
        at_once = min(jobs_at_once(self.request.settings), len(todo))
        if not self._begun:
            say(f"{at_once} at once; what a run says goes to {LOG} in its folder")
            self.begin()
            self._begun = True

        def calls() -> Iterator[Callable[[], int]]:
            for job, place in zip(todo, places, strict=True):
                make_ready(RunFolder(job.folder))
                start(place)
                self._enter(job, Outcome("running"))
                view.begin(job)
                yield functools.partial(_in_child, self.work, job)

        def stopping(count: int) -> None:
            view.close()
            say(f"stopping {count} run{'s' * (count > 1)} under way; each saves its state")

        ends = in_processes(
            calls(),
            at_once,
            unwanted=lambda place: self._is_unpromising(todo[place]),
            meanwhile=view.look,
            stopping=stopping,
        )
        try:
            with view, closing(ends):
                for ended in ends:
                    job = todo[ended.place]
                    found = self._ended(job, ended)
                    view.end(job, found)
                    if found.status == "failed" and self.request.settings.fail_fast:
                        log = shown(job.folder / LOG)
                        raise RunFailed(f"stopped at the first failure, as sweep.fail_fast=true says; its log is {log}")
        finally:
            for job in todo:
                if self.indexed[job.folder.name].status == "running":
                    self._enter(job, self._outcome(job) or Outcome("interrupted"))

    def _is_unpromising(self, job: Job) -> bool:
        """Whether the search has seen enough of a run."""
        reason = self._pruner.tell(job) if self._pruner else None
        if reason:
            self._pruned[job.folder] = reason
        return reason is not None

    def _ended(self, job: Job, ended: Ended) -> Outcome:
        """What came of a run; one that a signal ended could not say so itself."""
        folder = RunFolder(job.folder)
        reason = self._pruned.pop(job.folder, None)
        if reason and ended.code in (STOPPED, -signal.SIGTERM):
            note_pruned(folder, reason, job.settings.sweep_yardstick())
        elif ended.code < 0:
            note_failure(folder, job.overrides, _killed(-ended.code))
        elif ended.code not in (DONE, STOPPED, INTERRUPTED):
            told = self._outcome(job)
            if told is None or told.status != "failed":
                note_failure(folder, job.overrides, f"ended with exit code {ended.code}; see {LOG}")
        found = self._outcome(job) or Outcome("interrupted")
        self._enter(job, found)
        return found

    def _enter(self, job: Job, found: Outcome) -> None:
        """Note in the index how a run stands."""
        name = job.folder.name
        self.indexed[name] = IndexedRun(name, list(job.overrides), found.status, found.reason)
        self.batch += [] if name in self.batch else [name]
        write_index(self.request.folder, self.about, list(self.indexed.values()))

    def _outcome(self, job: Job) -> Outcome | None:
        return outcome(RunFolder(job.folder), self.request.settings.metric)

    def _value(self, job: Job) -> float | None:
        found = self._outcome(job)
        return found.value if found is not None else None

    def _label(self, overrides: Sequence[str]) -> str:
        """What was varied, of a run's overrides."""
        varied = (line for line in overrides if line.lstrip("+").partition("=")[0] in self.request.varied)
        return short_numbers(" ".join(varied)) or "run"

    def _end(self) -> int:
        """Say what came of the runs of this command; returns the exit code."""
        found = {
            name: outcome(RunFolder(self.request.folder / name), self.request.settings.metric) for name in self.batch
        }
        statuses = [one.status if one is not None else "waiting" for one in found.values()]
        say()
        counts = ", ".join(f"{statuses.count(one)} {one}" for one in dict.fromkeys(statuses))
        say(f"{len(found)} runs: {counts}" if found else "nothing is left to do")
        for name, one in found.items():
            if one is not None and one.status == "failed":
                warn(f"{self._label(self.indexed[name].overrides)}: {first_line(one.reason)}")
                say(f"  {shown(self.request.folder / name / LOG)}")
        self._tell_best()
        if "failed" in statuses:
            return FAILED
        if set(statuses) <= set(DONE_WITH):
            return DONE
        self._tell_how_on()
        return STOPPED

    def _tell_how_on(self) -> None:
        say("the same command goes on from here:")
        say(f"  {self.about['command']}")

    def _tell_best(self) -> None:
        """Say which of all runs in the folder is best, how to run it again, and compare them all."""
        from framework.reports.comparison import compare

        comparison = compare(self.request.folder)
        best, run = comparison.best, comparison.best_run
        if best is None or run is None or best.cut_short:
            return
        say(f"best: {comparison.monitor} {best.mean(comparison.monitor):.4f}")
        overrides = [line for line in self.indexed[run.name].overrides if not line.startswith("sweep.")]
        say(f"again: {shlex.join([*program(), *overrides])}")
        self._compare(comparison)
        follow("python", "-m", "framework.evaluate", f"run={shown(self.request.folder)}")

    def _compare(self, comparison: Comparison) -> None:
        """The comparison of all runs in the folder: a table, and files beside the runs."""
        from framework.reports.files import write
        from framework.reports.table import results, show_variants

        with passing("comparing …"):
            files = write(comparison, self.request.folder)
        show_variants(comparison, results())
        say(f"written: {', '.join(shown(file) for file in files)}")


def _done(work: Work, job: Job) -> int:
    work(job)
    return DONE


def _in_child(work: Work, job: Job) -> int:
    """One run, what it says going to a file to the end of its process."""

    def run() -> int:
        if not FORKS and job.recipe:
            load_parts(bring([job.recipe.name], groups()).recipes)
        return _done(work, job)

    say_to_log(job.folder)
    return guarded(run)


def _changed(job: Job) -> Problem | None:
    """What speaks against taking the folder's earlier run for this job's; None if nothing does."""
    if not RunFolder(job.folder).config.is_file():
        return None
    try:
        resume.refuse_changes(job)
        return None
    except BadInput:
        found = [f"{key}: {show(then)} → {show(now)}" for key, (then, now) in resume.changes(job).items()]
    more = [f"… and {len(found) - MOST_CHANGES} more"] if len(found) > MOST_CHANGES else []
    what = "\n  ".join([f"the run {shown(job.folder)} was another experiment:", *found[:MOST_CHANGES], *more])
    return Problem(what, str(RunFolder(job.folder).config), "sweep.name=ANOTHER_NAME, which keeps both")


def _goes_on(job: Job) -> bool:
    """Whether a finished run is to be given more, by a change that ``resume.allow`` names."""
    return RunFolder(job.folder).config.is_file() and bool(resume.changes(job))


def _twins(job: Job, other: Job) -> Problem:
    what = f"two runs would go to {shown(job.folder)}: {shlex.join(job.overrides)} and {shlex.join(other.overrides)}"
    return Problem(what, "hydra.sweep.subdir", "a name that tells them apart, or leave it to the default")


def _killed(number: int) -> str:
    name = signal.Signals(number).name if number in set(signal.Signals) else str(number)
    return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")

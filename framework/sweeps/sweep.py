"""A sweep from what is asked for to its summary: which runs are still to be done, doing them, and what came of all."""

from __future__ import annotations

import functools
import itertools
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import framework.parts  # noqa: F401 - registers the shipped parts in a launcher's processes too
from framework.config.folders import shown
from framework.core.better import Yardstick
from framework.core.console import follow, in_bash, say, warn
from framework.core.errors import DONE, FAILED, INTERRUPTED, STOPPED, BadInput, Problem, RunFailed
from framework.core.files import is_locked, locked, wait_for
from framework.core.reporting import guarded
from framework.core.runs import RunFolder
from framework.core.schema import show
from framework.reports.entries import HeldOut, read_sweep
from framework.runs import resume
from framework.runs.job import Job, load_recipe
from framework.runs.preflight import OF_RUNS
from framework.sweeps import outline, worker
from framework.sweeps.engines import LOOK_EVERY, Call, Elsewhere, Ended, Engine, all_ended, engine_of
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
from framework.sweeps.held_out import held_out
from framework.sweeps.log import LOG, say_to_log
from framework.sweeps.naming import label
from framework.sweeps.request import SweepRequest
from framework.sweeps.search import Ready, Trials, results_of
from framework.sweeps.study import Study
from framework.sweeps.summary import tell_best
from framework.sweeps.view import View, first_line
from framework.training.traced import graph_of

Work = Callable[[Job], None]
MOST_CHANGES = 5
LOOK_AHEAD = 100  # jobs, for one that a process is ready for
LOCK = ".lock"
LOST_IN = 120.0  # seconds in which the process of a run is gone with its machine
PLUGINS_STUDY = "study.db"  # as 0.1.0 kept it


class Sweep:
    """Runs the jobs that Hydra hands over, each in a process of its own, here or elsewhere, and leaves out those that are done.

    Args:
        request: name, folder and settings.
        work: does one run; called in the run's process.
        begin: called once before the first run, to import what all runs need.
    """

    def __init__(self, request: SweepRequest, work: Work, begin: Callable[[], object]):
        self.request, self.work, self.begin = request, work, begin
        before = read_index(request.folder)
        self.indexed = {entry["folder"]: IndexedRun(**entry) for entry in before.get("runs", [])}
        self.about: dict[str, Any] = {
            "name": request.name,
            "command": in_bash(*request.command),
            "varied": list(dict.fromkeys([*before.get("varied", []), *request.varied])),
            "metric": request.settings.metric,
            "direction": request.settings.direction,
            "at_work": True,
        }
        self.about |= {"test": before["test"]} if "test" in before else {}
        self.batch: list[str] = []
        self._begun = False
        self._engine: Engine | None = None
        self._view: View | None = None
        self._study: Study | None = None
        self._unusable: dict[str, str] = {}
        self._pruned: dict[Path, str] = {}
        self._deadline: float | None = None
        self._late: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        """What a launcher brings to another process: no terminal, no study."""
        request = replace(self.request, search=None)
        return {**self.__dict__, "_engine": None, "_view": None, "_study": None, "request": request}

    def start(self, launch: Callable[[Sweep], object]) -> int:
        """Do the whole sweep; returns its exit code.

        Args:
            launch: brings the sweep its jobs: calls ``run`` or ``by_launcher`` with batch after batch, or ``search``.
        """
        folder, settings = self.request.folder, self.request.settings
        with engine_of(self.request) as self._engine:
            if settings.detach:
                return self._call_back() if settings.detach == "stop" else self._hand_over()
            say(f"sweep {self.request.name} in {shown(folder)}")
            # several processes may work on one search
            alone = locked(folder / LOCK, lambda: say("another sweep is at work in this folder: waiting for it"))
            with nullcontext() if self.request.search else alone:
                if not self.request.search:
                    self._engine.clear_up()
                try:
                    launch(self)
                except (KeyboardInterrupt, RunFailed):
                    self._tell_how_on()
                    raise
                finally:
                    if self.batch:
                        self.note(at_work=False)
                return self._end()

    def _hand_over(self) -> int:
        """Have the command itself work where its runs are; returns the exit code."""
        assert isinstance(self._engine, Elsewhere)
        folder = self.request.folder
        if self._engine.has(folder):
            what = f"{shown(folder)} is handed over already: what the command says is in {worker.DRIVER_LOG} there"
            raise BadInput(Problem(what, "sweep.detach", "sweep.detach=stop calls it back"))
        if is_locked(folder / LOCK):
            raise BadInput(Problem(f"another sweep is at work in {shown(folder)}", "sweep.detach", "wait for its end"))
        words = [word for word in self.request.typed if not word.lstrip("+").startswith("sweep.detach=")]
        words += [f"hydra.sweep.dir='{folder}'", "sweep.detach=false", *self._engine.words]
        self.note(at_work=True)  # whoever watches need not wait for the command to say so there
        try:
            where = self._engine.hand_over(worker.driver(words, folder))
        except (BadInput, RunFailed):
            self.note(at_work=False)
            raise
        say(f"sweep {self.request.name} in {shown(folder)} is handed over to {self._engine.told}: {where}")
        say(f"what it says goes to {worker.DRIVER_LOG} there; sweep.detach=stop calls it back")
        follow("python", "-m", "framework.compare", f"sweep={shown(folder)}", "follow=true")
        return DONE

    def _call_back(self) -> int:
        assert isinstance(self._engine, Elsewhere)
        folder = self.request.folder
        if not self._engine.has(folder):
            raise BadInput(Problem(f"{shown(folder)} is not handed over to {self._engine.told}", "sweep.detach"))
        self._engine.call_back(folder)
        say(f"sweep {self.request.name} in {shown(folder)} is called back; the same command goes on from here")
        return DONE

    def _room(self, at_once: int | None = None) -> Callable[[], int]:
        """How many runs go side by side: what is said, else what there is room for, asked anew, for clusters grow."""
        jobs = self.request.settings.jobs
        said = at_once or (None if jobs == "auto" else jobs)
        engine = self._engine
        assert engine is not None
        return (lambda: said) if said else (lambda: max(1, engine.room))

    def run(
        self,
        jobs: Sequence[Job],
        start: Callable[[int], None],
        at_once: int | None = None,
        deadline: float | None = None,
    ) -> list[float | None]:
        """Run those jobs of a batch that are not finished, several at once, in processes of their own.

        Args:
            jobs: the batch.
            start: has Hydra write its own files of the job at this place.
            at_once: how many side by side; None is what the settings say.
            deadline: a moment of ``time.monotonic``; none begins after it, and those under way then save their state.

        Returns:
            the metric of each job, None for one that failed.

        Raises:
            BadInput: runs of that name were another experiment.
        """
        todo = self._todo(jobs)
        if todo:
            ready = (
                Ready(job, job.overrides, functools.partial(start, jobs.index(job))) for job in self._in_turn(todo)
            )
            self._deadline = deadline
            self._work_off(ready, self._room(at_once), len(todo))
            self._deadline = None
        return [self._value(job) for job in jobs]

    def _in_turn(self, jobs: Sequence[Job]) -> Iterator[Job]:
        """The jobs in their order, but for one of those ahead that a process is just ready for."""
        assert self._engine is not None
        left = list(jobs)
        while left:
            yield left.pop(self._engine.suited(graph_of(job.settings) for job in left[:LOOK_AHEAD]))

    def search(
        self,
        ready: Callable[[Sequence[str], int], Ready],
        launch: Callable[[Sequence[Ready]], None] | None = None,
    ) -> None:
        """Run trials until the search has enough of them, each as soon as there is a place for it.

        Args:
            ready: from a trial's overrides and its number to its job.
            launch: brings jobs to processes of a launcher's and waits for them; None where they are run here.

        Raises:
            BadInput: the study can't be kept where it is to be, or runs of before were another experiment.
        """
        search = self.request.search
        assert search is not None
        room = self._room()
        with Study(self.request) as study:
            self._study = study
            if (self.request.folder / PLUGINS_STUDY).is_file() and not study.trials():
                say(
                    f"{PLUGINS_STUDY}, of Optuna's plugin, is not read: what its runs came to is told from their folders"
                )
            earlier = self._tell_earlier(study, ready)
            done = sum(trial.state.is_finished() for trial in study.trials())
            before = f"; {done} of before" if done else ""
            before += f", {earlier} of them runs that the search did not draw" if earlier else ""
            say(f"a search of {study.wanted} trials, {_how(study)}{before}")
            if failed := study.retry_failed():
                say(f"{failed} failed before, run again")
            yardstick = next((one for one in search.objectives if one.column not in OF_RUNS), search.objectives[0])
            self._view = self._shown(yardstick, max(0, study.wanted - done))
            trials = Trials(study, ready, self._outcome, _refuse_changed, self._skip)
            try:
                while True:
                    if launch is None:
                        self._work_off(trials, room, study.wanted, trials)
                    else:
                        self._launch_trials(trials, room(), launch)
                    if not trials.waiting:
                        break
                    time.sleep(LOOK_EVERY)
            finally:
                self._unusable = trials.unusable
                outline.write(study)

    def _tell_earlier(self, study: Study, ready: Callable[[Sequence[str], int], Ready]) -> int:
        """Tell the study of runs in the folder that finished before and are no trials of it; how many there are."""
        assert self.request.search is not None
        told, known = 0, study.known()
        for name, entry in self.indexed.items():
            folder = RunFolder(self.request.folder / name)
            if entry.status != "finished" or name in known:
                continue
            varied = [line for line in entry.overrides if line.partition("=")[0].lstrip("+") in study.space.names]
            try:
                params = study.space.read(varied)
            except (KeyError, ValueError):
                continue
            results = results_of(folder, self.request.search.objectives)
            if not isinstance(results, str) and _fits(folder, ready(varied, 0).job):
                study.add(name, params, results)
                told += 1
        return told

    def _launch_trials(self, trials: Trials, at_once: int, launch: Callable[[Sequence[Ready]], None]) -> None:
        """Hand trials to a launcher, which waits for all that it is given at once."""
        while batch := list(itertools.islice(trials, at_once)):
            jobs = [one.job for one in batch]
            self.by_launcher(jobs, lambda places, batch=batch: launch([batch[place] for place in places]))  # type: ignore[misc]
            for job in jobs:
                trials.end(job, self._outcome(job) or Outcome("failed", "the launcher's process left nothing"))

    def _skip(self, job: Job, found: Outcome) -> None:
        assert self._view is not None
        self._enter(job, found)
        self._view.skip(job.overrides, found)

    def by_launcher(self, jobs: Sequence[Job], launch: Callable[[list[int]], None]) -> list[float | None]:
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

    def note(self, **about: Any) -> None:
        """Have the index say this of the sweep."""
        self.about |= about
        self._write()

    def alone(self, job: Job) -> float | None:
        """Run one job in this process, which a launcher has started for it."""
        back = say_to_log(job.folder)
        try:
            guarded(functools.partial(_done, self.work, job))
        finally:
            back()
        return self._value(job)

    def _shown(self, yardstick: Yardstick, total: int = 0) -> View:
        self.about["judged_by"] = asdict(yardstick)
        return View(self._label, yardstick, total)

    def _todo(self, jobs: Sequence[Job]) -> list[Job]:
        """Jobs of the batch that are to be run, each folder once, with a word on those that were begun before."""
        once = {job.folder: job for job in jobs}
        problems = [_twins(job, once[job.folder]) for job in jobs if once[job.folder].config != job.config]
        problems += filter(None, map(_changed, once.values()))
        if problems:
            raise BadInput(problems)
        known = {folder: self._outcome(job) for folder, job in once.items()}
        statuses: list[str] = ["new" if found is None else found.status for found in known.values()]
        if not self.request.search:
            words = {"finished": "finished before, skipped", "failed": "failed before, run again"}
            words |= {"pruned": "pruned before, skipped", "interrupted": "interrupted before, resumed", "new": "new"}
            counts = [f"{statuses.count(status)} {text}" for status, text in words.items() if status in statuses]
            say(f"{len(once)} run{'s' * (len(once) > 1)}: {'; '.join(counts)}")
        todo = [
            job for job, status in zip(once.values(), statuses, strict=True) if status not in DONE_WITH or _goes_on(job)
        ]
        if self._view is None:
            self._view = self._shown(jobs[0].settings.sweep_yardstick())
        for job in once.values():
            before = known[job.folder]
            self._enter(job, Outcome("waiting") if job in todo else before or Outcome("waiting"))
            if job in todo:
                begun = before is not None and before.status != "failed"
                self._view.expect(job, len(rows_of(RunFolder(job.folder))) if begun else 0)
            elif before is not None:
                self._view.skip(job.overrides, before)
        return todo

    def _work_off(
        self, jobs: Iterator[Ready], room: Callable[[], int], most: int, trials: Trials | None = None
    ) -> None:
        """Run jobs, each taken when there is a place for it, until there are no more.

        Args:
            jobs: in their order; of trials there may be more after there was none.
            room: how many side by side.
            most: how many there can be.
            trials: of a search, which are told what came of each and may end one early.
        """
        view, engine = self._view, self._engine
        assert view is not None
        assert engine is not None
        if not self._begun:
            where = f" on {engine.told}" if engine.told else ""
            say(f"{min(room(), most)} at once{where}; what a run says goes to {LOG} in its folder")
            self._begun = True
        begun: list[Job] = []

        def in_time() -> Iterator[Ready]:
            for ready in jobs:
                if self._is_late():
                    self._late.add(ready.job.folder.name)
                else:
                    yield ready

        def begin(ready: Ready) -> Call:
            if not begun and engine.forks:
                self.begin()
            job = ready.job
            make_ready(RunFolder(job.folder))
            ready.start()
            self._enter(job, Outcome("running"))
            view.begin(job)
            begun.append(job)
            if engine.forks:
                call = functools.partial(_in_child, self.work, job)
                return Call(call, job.folder, _kind(job), graph_of(job.settings))
            return Call(functools.partial(_anew, self.work, job), job.folder)

        def unwanted(place: int) -> bool:
            reason = trials.unpromising(begun[place]) if trials else None
            if reason:
                self._pruned[begun[place].folder] = reason
            if self._is_late():
                self._late.add(begun[place].folder.name)
                return True
            return reason is not None

        def meanwhile() -> None:
            view.look()
            if self._study:
                self._study.beat()

        def stopping(count: int) -> None:
            view.close()
            say(f"stopping {count} run{'s' * (count > 1)} under way; each saves its state")

        calls = map(begin, in_time())
        ends = all_ended(calls, engine, room, unwanted=unwanted, meanwhile=meanwhile, stopping=stopping)
        try:
            with view, closing(ends):
                for ended in ends:
                    job = begun[ended.place]
                    found = self._ended(job, ended)
                    view.end(job, found)
                    if trials:
                        trials.end(job, found)
                    if found.status == "failed" and self.request.settings.fail_fast:
                        log = shown(job.folder / LOG)
                        raise RunFailed(f"stopped at the first failure, as sweep.fail_fast=true says; its log is {log}")
        finally:
            for job in begun:
                if self.indexed[job.folder.name].status == "running":
                    self._enter(job, self._outcome(job) or Outcome("interrupted"))

    def _ended(self, job: Job, ended: Ended) -> Outcome:
        """What came of a run; one that a signal ended could not say so itself."""
        folder = RunFolder(job.folder)
        reason = self._pruned.pop(job.folder, None)
        if reason and ended.code in (STOPPED, -signal.SIGTERM):
            assert self.request.search is not None
            note_pruned(folder, reason, self.request.search.objectives[0])
        elif ended.code == -signal.SIGTERM and job.folder.name in self._late:
            with suppress(BadInput):  # it had not begun to note anything
                folder.write_run({**folder.read_run(), "status": "stopped"})
        elif ended.reason:
            note_failure(folder, job.overrides, ended.reason)
        elif ended.code < 0:
            note_failure(folder, job.overrides, _killed(-ended.code))
        elif ended.code not in (DONE, STOPPED, INTERRUPTED):
            told = self._outcome(job)
            if told is None or told.status != "failed":
                note_failure(folder, job.overrides, f"ended with exit code {ended.code}; see {LOG}")
        found = self._outcome(job) or Outcome("interrupted")
        self._enter(job, found)
        return found

    def _is_late(self) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline

    def _enter(self, job: Job, found: Outcome) -> None:
        """Note in the index how a run stands."""
        name = job.folder.name
        self.indexed[name] = IndexedRun(name, list(job.overrides), found.status, found.reason, job.epochs)
        self.batch += [] if name in self.batch else [name]
        self._write(name)

    def _write(self, *own: str) -> None:
        """Write the index; of a search, which others may work on too, only these runs as they are known here."""
        if self.request.search is None:
            write_index(self.request.folder, self.about, list(self.indexed.values()))
            return
        with locked(self.request.folder / ".index.lock"):
            now = {one["folder"]: IndexedRun(**one) for one in read_index(self.request.folder).get("runs", [])}
            self.indexed = {**now, **{name: self.indexed[name] for name in own}}
            write_index(self.request.folder, self.about, list(self.indexed.values()))

    def _outcome(self, job: Job) -> Outcome | None:
        return outcome(RunFolder(job.folder), self.request.settings.metric)

    def _value(self, job: Job) -> float | None:
        found = self._outcome(job)
        return found.value if found is not None else None

    def _label(self, overrides: Sequence[str]) -> str:
        """What was varied, of a run's overrides."""
        return label(overrides, self.request.varied)

    def _end(self) -> int:
        """Say what came of the runs of this command; returns the exit code."""
        found = {
            name: outcome(RunFolder(self.request.folder / name), self.request.settings.metric) for name in self.batch
        }
        statuses = [
            "no time left" if self._cut_off(name, one) else one.status if one is not None else "waiting"
            for name, one in found.items()
        ]
        say()
        counts = ", ".join(f"{statuses.count(one)} {one}" for one in dict.fromkeys(statuses))
        say(f"{len(found)} run{'s' * (len(found) > 1)}: {counts}" if found else "nothing is left to do")
        for name, one in found.items():
            if one is not None and one.status == "failed":
                warn(f"{self._label(self.indexed[name].overrides)}: {first_line(one.reason)}")
                say(f"  {shown(self.request.folder / name / LOG)}")
        for name, why in self._unusable.items():
            warn(f"{self._label(self.indexed[name].overrides)}: {why}")
        tell_best(self.request.folder, {name: run.overrides for name, run in self.indexed.items()}, self._held_out)
        if "failed" in statuses or (found and len(self._unusable) == len(found)):
            return FAILED
        if set(statuses) <= {*DONE_WITH, "no time left"}:
            return DONE
        self._tell_how_on()
        return STOPPED

    def _held_out(self, best: str) -> HeldOut | None:
        """The best of many on test images, measured once: which run that was stays in the index. None where it has none, or
        where somebody else measures what came of all."""
        known = read_sweep(self.request.folder).test
        if "result" in self.about or (known is not None and known.run == best):
            return known
        try:
            known = held_out(self.request.folder / best)
        except (BadInput, RunFailed) as error:
            warn(f"the best run can't be measured on the test images: {error}")
            return None
        if known is not None:
            self.note(test=asdict(known))
        return known

    def _cut_off(self, name: str, found: Outcome | None) -> bool:
        """Whether the deadline has kept a run from its end."""
        return name in self._late and (found is None or found.status == "interrupted")

    def _tell_how_on(self) -> None:
        say("the same command goes on from here:")
        say(f"  {self.about['command']}")


def _done(work: Work, job: Job) -> int:
    work(job)
    return DONE


def _in_child(work: Work, job: Job) -> int:
    """One run, what it says going to a file in its folder."""
    back = say_to_log(job.folder)
    try:
        return guarded(functools.partial(_done, work, job))
    finally:
        back()


def _anew(work: Work, job: Job) -> int:
    """The same in a process that knows nothing of this one, and may be there before a lost one of before is gone."""

    def ready(job: Job) -> None:
        load_recipe(job)
        wait_for(RunFolder(job.folder).lock, LOST_IN)
        work(job)

    return _in_child(ready, job)


def _kind(job: Job) -> tuple[Any, ...] | None:
    """What is equal for runs that one process may do, one after the other: those of a head on kept features of one base.

    Such a run takes no longer than a process needs to begin. Any other takes far longer, and leaves more behind.
    """
    settings, trainer = job.settings, job.settings.trainer
    if not settings.trains_head_alone:
        return None
    chosen = settings.data, settings.model, settings.cache, settings.augment
    return *chosen, trainer.precision, trainer.feature_precision, trainer.deterministic


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


def _refuse_changed(job: Job) -> None:
    if problem := _changed(job):
        raise BadInput(problem)


def _fits(folder: RunFolder, job: Job) -> bool:
    """Whether an earlier run is what this job would be, wherever it lies."""
    return not resume.changes(replace(job, folder=folder.path))


def _how(study: Study) -> str:
    """How a search goes about it."""
    settings = study.search.settings
    judged = " and ".join(one.column for one in study.search.objectives)
    pruner = settings.pruner.name if study.prunes else "none"
    ended = "none ended early" if pruner == "none" else f"ended early by {pruner}"
    return f"{settings.name} on {judged}, {ended}"


def _goes_on(job: Job) -> bool:
    """Whether a finished run is to be given more, by a change that ``resume.allow`` names."""
    return RunFolder(job.folder).config.is_file() and bool(resume.changes(job))


def _twins(job: Job, other: Job) -> Problem:
    what = f"two runs would go to {shown(job.folder)}: {in_bash(*job.overrides)} and {in_bash(*other.overrides)}"
    return Problem(what, "hydra.sweep.subdir", "a name that tells them apart, or leave it to the default")


def _killed(number: int) -> str:
    name = signal.Signals(number).name if number in set(signal.Signals) else str(number)
    return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")

"""The study of a search: trials that several processes draw, tell and hand on to each other, kept by Optuna.

A trial belongs to the process that has drawn it. Each process holds a lock file in the sweep's folder as long as it lives;
the system frees it however the process ends. With a journal, a trial whose process is no more is seen by that; with a
database by Optuna's heartbeat, which needs no folder in common. Such a trial is closed, and drawn again by whoever is next.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import sys
import time
import uuid
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framework.core import registry
from framework.core.errors import BadInput, Problem
from framework.core.files import WINDOWS, is_locked, locked
from framework.sweeps.request import SweepRequest

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, Trial

JOURNAL = "study.journal"
WORKERS = ".workers"
BEAT_EVERY, SILENT = 15, 60  # seconds: between two heartbeats, and after which a process counts as gone
# what a trial remembers: who has it, its values as they are written, its run's folder, why it failed, which it repeats
WORKER, VALUES, FOLDER, REASON, AGAIN = "worker", "values", "folder", "reason", "again"


@dataclass(frozen=True)
class Drawn:
    """A trial that this process has: Optuna's, and its values by key, as they are written."""

    trial: Trial
    values: Mapping[str, str]


class Study:
    """The study of a sweep that is a search. To be entered; what is still under way when it is left is handed on.

    Args:
        request: of the sweep; its ``search`` is not None.

    Raises:
        BadInput: the study can't be opened, or was made with other values of keys that have one.
    """

    def __init__(self, request: SweepRequest):
        import optuna

        assert request.search is not None
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        # of what newer releases do by themselves, and of a heartbeat that beats here
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*(multivariate|group|constant_liar)")
        warnings.filterwarnings("ignore", message="Heartbeat of storage")
        self.request, self.search, self.space = request, request.search, request.search.space
        settings = self.search.settings
        self.every = bool(registry.get("sampler", settings.name).details["every"])
        self.until = None if self.search.timeout is None else time.monotonic() + self.search.timeout
        self._worker = f"{platform.node()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._lock = request.folder / ".study.lock"
        self._own: dict[int, Drawn] = {}
        self._combinations = self.space.combinations() if self.every else iter(())
        self._held = contextlib.ExitStack()
        self._beat = 0.0
        try:
            storage = _storage(settings.storage, request.folder)
            self._heart = storage if isinstance(storage, optuna.storages.RDBStorage) else None
            self.study = self._open(storage)
        except BadInput:
            raise
        except Exception as error:  # each database has its own
            reason = str(error).strip().split("\n", 1)[0] or type(error).__name__
            what = f"the study can't be kept where search.storage says: {reason}"
            right = "a path, sqlite:///FILE, or another address that Optuna takes"
            raise BadInput(Problem(what, "search.storage", right)) from None

    def _open(self, storage: BaseStorage) -> Any:
        """The study of this name, or another one beside it where that is of another space or other objectives."""
        import optuna

        objectives = [[one.column, one.higher] for one in self.search.objectives]
        mark = hashlib.sha256(json.dumps([self.space.text, objectives]).encode()).hexdigest()[:6]
        fixed = _of_trials(self.request.fixed)
        with locked(self._lock):
            for name in (self.request.name, f"{self.request.name}-{mark}"):
                study = optuna.create_study(
                    storage=storage,
                    study_name=name,
                    directions=["maximize" if one.higher else "minimize" for one in self.search.objectives],
                    load_if_exists=True,
                )
                told = study.user_attrs
                if "space" not in told and not study.get_trials(deepcopy=False):
                    study.set_user_attr("space", mark)
                    study.set_user_attr("fixed", fixed)
                    break
                if told.get("space") == mark:
                    break
        if (before := _of_trials(told.get("fixed", fixed))) != fixed and not self.search.may_differ:
            then, now = set(before), set(fixed)
            changed = " → ".join(" ".join(sorted(one)) or "nothing" for one in (then - now, now - then))
            what = f"the study {study.study_name} was made with other values: {changed}"
            raise BadInput(Problem(what, "command line", "sweep.name=ANOTHER_NAME, which keeps both"))
        return study

    def __enter__(self) -> Study:
        settings, folder = self.search.settings, self.request.folder / WORKERS
        others = sum(map(is_locked, folder.glob("*"))) if folder.is_dir() else 0
        self._held.enter_context(locked(self._lock_of(self._worker)))
        seed = settings.seed
        if seed is not None:
            import numpy as np

            seed = int(np.random.SeedSequence([seed, len(self.trials()), others]).generate_state(1)[0])
        self.study.sampler = registry.get("sampler", settings.name)(seed, **settings.parameters)
        pruner = settings.pruner if self.prunes else None
        self.study.pruner = (
            registry.get("pruner", pruner.name)(self.search.epochs, **pruner.parameters)
            if pruner
            else registry.get("pruner", "none")(self.search.epochs)
        )
        return self

    def __exit__(self, *_: object) -> None:
        from optuna.trial import TrialState

        # not told why, so that it is handed out again
        for drawn in list(self._own.values()):
            self._close(drawn, TrialState.FAIL)
        self._held.close()
        self._lock_of(self._worker).unlink(missing_ok=True)

    @property
    def prunes(self) -> bool:
        """Whether trials can be ended early: Optuna's pruners follow a single objective."""
        return len(self.search.objectives) == 1

    @cached_property
    def wanted(self) -> int:
        """How many trials there are to be in all."""
        return self.space.trials(self.every, self.search.settings.trials or sys.maxsize)

    def trials(self) -> list[FrozenTrial]:
        """All trials, those apart that were closed to be drawn again."""
        return [trial for trial in self.study.get_trials(deepcopy=False) if not self._is_void(trial)]

    def _is_void(self, trial: FrozenTrial) -> bool:
        return trial.user_attrs.get(REASON) is None and trial.state.name == "FAIL"

    def retry_failed(self) -> int:
        """Have trials drawn again that failed under earlier commands; how many there are."""
        with locked(self._lock):
            repeated = self._repeated()
            failed = [one for one in self.trials() if one.state.name == "FAIL" and one.number not in repeated]
            for trial in failed:
                self._draw_again(trial)
        return len(failed)

    def known(self) -> set[str]:
        """Folders of runs that are trials already."""
        return {trial.user_attrs.get(FOLDER, "") for trial in self.trials()}

    def add(self, folder: str, params: Mapping[str, Any], results: Sequence[float]) -> None:
        """Tell the study of a finished run that is no trial of it."""
        import optuna

        trial = optuna.create_trial(
            params=dict(params),
            distributions=self._distributions(params),
            values=list(results),
            user_attrs={FOLDER: folder, VALUES: self.space.written(params)},
        )
        self.study.add_trial(trial)

    def draw(self) -> Drawn | None:
        """The next trial; None where there is none now. There may be one later: other processes may end."""
        with locked(self._lock):
            self._take_over()
            if not self._is_due():
                return None
            trial = self.study.ask()
            values = self.space.draw(trial)
            trial.set_user_attr(VALUES, values)
            trial.set_user_attr(WORKER, self._worker)
        drawn = self._own[trial.number] = Drawn(trial, values)
        self.beat(now=True)
        return drawn

    def _is_due(self) -> bool:
        """Whether a trial is to be drawn now; of combinations the next is laid out."""
        if self.until is not None and time.monotonic() >= self.until:
            return False
        trials, repeated = self.trials(), self._repeated()
        counted = [one for one in trials if one.number not in repeated and one.state.name != "WAITING"]
        if len(counted) >= self.wanted:
            return False
        if not self.every or any(one.state.name == "WAITING" for one in trials):
            return True
        had = [one.user_attrs.get(VALUES) for one in trials]
        values = next((values for values in self._combinations if values not in had), None)
        if values is not None:
            self._lay_out({one.name: one.read(values[one.name]) for one in self.space.dimensions if one.name in values})
        return values is not None

    def _take_over(self) -> None:
        """Have trials drawn again whose process is gone, or has handed them on."""
        import optuna

        if self._heart:
            self.beat()
            optuna.storages.fail_stale_trials(self.study)
        else:
            for trial in self.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
                # one that nobody has yet was being drawn when its process ended: this one holds the lock for that now
                if trial.number not in self._own and self._is_gone(trial.user_attrs.get(WORKER)):
                    self.study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        repeated = self._repeated()
        for trial in self.study.get_trials(deepcopy=False):
            if self._is_void(trial) and trial.number not in repeated:
                self._draw_again(trial)

    def _is_gone(self, worker: str | None) -> bool:
        """Whether a process is no more; of one on another machine, whose lock lies elsewhere, nothing is known."""
        if worker is None:
            return True
        lock = self._lock_of(worker)
        return lock.exists() and not is_locked(lock)

    def _lock_of(self, worker: str) -> Path:
        return self.request.folder / WORKERS / worker

    def _repeated(self) -> set[int]:
        """Numbers of the trials that another one repeats."""
        trials = self.study.get_trials(deepcopy=False)
        return {number for one in trials if (number := one.user_attrs.get(AGAIN)) is not None}

    def _draw_again(self, trial: FrozenTrial) -> None:
        self._lay_out(trial.params, trial.distributions, {AGAIN: trial.number})

    def _lay_out(
        self,
        params: Mapping[str, Any],
        distributions: Mapping[str, Any] | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Have a trial of these values drawn before all others."""
        import optuna

        waiting = optuna.create_trial(
            state=optuna.trial.TrialState.WAITING,
            params=dict(params),
            distributions=dict(distributions or self._distributions(params)),
            user_attrs=dict(attributes or {}),
        )
        self.study.add_trial(waiting)

    def _distributions(self, names: Iterable[str]) -> dict[str, Any]:
        return {one.name: one.distribution for one in self.space.dimensions if one.name in set(names)}

    def beat(self, now: bool = False) -> None:
        """Tell a database that this process is there, as often as it has to know."""
        if self._heart and (now or time.monotonic() - self._beat > BEAT_EVERY):
            self._beat = time.monotonic()
            for drawn in self._own.values():
                self._heart.record_heartbeat(drawn.trial._trial_id)

    def name_folder(self, drawn: Drawn, folder: str) -> None:
        """Note which run is the trial's."""
        drawn.trial.set_user_attr(FOLDER, folder)

    def tell(self, drawn: Drawn, results: Sequence[float]) -> None:
        """The trial has come to its end."""
        from optuna.trial import TrialState

        self._close(drawn, TrialState.COMPLETE, list(results))

    def prune(self, drawn: Drawn) -> None:
        """The trial was ended early."""
        from optuna.trial import TrialState

        self._close(drawn, TrialState.PRUNED)

    def fail(self, drawn: Drawn, reason: str) -> None:
        """The trial has come to nothing."""
        from optuna.trial import TrialState

        drawn.trial.set_user_attr(REASON, reason)
        self._close(drawn, TrialState.FAIL)

    def _close(self, drawn: Drawn, state: Any, results: list[float] | None = None) -> None:
        # one that was silent for too long has been closed by another process
        self.study.tell(drawn.trial, results, state=state, skip_if_finished=True)
        self._own.pop(drawn.trial.number, None)


def _of_trials(fixed: Iterable[str]) -> list[str]:
    """The overrides that trials are made of, without those that say where and how many at once."""
    return sorted(one for one in fixed if not one.startswith(("compute", "sweep.jobs=", "sweep.detach=")))


def _storage(where: str | None, folder: Path) -> BaseStorage:
    from optuna.storages import JournalStorage, RDBStorage, get_storage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    if where is not None and "://" in where:
        if where.startswith("redis"):
            return get_storage(where)
        return RDBStorage(where, heartbeat_interval=BEAT_EVERY, grace_period=SILENT)
    file = Path(where) if where else folder / JOURNAL
    file.parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(str(file), JournalFileOpenLock(str(file)) if WINDOWS else None))

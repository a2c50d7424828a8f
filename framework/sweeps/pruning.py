"""Ends trials of a search that lag behind: each epoch of a run is told to Optuna, which compares it with other trials.

Optuna's sweeper asks for a batch of trials and never sees inside a run. The runs write ``history.csv`` after every epoch;
that is read here, in the sweep's own process, so that no run needs to know of the search.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from framework.core.runs import RunFolder
from framework.runs.job import Job
from framework.sweeps.folder import rows_of
from framework.sweeps.request import Search

START_UP_TRIALS = 5


class Pruner:
    """The trials of one batch, held against those that ended before.

    A trial is ended when its best value so far is worse than the median of what earlier trials had at that epoch, as
    Optuna's ``MedianPruner`` has it (after the median stopping rule, Golovin et al. 2017, Google Vizier). The first five
    trials and the first ``sweep.prune_after`` epochs are left alone.

    Args:
        search: the study.
        jobs: the batch, in the order of its trials.
    """

    def __init__(self, search: Search, jobs: Sequence[Job]):
        import optuna

        settings = jobs[0].settings
        yardstick = settings.sweep_yardstick()
        self.metric, self.better = yardstick.column, "above" if yardstick.higher else "below"
        pruner = optuna.pruners.MedianPruner(START_UP_TRIALS, n_warmup_steps=settings.sweep.prune_after + 1)
        study = optuna.load_study(study_name=search.study, storage=search.storage, pruner=pruner)
        begun = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
        batch = sorted(begun, key=lambda trial: trial.number)[-len(jobs) :]
        self._trials: dict[Path, Any] = {}
        for job, trial in zip(jobs, batch, strict=True):
            self._trials.setdefault(job.folder, optuna.trial.Trial(study, trial._trial_id))
        self._told: dict[Path, int] = {}

    def tell(self, job: Job) -> str | None:
        """Report the run's epochs that are new; why it is to be ended, None if it is not.

        A run that has come to its last epoch is never ended.
        """
        trial, told = self._trials[job.folder], self._told.get(job.folder, 0)
        unpromising, rows = False, rows_of(RunFolder(job.folder))
        for row in rows:
            value = row.get(self.metric)
            if row["epoch"] > told and value is not None and value == value:
                trial.report(value, row["epoch"])
                unpromising = trial.should_prune()
            told = max(told, row["epoch"])
        self._told[job.folder] = told
        if not unpromising or told >= job.settings.epochs:
            return None
        return f"{self.metric} {rows[-1][self.metric]:.4f} at epoch {told} is not {self.better} the median of earlier trials"

"""Ends trials of a search that lag behind: each epoch of a run is told to Optuna, which compares it with other trials.

The runs write ``history.csv`` after every epoch; that is read here, in the sweep's own process, so that no run needs to
know of the search.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from framework.core.better import Yardstick
from framework.core.runs import RunFolder
from framework.runs.job import Job
from framework.sweeps.folder import rows_of

if TYPE_CHECKING:
    from optuna.trial import Trial


class Watched:
    """A trial whose run is under way.

    Args:
        trial: of Optuna's, which has the study's pruner.
        job: its run.
        yardstick: what trials are judged by.
        pruner: its name, for the reason.
    """

    def __init__(self, trial: Trial, job: Job, yardstick: Yardstick, pruner: str):
        self.trial, self.job, self.yardstick, self.pruner = trial, job, yardstick, pruner
        self._told = 0

    def look(self) -> str | None:
        """Report the run's epochs that are new; why it is to be ended, None if it is not.

        A run that has come to its last epoch is never ended.
        """
        metric, told = self.yardstick.column, self._told
        unpromising, rows = False, rows_of(RunFolder(self.job.folder))
        for row in rows:
            value = row.get(metric)
            if row["epoch"] > told and value is not None and value == value:
                self.trial.report(value, row["epoch"])
                unpromising = self.trial.should_prune()
            told = max(told, row["epoch"])
        self._told = told
        if not unpromising or told >= self.job.settings.epochs:
            return None
        value = f"{metric} {rows[-1][metric]:.4f} at epoch {told}"
        if self.pruner == "median":
            return f"{value} is not {'above' if self.yardstick.higher else 'below'} the median of earlier trials"
        return f"{value} lags behind earlier trials, by search.pruner={self.pruner}"

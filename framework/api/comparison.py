"""``Comparison``: many runs side by side, for programs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from framework.api import html
from framework.api.errors import speaking
from framework.api.run import Run, load
from framework.core.errors import BadInput, Problem
from framework.reports.comparison import Comparison as Compared
from framework.reports.comparison import compare


class Comparison:
    """What varies between runs, which is best, and which differences are no more than chance.

    ``framework.sweep`` makes one; of runs that are there already it is made of their folders.

    Args:
        runs: the folder of a sweep, or run folders from anywhere.

    Attributes:
        best_run: the folder of the run that stands for the best variant: of repeats the one nearest their mean; None
            where no run has a score.

    Raises:
        framework.Error: a folder does not exist, or there is no run.

    Examples:
        >>> import framework
        >>> one = framework.load("latest").folder
        >>> found = framework.Comparison([one])
        >>> found.monitor, len(found.rows), found.best.folder == one
        ('val_accuracy', 1, True)
    """

    @speaking
    def __init__(self, runs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]):
        if isinstance(runs, str | os.PathLike):
            self._compared: Compared = compare(Path(runs).expanduser())
        else:
            self._compared = compare([Path(run).expanduser() for run in runs])
        best = self._compared.best_run
        self.best_run: Path | None = best.folder if best is not None else None

    @property
    def monitor(self) -> str:
        """The column of the history that runs are judged by, at their best epoch."""
        return self._compared.monitor

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """A row a variant, best first, those without a result last.

        Keys are what varies; every measured column, the mean over repeats, and where there are repeats its
        ``…_spread``, their standard deviation; ``seconds``; ``parameters``; ``tie``, whether the distance from the best is
        no more than chance; ``status``: ``finished``, ``failed`` or what else its runs say; ``reason`` of a failure; and
        ``runs``, their folders.
        """
        return [self._row(variant) for variant in self._compared.variants]

    @property
    @speaking
    def best(self) -> Run:
        """The run that stands for the best variant.

        Raises:
            framework.Error: no run has a score, or the best has no model.
        """
        if self.best_run is None:
            raise BadInput(Problem(f"no run of {self._compared.name} has {self.monitor}"))
        return load(self.best_run)

    def _row(self, variant: Any) -> dict[str, Any]:
        found, row = self._compared, dict(variant.values)
        columns = [column for name in found.metrics for column in (name, f"val_{name}")]
        for column in columns:
            if (mean := variant.mean(column)) is not None:
                row[column] = mean
            if (spread := variant.spread(column)) is not None:
                row[f"{column}_spread"] = spread
        took = [run.seconds for run in variant.runs if run.seconds is not None]
        statuses = dict.fromkeys(run.status for run in variant.runs)
        return row | {
            "seconds": sum(took) / len(took) if took else None,
            "parameters": next((run.parameters for run in variant.runs if run.parameters is not None), None),
            "tie": variant.label in found.ties,
            "status": ", ".join(statuses),
            "reason": "; ".join(filter(None, dict.fromkeys(run.reason for run in variant.runs))),
            "runs": [run.folder for run in variant.runs],
        }

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        best = f", best {self._compared.best.label}" if self._compared.best else ""
        return f"Comparison({self._compared.name!r}: {len(self.rows)} variants by {self.monitor}{best})"

    def _repr_html_(self) -> str:
        return html.of_comparison(self._compared)

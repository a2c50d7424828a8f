"""What a search says of itself in ``search.json``: its trials, the best of them, and how much each key matters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framework.core.files import read_own

FILE, FORMAT = "search.json", 1


@dataclass(frozen=True)
class SearchTold:
    """A search that runs were drawn by.

    Attributes:
        sampler: that drew them.
        keys: each with ``key``, ``numeric`` and ``log``.
        objectives: each with ``column`` and ``higher``.
        trials: each with ``folder``, ``state``, ``results`` and ``values``.
        best: folders of the runs that no other beats; of several objectives the Pareto front.
        importance: for each objective ``column``, ``shares`` of keys, ``why_not`` where there are none, and the ``rest`` of
            the keys, those that not every trial has.
    """

    sampler: str
    keys: tuple[Mapping[str, Any], ...]
    objectives: tuple[Mapping[str, Any], ...]
    trials: tuple[Mapping[str, Any], ...]
    best: frozenset[str]
    importance: tuple[Mapping[str, Any], ...]

    @property
    def front(self) -> frozenset[str]:
        """Folders of the runs on the Pareto front; empty where there is one objective."""
        return self.best if len(self.objectives) > 1 else frozenset()


def read(folder: Path) -> SearchTold | None:
    """What the file in a sweep's folder says; None where there is none that can be read."""
    try:
        told = json.loads(read_own(folder / FILE, folder))
        json.dumps(told, allow_nan=False)  # refuses numbers without end, which nothing can draw
        if told["format"] != FORMAT:
            return None
        keys, objectives, trials, importance = (
            tuple(told[name]) for name in ("keys", "objectives", "trials", "importance")
        )
        return SearchTold(told["sampler"], keys, objectives, trials, frozenset(told["best"]), importance)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def importance_lines(told: SearchTold) -> list[str]:
    """A line an objective: how much each key matters."""
    lines = []
    for one in told.importance:
        shares = ", ".join(f"{name} {share:.2f}" for name, share in one["shares"].items())
        rest = (
            f"; not judged, for not in all trials or always the same: {', '.join(one['rest'])}" if one["rest"] else ""
        )
        lines.append(f"importance for {one['column']}: {shares or 'not known: ' + one['why_not']}{rest}")
    return lines

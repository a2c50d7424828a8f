"""What a sweep says at its end: the best of all its runs, how to run it again, and how they compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from framework.config.folders import shown
from framework.core.console import follow, in_bash, passing, program, say, say_under
from framework.core.digits import rounded
from framework.reports.search import SearchTold, importance_lines

if TYPE_CHECKING:
    from framework.reports.comparison import Comparison
    from framework.reports.entries import HeldOut


def tell_best(folder: Path, overrides: Mapping[str, Sequence[str]], test: Callable[[str], HeldOut | None]) -> None:
    """Say which of all runs in the folder is best, how to run it again, and compare them all.

    Args:
        folder: of the sweep.
        overrides: of its runs, by the names of their folders.
        test: how good the run of this name, the best of many, is on test images.
    """
    from framework.reports.comparison import MANY, compare

    comparison = compare(folder)
    best, run = comparison.best, comparison.best_run
    if best is None or run is None or best.cut_short:
        return
    say(f"best: {comparison.monitor} {best.mean(comparison.monitor):.4f}")
    if len(comparison.rivals) >= MANY and run.tested:
        comparison = replace(comparison, test=test(run.name))
    _tell_again(overrides[run.name])
    if comparison.search:
        _tell_found(comparison.search)
    _compare(comparison, folder)
    follow("python", "-m", "framework.evaluate", f"run={shown(folder)}")


def _tell_found(search: SearchTold) -> None:
    """Say what only a search finds: the Pareto front of several objectives, and how much each key matters."""
    columns = [objective["column"] for objective in search.objectives]
    if search.front:
        say(f"{len(search.front)} on the Pareto front of {' and '.join(columns)}:")
    for trial in search.trials:
        if trial["folder"] in search.front:
            results = zip(columns, trial["results"], strict=True)
            values = ", ".join(f"{column} {rounded(value)}" for column, value in results)
            say_under("  ", [values, " ".join(f"{key}={value}" for key, value in trial["values"].items())])
    for line in importance_lines(search):
        say(line)


def _tell_again(run: Sequence[str]) -> None:
    own = ("compute", "sweep.", "search")
    overrides = [line for line in run if not line.lstrip("+").startswith(own)]
    words = program()
    trains = words if words[-1].endswith("train") else ("python", "-m", "framework.train")
    say(f"again: {in_bash(*trains, *overrides)}")


def _compare(comparison: Comparison, folder: Path) -> None:
    """The comparison of all runs in the folder: a table, and files beside the runs."""
    from framework.reports.files import write
    from framework.reports.table import results, show_variants

    with passing("comparing …"):
        files = write(comparison, folder)
    show_variants(comparison, results())
    say(f"written: {', '.join(shown(file) for file in files)}")

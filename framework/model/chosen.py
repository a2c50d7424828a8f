"""Which run is meant: a run folder, a sweep's best run, or the latest of both."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

from framework.core.better import Yardstick
from framework.core.digits import rounded
from framework.core.errors import BadInput, Problem, nearest
from framework.core.files import read_own
from framework.core.runs import RunFolder
from framework.reports.comparison import compare
from framework.reports.entries import SWEEP_FILE, read_entry
from framework.reports.table import with_spread

LATEST = "latest"
RUNS, SWEEPS = "runs", "sweeps"
RUN_FOLDERS = (RUNS, SWEEPS)
DEPTH = 3


@dataclass(frozen=True)
class Chosen:
    """The run that is meant, why it and no other, and what it was judged by; ``why`` is empty where it was named."""

    folder: RunFolder
    why: str = ""
    yardstick: Yardstick | None = None

    def told(self) -> str:
        """Why it is the one, and its score: `` (the sweep's best of 6): val_accuracy 0.833 at epoch 7``."""
        entry = read_entry(self.folder.path, self.folder.path.name)
        column = (self.yardstick or entry.yardstick).column
        score = entry.best.get(column)
        why = f" ({self.why})" if self.why else ""
        return why if score is None else f"{why}: {column} {rounded(score)} at epoch {entry.best['epoch']}"


def find_run(run: str) -> Chosen:
    """The run that ``run`` names, one with a model where there is a choice.

    A sweep means the run that stands for its best variant, as its report has it. ``latest`` is the run that was begun
    last in runs/ and sweeps/ here, or if that is one of a sweep, the sweep's best. A run's own ``model.keras`` means the
    run.

    Raises:
        BadInput: there is none.
    """
    if run == LATEST:
        return _latest()
    path = Path(run).expanduser().resolve()
    if not os.path.isdir(path):  # which a name too long for the system is not either
        if os.path.isfile(path) and is_of_run(path):
            return Chosen(RunFolder(path.parent))
        raise BadInput(_no_folder(run, path))
    if (path / "run.json").exists() or not (there := _with_models(path)):
        return Chosen(RunFolder(path))
    if (best := _best(path, "sweep")) is None:
        what = f"no run in {path} is finished"
        raise BadInput(Problem(what, f"command line: run={path}", f"run={next(iter(there))}"))
    return best


def is_of_run(file: Path) -> bool:
    """Whether a file is the model of the run folder that it lies in, which says all that there is to know of it."""
    folder = RunFolder(file.parent)
    return file.name == folder.model.name and file.is_file() and folder.run_json.is_file()


def _latest() -> Chosen:
    found = {run: started for name in RUN_FOLDERS for run, started in _with_models(Path(name).resolve()).items()}
    if not found:
        what = f"there is no run with a model in {' or '.join(f'{name}/' for name in RUN_FOLDERS)} here"
        raise BadInput(Problem(what, f"command line: run={LATEST}", "run=PATH, or the folder that you trained in"))
    newest = max(found, key=lambda run: (found[run], str(run)))
    around = newest.parent
    if (around / SWEEP_FILE).exists() or around.parent == Path(SWEEPS).resolve():
        return _best(around, "latest sweep") or Chosen(RunFolder(newest), "the latest run")
    return Chosen(RunFolder(newest), "the latest run")


def _with_models(folder: Path) -> dict[Path, str]:
    """Folders below that hold a run with a model, and when it was begun."""
    found = {}
    for file in sorted(file for depth in range(1, DEPTH + 1) for file in folder.glob("*/" * depth + "run.json")):
        run = RunFolder(file.parent)
        try:
            said = run.read_run()
        except BadInput:
            continue
        if run.model.exists():
            found[run.path] = str(said.get("started", ""))
    return found


def _best(folder: Path, what: str) -> Chosen | None:
    """The run that stands for the best variant of those with a model; None if none of them has a score."""
    if (result := _result(folder)) is not None:
        return Chosen(result, f"what the {what} came to")
    there = _with_models(folder)
    comparison = compare(folder)
    comparison = replace(comparison, entries=tuple(entry for entry in comparison.entries if entry.folder in there))
    run, variant = comparison.best_run, comparison.best
    if run is None or variant is None:
        return None
    why = f"the {what}'s best of {len(comparison.variants)}"
    if len(variant.measured) > 1:
        score = with_spread(variant, comparison.monitor)
        why = f"{why} variants, {score} over {len(variant.measured)} seeds, of which it is nearest the mean"
    if comparison.ties:
        why = f"{why}, tied with {len(comparison.ties)} more"
    return Chosen(RunFolder(run.folder), why, comparison.yardstick)


def _result(folder: Path) -> RunFolder | None:
    """The run that a sweep's index names as what came of it, beside the runs that it is made of; None if it names none."""
    try:
        name = json.loads(read_own(folder / SWEEP_FILE, folder)).get("result")
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    if not isinstance(name, str) or not (folder / name).resolve().is_relative_to(folder.resolve()):
        return None
    run = RunFolder(folder / name)
    return run if run.model.is_file() and run.run_json.is_file() else None


def _no_folder(run: str, path: Path) -> Problem:
    where = f"command line: run={run}"
    if os.path.isfile(path):
        return Problem(f"{run} is a file", where, f"run={path.parent}, or model={run} classes=[a,b]")
    places = [
        place for place in (path.parent, *(Path(name).absolute() for name in RUN_FOLDERS)) if os.path.isdir(place)
    ]
    near = {entry.name: entry for place in places for entry in place.iterdir() if entry.is_dir()}
    name = nearest(path.name, near)
    return Problem(f"there is no folder {run}", where, f"run={near[name]}" if name else f"run={LATEST}")

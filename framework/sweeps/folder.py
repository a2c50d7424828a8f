"""The folder of a sweep: what became of each run before, what has changed since, and the index ``sweep.json``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from framework.core.better import Yardstick
from framework.core.errors import BadInput
from framework.core.files import read_own, write_whole
from framework.core.runs import RunFolder

FORMAT = 1
INDEX = "sweep.json"
DONE_WITH = ("finished", "pruned")

Status = Literal["waiting", "running", "finished", "failed", "interrupted", "pruned"]


@dataclass
class IndexedRun:
    """A run as the index tells of it: its folder's name, what was typed for it, how it ended, and why if not well.

    ``epochs`` is how many it is to have; None where an earlier version wrote the index.
    """

    folder: str
    overrides: list[str]
    status: Status
    reason: str | None = None
    epochs: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What a run folder says of its run; ``value`` is of the column ``metric`` at the best epoch."""

    status: Status
    reason: str | None = None
    metric: str | None = None
    value: float | None = None
    epoch: int | None = None


def outcome(folder: RunFolder, metric: str | None) -> Outcome | None:
    """What became of a run; None if none was begun here.

    Args:
        folder: of the run.
        metric: column of the history; None for the one that the run itself monitors.
    """
    if not (folder.config.exists() or folder.run_json.exists()):
        return None
    try:
        run = folder.read_run()
    except BadInput:
        return Outcome("interrupted")
    status, best = run.get("status"), run.get("best") or {}
    if status == "failed":
        return Outcome("failed", run.get("reason"))
    if status == "pruned":
        so_far = run.get("pruned", {})
        return Outcome("pruned", run.get("reason"), so_far.get("metric"), so_far.get("value"), so_far.get("epoch"))
    if status != "finished":
        return Outcome("interrupted")
    name = metric or best.get("monitor")
    return Outcome("finished", None, name, best.get("metrics", {}).get(name), best.get("epoch"))


def make_ready(folder: RunFolder) -> None:
    """Prepare a run's folder for another try.

    A run that was interrupted and left its state goes on from there, and one that finished may be given more epochs:
    their folders stay as they are. Else what the last try left goes, Hydra's own files apart.
    """
    found = outcome(folder, None)
    if found is None or found.status in DONE_WITH or (found.status == "interrupted" and folder.state.exists()):
        return
    for path in folder.path.iterdir():
        if path.is_dir() and path.name != ".hydra":
            shutil.rmtree(path)
        elif path.is_file():
            path.unlink()


def note_failure(folder: RunFolder, overrides: Sequence[str], reason: str) -> None:
    """Have ``run.json`` say that the run failed, where the run itself could not."""
    try:
        run = folder.read_run()
    except BadInput:
        run = {"overrides": list(overrides)}
    folder.write_run({**run, "status": "failed", "reason": reason})


def note_pruned(folder: RunFolder, reason: str, yardstick: Yardstick) -> None:
    """Have ``run.json`` say that the search ended the run, and how good it had been by then."""
    best, metric = yardstick.best(rows_of(folder)), yardstick.column
    so_far = {"metric": metric, "value": best[metric], "epoch": best["epoch"]} if best else {}
    folder.write_run({**folder.read_run(), "status": "pruned", "reason": reason, "pruned": so_far})


def rows_of(folder: RunFolder) -> list[dict[str, Any]]:
    """The epochs that a run has behind it; none where no history can be read yet."""
    try:
        return folder.read_history()
    except (OSError, ValueError):
        return []


def read_index(folder: Path) -> dict[str, Any]:
    """What ``sweep.json`` says; empty where there is none that can be read."""
    try:
        index = json.loads(read_own(folder / INDEX, folder))
    except (OSError, ValueError, RecursionError):
        return {}
    return index if isinstance(index, dict) and index.get("format") == FORMAT else {}


def write_index(folder: Path, about: Mapping[str, Any], entries: Sequence[IndexedRun]) -> None:
    """Write ``sweep.json`` whole."""
    content = {"format": FORMAT, **about, "runs": [asdict(entry) for entry in entries]}
    write_whole(folder / INDEX, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

"""The folder of a sweep: what became of each run before, what has changed since, and the index ``sweep.json``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from framework.config.job import Job
from framework.core.errors import BadInput
from framework.core.files import write_whole
from framework.core.runs import RunFolder
from framework.core.schema import show
from framework.reports.entries import flat

FORMAT = 1
INDEX = "sweep.json"
LOG = "log.txt"
NO_CHANGE = ("sweep",)

Status = Literal["waiting", "running", "finished", "failed", "interrupted"]


@dataclass
class Entry:
    """A run as the index tells of it: its folder's name, what was typed for it, how it ended, and why if not well."""

    folder: str
    overrides: list[str]
    status: Status
    reason: str | None = None


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
    if status != "finished":
        return Outcome("interrupted")
    name = metric or best.get("monitor")
    return Outcome("finished", None, name, best.get("metrics", {}).get(name), best.get("epoch"))


def changes(job: Job) -> list[str]:
    """Keys whose value the folder's run had otherwise, each with both values; empty if it is the same experiment."""
    try:
        before = RunFolder(job.folder).config.read_text(encoding="utf-8")
        if before == job.config:
            return []
        old, new = (flat(yaml.safe_load(config)) for config in (before, job.config))
    except (OSError, yaml.YAMLError, AttributeError):
        return []
    keys = [key for key in dict.fromkeys([*old, *new]) if key.split(".")[0] not in NO_CHANGE]
    return [
        f"{key}: {_shown(old, key)} → {_shown(new, key)}"
        for key in keys
        if key not in old or key not in new or old[key] != new[key]
    ]


def restart(folder: RunFolder) -> None:
    """Make a run's folder ready for another try: what the last one left goes, Hydra's own files apart."""
    if not folder.path.is_dir():
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


def read_index(folder: Path) -> dict[str, Any]:
    """What ``sweep.json`` says; empty where there is none that can be read."""
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return index if isinstance(index, dict) and index.get("format") == FORMAT else {}


def write_index(folder: Path, about: Mapping[str, Any], entries: Sequence[Entry]) -> None:
    """Write ``sweep.json`` whole."""
    content = {"format": FORMAT, **about, "runs": [asdict(entry) for entry in entries]}
    write_whole(folder / INDEX, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _shown(values: Mapping[str, Any], key: str) -> str:
    return show(values[key]) if key in values else "(not there)"

"""Watching a sweep that another process is at, here or on a cluster: what its folder tells, as it comes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framework.config.folders import shown
from framework.core.better import Yardstick
from framework.core.console import say
from framework.core.errors import BadInput, Problem
from framework.core.runs import RunFolder
from framework.sweeps.folder import IndexedRun, Outcome, outcome, read_index, rows_of
from framework.sweeps.naming import label
from framework.sweeps.view import View

LOOK_EVERY = 1.0


@dataclass(frozen=True)
class Seen:
    """A run as the index of its sweep tells of it."""

    folder: Path
    overrides: tuple[str, ...]
    epochs: int


def watch(folder: Path) -> None:
    """Show how the runs of a sweep come on, until it is over.

    Raises:
        BadInput: there is no such folder.
        KeyboardInterrupt: it was enough; the sweep goes on.
    """
    if not folder.is_dir():
        raise BadInput(Problem(f"there is no folder {folder}", "command line: sweep", "the folder of a sweep"))
    index = read_index(folder)
    if _waits(index):
        say(f"{shown(folder)} has no run yet: waiting for the first")
    while _waits(index):
        time.sleep(LOOK_EVERY)
        index = read_index(folder)
    judged = Yardstick(**index["judged_by"]) if "judged_by" in index else Yardstick.of(index.get("metric") or "loss")
    varied: list[str] = list(index.get("varied", ()))
    view = View(lambda overrides: label(overrides, varied), judged)
    known: dict[str, str] = {}
    with view:
        while True:
            varied[:] = index.get("varied", ())
            for run in _runs(index):
                _tell(view, folder, run, known.get(run.folder), index.get("metric"))
                known[run.folder] = run.status
            view.look()
            if not index.get("at_work"):
                return
            time.sleep(LOOK_EVERY)
            index = read_index(folder) or index


def _waits(index: Mapping[str, Any]) -> bool:
    return not index or (not index.get("runs") and bool(index.get("at_work")))


def _runs(index: Mapping[str, Any]) -> Iterator[IndexedRun]:
    for entry in index.get("runs", ()):
        yield IndexedRun(**entry)


def _tell(view: View, folder: Path, run: IndexedRun, before: str | None, metric: str | None) -> None:
    """Tell the view what has become of a run since it was ``before``; None if nothing is known of it."""
    if run.status == before:
        return
    seen = Seen(folder / run.folder, tuple(run.overrides), run.epochs or 1)
    found = outcome(RunFolder(seen.folder), metric) or Outcome(run.status, run.reason)
    if run.status == "waiting":
        view.expect(seen, len(rows_of(RunFolder(seen.folder))))
    elif run.status == "running":
        view.begin(seen)
    elif before == "running":
        view.end(seen, found)
    elif before is None:
        view.skip(seen.overrides, found)
    else:  # it was over between two looks
        view.begin(seen)
        view.end(seen, found)

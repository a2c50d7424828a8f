"""Runs combined to one model in a run folder of its own, which every other command takes."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from framework.core.backend import load_tensorflow
from framework.core.errors import BadInput, Problem
from framework.core.files import whole_folder
from framework.core.runs import RunFolder
from framework.evaluation import temperature
from framework.evaluation.labelled import DataOptions, labelled
from framework.evaluation.measures import Answers
from framework.reports.comparison import Comparison
from framework.runs import answers, facts
from framework.sweeps import combining
from framework.sweeps.combining import Combination, Member, Method

OF_BEST = ("overrides", "recipe", "seed", "task", "classes", "data")


def free(folder: Path) -> None:
    """See that a folder may be written: it is not there, or holds what was combined before.

    Raises:
        BadInput: it holds something else.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        made = "made" in RunFolder(folder).read_run()
    except BadInput:
        made = False
    if not made:
        raise BadInput(Problem(f"{folder} holds something else", "command line: output", "output=<a new folder>"))


def write(
    comparison: Comparison, members: Sequence[Member], method: Method, most: int, folder: Path
) -> tuple[Combination, Mapping[str, Any]]:
    """Combine, and leave a finished run folder.

    Args:
        comparison: that the members are of.
        members: the best first.
        method: how.
        most: members at most.
        folder: made anew; what was combined there before is replaced.

    Returns:
        What was chosen, and what ``run.json`` says.

    Raises:
        BadInput: the validation images are no longer there, or nothing can be combined so.
    """
    started, began = datetime.now(timezone.utc), time.perf_counter()
    best = members[0]
    images = labelled(best.trained, DataOptions(), None)
    if len(images.split) != len(best.kept.labels):
        what = f"the data have {len(images.split):,} validation images now; the runs were measured on {len(best.kept.labels):,}"
        raise BadInput(Problem(what, images.origin, "the images that the runs were trained with"))
    load_tensorflow()
    found = combining.combine(members, method, comparison.yardstick, most, images.split.paths)
    with whole_folder(folder) as beside:
        run, of_best = RunFolder(beside), RunFolder(best.entry.folder)
        found.model.save(run.model)
        for name in (of_best.config.name, of_best.split.name):
            if (of_best.path / name).is_file():
                shutil.copyfile(of_best.path / name, beside / name)
        origin = str(best.entry.run.get("data", {}).get("origin", images.origin))
        answers.write(run, Answers(best.task, images.split.paths, best.kept.labels, found.logits), origin)
        seconds = time.perf_counter() - began
        run.write_history(combining.history(found, seconds))
        said = {
            "status": "finished",
            "process": os.getpid(),
            "started": started.isoformat(timespec="seconds"),
            "command": sys.argv,
            **{key: best.entry.run[key] for key in OF_BEST if key in best.entry.run},
            **facts.found(),
            "seconds": {"combining": round(seconds, 3)},
            **combining.record(found, comparison.yardstick),
            "calibration": temperature.record(best.task, found.logits, best.kept.labels),
            "ended": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        run.write_run(said)
    return found, said

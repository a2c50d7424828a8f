"""Whether a folder's earlier run may be gone on with: the same config, but for what the user allows."""

from __future__ import annotations

from typing import Any

import yaml

from framework.config.job import Job
from framework.config.kinds import paths
from framework.core.errors import BadInput, Problem
from framework.core.runs import RunFolder
from framework.core.schema import show
from framework.reports.entries import flat

NO_CHANGE = ("sweep", "resume", "cache")


def earlier(folder: RunFolder) -> dict[str, Any] | None:
    """What ``run.json`` says of a run that was begun in this folder before; None if there was none."""
    if not (folder.config.is_file() and folder.run_json.is_file()):
        return None
    return folder.read_run()


def changes(job: Job) -> dict[str, tuple[Any, Any]]:
    """Keys that the folder's run had otherwise, each with the value then and now; None where there was or is none."""
    folder = RunFolder(job.folder)
    try:
        if folder.config.read_text(encoding="utf-8") == job.config:
            return {}
        before = folder.read_config()
        # earlier versions wrote relative paths down
        then = {**flat(before), **paths(before)}
    except ValueError as error:
        raise BadInput(Problem(f"{folder.config} can't be read: {error}", str(folder.config))) from None
    now = flat(yaml.safe_load(job.config))
    keys = [key for key in dict.fromkeys([*then, *now]) if key.split(".")[0] not in NO_CHANGE]
    return {key: (then.get(key), now.get(key)) for key in keys if then.get(key) != now.get(key)}


def refuse_changes(job: Job, allowed: list[str]) -> None:
    """Let the run go on only if nothing has changed but what is allowed.

    Raises:
        BadInput: a problem for each change that is not allowed.
    """
    problems = []
    for key, (then, now) in changes(job).items():
        if key not in allowed:
            what = f"{job.folder} holds a run with {key}={show(then)}, not {show(now)}"
            problems.append(
                Problem(what, key, f"resume.allow=[{key}] to go on with it, or another folder for a new run")
            )
    if problems:
        raise BadInput(problems)

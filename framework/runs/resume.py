"""Whether a folder's earlier run may be gone on with: the same config and data, but for what the user allows.

Whatever may change (``resume_rules``) takes effect from there on, and what could not (``resume_effects``) is refused
before anything is written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import yaml

from framework.config.earlier import as_now
from framework.config.kinds import paths
from framework.config.settings import Settings
from framework.core.errors import BadInput, Problem, listing, nearest
from framework.core.runs import RunFolder
from framework.core.schema import show
from framework.reports.entries import flat
from framework.runs.job import Job
from framework.runs.resume_effects import without_effect
from framework.runs.resume_rules import FREE, MAY, UNKNOWN, Config, rule, ruled_key
from framework.training.state import State


def earlier(folder: RunFolder) -> dict[str, Any] | None:
    """What ``run.json`` says of a run that was begun in this folder before; None if there was none."""
    if not (folder.config.is_file() and folder.run_json.is_file()):
        return None
    return folder.read_run()


def changes(job: Job) -> dict[str, tuple[Any, Any]]:
    """Keys that the folder's run had otherwise, each with the value then and now; None where there was or is none.

    Keys of ``stage`` stand under each stage that has them from there.
    """
    before = _config_then(job)
    # earlier versions wrote relative paths down
    then, now = {**_effective(before), **paths(before)}, _effective(yaml.safe_load(job.config))
    keys = [key for key in dict.fromkeys([*then, *now]) if rule(key) != FREE]
    return {key: (then.get(key), now.get(key)) for key in keys if then.get(key) != now.get(key)}


def refuse_changes(job: Job) -> None:
    """Let the run go on only if nothing has changed but what is allowed and takes effect.

    A run that has no state yet begins anew, and every change that is allowed takes effect.

    Raises:
        BadInput: a problem for each change that can't be, or the run's state is damaged.
    """
    changed, allowed = changes(job), job.settings.resume.allow
    if not changed and job.settings.cache.use != "only":
        return
    state = State.read(RunFolder(job.folder).state, arrays=False)
    before = _config_then(job)
    then, now = _effective(before), _effective(yaml.safe_load(job.config))
    problems = list(_unknown_names(allowed, {*then, *now}))
    places = _places(job.settings, state)
    for key, (was, wanted) in changed.items():
        said = MAY if state is None else rule(ruled_key(key, then, now, places)) or UNKNOWN
        what = f"{job.folder} holds a run with {key}={show(was)}, not {show(wanted)}"
        if said != MAY:
            problems.append(Problem(f"{what}, and can't go on so: {said}", key, "another folder for a new run"))
        elif not _is_allowed(key, allowed):
            right = f"resume.allow=[{key}] to go on with it, or another folder for a new run"
            problems.append(Problem(what, key, right))
    if state is not None and not problems:
        problems += without_effect(job, before, changed, state)
    if problems:
        raise BadInput(problems)


def refuse_data(job: Job, state: State, said: Config, now: Config) -> None:
    """Let the run go on only with the data that it was begun with, or with others that the user allows.

    Args:
        job: what is asked for.
        state: where the run stands.
        said: what ``run.json`` said, for a state that does not know its data.
        now: ``data``, ``images`` and ``classes`` as ``Fit.given`` says them.

    Raises:
        BadInput: the data are others.
    """
    noted = said.get("data") or {}
    then = state.given or {
        "data": noted.get("fingerprint"),
        "images": noted.get("images"),
        "classes": said.get("classes"),
    }
    if then.get("data") in (None, now["data"]):
        return
    if then["classes"] != now["classes"]:
        what = f"{job.folder} holds a run on the classes {listing(then['classes'])}, not {listing(now['classes'])}"
        raise BadInput(Problem(what, "data", "the classes as they were, or another folder for a new run"))
    if not _is_allowed("data", job.settings.resume.allow):
        counts = [
            f"{then['images'].get(name, 0)} {name} images then, {now['images'].get(name, 0)} now"
            for name in dict.fromkeys([*then["images"], *now["images"]])
        ]
        if then["images"] == now["images"]:
            counts.append("as many, but others, or with other labels")
        what = f"{job.folder} holds a run on other data: {'; '.join(counts)}"
        right = "the data as they were, resume.allow=[data] to go on with these, or another folder for a new run"
        raise BadInput(Problem(what, "data", right))


def refuse_teacher(job: Job, said: Config, now: Config) -> None:
    """Let the run go on only with the teacher that it was begun with.

    Args:
        job: what is asked for.
        said: what ``run.json`` said.
        now: what ``training.distilling.record`` says.

    Raises:
        BadInput: the teacher's model is another now.
    """
    then = said.get("teacher")
    if then is not None and now and then["fingerprint"] != now["teacher"]["fingerprint"]:
        what = f"{job.folder} learns from {then['run']}, whose model is another now"
        raise BadInput(Problem(what, "distill.from", "the model as it was, or another folder for a new run"))


def _config_then(job: Job) -> dict[str, Any]:
    folder = RunFolder(job.folder)
    try:
        return as_now(folder.read_config())
    except ValueError as error:
        raise BadInput(Problem(f"{folder.config} can't be read: {error}", str(folder.config))) from None


def _effective(config: Config) -> dict[str, Any]:
    """A flat config in which each stage has what ``stage`` gives it."""
    usual, stages = config.get("stage") or {}, config.get("stages") or {}
    merged = {name: {**usual, **own} for name, own in stages.items() if own is not None}
    return flat({**{key: value for key, value in config.items() if key != "stage"}, "stages": merged})


def _is_allowed(key: str, allowed: Collection[str]) -> bool:
    names = [key]
    if key.startswith("stages."):
        names.append(f"stage.{key.split('.', 2)[2]}")
    return any(name == one or name.startswith(f"{one}.") for name in names for one in allowed)


def _unknown_names(allowed: Collection[str], keys: Collection[str]) -> Iterator[Problem]:
    known = {".".join(key.split(".")[:depth]) for key in keys for depth in range(1, key.count(".") + 2)}
    known |= {f"stage.{key.split('.', 2)[2]}" for key in keys if key.startswith("stages.") and key.count(".") > 1}
    for name in allowed:
        if name not in known | {"stage"}:
            near = nearest(name, known)
            yield Problem(f"resume.allow names '{name}', which is no key", "resume.allow", near or "trainer.epochs")


def _places(settings: Settings, state: State | None) -> dict[str, str]:
    """What has become of each stage."""
    names = list(settings.stages)
    if state is None or state.stage not in names:
        return {}
    at = names.index(state.stage)
    return {name: "over" if place < at else "now" if place == at else "later" for place, name in enumerate(names)}

"""Whether a change that is allowed could still take effect, where the run to go on with stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from framework.config.checks import read_settings
from framework.config.settings import Settings, StageSettings
from framework.core.errors import Problem
from framework.core.runs import RunFolder
from framework.runs.job import Job
from framework.training.state import State, callback_choices, ends_no_more

Changes = Mapping[str, tuple[Any, Any]]


def without_effect(job: Job, before: Mapping[str, Any], changed: Changes, state: State) -> Iterator[Problem]:
    """Problems of allowed changes that the run, where it stands, could not heed; the first that is found.

    Args:
        job: what is asked for.
        before: the config of the run so far, as this version reads it.
        changed: keys that it had otherwise, with the value then and now.
        state: where it stands.
    """
    now, folder = job.settings, job.folder
    if now.cache.use == "only":
        yield Problem(f"{folder} holds a run to go on with, and cache=only trains nothing", "cache.use", "cache=auto")
        return
    if not changed:
        return
    then, wrong = read_settings(before)
    if then is None:
        what = f"{RunFolder(folder).config} is no config of this version ({wrong[0].what}): nothing can change with it"
        yield Problem(what, str(RunFolder(folder).config), "another folder for a new run")
        return
    begun, wanted = list(then.stages), list(now.stages)
    at = begun.index(state.stage) if state.stage in begun else 0
    if wanted[: at + 1] != begun[: at + 1]:
        what = f"{folder} stands in stage '{state.stage}' of {', '.join(begun)}; now the stages are {', '.join(wanted)}"
        yield Problem(what, "stages", f"{', '.join(begun[: at + 1])} first, or another folder for a new run")
        return
    if not state.given and set(changed) - {"trainer.epochs"} - {f"stages.{state.stage}.epochs"}:
        key = next(key for key in changed if not key.endswith("epochs"))
        what = f"{folder}: its state was written by an earlier version, which does not say what it was written with"
        yield Problem(f"{what}: only its epochs can change", key, "another folder for a new run")
        return
    yield from _epochs_without_effect(job, then, changed, state)


def _epochs_without_effect(job: Job, then: Settings, changed: Changes, state: State) -> Iterator[Problem]:
    now, folder = job.settings, job.folder
    names = list(now.stages)
    at = names.index(state.stage)
    for name in names[:at]:
        before, after = then.epochs_of(then.stages[name]), now.epochs_of(now.stages[name])
        if before != after:
            what = f"{folder}: stage '{name}' is over after {before} epochs, and can't have {after}"
            yield Problem(what, "trainer.epochs", f"stages.{state.stage}.epochs={after}, which runs now")
            return
    stage, done = now.stages[state.stage], state.epoch - state.stage_start + bool(state.step)
    if now.epochs_of(stage) < done:
        what = f"{folder}: stage '{state.stage}' is in its epoch {done}, and can't end after {now.epochs_of(stage)}"
        yield Problem(what, "trainer.epochs", f"{done} or more")
        return
    ended = state.stopped and not ends_no_more(state, callback_choices(now))
    goes_on = now.epochs_of(stage) > done - bool(state.step) and not ended
    if not goes_on and at + 1 == len(names):
        key = next(iter(changed))
        what = f"{folder}: {key} would change nothing: "
        if ended and now.epochs_of(stage) > done:
            why = next((f": {said['reason']}" for said in state.callbacks.values() if said.get("reason")), "")
            what += f"a callback has ended the last stage after {done} epochs{why}"
            right = "callbacks.early_stopping.patience=MORE with resume.allow=[callbacks.early_stopping.patience]"
        else:
            what += f"all {state.epoch} epochs are done"
            right = f"trainer.epochs={done + 1} or more, with resume.allow=[trainer.epochs]"
        yield Problem(what, key, right)
        return
    left = [name for name in names[at:] if name in then.stages and (goes_on or name != state.stage)]
    for keys, value in ((_RATES, _rate), (("epochs",), Settings.epochs_of)):
        moved = [key for key in changed if key.rpartition(".")[2] in keys and key.split(".")[0] in _OF_STAGES]
        if (
            moved
            and len(left) == len(names[at:])
            and not any(value(then, then.stages[name]) != value(now, now.stages[name]) for name in left)
        ):
            said = f"the stages that are left say their own {keys[0]}"
            yield Problem(f"{folder}: {moved[0]} would change nothing: {said}", moved[0], f"stages.{left[0]}.{keys[0]}")


_RATES = ("lr", "lr_factor")
_OF_STAGES = ("optim", "trainer", "stages")


def _rate(settings: Settings, stage: StageSettings) -> float:
    return stage.lr if stage.lr is not None else settings.optim.lr * stage.lr_factor

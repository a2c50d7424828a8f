"""Whether a folder's earlier run may be gone on with: the same config and data, but for what the user allows.

What may be allowed is said by ``RULES``, a rule for each key: whatever may change takes effect from there on, and what
could not is refused before anything is written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

import yaml

from framework.config.checks import read_settings
from framework.config.earlier import as_now
from framework.config.kinds import paths
from framework.config.settings import Settings, StageSettings
from framework.core.errors import BadInput, Problem, listing, nearest
from framework.core.runs import RunFolder
from framework.core.schema import show
from framework.reports.entries import flat
from framework.runs.job import Job
from framework.training.state import State, callback_choices, ends_no_more

Config = Mapping[str, Any]
Changes = Mapping[str, tuple[Any, Any]]

# nobody need be asked: no number of the run changes with it
FREE = "free"
# takes effect from where the run stands, if resume.allow names it
MAY = "may"

_NETWORK = "the weights so far are those of another network"
_BEST = "which epoch is best would be judged by two measures"
_STORE = "the run is in the other store"

# the first pattern that fits; a callback stands under its part's name, and under that alone where it is new or gone;
# a stage under what has become of it. Anything else than FREE and MAY is the reason why the key can't change.
RULES = {
    "sweep.*": FREE,
    "resume.*": FREE,
    "cache.dtype": "features would be rounded in another way",
    "cache.*": FREE,
    "recipe": "its parts may be others; what it sets can be given key by key",
    "task.monitor": _BEST,
    "task.*": "the network answers another question",
    "model.*": _NETWORK,
    "pooling.*": _NETWORK,
    "head.*": _NETWORK,
    "optim.lr": MAY,
    "optim.clipnorm": MAY,
    "optim.weight_decay": MAY,
    "optim.schedule.name": "the optimizer's memory is that of another schedule",
    "optim.schedule.*": MAY,
    "optim.*": "the optimizer's memory was made with the other",
    "loss.*": "losses before and after could not be compared",
    "metrics.*": "the epochs so far were not measured so",
    "callbacks.*.name": "another callback would take its place",
    "callbacks.checkpoint.filename": MAY,
    "callbacks.checkpoint.save": MAY,
    "callbacks.checkpoint.keep": MAY,
    "callbacks.checkpoint": "the best of the epochs so far would not be known",
    "callbacks.early_stopping": MAY,
    "callbacks.early_stopping.patience": MAY,
    "callbacks.early_stopping.min_delta": MAY,
    "callbacks.reduce_on_plateau": MAY,
    "callbacks.reduce_on_plateau.factor": MAY,
    "callbacks.reduce_on_plateau.patience": MAY,
    "callbacks.reduce_on_plateau.min_delta": MAY,
    "callbacks.reduce_on_plateau.cooldown": MAY,
    "callbacks.reduce_on_plateau.min_lr": MAY,
    "callbacks.stop_on_nan": MAY,
    "callbacks.csv": MAY,
    "callbacks.csv.filename": MAY,
    "callbacks.tensorboard": MAY,
    "callbacks.tensorboard.log_dir": MAY,
    "callbacks.mlflow": MAY,
    "callbacks.mlflow.*": _STORE,
    "callbacks.weight_averaging.momentum": MAY,
    "callbacks.weight_averaging": "the model holds the average, or would have to",
    "callbacks.*.monitor": _BEST,
    "callbacks.*.mode": _BEST,
    "augment.*": MAY,
    "data.dir": MAY,
    "data.file": MAY,
    "data.on_error": MAY,
    "data.memory_limit": FREE,
    "data.write_split": FREE,
    "data.*": "scores before and after would be of other data",
    "stages.later.*": MAY,
    "stages.now.epochs": MAY,
    "stages.now.lr": MAY,
    "stages.now.lr_factor": MAY,
    "stages.now.*": "the stage is under way, and the optimizer's memory is of what it trains",
    "stages.over.*": "the stage is over",
    "trainer.epochs": MAY,
    "trainer.batch_size": MAY,
    "trainer.save_steps": FREE,
    "trainer.steps_per_execution": FREE,
    "trainer.*": "the epochs so far were computed with the other",
}
_UNKNOWN = "nothing is known of going on with another value"


def rule(key: str) -> str | None:
    """The rule of a key as ``RULES`` has it; None if there is none."""
    return next((said for pattern, said in RULES.items() if fnmatchcase(key, pattern)), None)


def ruled_key(key: str, then: Config, now: Config, stages: Mapping[str, str]) -> str:
    """The name that a key has in ``RULES``.

    Args:
        key: of a config.
        then: the flat config of the run so far.
        now: the flat config that is to go on.
        stages: ``over``, ``now`` or ``later`` for each stage; what is not named is later.
    """
    node, _, rest = key.partition(".")
    name, _, parameter = rest.partition(".")
    if node == "stages":
        return f"stages.{stages.get(name, 'later')}.{parameter}"
    if node == "callbacks":
        kinds = [kind for kind in (one.get(f"callbacks.{name}.name") for one in (then, now)) if kind]
        if len(set(kinds)) == 1:
            return f"callbacks.{kinds[0]}.{parameter}" if len(kinds) == 2 else f"callbacks.{kinds[0]}"
        return f"callbacks.{name}.name"
    return key


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
    then, now = _effective(_config_then(job)), _effective(yaml.safe_load(job.config))
    problems = list(_unknown_names(allowed, {*then, *now}))
    places = _places(job.settings, state)
    for key, (before, after) in changed.items():
        said = MAY if state is None else rule(ruled_key(key, then, now, places)) or _UNKNOWN
        what = f"{job.folder} holds a run with {key}={show(before)}, not {show(after)}"
        if said != MAY:
            problems.append(Problem(f"{what}, and can't go on so: {said}", key, "another folder for a new run"))
        elif not _is_allowed(key, allowed):
            right = f"resume.allow=[{key}] to go on with it, or another folder for a new run"
            problems.append(Problem(what, key, right))
    if state is not None and not problems:
        problems += _without_effect(job, changed, state)
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


def _without_effect(job: Job, changed: Changes, state: State) -> Iterator[Problem]:
    """Problems of allowed changes that the run, where it stands, could not heed; the first that is found."""
    now, folder = job.settings, job.folder
    if now.cache.use == "only":
        yield Problem(f"{folder} holds a run to go on with, and cache=only trains nothing", "cache.use", "cache=auto")
        return
    if not changed:
        return
    then, wrong = read_settings(_config_then(job))
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
        before, after = _epochs(then, then.stages[name]), _epochs(now, now.stages[name])
        if before != after:
            what = f"{folder}: stage '{name}' is over after {before} epochs, and can't have {after}"
            yield Problem(what, "trainer.epochs", f"stages.{state.stage}.epochs={after}, which runs now")
            return
    stage, done = now.stages[state.stage], state.epoch - state.stage_start + bool(state.step)
    if _epochs(now, stage) < done:
        what = f"{folder}: stage '{state.stage}' is in its epoch {done}, and can't end after {_epochs(now, stage)}"
        yield Problem(what, "trainer.epochs", f"{done} or more")
        return
    ended = state.stopped and not ends_no_more(state, callback_choices(now))
    goes_on = _epochs(now, stage) > done - bool(state.step) and not ended
    if not goes_on and at + 1 == len(names):
        key = next(iter(changed))
        what = f"{folder}: {key} would change nothing: "
        if ended and _epochs(now, stage) > done:
            why = next((f": {said['reason']}" for said in state.callbacks.values() if said.get("reason")), "")
            what += f"a callback has ended the last stage after {done} epochs{why}"
            right = "callbacks.early_stopping.patience=MORE with resume.allow=[callbacks.early_stopping.patience]"
        else:
            what += f"all {state.epoch} epochs are done"
            right = f"trainer.epochs={done + 1} or more, with resume.allow=[trainer.epochs]"
        yield Problem(what, key, right)
        return
    left = [name for name in names[at:] if name in then.stages and (goes_on or name != state.stage)]
    for keys, value in ((_RATES, _rate), (("epochs",), _epochs)):
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


def _epochs(settings: Settings, stage: StageSettings) -> int:
    return stage.epochs or settings.trainer.epochs


def _rate(settings: Settings, stage: StageSettings) -> float:
    return stage.lr if stage.lr is not None else settings.optim.lr * stage.lr_factor

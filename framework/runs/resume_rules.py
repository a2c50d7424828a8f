"""What may change when a run goes on: a rule for each key of its config."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

Config = Mapping[str, Any]

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
    "compute.*": FREE,
    "mirror": FREE,
    "sweep.*": FREE,
    "search.*": FREE,
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
    "distill.*": "losses before and after could not be compared",
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
    "callbacks.time_limit": FREE,
    "callbacks.time_limit.seconds": FREE,
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
    "data.files": MAY,
    "data.export": MAY,
    "data.on_error": MAY,
    "data.memory_limit": FREE,
    "data.disk_limit": FREE,
    "data.write_split": FREE,
    "data.*": "scores before and after would be of other data",
    "stages.later.*": MAY,
    "stages.now.epochs": MAY,
    "stages.now.lr": MAY,
    "stages.now.lr_factor": MAY,
    "stages.now.image_size": "the epochs so far were of images of another size",
    "stages.now.label_smoothing": "losses before and after could not be compared",
    "stages.now.mixup": MAY,
    "stages.now.*": "the stage is under way, and the optimizer's memory is of what it trains",
    "stages.over.*": "the stage is over",
    "trainer.epochs": MAY,
    "trainer.batch_size": MAY,
    "trainer.save_steps": FREE,
    "trainer.steps_per_execution": FREE,
    # sums are added in another order from there on: the last digits differ, as they would on another machine
    "trainer.workers": MAY,
    "trainer.workers_timeout": FREE,
    "trainer.*": "the epochs so far were computed with the other",
}
UNKNOWN = "nothing is known of going on with another value"


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

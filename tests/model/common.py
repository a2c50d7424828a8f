"""Settings as the command line would give them, for the tests of this room."""

from __future__ import annotations

from pathlib import Path

import yaml

from framework.config.settings import (
    AugmentSettings,
    CacheSettings,
    DataSettings,
    ModelSettings,
    OptimSettings,
    PartSettings,
    Settings,
    TrainerSettings,
)
from framework.core.task import Task

CONF = Path(__file__).parents[2] / "conf"
TASK = Task("multiclass", ("red", "green", "blue"), "one_hot")
SMALL = {"alpha": 0.25}


def part(group: str, option: str, **changes) -> PartSettings:
    values = {**yaml.safe_load((CONF / group / f"{option}.yaml").read_text()), **changes}
    return PartSettings(values.pop("name"), parameters=values)


def settings(model="mobilenet", pooling="avg", head="dense", size=32, weights=None, precision="float32", **changes):
    """Settings of one run; ``changes`` are the base's parameters and ``trainable``."""
    values = {**yaml.safe_load((CONF / "model" / f"{model}.yaml").read_text()), **changes}
    values.update(weights=weights, image_size=size)
    common = {key: values.pop(key) for key in ("name", "weights", "trainable", "image_size")}
    return Settings(
        model=ModelSettings(**common, parameters=values),
        pooling=part("pooling", pooling) if isinstance(pooling, str) else pooling,
        head=part("head", head) if isinstance(head, str) else head,
        optim=OptimSettings("adam", 0.001, PartSettings("constant")),
        loss=PartSettings("auto"),
        metrics={},
        callbacks={},
        augment=AugmentSettings(0),
        data=DataSettings("image_folder", size, None, None, None, None, 64, "stop"),
        stages={},
        trainer=TrainerSettings(1, 4, precision, "float32", 1, True, 1),
        cache=CacheSettings("off", None, "float32", 1.0),
    )

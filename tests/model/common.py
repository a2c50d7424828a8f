"""What ``build`` reads of the settings, from the YAML options, for the tests of this room."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from framework.config.documents import read_option
from framework.config.settings import ModelSettings, PartSettings
from framework.core.geometry import Geometry
from framework.core.task import Multiclass

CONF = Path(__file__).parents[2] / "conf"
TASK = Multiclass(("red", "green", "blue"))


def option(group: str, name: str, **changes) -> dict:
    return {**read_option(CONF / group / f"{name}.yaml").content, **changes}


def part(group: str, option_name: str, **changes) -> PartSettings:
    values = option(group, option_name, **changes)
    return PartSettings(values.pop("name"), parameters=values)


def settings(
    model="mobilenet",
    pooling="avg",
    head="dense",
    size=32,
    weights=None,
    precision="float32",
    resize="stretch",
    channels=3,
    **changes,
):
    """Settings of one run; ``changes`` are the base's parameters and ``trainable``."""
    values = option("model", model, weights=weights, image_size=size, **changes)
    common = {key: values.pop(key) for key in ("name", "weights", "trainable", "image_size")}
    chosen = ModelSettings(**common, parameters=values)
    return SimpleNamespace(
        model=chosen,
        pooling=part("pooling", pooling),
        head=part("head", head),
        data=SimpleNamespace(geometry=Geometry(chosen.size, resize, 7, channels)),
        trainer=SimpleNamespace(precision=precision),
    )

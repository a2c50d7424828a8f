"""Presets of Keras Hub: where one lies, and what it says of itself, read as data: nothing of it is run.

A preset is a folder of ``config.json`` and ``model.weights.h5`` (Keras Hub's own format), or of ``config.json`` and
``model.safetensors`` (Hugging Face Transformers, timm). It is named by a folder, by a name that Keras Hub knows, or by a
handle, ``kaggle://…`` or ``hf://…``. What was downloaded lies in the caches of those hosts' clients.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from framework.core import keras_hub_private as hub
from framework.core.errors import BadInput, Problem, suggestion
from framework.core.schema import show

WHERE = "model.preset"
CONFIG = "config.json"
WEIGHTS = "model.weights.h5"
SHARDS = "model.weights.json"
SAFETENSORS = ("model.safetensors", "model.safetensors.index.json")
HOSTS = {"kaggle": "https://www.kaggle.com", "hf": "https://huggingface.co"}
# what a nested network is called in the whole model
LAYER = "backbone"
# what a network of the same weights may be told differently
FREE = ("name", "trainable", "dtype", "image_shape", "position_embedding_shape", "data_format")
_OWN_FORMAT = f"a folder with {CONFIG} and {WEIGHTS}, as backbone.save_to_preset writes"


class Backbone(NamedTuple):
    """A network of Keras Hub.

    Attributes:
        kind: its class in ``keras_hub.models``.
        family: the folder of its presets in ``keras_hub/src/models``.
        whole: of one that is the image tower of a larger network, that one's class; its presets are of the whole.
        model_types: what Hugging Face Transformers calls it in ``config.json``.
        described: whether config says its sizes; else its architecture is what its preset says.
    """

    kind: str
    family: str
    whole: str = ""
    model_types: tuple[str, ...] = ()
    described: bool = True


class Remote(NamedTuple):
    """A preset that is still to be downloaded."""

    handle: str

    @property
    def host(self) -> str:
        """Address of the host that has it."""
        return HOSTS[self.handle.partition("://")[0]]

    @property
    def page(self) -> str:
        """Where a person can download it."""
        scheme, _, path = self.handle.partition("://")
        return f"{self.host}/models/{path}" if scheme == "kaggle" else f"{self.host}/{path}"


def find(preset: str, base: str, backbone: Backbone) -> Path | Remote:
    """The folder of a preset, or the handle of one that is not on this machine; loads no TensorFlow.

    Args:
        preset: a folder, a name, ``kaggle://…`` or ``hf://…``.
        base: what config calls the base.
        backbone: the network that it is to be of.

    Raises:
        BadInput: there is no such preset, or it is one of another network.
    """
    if os.path.isdir(preset):
        return Path(preset)
    names = hub.presets(backbone.family)
    handle = names.get(preset, preset)
    if handle.partition("://")[0] in HOSTS:
        return _cached(handle) or Remote(handle)
    other = next((family for family in hub.families() if preset in hub.presets(family)), None)
    if other is not None:
        what = f"preset '{preset}' is of another network ({other}) than base '{base}'"
        raise BadInput(Problem(what, WHERE, suggestion(preset, names)))
    what = f"there is no preset '{preset}' of base '{base}', and no folder of this name"
    raise BadInput(Problem(what, WHERE, f"{suggestion(preset, names)}; a folder, kaggle://…, or hf://…"))


def _cached(handle: str) -> Path | None:
    """The folder of a downloaded preset with its weights, None where it is not whole."""
    scheme, _, path = handle.partition("://")
    if scheme == "hf":
        root = Path(os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME", "~/.cache/huggingface"), "hub"))
        folders = [*(root.expanduser() / f"models--{path.replace('/', '--')}" / "snapshots").glob("*")]
    else:
        found = cache_of(handle)
        folders = [found] if found.name.isdigit() else sorted(found.glob("*"), key=lambda one: one.name.zfill(9))
    return next((folder for folder in reversed(folders) if (folder / CONFIG).is_file() and weights_of(folder)), None)


def cache_of(handle: str) -> Path:
    """Where Kaggle's client keeps a preset: below ``KAGGLEHUB_CACHE``, else ``~/.cache/kagglehub``."""
    root = Path(os.environ.get("KAGGLEHUB_CACHE", "~/.cache/kagglehub")).expanduser()
    return root / "models" / handle.partition("://")[2]


def weights_of(folder: Path) -> Path | None:
    """The file of weights in a preset's folder, or the index of its parts; None where there is none."""
    return next((folder / name for name in (WEIGHTS, SHARDS, *SAFETENSORS) if (folder / name).is_file()), None)


def parts_of(weights: Path) -> list[str]:
    """Names of the files that an index of weights lists, none for a file of weights itself.

    Raises:
        BadInput: one of them would lie outside of the preset's folder.
    """
    if weights.suffix != ".json":
        return []
    listed = json.loads(weights.read_text(encoding="utf-8"))["weight_map"].values()
    names = {name for entry in listed for name in (entry if isinstance(entry, list) else [entry])}
    outside = next((name for name in names if Path(name).name != name), None)
    if outside is not None:
        raise BadInput(Problem(f"{weights} names {outside}, which leads out of the preset", WHERE, _OWN_FORMAT))
    return sorted(names)


class Stated(NamedTuple):
    """What a preset's ``config.json`` says.

    Attributes:
        config: all of it.
        own: whether it is in Keras Hub's own format; else a converter of Keras Hub reads it.
        sizes: arguments of the network that it is to give; empty of another format.
    """

    config: Mapping[str, Any]
    own: bool
    sizes: Mapping[str, Any]


def stated(folder: Path, base: str, backbone: Backbone, parameters: Mapping[str, Any]) -> Stated:
    """What a preset says of itself, held against the network that it is to give weights to; loads no TensorFlow.

    Raises:
        BadInput: it can't be read, names classes from outside Keras and Keras Hub, or is of another network or size.
    """
    file = folder / CONFIG
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("no mapping")
    except FileNotFoundError:
        raise BadInput(Problem(f"{folder} is no preset: it has no {CONFIG}", WHERE, _OWN_FORMAT)) from None
    except (OSError, ValueError) as error:
        raise BadInput(Problem(f"{file} can't be read: {error}", WHERE, _OWN_FORMAT)) from None
    if "registered_name" not in config:
        return _foreign(folder, base, backbone, config)
    foreign = next(_foreign_classes(config), None)
    if foreign is not None:
        what = f"preset {folder} names {foreign}, which is none of Keras or Keras Hub: it is not opened"
        raise BadInput(Problem(what, WHERE, _OWN_FORMAT))
    kind, sizes = config.get("class_name"), config.get("config")
    if kind == backbone.whole and isinstance(sizes, dict):
        tower = sizes.get("vision_encoder")
        tower = tower if isinstance(tower, dict) else {}
        kind, sizes = tower.get("class_name"), tower.get("config")
    if kind != backbone.kind or not isinstance(sizes, dict):
        raise BadInput(_other(folder, base, backbone, str(config.get("class_name"))))
    differing = differences(sizes, parameters)
    if differing:
        raise BadInput(of_another_size(str(folder), base, differing, parameters))
    return Stated(config, True, sizes)


def differences(sizes: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that a preset gives otherwise than we do, with its values; what changes no weight is left out."""
    return {
        key: sizes[key]
        for key, value in ours.items()
        if key in sizes and key not in FREE and "drop" not in key and _plain(sizes[key]) != _plain(value)
    }


def of_another_size(preset: str, base: str, differing: Mapping[str, Any], ours: Mapping[str, Any]) -> Problem:
    """That a preset is of the right network in another size."""
    said = ", ".join(
        f"{key}={show(_plain(value))} (here {show(_plain(ours[key]))})" for key, value in differing.items()
    )
    right = " ".join(f"model.{key}={show(_plain(value))}" for key, value in differing.items())
    return Problem(f"preset {preset} is of another size than base '{base}' here: {said}", WHERE, right)


def _plain(value: Any) -> Any:
    """A size as one compares it: ``(16, 16)`` and 16 are the same patch."""
    if isinstance(value, list | tuple):
        values = [_plain(one) for one in value]
        return values[0] if len(values) == 2 and values[0] == values[1] and isinstance(values[0], int) else values
    return value


def _foreign(folder: Path, base: str, backbone: Backbone, config: Mapping[str, Any]) -> Stated:
    """A preset of Hugging Face Transformers or timm."""
    kind = config.get("model_type") or config.get("architecture")
    if kind is None:
        raise BadInput(Problem(f"{folder / CONFIG} says of no network what it is", WHERE, _OWN_FORMAT))
    if "model_type" in config and kind not in backbone.model_types:
        raise BadInput(_other(folder, base, backbone, str(kind)))
    return Stated(config, False, {})


def _other(folder: Path, base: str, backbone: Backbone, kind: str) -> Problem:
    what = f"preset {folder} is of another network ({kind}) than base '{base}' ({backbone.kind})"
    return Problem(what, WHERE, suggestion("", hub.presets(backbone.family)))


def _foreign_classes(config: Any) -> Iterator[str]:
    """Classes and functions that a config names and that are neither Keras's nor Keras Hub's."""
    waiting = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
            if "class_name" in value:
                module = str(value.get("module") or "keras").partition(".")[0]
                package = str(value.get("registered_name") or "").rpartition(">")[0]
                named = str(value["class_name"])
                if module not in ("keras", "keras_hub") or package not in ("", "keras", "keras_hub"):
                    yield f"{value.get('module')}.{named}"
                elif named in ("Lambda", "__lambda__", "function"):
                    yield named
        elif isinstance(value, list):
            waiting += value


def scaling(folder: Path, said: Stated) -> tuple[Any, Any] | None:
    """Factor and summand, each a number or one a channel, that a preset's images of 0-255 are scaled by; None if unsaid."""
    if not said.own:
        pretrained = said.config.get("pretrained_cfg") or {}
        mean, deviation = pretrained.get("mean"), pretrained.get("std")
        if not mean or not deviation:
            return None
        pairs = list(zip(mean, deviation, strict=True))
        return [1 / (255 * spread) for _, spread in pairs], [-middle / spread for middle, spread in pairs]
    try:
        converter = json.loads((folder / "image_converter.json").read_text(encoding="utf-8"))["config"]
    except (OSError, ValueError, KeyError):
        return None
    scale, offset = converter.get("scale"), converter.get("offset")
    if "variance" in converter and "mean" in converter:  # as older presets say it
        spreads = [math.sqrt(variance) for variance in converter["variance"]]
        scale = [(scale or 1.0) / spread for spread in spreads]
        offset = [-mean / spread for mean, spread in zip(converter["mean"], spreads, strict=True)]
    return (1.0 if scale is None else scale, 0.0 if offset is None else offset)


def refuse_foreign(folder: Path, name: str) -> None:
    """Let no file of a preset that describes an object name classes from elsewhere; one that is not there names none.

    Raises:
        BadInput: it does, or it can't be read.
    """
    file = folder / name
    if not file.is_file():
        return
    try:
        foreign = next(_foreign_classes(json.loads(file.read_text(encoding="utf-8"))), None)
    except (OSError, ValueError) as error:
        raise BadInput(Problem(f"{file} can't be read: {error}", WHERE, _OWN_FORMAT)) from None
    if foreign is not None:
        what = f"preset {folder} names {foreign}, which is none of Keras or Keras Hub: it is not opened"
        raise BadInput(Problem(what, WHERE, _OWN_FORMAT))

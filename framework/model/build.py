"""The one block that turns settings into a functional ``keras.Model``."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from framework.config.settings import PartSettings, Precision, Settings
from framework.core import registry
from framework.core.backend import keras
from framework.core.errors import BadInput, Problem
from framework.core.keras_private import names_given, restart_names, seeds_drawn
from framework.core.task import Task
from framework.model import texts, weights
from framework.model.bases import Bases
from framework.model.opened import opened
from framework.parts import bases, fitted_heads, heads, poolings  # noqa: F401 - registers them


@dataclass(frozen=True)
class Network:
    """A model, and the names of its layers by what they belong to, in order from the input on.

    Attributes:
        model: from ``image``, raw images of 0-255, float32 (batch, height, width, channels), to float32 logits, or
            numbers, (batch, task.units).
        flat: the same with the layers of a nested base in its place (``opened``), which is what stages go by; of a
            model that is flat itself, the model.
        base_layers: the base without what prepares images for it, as in ``flat``.
        head_layers: pooling and head.
        blocks: those of the base's layers that are a transformer's blocks, in order; none of other bases.
    """

    model: keras.Model
    flat: keras.Model
    base_layers: tuple[str, ...]
    head_layers: tuple[str, ...]
    blocks: tuple[str, ...] = ()


def build(settings: Settings, task: Task, examples: int = 1, kept: Bases | None = None) -> Network:
    """The network that the settings name, with its weights; its base trains if ``model.trainable`` says so.

    Args:
        settings: of a run.
        task: what is asked.
        examples: how many a head that remembers examples is to hold.
        kept: holds the last base, for networks that are made one after the other and never used side by side.

    Raises:
        BadInput: parts don't fit each other or the image size, or the weights can't be had or don't fit.
    """
    choice, geometry = settings.model, settings.data.geometry
    held = kept.find(settings) if kept is not None else None
    restart_names()
    with precision(settings.trainer.precision):
        if held is None:
            chance = random.getstate()
            images = keras.Input(geometry.shape, dtype="float32", name="image")
            features = _part("base", choice, "model", _in_colours(images))
            seeds, names = seeds_drawn(chance), names_given()
        else:
            images, features = held.images, held.features
            held.again()
        vectors = _part("pooling", settings.pooling, "pooling", *_for_pooling(settings, features))
        given = _for_head(settings, examples)
        logits = task.finished(_part("head", settings.head, "head", vectors, task, *given))
        model = keras.Model(images, logits, name=geometry.model_name)

    base = keras.Model(images, features)
    if held is None:
        weights.load(base, registry.get("base", choice.name), choice.weights, geometry.size, choice.parameters)
    if registry.get("head", settings.head.name).details["texts"]:
        texts.write(model, settings, task)
    inside = {layer.name for layer in base.layers}
    before = ("image", bases.PREPROCESS)
    for layer in base.layers:
        if not layer.name.startswith(before):
            layer.trainable = choice.trainable
    head = tuple(layer.name for layer in model.layers if layer.name not in inside)
    flat, blocks = opened(model)
    if kept is not None and held is None and flat is model:
        kept.keep(settings, base, seeds, names)
    own = tuple(layer.name for layer in flat.layers if layer.name not in head and not layer.name.startswith(before))
    return Network(model, flat, own, head, blocks)


def _in_colours(images: keras.KerasTensor) -> keras.KerasTensor:
    """What a base takes: three channels, of grey images the same three times, so that any weights serve."""
    if images.shape[-1] == 3:
        return images
    return keras.layers.Concatenate(dtype="float32", name=f"{bases.PREPROCESS}_grey")([images] * 3)


def _for_pooling(settings: Settings, features: Any) -> tuple[Any, ...]:
    """What the pooling is supplied with: the base's output, of tokens their patches as maps, or class token and patches."""
    gives = registry.get("base", settings.model.name).details["gives"]
    output = gives(settings.data.geometry.size, settings.model.parameters) if gives else None
    if output is None or output.kind != "tokens":
        return (features,)
    # layers, so that a cut has a name and a model can be saved in either format
    layers, others = keras.layers, features.shape[1] - 1
    patches = layers.Cropping1D((output.before, 0), name="patch_tokens")(features) if output.before else features
    if registry.get("pooling", settings.pooling.name).details["takes"] == "maps":
        return (layers.Reshape((*output.grid, features.shape[-1]), name="patch_maps")(patches),)
    if not output.class_token:
        return None, patches
    return layers.Flatten(name="class_token")(layers.Cropping1D((0, others), name="first_token")(features)), patches


def _for_head(settings: Settings, examples: int) -> tuple[Any, ...]:
    """What the head is supplied with beside vectors and task."""
    details = registry.get("head", settings.head.name).details
    if details["remembers"]:
        return (examples,)
    return (texts.projection(settings.model),) if details["texts"] else ()


def _part(kind: str, choice: PartSettings, where: str, *supplied: Any) -> Any:
    """What the chosen part makes of what it is supplied with.

    Raises:
        BadInput: Keras refuses it, for instance since a width comes to no filters or the images are too small.
    """
    try:
        return registry.get(kind, choice.name)(*supplied, **choice.parameters)
    except ValueError as error:
        raise BadInput(Problem(f"{kind} '{choice.name}' can't be built: {error}", where)) from error


@contextlib.contextmanager
def precision(policy: Precision) -> Iterator[None]:
    """Layers made inside compute in this precision; the process's own policy is back afterwards."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)

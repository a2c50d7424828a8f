"""What of base, pooling and sizes can't be, or does not go together; known without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from framework.config.settings import ModelSettings, Settings
from framework.core import keras_hub_private, registry
from framework.core.errors import BadInput, Problem, listing
from framework.core.schema import show
from framework.model import weights
from framework.parts import presets


def faults(settings: Settings) -> Iterator[Problem]:
    """Problems of the network below its head, for the images of every stage."""
    yield from _size(settings)
    yield from _stage_sizes(settings)
    yield from _pooling(settings)
    yield from _backbone(settings.model)


def _size(settings: Settings) -> Iterator[Problem]:
    smallest = registry.get("base", settings.model.name).details["minimum_size"]
    if min(settings.data.size) < smallest:
        given = show(settings.data.image_size)
        what = f"data.image_size={given} is too small: base '{settings.model.name}' needs sides of {smallest} at least"
        yield Problem(what, "data.image_size", f"data.image_size={smallest}")


def _stage_sizes(settings: Settings) -> Iterator[Problem]:
    """Sizes that a stage's images can't have, as far as that is known of the parts."""
    base, pooling = registry.get("base", settings.model.name), registry.get("pooling", settings.pooling.name)
    smallest, gives = base.details["minimum_size"], base.details["gives"]
    for name, stage in settings.stages.items():
        size, where = settings.geometry_of(stage).size, f"stages.{name}.image_size"
        if size == settings.data.size:
            continue
        given, right = f"{where}={show(stage.image_size)}", "leave it out"
        try:
            output = gives(settings.data.size, settings.model.parameters) if gives else None
        except BadInput:
            continue  # the size of the data is told already
        if output is not None and output.kind != "maps":
            what = f"base '{base.name}' takes images of one size, that of its patches' places"
            yield Problem(f"{given}: {what}", where, f"{right}, or a convolutional base such as model=mobilenet")
        elif min(size) < smallest:
            what = f"{given} is too small: base '{base.name}' needs sides of {smallest} at least"
            yield Problem(what, where, f"{where}={smallest}")
        elif not pooling.details["any_size"]:
            what = f"pooling '{pooling.name}' gives vectors of a length that depends on the size"
            yield Problem(f"{given}: {what}", where, f"{right}, or pooling=avg")
        elif registry.get("head", settings.head.name).details["fit"] is not None:
            what = f"head '{settings.head.name}' is made of images as it will be asked about them"
            yield Problem(f"{given}: {what}", where, right)


def _pooling(settings: Settings) -> Iterator[Problem]:
    """A size that the base can't take, or a pooling that asks for what it does not give."""
    gives = registry.get("base", settings.model.name).details["gives"]
    if gives is None:
        return
    try:
        output = gives(settings.data.size, settings.model.parameters)
    except BadInput as error:
        yield from error.problems
        return
    if output.offers(registry.get("pooling", settings.pooling.name).details["takes"]):
        return
    fitting = [part.name for part in registry.parts("pooling") if output.offers(part.details["takes"])]
    what = f"pooling '{settings.pooling.name}' does not fit base '{settings.model.name}', which gives {output}"
    yield Problem(what, "pooling.name", f"pooling={fitting[0]} (one of: {listing(fitting)})")


def _backbone(model: ModelSettings) -> Iterator[Problem]:
    """Of a base of Keras Hub: the package is missing, or its preset is none, of another network or of another size."""
    part = registry.get("base", model.name)
    backbone = part.details["backbone"]
    if backbone is None:
        return
    if not keras_hub_private.installed():
        what = f"base '{model.name}' needs the package keras-hub, which is not installed"
        yield Problem(what, "model.name", "pip install 'framework[hub]'")
        return
    preset = model.parameters["preset"]
    if preset is None or (backbone.described and model.weights != weights.PRESET):
        return
    try:
        found = presets.find(preset, model.name, backbone)
        if isinstance(found, Path):
            presets.stated(found, model.name, backbone, model.parameters)
    except BadInput as error:
        yield from error.problems
    else:
        # what it is made of is in the preset: without that not even one of random weights can be built
        if isinstance(found, presets.Remote) and not backbone.described:
            problem = weights.find(part, weights.PRESET, model.size, model.parameters)
            yield from [problem] if isinstance(problem, Problem) else []

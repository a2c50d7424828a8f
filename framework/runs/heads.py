"""Heads that are made of examples or of texts: stages, bases and callbacks that can't have them, and too few examples."""

from __future__ import annotations

from collections.abc import Iterator

from framework.config.documents import shipped
from framework.config.settings import Settings
from framework.core import registry
from framework.core.errors import Problem
from framework.core.schema import show
from framework.model import weights


def faults(settings: Settings) -> Iterator[Problem]:
    """Problems that are known before the images are."""
    yield from _fitted(settings)
    yield from _averaged(settings)
    yield from _texts(settings)


def neighbours(settings: Settings, images: int) -> Iterator[Problem]:
    """More neighbours than an image can have; augmented copies count."""
    wanted, copies = settings.head.parameters.get("neighbours"), settings.augment.copies or 1
    if isinstance(wanted, int) and wanted >= images * copies:
        what = f"head.neighbours={wanted}: an image has {images * copies - 1} others in training"
        yield Problem(what, "head.neighbours", f"head.neighbours={max(1, (images * copies - 1) // 2)}")


def _fitted(settings: Settings) -> Iterator[Problem]:
    """Of heads that are made of examples: a stage that can't have this head, and what would change nothing."""
    head = registry.get("head", settings.head.name)
    for name, stage in settings.stages.items():
        where = f"stages.{name}.train"
        if settings.fits(stage):
            if head.details["fit"] is None:
                yield Problem(f"{where}=fit: head '{head.name}' is trained, not fitted", where, f"{where}=head")
            elif stage.epochs is not None:
                what = f"stages.{name}.epochs={stage.epochs} changes nothing: a head is fitted in one pass"
                yield Problem(what, f"stages.{name}.epochs", "leave it out")
            for key, value in (("label_smoothing", stage.label_smoothing), ("mixup", stage.mixup)):
                if value is not None:
                    what = f"stages.{name}.{key}={value:g} changes nothing: the head is fitted to each image, without a loss"
                    yield Problem(what, f"stages.{name}.{key}", "leave it out")
        elif head.details["remembers"]:
            what = f"head '{head.name}' remembers the training images and can't be trained: {where}={stage.train}"
            yield Problem(what, where, "stages=default and model.trainable=false")
    if not all(map(settings.fits, settings.stages.values())) or head.details["fit"] is None:
        return
    drawn = bool(settings.augment.parts) and not settings.augment.copies
    idle = {
        "augment": (drawn, "augment", "augment.copies=N, which it is fitted to, or augment=none"),
        "data.balance": (settings.data.balance != "none", f"data.balance={settings.data.balance}", "data.balance=none"),
        "data.class_weights": (settings.data.class_weights is not None, "data.class_weights", "null"),
    }
    for where, (given, shown, right) in idle.items():
        if given:
            what = f"{shown} changes nothing: head '{head.name}' is fitted to each image once, without a loss"
            yield Problem(what, where, right)


def _averaged(settings: Settings) -> Iterator[Problem]:
    """Adapters are factors: the product of their averages is not the average of what they add."""
    averaging = [key for key, chosen in settings.callbacks.items() if chosen.name == "weight_averaging"]
    adapted = [name for name, stage in settings.stages.items() if stage.train.partition(":")[0] == "lora"]
    if averaging and adapted:
        what = f"callback '{averaging[0]}' averages each weight by itself, and stage {adapted[0]} trains factors of weights"
        yield Problem(what, f"callbacks.{averaging[0]}.name", f"~callbacks.{averaging[0]}, or another train than lora")


def _texts(settings: Settings) -> Iterator[Problem]:
    """Head ``text`` for a base whose preset has no texts, or for vectors that are not compared with any; texts without it."""
    model, prompts = settings.model, settings.data.prompts
    if not registry.get("head", settings.head.name).details["texts"]:
        if prompts != shipped("data")["prompts"]:
            what = f"data.prompts={show(prompts)} changes nothing: head '{settings.head.name}' is not made of texts"
            yield Problem(what, "data.prompts", "head=text, or leave it out")
        return
    backbone = registry.get("base", model.name).details["backbone"]
    if backbone is None or not backbone.whole:
        what = f"head '{settings.head.name}' needs a base that was trained with texts, and '{model.name}' was not"
        yield Problem(what, "head.name", "model=siglip2_base or model=clip_base")
        return
    if model.weights != weights.PRESET:
        what = f"head '{settings.head.name}' takes its texts from the preset, and model.weights={model.weights}"
        yield Problem(what, "model.weights", "model.weights=preset")
    if backbone.family == "clip" and settings.pooling.name != "cls":
        what = f"CLIP compares its class token with texts, and pooling is '{settings.pooling.name}'"
        yield Problem(what, "pooling.name", "pooling=cls")
    for prompt in [prompts] if isinstance(prompts, str) else prompts:
        if "{}" not in prompt:
            what = f"data.prompts: '{prompt}' has no place for a class's name"
            yield Problem(what, "data.prompts", "'a photo of a {}'")

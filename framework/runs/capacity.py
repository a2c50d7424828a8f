"""Whether a run asks for more memory than the machine has, whatever else it does; known without TensorFlow."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from itertools import pairwise

from framework.config.settings import Settings
from framework.core import registry
from framework.core.console import amount
from framework.core.errors import Problem, many
from framework.core.geometry import Geometry
from framework.core.schema import show
from framework.core.task import Task

FLOAT = 4  # bytes


def faults(settings: Settings, task: Task) -> Iterator[Problem]:
    """What can't be held: a batch of images, or the weights.

    Args:
        settings: of the run.
        task: that its head answers.
    """
    memory = installed()
    if memory is None:
        return
    batch = settings.trainer.batch_size
    where, said, geometry = _largest(settings)
    image = math.prod(geometry.shape) * FLOAT
    if image > memory:
        what = f"{where}={show(said)}: one image takes {_of(image, memory)}"
        yield Problem(what, where, f"{where}={settings.model.image_size}")
    elif batch * image > memory:
        what = (
            f"trainer.batch_size={batch}: {many(batch, 'image')} of {geometry.told} take {_of(batch * image, memory)}"
        )
        yield Problem(what, "trainer.batch_size", "trainer.batch_size=32")
    outline = registry.get("base", settings.model.name).details["outline"]
    told = outline(settings.model.parameters) if outline else None
    base = (told.numbers or sum(map(math.prod, told.shapes))) if told else 0
    if base * FLOAT > memory:
        yield Problem(f"the weights of base '{settings.model.name}' take {_of(base * FLOAT, memory)}", "model", "less")
    for key, widths in settings.head.parameters.items():
        if isinstance(widths, list | tuple) and all(isinstance(width, int) for width in widths):
            numbers = sum(before * after for before, after in pairwise([*widths, task.units]))
            if numbers * FLOAT > memory:
                what = f"head.{key}={show(list(widths))}: the weights between these layers take"
                yield Problem(f"{what} {_of(numbers * FLOAT, memory)}", f"head.{key}", f"head.{key}=[100]")


def _largest(settings: Settings) -> tuple[str, int | list[int], Geometry]:
    """The images that take most: those of the model, or larger ones that train in a stage; where that is set, and to what."""
    data = settings.data
    sizes = [("data.image_size", data.image_size, data.geometry)]
    sizes += [
        (f"stages.{name}.image_size", stage.image_size, settings.geometry_of(stage))
        for name, stage in settings.stages.items()
        if stage.image_size is not None
    ]
    return max(sizes, key=lambda size: math.prod(size[2].shape))


def _of(needed: int, memory: int) -> str:
    return f"{amount(needed)} at least, and this machine has {amount(memory)}"


def installed() -> int | None:
    """Bytes of memory that this machine has; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None

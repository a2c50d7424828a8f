"""The registered builders: tasks, bases, poolings, heads, optimizers, schedules, losses, metrics, callbacks, augmentations,
samplers and pruners.

Importing this room registers every shipped part; none of them loads TensorFlow before it is built.
"""

from framework.data import sources
from framework.parts import (
    augmentations,
    bases,
    callbacks,
    fitted_heads,
    heads,
    hub_bases,
    losses,
    metrics,
    optimizers,
    poolings,
    pruners,
    samplers,
    schedules,
    tasks,
)

__all__ = [
    "augmentations",
    "bases",
    "callbacks",
    "fitted_heads",
    "heads",
    "hub_bases",
    "losses",
    "metrics",
    "optimizers",
    "poolings",
    "pruners",
    "samplers",
    "schedules",
    "sources",
    "tasks",
]

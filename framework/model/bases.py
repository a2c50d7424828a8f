"""The base that networks made one after the other stand on, built and read once where all have the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framework.config.settings import Settings
from framework.core import registry
from framework.core.backend import keras
from framework.core.keras_private import draw_seeds, restart_names
from framework.model import weights


@dataclass(frozen=True)
class Base:
    """A built base, its weights read.

    Attributes:
        images: what it takes.
        features: what it gives.
        seeds: how many its layers drew when they were made.
        names: those that Keras had given by then.
    """

    images: keras.KerasTensor
    features: Any
    seeds: int
    names: Mapping[str, int]

    def again(self) -> None:
        """Leave chance and names as if it had just been built: what is built on it then is the same."""
        draw_seeds(self.seeds)
        restart_names(self.names)


class Bases:
    """Holds the last base, for the next network that is made with it.

    Only one that no stage trains, whose weights are a file's, and which is flat: its layers are then those of every
    network that stands on it, and nothing of them changes.
    """

    def __init__(self) -> None:
        self._what: tuple[Any, ...] | None = None
        self._base: Base | None = None

    def find(self, settings: Settings) -> Base | None:
        """The base of these settings, if it is the last one."""
        return self._base if self._what is not None and self._what == _what(settings) else None

    def keep(self, settings: Settings, base: keras.Model, seeds: int | None, names: Mapping[str, int]) -> None:
        """Hold a base if another network can stand on it.

        Args:
            settings: that it was made of.
            base: with its weights.
            seeds: how many its layers drew; None where they drew otherwise.
            names: given when it was built.
        """
        what, draws = _what(settings), any(len(layer.variables) > len(layer.weights) for layer in base.layers)
        if what is not None and seeds is not None and not draws:
            self._what, self._base = what, Base(base.input, base.output, seeds, names)


def _what(settings: Settings) -> tuple[Any, ...] | None:
    """All that a base is made of; None where it is not to be held."""
    model = settings.model
    if not settings.trains_head_alone or model.weights in (None, weights.PRESET):
        return None
    path = weights.find(registry.get("base", model.name), model.weights, settings.data.geometry.size, model.parameters)
    if not isinstance(path, Path) or not path.is_file():
        return None
    state = path.stat()
    return model, settings.data.geometry, settings.trainer.precision, path, state.st_size, state.st_mtime_ns

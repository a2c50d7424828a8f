"""What a stage trains on: the pictures themselves, or the kept output of the frozen prefix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from framework.core import registry
from framework.core.backend import keras
from framework.core.console import warn
from framework.data import fingerprint
from framework.data.pipeline import Augmentation
from framework.data.rows import Rows, picture_rows
from framework.features.compute import features
from framework.features.graph import Cut, frozen_prefix, split
from framework.features.key import bfloat16_supported
from framework.features.rows import FeatureRows
from framework.model.build import Network
from framework.training.preflight import Experiment
from framework.training.record import Record
from framework.training.stages import Stage

AT_INPUT = Cut((), (), {})
SPLITS = ("train", "validation")


@dataclass(frozen=True)
class Material:
    """Rows and the part of the network that they go into.

    Attributes:
        tail: takes a row; shares its layers with the whole network.
        train: rows of the training pictures.
        validation: of the validation pictures, None where there are none.
        augmentations: by name, applied to what is read; empty where features are.
        cached: whether rows are kept features.
        says: a clause for the person who waits.
    """

    tail: keras.Model
    train: Rows
    validation: Rows | None
    augmentations: Mapping[str, Augmentation] = field(default_factory=dict)
    cached: bool = False
    says: str = ""


class Supply:
    """Gives each stage its material, and keeps what the next one can use again."""

    def __init__(self, experiment: Experiment, network: Network, record: Record):
        self.experiment, self.network, self.record = experiment, network, record
        self.settings = experiment.settings
        self.splits = {name: experiment.pictures.splits[name] for name in SPLITS if name in experiment.pictures.splits}
        self._pictures: dict[str, Rows] = {}

    def material(self, stage: Stage) -> Material:
        """Rows for this stage, computed or read with progress, and the part of the network that they go into."""
        cut = frozen_prefix(self.network.model, stage.trained, stage.inference)
        hindrance = self.hindrance(cut)
        if hindrance is not None:
            return self._from_pictures(stage, hindrance)
        return self._from_features(stage, cut)

    def hindrance(self, cut: Cut) -> str | None:
        """Why features are not kept in this stage; empty if there is nothing worth a word, None if they are."""
        if cut.at_input:
            return ""
        if self.settings.cache.use == "off":
            return "features are not kept: cache=off"
        if self.settings.augment.parts:
            names = ", ".join(self.settings.augment.parts)
            return f"features are not kept: augmentation ({names}) changes the pictures each epoch"
        return None

    def _from_pictures(self, stage: Stage, why: str) -> Material:
        _, tail = split(self.network.model, AT_INPUT, stage.inference)
        rows = {name: self._rows(name) for name in self.splits}
        return Material(tail, rows["train"], rows.get("validation"), self._augmentations(), says=self._says(why))

    def _from_features(self, stage: Stage, cut: Cut) -> Material:
        prefix, tail = split(self.network.model, cut, stage.inference)
        with self.record.phase("features"):
            rows = {name: self._features(prefix, name, cut) for name in self.splits}
        computed, kept = sum(row.computed for row in rows.values()), sum(map(len, rows.values()))
        self.record.note(features={"computed": computed, "from_cache": kept - computed, "cut": list(cut.names)})
        says = self._says(
            f"features kept after {', '.join(cut.names)} ({kept - computed:,} known, {computed:,} computed)"
        )
        return Material(tail, rows["train"], rows.get("validation"), cached=True, says=says)

    def _features(self, prefix: Any, name: str, cut: Cut) -> FeatureRows:
        paths = self.splits[name].paths
        settings = self.settings
        return features(
            prefix,
            paths,
            fingerprint.contents(paths),
            cache=settings.cache,
            precision=self._precision(),
            about={"base": settings.model.name, "cut": ", ".join(cut.names), "size": list(settings.data.size)},
        )

    def _precision(self) -> str:
        wanted = self.settings.trainer.feature_precision
        if wanted == "bfloat16" and not bfloat16_supported():
            warn("this processor does not compute in bfloat16: features are computed in it all the same, and slowly")
        return wanted

    def _augmentations(self) -> dict[str, Augmentation]:
        chosen = self.settings.augment.parts
        return {name: registry.get("augmentation", part.name)(**part.parameters) for name, part in chosen.items()}

    def _rows(self, name: str) -> Rows:
        if name not in self._pictures:
            with self.record.phase("reading"):
                data = self.settings.data
                share = data.memory_limit * len(self.splits[name]) // sum(map(len, self.splits.values()))
                self._pictures[name] = picture_rows(self.splits[name].paths, data.size, share)
        return self._pictures[name]

    def _says(self, why: str) -> str:
        model = self.network.model
        trained = sum(weight.shape.num_elements() or 0 for weight in model.trainable_variables)
        text = f"{trained:,} of {model.count_params():,} parameters train"
        return f"{text}; {why}" if why else text

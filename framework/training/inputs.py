"""What a stage trains on: the images themselves, or the kept output of the frozen prefix."""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from framework.config.settings import Settings
from framework.core import registry
from framework.core.backend import keras
from framework.core.console import warn
from framework.data import fingerprint, pipeline
from framework.data.containers import ready
from framework.data.pipeline import Augmentation
from framework.data.rows import FileImages, Rows, image_rows
from framework.features.compute import BATCH_SIZE, Batches, features
from framework.features.folding import folded
from framework.features.graph import Cut, frozen_prefix, split
from framework.features.key import bfloat16_supported
from framework.features.rows import FeatureRows
from framework.model.build import Network
from framework.training.collaborators import Recorder, Unrecorded
from framework.training.distilling import answers
from framework.training.experiment import Experiment
from framework.training.stages import Stage

SPLITS = ("train", "validation")


@dataclass(frozen=True)
class StageInputs:
    """Rows and the part of the network that they go into.

    Attributes:
        tail: takes a row; shares its layers with the whole network.
        train: rows of the training images.
        validation: of the validation images, None where there are none.
        augmentations: by name, applied to what is read; empty where features are.
        cached: whether rows are kept features.
        copies: how many rows of each training image there are, one augmented version after the other.
        answers: a teacher's logits of the training images, float32 (images, units); None where none teaches.
        says: a clause for the person who waits.
    """

    tail: keras.Model
    train: Rows
    validation: Rows | None
    augmentations: Mapping[str, Augmentation] = field(default_factory=dict)
    cached: bool = False
    copies: int = 1
    answers: np.ndarray | None = None
    says: str = ""


def with_prefix(prefix: keras.Model, tail: keras.Model) -> keras.Model:
    """A frozen prefix, folded and in inference, and the tail that takes its output: from images to the whole's output."""
    from framework.features.inference import Inference

    images = keras.Input(batch_shape=prefix.input.shape, dtype=prefix.input.dtype)
    return keras.Model(images, tail(Inference(folded(prefix), autocast=False)(images)), name="tail")


def augmentations(settings: Settings) -> dict[str, Augmentation]:
    """The chosen ways to vary images, by their keys, in the order in which they are applied."""
    chosen = settings.augment.parts.items()
    return {key: registry.get("augmentation", part.name)(**part.parameters) for key, part in chosen}


class InputBuilder:
    """Builds the inputs of each stage, and keeps what the next one can use again."""

    def __init__(self, experiment: Experiment, network: Network, recorder: Recorder | None = None):
        self.experiment, self.network, self.recorder = experiment, network, recorder or Unrecorded()
        self.settings = experiment.settings
        self.splits = {name: experiment.images.splits[name] for name in SPLITS if name in experiment.images.splits}
        self._images: dict[str, Rows] = {}
        self._answers: np.ndarray | None = None

    def build(self, stage: Stage) -> StageInputs:
        """Rows for this stage, computed or read with progress, and the part of the network that they go into."""
        cut = frozen_prefix(self.network.flat, stage.trained, stage.inference)
        why = self.why_not_kept(cut)
        inputs = self._from_features(stage, cut) if why is None else self._from_images(stage, cut, why)
        if self.experiment.teacher is not None and self._answers is None:
            with self.recorder.phase("teacher"):
                self._answers = answers(self.experiment)
        return replace(inputs, answers=self._answers)

    def why_not_kept(self, cut: Cut) -> str | None:
        """Why features are not kept in this stage; empty if there is nothing worth a word, None if they are."""
        if cut.at_input:
            return ""
        if self.settings.cache.use == "off":
            return "features are not kept: cache=off"
        if self.settings.augment.parts and not self.settings.augment.copies:
            names = ", ".join(self.settings.augment.parts)
            return f"features are not kept: augmentation ({names}) changes the images each epoch"
        return None

    def _from_images(self, stage: Stage, cut: Cut, why: str) -> StageInputs:
        prefix, tail = split(self.network.flat, cut, stage.inference)
        if prefix is not None:
            tail = with_prefix(prefix, tail)
        rows = {name: self._rows(name) for name in self.splits}
        return StageInputs(
            tail, rows["train"], rows.get("validation"), augmentations(self.settings), says=self._says(why)
        )

    def _from_features(self, stage: Stage, cut: Cut) -> StageInputs:
        prefix, tail = split(self.network.flat, cut, stage.inference)
        copies = self.settings.augment.copies if self.settings.augment.parts else 0
        with self.recorder.phase("features"):
            rows = self._features(prefix, cut, copies)
        parts, start = {}, 0
        for name, split_ in self.splits.items():
            count = len(split_) * (max(copies, 1) if name == "train" else 1)
            parts[name] = rows.part(start, start + count)
            start += count
        known = len(rows) - rows.computed
        self.recorder.note(features={"computed": rows.computed, "from_cache": known, "cut": list(cut.names)})
        what = f"features kept after {', '.join(cut.names)}" + (f" of {copies} augmented copies" if copies else "")
        says = self._says(f"{what} ({known:,} known, {rows.computed:,} computed)")
        train, validation = parts["train"], parts.get("validation")
        return StageInputs(tail, train, validation, cached=True, copies=copies or 1, says=says)

    def _features(self, prefix: Any, cut: Cut, copies: int) -> FeatureRows:
        """Features of all splits in one pass, so that the prefix is traced once; of the training images' copies first."""
        settings = self.settings
        paths = [path for split_ in self.splits.values() for path in split_.paths]
        keys, batches = fingerprint.contents(paths), None
        if copies:
            count = len(self.splits["train"])
            copied, batches = self._copies(keys[:count], copies, paths[count:])
            keys, paths = [*copied, *keys[count:]], [*paths[:count] * copies, *paths[count:]]
        return features(
            prefix,
            paths,
            keys,
            geometry=settings.data.geometry,
            cache=settings.cache,
            precision=self._precision(),
            about={"base": settings.model.name, "cut": ", ".join(cut.names), "size": list(settings.data.size)},
            batches=batches,
        )

    def _copies(self, contents: list[str], copies: int, others: list[str]) -> tuple[list[str], Batches]:
        """Keys of the augmented copies, and batches of them and of ``others`` as they are, one after the other.

        The k-th copy is what epoch k would have drawn.
        """
        parts, count = augmentations(self.settings), len(contents)
        seed = self.settings.trainer.seed
        what = repr(
            [(key, part.name, sorted(part.parameters.items())) for key, part in self.settings.augment.parts.items()]
        )
        keys = []
        for copy in range(copies):
            uniforms = pipeline.all_draws(parts, count, seed, copy)
            keys += [
                f"{content}-{hashlib.blake2b(what.encode() + row.tobytes(), digest_size=8).hexdigest()}"
                for content, row in zip(contents, uniforms, strict=True)
            ]
        files = FileImages([*self.splits["train"].paths, *others], self.settings.data.geometry)

        def some(copy: int, positions: np.ndarray) -> Any:
            varied = copy < copies
            return pipeline.augmented_dataset(
                files,
                np.zeros((len(files), 1), np.float32),
                batch_size=BATCH_SIZE,
                seed=seed,
                epoch=copy,
                augmentations=parts if varied else {},
                positions=positions - copy * count if varied else positions - (copies - 1) * count,
            ).map(lambda images, _: images)

        def batches(positions: np.ndarray) -> Any:
            copy_of = np.minimum(positions // count, copies)
            datasets = [
                some(copy, np.fromiter(own, np.int64))
                for copy, own in itertools.groupby(
                    positions, key=dict(zip(positions, copy_of, strict=True)).__getitem__
                )
            ]
            return functools.reduce(lambda one, other: one.concatenate(other), datasets)

        return keys, batches

    def _precision(self) -> str:
        wanted = self.settings.trainer.feature_precision
        if wanted == "bfloat16" and not bfloat16_supported():
            warn("this processor does not compute in bfloat16: features are computed in it all the same, and slowly")
        return wanted

    def _rows(self, name: str) -> Rows:
        if name not in self._images:
            with self.recorder.phase("reading"):
                data = self.settings.data
                share = data.memory_limit * len(self.splits[name]) // sum(map(len, self.splits.values()))
                self._images[name] = rows = image_rows(self.splits[name].paths, data.geometry, share)
                if isinstance(rows, FileImages):
                    ready(rows.paths, data.disk_limit)
        return self._images[name]

    def _says(self, why: str) -> str:
        model = self.network.model
        trained = sum(weight.shape.num_elements() or 0 for weight in model.trainable_variables)
        counts = f"{trained:,} of {model.count_params():,} parameters"
        text = f"{counts} train" if trained else "the head is fitted to the training images, nothing trains"
        return f"{text}; {why}" if why else text

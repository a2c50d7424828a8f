"""What a stage trains on: the images themselves, or the kept output of the frozen prefix."""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from framework.config.settings import AugmentSettings
from framework.core import registry
from framework.core.backend import keras
from framework.core.console import warn
from framework.core.errors import BadInput, Problem
from framework.core.geometry import Geometry
from framework.core.together import Alone
from framework.data import fingerprint, pipeline
from framework.data.columns import joined
from framework.data.pipeline import Augmentation
from framework.data.rows import FileImages, Rows, image_rows
from framework.features.compute import BATCH_SIZE, Batches, brought, features
from framework.features.folding import folded
from framework.features.graph import Cut, frozen_prefix, resized, split
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
        judge: takes a row of the validation images, where those are of another size than the training images; None where
            ``tail`` does.
        train: rows of the training images.
        validation: of the validation images, None where there are none.
        augmentations: by name, applied to what is read; empty where features are.
        blended: whether they blend the rows of a batch.
        cached: whether rows are kept features.
        copies: how many rows of each training image there are, one augmented version after the other.
        answers: a teacher's logits of the training images, float32 (images, units); None where none teaches.
        features: what a run's record says of them, where they are kept features; else empty.
        says: a clause for the person who waits.
    """

    tail: keras.Model
    train: Rows
    validation: Rows | None
    judge: keras.Model | None = None
    augmentations: Mapping[str, Augmentation] = field(default_factory=dict)
    blended: bool = False
    cached: bool = False
    copies: int = 1
    answers: np.ndarray | None = None
    features: Mapping[str, Any] = field(default_factory=dict)
    says: str = ""


def with_prefix(prefix: keras.Model, tail: keras.Model) -> keras.Model:
    """A frozen prefix, folded and in inference, and the tail that takes its output: from images to the whole's output."""
    from framework.features.stand_ins import Inference

    images = keras.Input(batch_shape=prefix.input.shape, dtype=prefix.input.dtype)
    return keras.Model(images, tail(Inference(folded(prefix), autocast=False)(images)), name="tail")


@dataclass(frozen=True)
class Pass:
    """The images of some splits, and what they go through.

    Attributes:
        names: of the splits.
        geometry: how a file becomes an image here.
        prefix: from images to the cut; None where that is at the input.
        tail: from there on.
        cut: where the graph is cut.
    """

    names: tuple[str, ...]
    geometry: Geometry
    prefix: keras.Model | None
    tail: keras.Model
    cut: Cut


def told(size: tuple[int, int]) -> str:
    """Height and width for people."""
    return "×".join(map(str, size))


def augmentations(augment: AugmentSettings) -> dict[str, Augmentation]:
    """The chosen ways to vary images, by their keys, in the order in which they are applied."""
    chosen = augment.parts.items()
    return {key: registry.get("augmentation", part.name)(**part.parameters) for key, part in chosen}


class InputBuilder:
    """Builds the inputs of each stage, and keeps what the next one can use again."""

    def __init__(
        self, experiment: Experiment, network: Network, recorder: Recorder | None = None, team: Alone | None = None
    ):
        self.experiment, self.network, self.recorder = experiment, network, recorder or Unrecorded()
        self.team = team or Alone()
        self.settings = experiment.settings
        self.splits = {name: experiment.images.splits[name] for name in SPLITS if name in experiment.images.splits}
        self._images: dict[str, tuple[Geometry, Rows]] = {}
        self._answers: np.ndarray | None = None
        self._graphs: dict[tuple[int, int], keras.Model] = {}

    def build(self, stage: Stage) -> StageInputs:
        """Rows for this stage, computed or read with progress, and the part of the network that they go into.

        Raises:
            BadInput: the network takes no images of the stage's size, or some can't be decoded.
        """
        passes = self.passes(stage)
        why = self.why_not_kept(passes[0].cut, stage)
        inputs = self._from_features(stage, passes) if why is None else self._from_images(stage, passes, why)
        self.note(inputs)
        if self.experiment.teacher is not None and self._answers is None:
            with self.recorder.phase("teacher"):
                self._answers = answers(self.experiment)
        return replace(inputs, answers=self._answers)

    def note(self, inputs: StageInputs) -> None:
        """Have the recorder told of kept features, where a stage has such."""
        if inputs.features:
            self.recorder.note(features=dict(inputs.features))

    def passes(self, stage: Stage) -> tuple[Pass, ...]:
        """All splits as one; where the stage trains on images of a size of its own, those first, then the others.

        Raises:
            BadInput: the network takes no images of that size.
        """
        flat, geometry, names = self.network.flat, self.settings.data.geometry, tuple(self.splits)
        if stage.size is None:
            return (self._pass(stage, flat, names, geometry),)
        own = self._pass(stage, self.graph(stage), names[:1], replace(geometry, size=stage.size))
        return own, self._pass(stage, flat, names[1:], geometry)

    def graph(self, stage: Stage) -> keras.Model:
        """The network, flat, for images of the stage's size.

        Raises:
            BadInput: it takes none of that size.
        """
        size = stage.size
        if size is None:
            return self.network.flat
        if size not in self._graphs:
            try:
                self._graphs[size] = resized(self.network.flat, size)
            except ValueError as error:
                where, base = f"stages.{stage.name}.image_size", self.settings.model.name
                what = (
                    f"base '{base}' takes no images of {told(size)} with the weights of {told(self.settings.data.size)}"
                )
                reason = f"{what}: {str(error).strip().splitlines()[0]}"
                raise BadInput(Problem(reason, where, "multiples of 32, or no size of its own")) from error
        return self._graphs[size]

    def _pass(self, stage: Stage, flat: keras.Model, names: tuple[str, ...], geometry: Geometry) -> Pass:
        cut = frozen_prefix(flat, stage.trained, stage.inference)
        return Pass(names, geometry, *split(flat, cut, stage.inference), cut)

    def why_not_kept(self, cut: Cut, stage: Stage) -> str | None:
        """Why features are not kept in this stage; empty if there is nothing worth a word, None if they are."""
        if self.experiment.images.features is not None:
            return None
        if cut.at_input:
            return ""
        if self.settings.cache.use == "off":
            return "features are not kept: cache=off"
        if stage.augment.parts and not stage.augment.copies:
            names = ", ".join(stage.augment.parts)
            return f"features are not kept: augmentation ({names}) changes the images each epoch"
        return None

    def _from_images(self, stage: Stage, passes: Sequence[Pass], why: str) -> StageInputs:
        tail, *judge = [one.tail if one.prefix is None else with_prefix(one.prefix, one.tail) for one in passes]
        rows = {name: self._rows(name, one.geometry) for one in passes for name in one.names}
        chosen = stage.augment.parts.values()
        return StageInputs(
            tail,
            rows["train"],
            rows.get("validation"),
            judge=judge[0] if judge else None,
            augmentations=augmentations(stage.augment),
            blended=any(registry.get("augmentation", part.name).details["mixes"] for part in chosen),
            says=self._says(stage, why),
        )

    def _from_features(self, stage: Stage, passes: Sequence[Pass]) -> StageInputs:
        copies = stage.augment.copies if stage.augment.parts else 0
        parts: dict[str, FeatureRows] = {}
        known = computed = 0
        for one in passes:
            if not one.names:
                continue
            with self.recorder.phase("features"):
                rows = self._features(one, stage, copies if "train" in one.names else 0)
            start = 0
            for name in one.names:
                count = len(self.splits[name]) * (max(copies, 1) if name == "train" else 1)
                parts[name] = rows.part(start, start + count)
                start += count
            known, computed = known + len(rows) - rows.computed, computed + rows.computed
        cut = passes[0].cut
        what = f"features kept after {', '.join(cut.names)}" + (f" of {copies} augmented copies" if copies else "")
        says = self._says(stage, f"{what} ({known:,} known, {computed:,} computed)")
        tail, *judge = [one.tail for one in passes]
        return StageInputs(
            tail,
            parts["train"],
            parts.get("validation"),
            judge=judge[0] if judge else None,
            cached=True,
            copies=copies or 1,
            features={"computed": computed, "from_cache": known, "cut": list(cut.names)},
            says=says,
        )

    def _features(self, one: Pass, stage: Stage, copies: int) -> FeatureRows:
        """Features of the pass's splits at once, so that the prefix is traced once; of the training images' copies first."""
        settings, prefix = self.settings, one.prefix
        assert prefix is not None
        paths = joined([self.splits[name].paths for name in one.names])
        about = {"base": settings.model.name, "cut": ", ".join(one.cut.names), "size": list(one.geometry.size)}
        if self.experiment.images.features is not None:
            given = self.experiment.images.features
            return brought(prefix, one.cut.names, given, paths, cache=settings.cache, about=about, team=self.team)
        keys, batches = fingerprint.keys(paths), None
        if copies:
            count = len(self.splits["train"])
            copied, batches = self._copies(keys[:count], copies, paths[count:], one.geometry, stage.augment)
            keys, paths = [*copied, *keys[count:]], [*tuple(paths[:count]) * copies, *paths[count:]]
        return features(
            prefix,
            paths,
            keys,
            geometry=one.geometry,
            cache=settings.cache,
            precision=self._precision(),
            about=about,
            batches=batches,
            compute=settings.compute,
            team=self.team,
        )

    def _copies(
        self, contents: Sequence[str], copies: int, others: Sequence[str], geometry: Geometry, augment: AugmentSettings
    ) -> tuple[list[str], Batches]:
        """Keys of the augmented copies, and batches of them and of ``others`` as they are, one after the other.

        The k-th copy is what epoch k would have drawn.
        """
        parts, count = augmentations(augment), len(contents)
        seed = self.settings.trainer.seed
        what = repr([(key, part.name, sorted(part.parameters.items())) for key, part in augment.parts.items()])
        keys = []
        for copy in range(copies):
            uniforms = pipeline.all_draws(parts, count, seed, copy)
            keys += [
                f"{content}-{hashlib.blake2b(what.encode() + row.tobytes(), digest_size=8).hexdigest()}"
                for content, row in zip(contents, uniforms, strict=True)
            ]
        files = FileImages([*self.splits["train"].paths, *others], geometry)

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

    def _rows(self, name: str, geometry: Geometry) -> Rows:
        read, rows = self._images.get(name, (None, None))
        if rows is None or read != geometry:
            self._images.pop(name, None)  # what an earlier stage has held
            with self.recorder.phase("reading"):
                data = self.settings.data
                share = data.memory_limit * len(self.splits[name]) // sum(map(len, self.splits.values()))
                rows = image_rows(self.splits[name].paths, geometry, share)
                if isinstance(rows, FileImages):
                    rows.ready(data.disk_limit)
            self._images[name] = geometry, rows
        return rows

    def _says(self, stage: Stage, why: str) -> str:
        model = self.network.model
        trained = sum(weight.shape.num_elements() or 0 for weight in model.trainable_variables)
        counts = f"{trained:,} of {model.count_params():,} parameters"
        text = f"{counts} train" if trained else "the head is fitted to the training images, nothing trains"
        size = f"on images of {told(stage.size)}" if stage.size else ""
        return "; ".join(filter(None, [text, size, why]))

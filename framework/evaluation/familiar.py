"""How far an image is from what a run was trained on: from its nearest training images, in the features that its logits
are made of.

Source: Sun, Ming, Zhu and Li, "Out-of-distribution detection with deep nearest neighbors", ICML 2022,
https://arxiv.org/abs/2204.06507: features of length 1, and the distance to the k-th nearest of a part of the training
images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from framework.core.backend import keras, load_tensorflow, tf
from framework.core.console import amount, progress, say
from framework.core.errors import BadInput, Problem, many
from framework.core.files import open_own, whole
from framework.core.geometry import Geometry
from framework.core.keras_private import is_functional, makers_of, nodes_of
from framework.core.runs import NO_ARRAYS, RunFolder, arrays
from framework.data import fingerprint
from framework.data.decode import unreadable
from framework.evaluation.forward import apart, forward
from framework.evaluation.labelled import DataOptions, SplitName, labelled
from framework.features.compute import features
from framework.features.graph import has_kernel
from framework.model.saved import Trained

NEIGHBOURS = 5  # the distance is that to the last of so many
MOST, LARGEST = 5_000, 16 << 20  # training images that are kept, spread over all of them, and their bytes
BATCH = 64


@dataclass(frozen=True)
class Familiar:
    """What a run was trained on, as far as distances need it.

    Attributes:
        vectors: of training images, float16 (images, features), each of length 1.
        logits: what the model gives for validation images, float32 (validation images, units).
        distances: of these to the training images, float32 (validation images,), 0 (alike) to 2.
    """

    vectors: np.ndarray
    logits: np.ndarray
    distances: np.ndarray

    def beside(self, model: keras.Model) -> keras.Model:
        """The model with two outputs: its own, and the vector that it is made of."""
        return keras.Model(model.input, [model.outputs[0], vector_of(model)])

    def distance(self, vectors: tf.Tensor) -> tf.Tensor:
        """One minus the cosine of the angle to the k-th nearest training image: float32 (batch,), in the graph.

        Args:
            vectors: float (batch, features), of any length.
        """
        known = tf.constant(_unit(self.vectors.astype(np.float32)))  # half precision left them not quite of length 1
        cosines = tf.matmul(tf.math.l2_normalize(tf.cast(vectors, tf.float32), axis=1), known, transpose_b=True)
        return 1 - tf.math.top_k(cosines, min(NEIGHBOURS, len(self.vectors))).values[:, -1]


def familiar(trained: Trained) -> Familiar:
    """What a run was trained on: as its folder keeps it, else of the run's own images, and kept there from then on.

    Raises:
        BadInput: it is no run, its images can't be had, or its logits are not made of vectors.
    """
    if trained.run is None:
        what = "distances are those to a run's training images, and a model from elsewhere brings none"
        raise BadInput(Problem(what, "command line: model", "run=RUN"))
    model = fingerprint.file_hash(str(trained.file))
    found = _read(trained.run, model)
    return found if found is not None else _made(trained, trained.run, model)


def vector_of(model: keras.Model) -> Any:
    """The symbolic vector that a model's logits are made of, (batch, features): what its last layer with a matrix takes; of
    several networks as one all of theirs, each of length 1.

    Raises:
        BadInput: there is none.
    """
    makers = makers_of(nodes_of(model)) if is_functional(model) else {}

    def before(tensor: Any) -> list[Any]:
        node = makers.get(id(tensor))
        if node is None or not node.input_tensors:
            return [None]
        if has_kernel(node.operation):
            (tensor,) = node.input_tensors[:1]
            # what draws at random in training lets all through now; without it the vector may be one that the cache holds
            while (node := makers.get(id(tensor))) and isinstance(node.operation, keras.layers.Dropout):
                (tensor,) = node.input_tensors
            return [tensor]
        return [one for each in node.input_tensors for one in before(each)]

    found = list({id(one): one for one in before(model.outputs[0])}.values())
    if any(one is None or len(one.shape) != 2 for one in found):
        what = "there is no distance between images here: the model's answer is not made of vectors"
        raise BadInput(Problem(what, "command line", "a run whose network ends in a dense layer"))
    if len(found) == 1:
        return found[0]
    return keras.layers.Concatenate()([keras.layers.UnitNormalization()(one) for one in found])


def vectors_of(model: keras.Model, paths: Sequence[str], geometry: Geometry) -> np.ndarray:
    """The vectors of images that can be read, float32 (images, features), each of length 1.

    Raises:
        BadInput: as ``vector_of``.
    """
    network = keras.Model(model.input, vector_of(model))
    found = [np.zeros((0, network.output_shape[-1]), np.float32)]
    with progress("Reading features", len(paths), "images") as advance:
        for names, batch in forward(network, paths, geometry, BATCH, []):
            found.append(batch.astype(np.float32))
            advance(len(names))
    return _unit(np.concatenate(found))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _made(trained: Trained, run: RunFolder, hashed: str) -> Familiar:
    load_tensorflow()
    model = replace(trained, temperature=None).load()
    vector = vector_of(model)
    try:
        known = _paths(trained, "train")
    except BadInput as error:
        what = f"distances need the run's training images once, and they can't be had: {error.problems[0].what}"
        right = f"the same command where they are, once: {run.familiar.name} then stays in the run folder"
        raise BadInput(Problem(what, str(run.path), right)) from None
    some = _spread(known, min(MOST, max(NEIGHBOURS, LARGEST // (2 * vector.shape[-1]))))
    vectors = _unit(_features(trained, model, some)).astype(np.float16)
    try:
        others = _spread(_paths(trained, "validation"), MOST)
    except BadInput:  # there are none, and nothing is to be rejected by them
        others = []
    units = trained.task.units
    found, rows = Familiar(vectors, np.zeros((0, units), np.float32), np.zeros(0, np.float32)), []
    with progress("Measuring distances", len(others), "images") as advance:
        for names, batch in forward(model, others, trained.geometry, BATCH, [], far=found):
            rows.append(batch)
            advance(len(names))
    if rows:
        logits, distances = apart(np.concatenate(rows), units)
        assert distances is not None
        found = Familiar(vectors, logits, distances)
    _write(run, found, hashed)
    what = f"{many(len(vectors), 'training image')} and distances of {many(len(found.distances), 'validation image')}"
    say(f"kept in {run.familiar.name} of the run folder: features of {what}, {amount(run.familiar.stat().st_size)}")
    return found


def _paths(trained: Trained, split: SplitName) -> list[str]:
    """The run's own images of a split that can be read."""
    found = labelled(trained, DataOptions(), split)
    out = {path for path, _ in unreadable(found.split.paths)} if found.skip else set()
    return [path for path in found.split.paths if path not in out]


def _spread(paths: Sequence[str], most: int) -> list[str]:
    """So many at most, at even distances in the order in which they are listed, which is mostly by class."""
    places = np.linspace(0, len(paths) - 1, min(most, len(paths))).round().astype(int)
    return [paths[place] for place in places]


def _features(trained: Trained, model: keras.Model, paths: Sequence[str]) -> np.ndarray:
    """Vectors of training images; those of a frozen base are in the feature cache already."""
    try:
        cache, precision = trained.cache()
    except BadInput:  # of a config that says nothing of it
        cache = None
    if cache is None or cache.use == "off":
        return vectors_of(model, paths, trained.geometry)
    vector = vector_of(model)
    rows = features(
        keras.Model(model.input, vector, name="prefix"),
        paths,
        fingerprint.keys(paths),
        geometry=trained.geometry,
        cache=cache,
        precision=precision,
        about={"base": trained.name, "cut": "logits' input", "size": list(trained.geometry.size)},
    )
    places = np.arange(len(paths))
    parts = np.array_split(places, -(-len(places) // 1024))
    return np.concatenate([np.asarray(rows.read(part)) for part in parts])


def _read(run: RunFolder, model: str) -> Familiar | None:
    """What the folder keeps of this very model; None where it keeps none, or none that can be read."""
    try:
        with open_own(run.familiar, run.path) as file, arrays(file) as found:
            if str(found["model"]) != model:
                return None
            kept = Familiar(found["vectors"], found["logits"], found["distances"])
    except (*NO_ARRAYS, KeyError):
        return None
    fits = kept.vectors.ndim == kept.logits.ndim == 2 and kept.distances.shape == kept.logits.shape[:1]
    return kept if fits and len(kept.vectors) else None


def _write(run: RunFolder, found: Familiar, model: str) -> None:
    with whole(run.familiar) as beside, open(beside, "wb") as file:
        np.savez(file, vectors=found.vectors, logits=found.logits, distances=found.distances, model=model)

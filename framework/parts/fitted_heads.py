"""Heads that are made of examples or of names, without a step of training.

Each ends in one layer, ``logits``, whose weights its ``fit`` sets, or ``model.texts``. That of the nearest class mean is a
dense layer, which a later stage may go on to train.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from framework.core.backend import keras
from framework.core.registry import head
from framework.core.schema import Count, Positive
from framework.core.task import Task

Distance = Literal["cosine", "euclidean"]
SMALLEST = 1e-12


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors, float (count, features), each of length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), SMALLEST)


def _fit_prototypes(layer: Any, vectors: np.ndarray, shares: np.ndarray, *, distance: Distance, scale: float) -> None:
    """Minus the squared distance to a class's mean is, but for what all classes have in common, linear in the vector."""
    if distance == "cosine":
        vectors = unit(vectors)
    means = shares.T.astype(np.float64) @ vectors / np.maximum(shares.sum(axis=0), SMALLEST)[:, None]
    if distance == "cosine":
        means = unit(means)
    own = ((vectors - shares @ means) ** 2).sum(axis=1).mean()
    factor = scale / max(float(own), SMALLEST)
    kernel, bias = 2 * factor * means.T, -factor * (means**2).sum(axis=1)
    if layer.units == 1:
        kernel, bias = kernel[:, 1:] - kernel[:, :1], bias[1:] - bias[:1]
    layer.set_weights([kernel, bias])


@head("prototypes", tasks=("multiclass", "binary"), fit=_fit_prototypes)
def prototypes(vectors: keras.KerasTensor, task: Task, *, distance: Distance, scale: Positive) -> keras.KerasTensor:
    """The nearest class mean: logits are minus the squared distance to each class's mean vector, nothing is trained.

    Distances are counted in those that the training images have to their own class's mean, so that probabilities do not
    depend on the features' size, and multiplied by ``scale``. ``cosine`` looks at directions alone.

    Source: Mensink et al., 2013, https://doi.org/10.1109/TPAMI.2013.83; as a dense layer Snell et al., 2017,
    https://arxiv.org/abs/1703.05175, equation 8.
    """
    from framework.parts.layers import UnitDense

    kind = UnitDense if distance == "cosine" else keras.layers.Dense
    return kind(task.units, dtype="float32", name="logits")(vectors)


def _fit_knn(layer: Any, vectors: np.ndarray, shares: np.ndarray, *, neighbours: int, temperature: float) -> None:
    layer.set_weights([unit(vectors), shares])


@head("knn", tasks=("multiclass", "binary"), fit=_fit_knn, remembers=True)
def knn(
    vectors: keras.KerasTensor, task: Task, examples: int, *, neighbours: Count, temperature: Positive
) -> keras.KerasTensor:
    """The nearest training images vote, by the cosine of the angle to each: exp(cosine / temperature) is its weight.

    The model holds all of them. In training an image does not vote on itself, so that what is measured on the training
    images is leave-one-out cross-validation.

    Source: Wu et al., 2018, https://arxiv.org/abs/1805.01978, as DINO is measured, https://arxiv.org/abs/2104.14294.
    """
    from framework.parts.layers import Neighbours

    classes = len(task.classes)
    return Neighbours(task.units, examples, classes, neighbours, temperature, dtype="float32", name="logits")(vectors)


def _as_it_is(layer: Any, vectors: np.ndarray, shares: np.ndarray) -> None:
    """The network was built with it; nothing of the images goes in."""


@head("text", tasks=("multiclass", "binary"), fit=_as_it_is, texts=True)
def text(vectors: keras.KerasTensor, task: Task, projection: int | None) -> keras.KerasTensor:
    """The classes' names answer, without a training image: cosines to the texts ``data.prompts`` makes of them.

    For bases whose preset has a text tower, SigLIP and CLIP; a later stage may go on to train it.

    Source: Radford et al., 2021, https://arxiv.org/abs/2103.00020, section 3.1.
    """
    from framework.parts.layers import UnitDense

    x = vectors
    if projection is not None:
        x = keras.layers.Dense(projection, use_bias=False, dtype="float32", name="head_projection")(x)
    return UnitDense(task.units, dtype="float32", name="logits")(x)

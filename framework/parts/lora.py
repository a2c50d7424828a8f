"""Low-rank adapters: in place of a whole kernel two thin matrices train, whose product is added to it.

They are Keras's own, of ``Dense``, ``EinsumDense`` and ``Embedding``, anywhere inside of a layer. A model is saved without
them, its kernels with them added. ``plain_weights`` is what a model without them would hold.

Source: Hu et al., 2021, https://arxiv.org/abs/2106.09685; https://keras.io/api/layers/core_layers/dense.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from framework.core.backend import keras
from framework.core.keras_private import begin_lora, end_lora, layers_within, lora_weights, own_kernel

# what a DINOv3 calls what others call by the first name
_ALSO = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "attention_output": "o_proj"}


@dataclass(frozen=True)
class Adapters:
    """What a stage adapts: layers of these names, by matrices of this rank, the first of which are drawn from ``seed``."""

    rank: int
    targets: tuple[str, ...]
    seed: int


def adaptable(layer: keras.Layer) -> dict[str, list[Any]]:
    """The layers inside of one that can have adapters, by name."""
    found: dict[str, list[Any]] = {}
    for inner in layers_within(layer):
        if isinstance(inner, keras.layers.Dense | keras.layers.EinsumDense | keras.layers.Embedding):
            found.setdefault(inner.name, []).append(inner)
    return found


def targeted(layer: keras.Layer, targets: Sequence[str]) -> list[Any]:
    """Those of them that are named."""
    found = adaptable(layer)
    return [one for name in targets for also in (name, _ALSO.get(name, name)) for one in found.pop(also, [])]


def adapt(layer: keras.Layer, adapters: Adapters, number: int = 0) -> int:
    """Give the named layers inside of one their adapters, and let nothing else of it learn.

    Args:
        layer: whose layers they are.
        adapters: which.
        number: of the first one among all of a network, so that each begins with other numbers.

    Returns:
        How many there are.
    """
    inside = targeted(layer, adapters.targets)
    for weight in layer.weights:
        weight.trainable = False
    for place, inner in enumerate(inside):
        begin_lora(inner, adapters.rank, keras.initializers.HeUniform(adapters.seed + number + place), layer.path)
    return len(inside)


def merge(model: keras.Model) -> None:
    """Add all adapters of a model to their kernels, and take them away."""
    for inner in list(_adapted(model)):
        end_lora(inner)


def plain_weights(model: keras.Model) -> list[Any]:
    """The weights as they are now, as tensors, in the order that they have in a model without adapters.

    TensorFlow copies a weight's memory only when the weight is next changed: what is frozen costs nothing.
    """
    merged, adapters = _by_kernel(model)
    return [
        merged[id(weight)] if id(weight) in merged else weight.value.value()
        for weight in model.weights
        if id(weight) not in adapters
    ]


def set_plain_weights(model: keras.Model, values: Sequence[Any], some: Collection[int] | None = None) -> None:
    """Give a model such weights, or some of them, named by their ids; its adapters then add nothing."""
    _, adapters = _by_kernel(model)
    plain = [weight for weight in model.weights if id(weight) not in adapters]
    for weight, value in zip(plain, values, strict=True):
        if some is None or id(weight) in some:
            weight.assign(value)
    for inner in _adapted(model):
        last = lora_weights(inner)[-1]
        last.assign(keras.ops.zeros_like(last))


def _adapted(model: keras.Model) -> Iterator[Any]:
    return (inner for inner in layers_within(model) if getattr(inner, "lora_enabled", False))


def _by_kernel(model: keras.Model) -> tuple[dict[int, Any], set[int]]:
    """What kernels with adapters come to, and the adapters, by their ids."""
    adapted = list(_adapted(model))
    merged = {id(own_kernel(inner)): inner.embeddings if _embeds(inner) else inner.kernel for inner in adapted}
    return merged, {id(weight) for inner in adapted for weight in lora_weights(inner)}


def _embeds(layer: Any) -> bool:
    return isinstance(layer, keras.layers.Embedding)

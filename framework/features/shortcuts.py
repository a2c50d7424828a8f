"""Which layers of a graph can be stood in for by ones that do less work for the same output, to rounding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from framework.core.backend import keras
from framework.core.keras_private import makers_of

LEAST_EPSILON = 1.001e-5  # that TensorFlow's fused normalisation takes


def fused(nodes: Sequence[Any]) -> dict[int, keras.Layer]:
    """Stand-ins for batch normalisations of images, by the id of the operation: faster where they train."""
    from framework.features.stand_ins import FusedNormalization

    layers = [node.operation for node in nodes if _normalises_images(node)]
    return {id(layer): FusedNormalization(layer) for layer in layers}


def first_tokens(nodes: Sequence[Any], outputs: Sequence[Any]) -> dict[int, keras.Layer | None]:
    """Stand-ins for what computes tokens that nobody reads, by the id of the operation; None for what is then left out.

    A pooling that takes the class token has no use for the others that a transformer's last block gives: its attention
    is then asked for one token, which still looks at all, and its dense layers have one to work on.

    Args:
        nodes: the calls of a graph.
        outputs: its tensors that are read outside of it.
    """
    from framework.features.stand_ins import FirstToken, first_token_of

    makers = makers_of(nodes)
    readers = Counter(id(tensor) for node in nodes for tensor in node.input_tensors)
    readers.update(id(tensor) for tensor in outputs)
    found: dict[int, keras.Layer | None] = {}
    for node in nodes:
        if not _takes_the_first(node):
            continue
        before = makers.get(id(node.input_tensors[0]))
        while before is not None and readers[id(before.outputs[0])] == 1 and _is_by_token(before.operation):
            before = makers.get(id(before.input_tensors[0]))
        if before is None or readers[id(before.outputs[0])] != 1 or len(before.input_tensors) != 1:
            continue
        if first_token_of(before.operation) is not None:
            found |= {id(before.operation): FirstToken(before.operation), id(node.operation): None}
    return found


def _normalises_images(node: Any) -> bool:
    layer = node.operation
    return (
        type(layer) is keras.layers.BatchNormalization
        and len(node.input_tensors) == 1
        and len(node.input_tensors[0].shape) == 4
        and layer.axis in (-1, 3)
        and layer.epsilon >= LEAST_EPSILON
        and layer.variable_dtype == "float32"
        and not layer.synchronized
        and not getattr(layer, "renorm", False)
    )


def _takes_the_first(node: Any) -> bool:
    """Whether a call gives the first of several tokens."""
    layer = node.operation
    if type(layer) is not keras.layers.Cropping1D:
        return False
    tokens = node.input_tensors[0].shape[1]
    return tokens is not None and tokens > 1 and tuple(layer.cropping) == (0, tokens - 1)


def _is_by_token(operation: Any) -> bool:
    """Whether an operation does the same to each token by itself, and never draws at random."""
    kinds = keras.layers
    if type(operation) is kinds.LayerNormalization:
        return operation.axis in (-1, [-1], 2, [2])
    return type(operation) is kinds.Identity or (type(operation) is kinds.Dropout and not operation.rate)

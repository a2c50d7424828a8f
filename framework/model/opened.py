"""A model whose base is one nested layer, seen as a flat one of the same layers: a stage can then train its last blocks."""

from __future__ import annotations

from typing import Any

import numpy as np

from framework.core.backend import keras
from framework.core.keras_hub_private import depends_on_size_alone, encoder_of, is_block
from framework.core.keras_private import arguments_of, call_again, nodes_of
from framework.parts.presets import LAYER


def opened(model: keras.Model) -> tuple[keras.Model, tuple[str, ...]]:
    """The same function of the same layers with a nested network's in its place, and the names of its blocks in order.

    An encoder that holds its blocks, or a stage of a Swin Transformer, gives way to them. A model without a network of
    Keras Hub is given back, without blocks.
    The weights are shared: who trains the one trains the other.
    """
    nodes = nodes_of(model)
    if not any(node.operation.name == LAYER for node in nodes):
        return model, ()
    values: dict[int, Any] = {id(tensor): tensor for tensor in model.inputs}
    blocks: list[str] = []
    for node in nodes:
        if node.operation.name == LAYER:
            _inside(node, values, blocks)
        else:
            _keep(values, node.outputs, call_again(node, node.operation, values))
    return keras.Model(model.input, values[id(model.outputs[0])], name=model.name), tuple(blocks)


def _inside(node: Any, values: dict[int, Any], blocks: list[str]) -> None:
    """Call the layers of a nested network one by one."""
    from framework.parts.layers import FirstOutput

    network = node.operation
    _keep(values, network.inputs, [values[id(tensor)] for tensor in node.input_tensors])
    for inner in nodes_of(network):
        layer = inner.operation
        if depends_on_size_alone(layer):
            shape = inner.input_tensors[0].shape
            found = layer(np.zeros((1, *shape[1:]), np.float32))
            # as numbers, so that they are no tensor that crosses a cut
            _keep(values, inner.outputs, [np.asarray(one) for one in keras.tree.flatten(found)])
            continue
        encoder = encoder_of(layer)
        if encoder is None:
            if is_block(layer):
                blocks.append(layer.name)
            _keep(values, inner.outputs, call_again(inner, layer, values))
            continue
        (x, *_), named = arguments_of(inner, values)
        for place, step in enumerate(encoder.layers):
            within = encoder.before <= place < encoder.before + encoder.blocks
            given = {name: value for name, value in named.items() if value is not None} if within else encoder.after
            if within:
                blocks.append(step.name)
                step = FirstOutput(step) if encoder.pairs else step
            x = step(x, **given)
        _keep(values, inner.outputs[:1], [x])
    _keep(values, node.outputs, [values[id(tensor)] for tensor in network.outputs])


def _keep(values: dict[int, Any], instead_of: list[Any], tensors: list[Any]) -> None:
    values |= {id(before): tensor for before, tensor in zip(instead_of, tensors, strict=True)}

"""The same output in inference by less work: normalisation and padding go into convolutions, unread tokens are left out."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from framework.core.backend import keras
from framework.core.keras_private import is_functional, makers_of, nodes_of
from framework.features.graph import one_or_all, repeat
from framework.features.shortcuts import first_tokens

Shape = tuple[int | None, ...]


def folded(model: keras.Model) -> keras.Model:
    """A model that gives the same in inference, to rounding, with weights as they are now.

    A normalisation in inference is a factor and a summand for each channel: behind a convolution or a dense layer the
    factor goes into its kernel, the summand into its bias. A zero padding before a convolution is left to that, where
    ``padding="same"`` adds just as much. Both only where nothing else reads the tensor between the two. TensorFlow
    then runs convolution, bias and activation as one. Of a transformer's last block the first token alone is computed
    where no other is read.

    Args:
        model: one from images to whatever; it is not changed, and layers without a part in this are shared with it.
            A model that is not functional is given back.

    Source: https://arxiv.org/abs/1712.05877, section 3.2.
    """
    if not is_functional(model):
        return model
    nodes = nodes_of(model)
    readers = Counter(id(tensor) for node in nodes for tensor in node.input_tensors)
    readers.update(id(tensor) for tensor in model.outputs)
    calls = Counter(id(node.operation) for node in nodes)
    makers = makers_of(nodes)
    merged = first_tokens(nodes, model.outputs)
    for node in nodes:
        before = makers.get(id(node.input_tensors[0])) if node.input_tensors else None
        if before is None or readers[id(before.outputs[0])] > 1:
            continue
        first, second = before.operation, node.operation
        if calls[id(first)] > 1 or calls[id(second)] > 1:
            continue
        layer, shape = merged.get(id(first), first), before.input_tensors[0].shape
        if type(second) is keras.layers.BatchNormalization and _takes_normalisation(layer, second, node):
            merged |= {id(first): _with_normalisation(layer, second, shape), id(second): None}
        elif type(first) is keras.layers.ZeroPadding2D and _takes_padding(second, first, shape):
            same = _copy(second, node.input_tensors[0].shape, second.get_weights(), padding="same")
            merged |= {id(first): None, id(second): same}
    if not merged:
        return model
    inputs = [keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype) for tensor in model.inputs]
    values: dict[int, Any] = {id(tensor): value for tensor, value in zip(model.inputs, inputs, strict=True)}
    repeat(nodes, values, lambda operation: merged.get(id(operation), operation))
    return keras.Model(one_or_all(inputs), one_or_all([values[id(tensor)] for tensor in model.outputs]))


def _takes_normalisation(layer: Any, norm: Any, call: Any) -> bool:
    kinds = keras.layers
    return (
        _plain(layer, kinds.Conv2D, kinds.DepthwiseConv2D, kinds.SeparableConv2D, kinds.Dense)
        and layer.activation is keras.activations.linear
        and norm.axis in (-1, len(call.input_tensors[0].shape) - 1)
    )


def _with_normalisation(layer: Any, norm: Any, shape: Shape) -> keras.Layer:
    """One layer that does the work of both."""
    mean, variance = np.asarray(norm.moving_mean, np.float64), np.asarray(norm.moving_variance, np.float64)
    factor = (np.asarray(norm.gamma) if norm.scale else 1) / np.sqrt(variance + norm.epsilon)
    *kernels, kernel = layer.get_weights()[: -1 if layer.use_bias else None]
    bias = np.asarray(layer.bias) if layer.use_bias else 0
    bias = (bias - mean) * factor + (np.asarray(norm.beta) if norm.center else 0)
    if type(layer) is keras.layers.DepthwiseConv2D:
        factor = factor.reshape(kernel.shape[2:])
    return _copy(layer, shape, [*kernels, kernel * factor, bias], use_bias=True)


def _takes_padding(layer: Any, padding: Any, shape: Shape) -> bool:
    """Whether the layer would by itself pad images of this shape as is done before it."""
    if not _plain(layer, keras.layers.Conv2D, keras.layers.DepthwiseConv2D) or layer.padding != "valid":
        return False
    if padding.data_format != "channels_last":
        return False
    same = []
    for side, kernel, stride, dilation in zip(
        shape[1:3], layer.kernel_size, layer.strides, layer.dilation_rate, strict=True
    ):
        if side is None:
            return False
        total = max((-(-side // stride) - 1) * stride + (kernel - 1) * dilation + 1 - side, 0)
        same.append((total // 2, total - total // 2))
    return same == [tuple(sides) for sides in padding.padding]


def _plain(layer: Any, *kinds: type) -> bool:
    """Whether the layer is one of these, with kernel and bias for its weights and channels last."""
    return (
        type(layer) in kinds
        and getattr(layer, "data_format", "channels_last") == "channels_last"
        and getattr(layer, "quantization_mode", None) is None
        and not getattr(layer, "lora_enabled", False)
    )


def _copy(layer: Any, shape: Shape, weights: list[np.ndarray], **changes: Any) -> keras.Layer:
    """The layer with some of its config changed, and these weights."""
    copy = type(layer).from_config({**layer.get_config(), "trainable": False, **changes})
    copy.build(shape)
    copy.set_weights(weights)
    return copy

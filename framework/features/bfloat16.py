"""A copy of a network that computes in bfloat16, for the feature pass."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from framework.core.backend import keras, tf
from framework.core.keras_hub_private import config_of
from framework.core.keras_private import layers_within
from framework.features.graph import has_kernel
from framework.model.build import precision as built_in


def in_bfloat16(prefix: keras.Model) -> keras.Model:
    """A copy that computes in bfloat16 from its first layer with a matrix of weights on; weights stay float32.

    What comes before prepares the images, and would lose their lower bits. The copy is for inference.
    """
    from framework.features.stand_ins import FirstToken
    from framework.parts.layers import FirstOutput

    first = next((number for number, operation in enumerate(prefix.operations) if has_kernel(operation)), 0)
    later = {id(operation) for operation in prefix.operations[first:]}

    def copy(layer: Any) -> Any:
        return again(layer, {"dtype": "mixed_bfloat16"} if id(layer) in later else {})

    def again(layer: Any, changes: Mapping[str, Any]) -> Any:
        if not isinstance(layer, keras.Layer):
            return layer
        if isinstance(layer, FirstOutput | FirstToken):
            return type(layer)(again(layer.layer, changes))
        return type(layer).from_config({**config_of(layer), **changes})

    # some of Keras Hub's make layers within that say nothing of their own precision
    with built_in("mixed_bfloat16"):
        model = keras.models.clone_model(prefix, clone_function=copy)
    model.set_weights(prefix.get_weights())
    for layer in layers_within(model):
        if type(layer) is keras.layers.Dense and layer.compute_dtype == "bfloat16":
            layer.call = functools.partial(_dense, layer)
        elif getattr(layer, "activation", None) is keras.activations.gelu:
            layer.activation = _gelu
    return model


def _dense(layer: keras.layers.Dense, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
    """What a dense layer gives, (…, units), by one operation of TensorFlow's, which it makes of product, bias and activation.

    Keras gives it tokens as they are, and then bias and activation are by themselves: with GELU a fifth of the pass.
    """
    rows = tf.reshape(inputs, (-1, inputs.shape[-1]))
    outputs = tf.matmul(rows, tf.cast(layer.kernel, inputs.dtype))
    if layer.use_bias:
        outputs = tf.nn.bias_add(outputs, tf.cast(layer.bias, inputs.dtype))
    is_gelu = layer.activation is keras.activations.gelu
    if is_gelu:
        outputs = tf.nn.gelu(outputs)
    outputs = tf.reshape(outputs, tf.concat([tf.shape(inputs)[:-1], [layer.units]], 0))
    outputs.set_shape([*inputs.shape[:-1], layer.units])
    return outputs if is_gelu else layer.activation(outputs)


def _gelu(inputs: tf.Tensor) -> tf.Tensor:
    """GELU by itself, by way of float32: in bfloat16 TensorFlow takes four times as long for it."""
    return tf.cast(tf.nn.gelu(tf.cast(inputs, tf.float32)), inputs.dtype)

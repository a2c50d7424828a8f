"""Layers that run in place of a model's own, with the same weights: as in inference, or the same function by less work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from framework.core.backend import tf
from framework.core.keras_hub_private import first_token
from framework.parts.layers import FirstOutput


class StandIn(keras.layers.Wrapper):
    """Goes by the name of the layer that it wraps, shares its weights, and takes what it takes."""

    def __init__(self, layer: keras.Layer, **options: Any):
        super().__init__(layer, **{"name": layer.name, "dtype": layer.dtype_policy, **options})

    def __call__(self, *inputs: Any, **arguments: Any) -> Any:
        """As of any layer; arguments that are None are left out, for Keras before 3.13 takes them for tensors."""
        return super().__call__(*inputs, **{name: value for name, value in arguments.items() if value is not None})


@keras.saving.register_keras_serializable(package="framework")
class Inference(StandIn):
    """Calls its layer with ``training=False``, whatever the model is called with.

    Needed because Keras 3.15 lets ``model(x, training=True)`` override a ``training=False`` that a layer of a
    functional model was called with.
    """

    def call(self, *inputs: Any, **arguments: Any) -> Any:
        """What the layer gives in inference; shapes and dtypes are the layer's."""
        return self.layer(*inputs, **{**arguments, "training": False})


class FusedNormalization(StandIn):
    """Batch normalisation of images whose moments, in training, are found by TensorFlow's fused operation.

    Keras takes mean, variance, difference and product one after the other, each a pass over memory there and another one
    back: half of what a step of a MobileNet costs. What it gives, and what the moving moments become, is the same to rounding.
    Where somebody has given the layer moments of another kind, as several workers do, it is called itself.

    Source: ``tf.raw_ops.FusedBatchNormV3``, which gives the variance with Bessel's correction, and Keras's is without.
    """

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """From (batch, height, width, channels) to the same, normalised; the dtype is the layer's."""
        layer = self.layer
        if not training or not layer.trainable or "_moments" in vars(layer):
            return layer(inputs, training=training)
        x = tf.cast(inputs, tf.float32)
        channels = x.shape[-1]
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=tf.convert_to_tensor(layer.gamma) if layer.scale else tf.ones(channels),
            offset=tf.convert_to_tensor(layer.beta) if layer.center else tf.zeros(channels),
            mean=tf.zeros(0),
            variance=tf.zeros(0),
            epsilon=layer.epsilon,
            is_training=True,
        )
        count = tf.cast(tf.size(x) // channels, tf.float32)
        for moving, now in ((layer.moving_mean, mean), (layer.moving_variance, variance * ((count - 1) / count))):
            moving.assign(moving * layer.momentum + now * (1 - layer.momentum))
        return tf.cast(y, self.compute_dtype)


def first_token_of(layer: Any) -> Callable[[Any], Any] | None:
    """``core.keras_hub_private.first_token``, also of a block of which only the first output is taken."""
    return first_token(layer.layer if isinstance(layer, FirstOutput) else layer)


class FirstToken(StandIn):
    """The first token alone of what a transformer's block gives: from (batch, tokens, channels) to (batch, 1, channels).

    Args:
        layer: the block, of a kind that ``first_token_of`` knows.
    """

    def __init__(self, layer: keras.Layer, **options: Any):
        super().__init__(layer, **options)
        self._first = first_token_of(layer)

    def call(self, inputs: Any) -> Any:
        """The block's first token."""
        assert self._first is not None
        return self._first(inputs)

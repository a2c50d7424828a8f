"""Rounding: weights lie on the converter's grid, and the network answers nearer to itself than with plain rounding."""

from __future__ import annotations

import numpy as np
import pytest

from framework.core.backend import keras
from framework.exports.rounding import with_8_bit_weights


@pytest.fixture(scope="module")
def network():
    """A residual network of every kind of layer that is rounded, and images."""
    keras.utils.set_random_seed(1)
    images = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="conv")(images)
    side = keras.layers.Conv2D(16, 1, name="side")(x)
    x = keras.layers.DepthwiseConv2D(3, padding="same", activation="relu", name="depthwise")(x)
    x = keras.layers.Conv2D(16, 1, activation="relu", name="pointwise")(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.add([x, side]))
    model = keras.Model(images, keras.layers.Dense(5, name="logits")(x))
    random = np.random.default_rng(0)
    return model, random.integers(0, 256, (48, 16, 16, 3)).astype(np.uint8)


def plainly(model):
    """Each channel's weights rounded to the nearest of 255 steps."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for layer in copy.layers:
        if layer.weights:
            kernel = layer.kernel.numpy()
            axes = (0, 1) if layer.name == "depthwise" else tuple(range(kernel.ndim - 1))
            step = np.abs(kernel).max(axis=axes, keepdims=True) / 127
            layer.kernel.assign(np.round(kernel / step) * step)
    return copy


def test_answers_stay_nearer_than_with_plain_rounding(network):
    model, images = network
    own, other = images[:32], images[32:].astype(np.float32)
    before = model.predict(other, verbose=0)
    error = np.square(with_8_bit_weights(model, own, 0).predict(other, verbose=0) - before).mean()
    assert error < np.square(plainly(model).predict(other, verbose=0) - before).mean()


def test_weights_lie_on_the_grid_whose_end_is_the_largest(network):
    model, images = network
    for layer in with_8_bit_weights(model, images[:16], 0).layers:
        if layer.weights:
            kernel = layer.kernel.numpy()
            axes = (0, 1) if layer.name == "depthwise" else tuple(range(kernel.ndim - 1))
            levels = kernel / (np.abs(kernel).max(axis=axes, keepdims=True) / 127)
            np.testing.assert_allclose(levels, np.round(levels), atol=1e-3)


def test_small_kernels_are_left_alone(network):
    model, images = network
    copy = with_8_bit_weights(model, images[:16], 100)
    for name, same in (("depthwise", True), ("logits", True), ("conv", False), ("pointwise", False)):
        assert np.array_equal(copy.get_layer(name).kernel, model.get_layer(name).kernel) is same
    assert np.array_equal(copy.get_layer("conv").bias, model.get_layer("conv").bias)

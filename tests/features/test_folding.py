"""Folding: the same output in inference, fewer operations, and the model left as it was; bases are in their contract."""

import numpy as np
import pytest

from framework.core.backend import keras, tf
from framework.features.folding import folded

L = keras.layers


def stirred(model, seed=0):
    """The model with statistics and factors as training would leave them: none is 0 or 1."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            for weight in layer.weights:
                low, high = (-0.5, 0.5) if weight.path.endswith(("mean", "beta")) else (0.5, 1.5)
                weight.assign(rng.uniform(low, high, weight.shape))
    return model


def normalised(*layers, side=9):
    inputs = keras.Input((side, side, 3))
    x = inputs
    for layer in layers:
        x = layer(x)
    return stirred(keras.Model(inputs, x))


def same(model, small, side=9):
    images = np.random.default_rng(1).normal(size=(3, side, side, 3)).astype(np.float32)
    expected, found = model(images, training=False), small(images, training=False)
    for one, other in zip(tf.nest.flatten(expected), tf.nest.flatten(found), strict=True):
        np.testing.assert_allclose(other, one, atol=2e-5 * max(1.0, float(np.abs(one).max())))


def kinds(model):
    return [type(layer).__name__ for layer in model.layers]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "layer",
    [
        lambda **given: L.Conv2D(6, 3, groups=3, **given),
        lambda **given: L.DepthwiseConv2D(3, depth_multiplier=2, **given),
        lambda **given: L.SeparableConv2D(5, 3, depth_multiplier=2, **given),
        lambda **given: L.Dense(4, **given),
    ],
    ids=["conv", "depthwise", "separable", "dense"],
)
def test_a_normalisation_goes_into_the_layer_before_it(layer, bias):
    model = normalised(layer(use_bias=bias, bias_initializer="normal"), L.BatchNormalization(), L.ReLU())
    small = folded(model)
    assert len(small.layers) == len(model.layers) - 1
    assert "BatchNormalization" not in kinds(small)
    assert small.trainable_variables == []
    same(model, small)


def test_a_normalisation_without_factor_or_summand_goes_too():
    model = normalised(
        L.Conv2D(4, 3), L.BatchNormalization(scale=False), L.Conv2D(4, 3), L.BatchNormalization(center=False)
    )
    assert kinds(folded(model)) == ["InputLayer", "Conv2D", "Conv2D"]
    same(model, folded(model))


@pytest.mark.parametrize(
    "layers",
    [
        lambda: [L.Conv2D(4, 3, activation="relu"), L.BatchNormalization()],
        lambda: [L.BatchNormalization(), L.Conv2D(4, 3)],
        lambda: [L.Conv2D(7, 3), L.BatchNormalization(axis=1)],
        lambda: [L.ZeroPadding2D(1), L.ReLU(), L.Conv2D(4, 3, strides=2)],
    ],
    ids=["activated", "before", "other axis", "between"],
)
def test_what_can_not_be_folded_is_left(layers):
    model = normalised(*layers())
    assert folded(model) is model


def test_a_layer_with_more_weights_than_kernel_and_bias_is_left():
    model = normalised(L.Dense(4), L.BatchNormalization())
    model.layers[1].enable_lora(2)
    assert folded(model) is model


@pytest.mark.parametrize(
    ("side", "padding", "layer", "goes"),
    [
        (8, ((0, 1), (0, 1)), L.Conv2D(4, 3, strides=2), True),
        (8, ((0, 1), (0, 1)), L.DepthwiseConv2D(3, strides=2), True),
        (9, ((1, 1), (1, 1)), L.Conv2D(4, 3, strides=2), True),
        (9, ((2, 2), (2, 2)), L.Conv2D(4, 5), True),
        (9, ((2, 2), (2, 2)), L.Conv2D(4, 3, dilation_rate=2), True),
        (8, ((1, 1), (1, 1)), L.Conv2D(4, 3, strides=2), False),
        (9, ((0, 1), (0, 1)), L.Conv2D(4, 3, strides=2), False),
        (8, ((1, 1), (1, 1)), L.Conv2D(4, 3, padding="same"), False),
    ],
)
def test_a_padding_goes_where_the_convolution_would_pad_alike(side, padding, layer, goes):
    model = normalised(L.ZeroPadding2D(padding), layer, L.BatchNormalization(), side=side)
    small = folded(model)
    assert ("ZeroPadding2D" not in kinds(small)) == goes
    assert "BatchNormalization" not in kinds(small)
    same(model, small, side)


def test_a_tensor_that_others_read_stays_as_it_is():
    inputs = keras.Input((9, 9, 3))
    raw = L.Conv2D(3, 3, padding="same")(inputs)
    model = stirred(keras.Model(inputs, L.Add()([L.BatchNormalization()(raw), raw])))
    assert folded(model) is model
    seen = stirred(keras.Model(inputs, [raw, L.BatchNormalization()(raw)]))
    assert folded(seen) is seen


def test_a_layer_that_is_called_twice_stays_as_it_is():
    inputs = keras.Input((9, 9, 3))
    shared = L.Conv2D(3, 3, padding="same")
    model = stirred(keras.Model(inputs, L.BatchNormalization()(shared(shared(inputs)))))
    assert folded(model) is model


def test_the_model_itself_keeps_its_weights_and_trains_on():
    model = normalised(L.Conv2D(4, 3), L.BatchNormalization(), L.ReLU())
    before = model.get_weights()
    same(model, folded(model))
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert len(model.trainable_variables) == 4


def test_what_is_no_functional_model_is_given_back():
    class Own(keras.Model):
        def call(self, x):
            return x

    model = Own()
    assert folded(model) is model

"""Layers that stand in for a model's own: the same output, gradients and moving moments, by less work."""

from __future__ import annotations

import numpy as np
import pytest

from framework.core import keras_hub_private as hub
from framework.core.backend import keras, tf
from framework.core.keras_private import nodes_of, take_moments
from framework.features.bfloat16 import in_bfloat16
from framework.features.folding import folded
from framework.features.graph import Cut, split
from framework.features.key import describe
from framework.features.shortcuts import first_tokens, fused
from framework.features.stand_ins import FirstToken, FusedNormalization
from framework.model.build import build
from framework.training.stages import freeze, stage_of
from tests.options.made import TASKS, settings
from tests.parts.hub_made import DESCRIBED

WHOLE = Cut((), (), {})
IMAGES = np.random.default_rng(0).uniform(0, 1, (7, 12, 10, 3)).astype("float32")
with_hub = pytest.mark.skipif(not hub.installed(), reason="Keras Hub is not installed; it needs Python 3.11")
SHORTENED = ["vit_tiny", "deit_base", "dinov2_base", "dinov2_with_registers_giant", "clip_base"]


def normalised(**options):
    images = keras.Input((12, 10, 3))
    x = keras.layers.Conv2D(6, 3, name="conv")(images)
    x = keras.layers.BatchNormalization(name="norm", **options)(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(keras.layers.ReLU(name="relu")(x))
    return keras.Model(images, keras.layers.Dense(4, name="logits")(x))


def gradients(model, inputs, training=True):
    """Output and gradients of a loss; moving moments move."""
    with tf.GradientTape() as tape:
        outputs = model(inputs, training=training)
        loss = tf.reduce_sum(tf.square(tf.cast(outputs, tf.float32)))
    found = tape.gradient(loss, model.trainable_variables)
    return np.asarray(outputs), {v.path: np.asarray(g) for v, g in zip(model.trainable_variables, found, strict=True)}


def same(one, other, tolerance=1e-4):
    assert one.keys() == other.keys()
    for path, value in one.items():
        scale = max(1.0, np.abs(value).max())
        np.testing.assert_allclose(other[path] / scale, value / scale, atol=tolerance, err_msg=path)


@pytest.mark.parametrize("options", [{}, {"scale": False, "center": False}, {"momentum": 0.5, "epsilon": 0.1}])
def test_fused_normalisation_is_keras_s(options):
    model = normalised(**options)
    start = model.get_weights()
    expected, of_model = gradients(model, IMAGES)
    moved = {weight.path: np.asarray(weight) for weight in model.non_trainable_weights}
    model.set_weights(start)
    _, tail = split(model, WHOLE)
    assert isinstance(tail.get_layer("norm"), FusedNormalization)
    found, of_tail = gradients(tail, IMAGES)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)
    same(of_model, of_tail)
    same(moved, {weight.path: np.asarray(weight) for weight in model.non_trainable_weights})
    assert np.abs(moved["norm/moving_variance"] - 1).max() > 0.005


def test_of_one_value_a_channel_the_variance_is_none():
    """Bessel's correction divides by nothing there."""
    images = keras.Input((1, 1, 3))
    model = keras.Model(images, keras.layers.BatchNormalization(name="norm")(images))
    _, tail = split(model, WHOLE)
    assert np.asarray(tail(IMAGES[:1, :1, :1], training=True)).tolist() == [[[[0, 0, 0]]]]
    np.testing.assert_allclose(model.get_layer("norm").moving_variance, [0.99] * 3, rtol=1e-6)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_in_inference_and_frozen_it_is_keras_s_to_the_bit(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = normalised()
        _, tail = split(model, WHOLE)
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_array_equal(tail(IMAGES, training=False), model(IMAGES, training=False))
    model.get_layer("norm").trainable = False
    np.testing.assert_array_equal(tail(IMAGES, training=True), model(IMAGES, training=True))
    assert tail(IMAGES, training=True).dtype == model.compute_dtype


def test_moments_of_several_workers_are_taken_as_they_are():
    model = normalised()
    _, tail = split(model, WHOLE)
    norm = model.get_layer("norm")
    take_moments(norm, lambda inputs, axes: (tf.zeros(6), tf.ones(6)))
    np.testing.assert_array_equal(tail(IMAGES, training=True), model(IMAGES, training=True))
    np.testing.assert_allclose(norm.moving_variance, np.ones(6))


@pytest.mark.parametrize(
    "make",
    [
        lambda x: keras.layers.BatchNormalization(axis=1)(x),
        lambda x: keras.layers.BatchNormalization(epsilon=1e-7)(x),
        lambda x: keras.layers.BatchNormalization()(keras.layers.Reshape((-1, 3))(x)),
    ],
    ids=["of rows", "with nearly no epsilon", "of vectors"],
)
def test_what_the_fused_operation_does_not_do_is_left_to_keras(make):
    images = keras.Input((12, 10, 3))
    assert fused(nodes_of(keras.Model(images, make(images)))) == {}


def network(option, *more):
    chosen = settings("data=image_folder", "data.dir=x", f"model={option}", *DESCRIBED[option], *more)
    return build(chosen, TASKS["one_hot"]), chosen


def tokens_at_work(model, inputs):
    """How many tokens each dense layer within the last block works on."""
    seen = []
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Dense) and not layer.name.startswith("logits"):
            call = layer.call

            def instead(x, *given, call=call, **named):
                seen.append(x.shape[1] if len(x.shape) == 3 else 0)
                return call(x, *given, **named)

            layer.call = instead
    model(inputs, training=False)
    for layer in model._flatten_layers():
        vars(layer).pop("call", None)
    return seen


@with_hub
@pytest.mark.parametrize("option", SHORTENED)
def test_of_the_last_block_the_class_token_alone_is_computed_where_it_alone_is_read(option):
    built, chosen = network(option, "pooling=cls", "stages.main.train=last:1")
    stage = stage_of("main", chosen.stages["main"], chosen, built)
    freeze(built, stage)
    flat = built.flat
    rng = np.random.default_rng(1)
    for weight in flat.trainable_variables:  # a DINO begins with scales of 1e-5, behind which nothing is seen
        weight.assign(rng.normal(0, 0.3, weight.shape).astype("float32"))
    images = rng.uniform(0, 255, (3, *flat.input_shape[1:])).astype("float32")
    _, tail = split(flat, WHOLE)
    block = tail.get_layer(built.blocks[-1])
    assert isinstance(block, FirstToken)
    expected, of_flat = gradients(flat, images)
    found, of_tail = gradients(tail, images)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    same(of_flat, of_tail)
    assert set(tokens_at_work(tail, images)[-2:]) == {1}
    assert min(tokens_at_work(flat, images)[-2:]) > 1
    shorter = folded(flat)
    np.testing.assert_allclose(shorter(images, training=False), expected, atol=1e-4 * np.abs(expected).max())
    assert set(tokens_at_work(shorter, images)[-2:]) == {1}
    rough = np.asarray(in_bfloat16(shorter)(images, training=False))
    np.testing.assert_allclose(rough, expected, atol=0.1 * np.abs(expected).max())


@with_hub
@pytest.mark.parametrize("pooling", ["tokens", "cls_tokens", "attention"])
def test_where_patches_are_read_all_tokens_are_computed(pooling):
    built, _ = network("vit_tiny", f"pooling={pooling}")
    assert first_tokens(nodes_of(built.flat), built.flat.outputs) == {}


@with_hub
def test_a_block_that_draws_at_random_draws_as_before():
    built, _ = network("vit_tiny", "pooling=cls", "model.dropout_rate=0.1")
    assert first_tokens(nodes_of(built.flat), built.flat.outputs) == {}


@with_hub
def test_tokens_that_are_kept_are_all_there():
    """Whose cut is behind the block, in front of the last normalisation, is asked for every token."""
    built, _ = network("vit_tiny", "pooling=cls")
    block = built.flat.get_layer(built.blocks[-1])
    inner = keras.Model(built.flat.input, block.output)
    assert first_tokens(nodes_of(inner), inner.outputs) == {}


@with_hub
def test_features_of_the_whole_block_are_not_taken_for_the_first_token_s():
    """They differ in their last bits; those of other networks are known by what they were before."""
    of_class_token, _ = network("vit_tiny", "pooling=cls")
    of_patches, _ = network("vit_tiny", "pooling=tokens")
    said = [
        describe(one.flat, decoding="x", precision="float32", dtype="float32") for one in (of_class_token, of_patches)
    ]
    assert [one.get("tokens") for one in said] == ["the first", None]

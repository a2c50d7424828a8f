"""What a network is made of: order, shapes, parameters and operations, also of networks within and beside branches."""

from __future__ import annotations

import numpy as np
import pytest

from framework.core.backend import keras, tf
from framework.core.errors import BadInput
from framework.core.task import Binary, Multiclass
from framework.evaluation.attention import GradCam
from framework.evaluation.layers import blocks, flat_steps, last_maps, maps, named, rows, spread, steps
from tests.evaluation.common import SIZE, colour_network


def branched() -> keras.Model:
    images = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(8, 3, padding="same", name="stem")(images)
    weights = keras.layers.Dense(8, name="squeeze")(keras.layers.GlobalAveragePooling2D()(x))
    x = keras.layers.Multiply()([x, keras.layers.Reshape((1, 1, 8))(weights)])
    short = keras.layers.Conv2D(16, 1, strides=2, name="short")(x)
    x = keras.layers.SeparableConv2D(16, 3, padding="same", name="long")(x)
    x = keras.layers.MaxPooling2D(2)(keras.layers.BatchNormalization()(x))
    x = keras.layers.Add()([x, short])
    return keras.Model(images, keras.layers.Dense(4, name="logits")(keras.layers.GlobalMaxPooling2D()(x)))


def profiled(model: keras.Model, size: int) -> int:
    """FLOPs as TensorFlow's own profiler counts them."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    call = tf.function(model).get_concrete_function(tf.TensorSpec((1, size, size, 3)))
    graph = convert_variables_to_constants_v2(call).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation() | {"output": "none"}
    return tf.compat.v1.profiler.profile(graph, options=options).total_float_ops


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNet", "EfficientNetB0", "Xception"])
def test_operations_and_parameters_are_those_that_keras_and_tensorflow_count(name):
    model = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(96, 96, 3), pooling="avg")
    found = list(flat_steps(model))
    assert sum(step.parameters for step in found) == model.count_params()
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert sum(step.trainable for step in found) == trainable
    assert sum(step.flops for step in found) == pytest.approx(profiled(model, 96), rel=0.03)


def test_a_network_within_counts_as_its_layers():
    inner, images = branched(), keras.Input((16, 16, 3))
    outer = keras.Model(images, keras.layers.Dense(2)(inner(images)))
    assert [step.name for step in flat_steps(outer) if step.kind == "SeparableConv2D"] == ["long"]
    assert sum(step.flops for step in steps(outer)) == sum(step.flops for step in flat_steps(outer))


def test_frozen_means_weights_and_none_trains():
    model = branched()
    model.get_layer("stem").trainable = False
    states = {step.name: step.frozen for step in steps(model)}
    assert (states["stem"], states["long"]) == (True, False)
    assert not any(step.frozen for step in steps(model) if step.parameters == 0)


def test_blocks_follow_the_size_and_keep_branches_together():
    shapes = [group.shape for group in blocks(steps(branched()))]
    assert shapes == [(16, 16, 3), (16, 16, 16), (8, 8, 16), (16,), (4,)]
    assert sum(group.parameters for group in blocks(steps(branched()))) == branched().count_params()


def test_rows_become_fewer_where_there_are_too_many():
    model = keras.applications.EfficientNetB0(weights=None, include_top=False, input_shape=(64, 64, 3))
    found = steps(model)
    assert len(rows(found, 1000)) > 64
    assert len(rows(found, 64)) <= 64
    assert sum(row.flops for row in rows(found, 64)) == sum(step.flops for step in found)


def test_maps_by_name_and_by_size():
    model = branched()
    found = maps(model)
    assert last_maps(model).shape == (8, 8, 16)
    assert [step.shape[0] for step in spread(found, 5)] == [16, 8]
    assert [step.name for step in named(found, ["short", "stem"])] == ["short", "stem"]
    with pytest.raises(BadInput, match="no layer with feature maps is called 'stam'"):
        named(found, ["stam"])


def test_grad_cam_finds_the_colour_where_it_is():
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    image[:8, :8, 0] = 255
    image[16:, 16:, 2] = 255
    heats, logits = GradCam(colour_network(), Multiclass(("red", "green", "blue")))(image, [2, 0])
    assert logits.shape == (3,)
    assert heats.shape == (2, SIZE, SIZE)
    red, blue = heats
    assert red[:8, :8].min() == pytest.approx(1)
    assert red[8:].max() == 0
    assert blue[16:, 16:].min() == pytest.approx(1)
    assert blue[:16].max() == 0


def test_grad_cam_of_yes_or_no_looks_both_ways():
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    image[:8, :8, 0] = 255
    image[16:, 16:, 2] = 255
    (no, yes), _ = GradCam(colour_network(units=1), Binary(("no", "yes")))(image, [0, 1])
    assert yes[:8, :8].min() == pytest.approx(1)
    assert no[:8, :8].max() == 0
    assert no[16:, 16:].min() == pytest.approx(1)


def test_a_network_without_maps_has_no_grad_cam():
    images = keras.Input((4, 4, 3))
    model = keras.Model(images, keras.layers.Dense(2)(keras.layers.Flatten()(images)))
    with pytest.raises(BadInput, match="no feature maps"):
        GradCam(model, Multiclass(("a", "b")))

"""A network's copy in bfloat16: the same one in fewer bits, and its dense layers as TensorFlow runs them fastest."""

from __future__ import annotations

import numpy as np
import pytest

from framework.core import keras_hub_private as hub
from framework.core.backend import keras, tf
from framework.features.bfloat16 import in_bfloat16
from framework.model.build import build
from tests.options.made import TASKS, settings
from tests.parts.hub_made import DESCRIBED

with_hub = pytest.mark.skipif(not hub.installed(), reason="Keras Hub is not installed; it needs Python 3.11")
GELU = ["vit_tiny", "deit_base", "dinov2_base", "swin_tiny"]


def dense(shape, **options):
    """A network of one dense layer, with weights that all matter."""
    inputs = keras.Input(shape)
    model = keras.Model(inputs, keras.layers.Dense(5, name="dense", **options)(inputs))
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(0, 1, weight.shape).astype("float32") for weight in model.get_weights()])
    return model


def traced(model):
    """The operations of its graph, before TensorFlow makes fewer of them."""
    spec = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)
    call = tf.function(lambda images: model(images, training=False), autograph=False)
    return call.get_concrete_function(spec).graph.get_operations()


def before(operation, kinds):
    """The first operation of these kinds that one gets its numbers from, or None; nothing with matrices is passed."""
    while operation.inputs:
        operation = operation.inputs[0].op
        if operation.type in kinds:
            return operation
        if operation.type in ("Einsum", "BatchMatMulV2", "Conv2D"):
            return None
    return None


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4), (None, 4)])
@pytest.mark.parametrize("options", [{"activation": "gelu"}, {"activation": "softmax"}, {"use_bias": False}, {}])
def test_a_dense_layer_gives_what_keras_gives_to_rounding(shape, options):
    model = dense(shape, **options)
    inputs = np.random.default_rng(1).normal(0, 1, [6, *(side or 7 for side in shape)]).astype("float32")
    low = in_bfloat16(model)
    found, right = low(inputs, training=False), np.asarray(model(inputs, training=False))
    assert found.dtype == tf.bfloat16
    assert low.output_shape == model.output_shape
    np.testing.assert_allclose(tf.cast(found, tf.float32), right, atol=0.03 * np.abs(right).max())
    assert model.get_layer("dense").compute_dtype == "float32"
    assert "call" not in vars(model.get_layer("dense"))


def test_product_bias_and_gelu_follow_one_another():
    operations = traced(in_bfloat16(dense((3, 4), activation="gelu")))
    (product,) = (one for one in operations if one.type == "MatMul")
    (bias,) = (one for one in operations if one.type == "BiasAdd")
    assert bias.inputs[0].op is product
    of_keras = traced(dense((3, 4), activation="gelu"))
    assert next(one for one in of_keras if one.type == "BiasAdd").inputs[0].op.type == "Reshape"


@with_hub
@pytest.mark.parametrize("option", GELU)
def test_gelu_is_part_of_a_product_or_goes_by_way_of_float32(option):
    chosen = settings("data=image_folder", "data.dir=x", f"model={option}", *DESCRIBED[option])
    found = [one for one in traced(in_bfloat16(build(chosen, TASKS["one_hot"]).flat)) if one.type in ("Erf", "Erfc")]
    assert found
    for one in found:
        bias = before(one, ("BiasAdd",)) if one.inputs[0].dtype == tf.bfloat16 else None
        assert one.inputs[0].dtype == tf.float32 or (bias is not None and bias.inputs[0].op.type == "MatMul")


def test_an_activation_by_itself_goes_by_way_of_float32():
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(3, name="dense")(inputs)
    low = in_bfloat16(keras.Model(inputs, keras.layers.Activation("gelu", name="gelu")(hidden)))
    values = tf.cast(tf.linspace(-4.0, 4.0, 101), tf.bfloat16)
    right = keras.activations.gelu(tf.cast(values, tf.float32))
    np.testing.assert_array_equal(low.get_layer("gelu")(values), tf.cast(right, tf.bfloat16))

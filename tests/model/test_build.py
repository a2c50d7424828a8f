"""The network that settings give: its graph, names, precision, weights, and saving."""

from __future__ import annotations

import os

import numpy as np
import pytest

from framework.core.backend import keras
from framework.core.errors import BadInput
from framework.core.geometry import Geometry, named
from framework.core.task import Binary, Multilabel
from framework.model.bases import Bases
from framework.model.build import build
from framework.model.description import describe
from framework.model.saving import load_model
from tests.model.common import TASK, settings

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")


def test_one_flat_model_from_raw_images_to_logits():
    network = build(settings("mobilenet", "avgmax", "mlp", alpha=0.25, size=[40, 48]), TASK)
    model = network.model
    assert model.input.name == "image"
    assert model.input.shape == (None, 40, 48, 3)
    assert model.input.dtype == "float32"
    assert model.output.shape == (None, 3)
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    assert network.base_layers[0] == "conv1"
    assert network.base_layers[-1] == "conv_pw_13_relu"
    assert network.head_layers == (
        *("pooling_avg", "pooling_max", "pooling"),
        *("head_dense1", "head_relu1", "head_dropout1", "logits"),
    )
    names = ["image", "preprocess_rescale", *network.base_layers, *network.head_layers]
    assert sorted(names) == sorted(layer.name for layer in model.layers)


@pytest.mark.parametrize("trainable", [False, True])
def test_the_base_trains_if_config_says_so(trainable):
    network = build(settings(alpha=0.25, trainable=trainable), TASK)
    assert {network.model.get_layer(name).trainable for name in network.base_layers} == {trainable}
    assert {network.model.get_layer(name).trainable for name in network.head_layers} == {True}
    assert (len(network.model.trainable_weights) == 2) is not trainable


def test_each_task_gets_its_logits():
    assert build(settings("cnn", head="binary"), Binary(("other", "hat"))).model.output.shape[1] == 1
    labels = Multilabel(("a", "b", "c", "d"))
    assert build(settings("cnn", head="multilabel"), labels).model.output.shape[1] == 4


def test_what_prepares_images_is_not_of_the_base():
    network = build(settings("efficientnetb0"), TASK)
    assert network.model.layers[1].name == "preprocess_rescale"
    assert network.base_layers[:2] == ("rescaling", "normalization")
    assert network.head_layers == ("pooling", "logits")


def test_names_do_not_depend_on_what_was_built_before():
    first = build(settings("mobilenetv3small"), TASK)
    keras.layers.ReLU()
    second = build(settings("mobilenetv3small"), TASK)
    assert first.base_layers == second.base_layers


def as_file(model, folder):
    base = keras.Model(model.input, model.get_layer("conv_pw_13_relu").output)
    base.save_weights(folder / "base.weights.h5")
    return str(folder / "base.weights.h5")


def head_alone(**given):
    found = settings(**given)
    found.trains_head_alone = True
    return found


def made(given, seed, kept=None):
    keras.utils.set_random_seed(seed)
    network = build(given, TASK, kept=kept)
    described = [(layer.name, type(layer), layer.output.shape) for layer in network.model.layers]
    return network, described, network.model.get_weights()


def test_on_a_base_that_is_kept_a_network_is_to_the_bit_what_it_is_by_itself(tmp_path):
    file, kept = as_file(build(settings(alpha=0.25), TASK).model, tmp_path), Bases()
    first, *_ = made(head_alone(head="dense", alpha=0.25, weights=file), 1, kept)
    for seed, head in ((2, "mlp"), (1, "dense"), (3, "cosine")):
        given = head_alone(head=head, pooling="avgmax", alpha=0.25, weights=file)
        network, described, numbers = made(given, seed, kept)
        assert network.model.get_layer("conv1") is first.model.get_layer("conv1")
        other, own, found = made(given, seed)
        assert other.model.get_layer("conv1") is not first.model.get_layer("conv1")
        assert described == own
        assert (network.base_layers, network.head_layers) == (other.base_layers, other.head_layers)
        assert all(map(np.array_equal, numbers, found))


@pytest.mark.parametrize("changed", [{"alpha": 0.35}, {"size": 64}, {"precision": "mixed_bfloat16"}, {"weights": None}])
def test_another_base_is_built_anew(changed, tmp_path):
    file, kept = as_file(build(settings(alpha=0.25), TASK).model, tmp_path), Bases()
    made(head_alone(alpha=0.25, weights=file), 1, kept)
    assert kept.find(head_alone(alpha=0.25, weights=file)) is not None
    assert kept.find(head_alone(**{"alpha": 0.25, "weights": file, **changed})) is None


def test_a_base_whose_file_has_changed_or_that_trains_is_built_anew(tmp_path):
    file, kept = as_file(build(settings(alpha=0.25), TASK).model, tmp_path), Bases()
    made(head_alone(alpha=0.25, weights=file), 1, kept)
    trained = settings(alpha=0.25, weights=file)
    trained.trains_head_alone = False
    assert kept.find(trained) is None
    os.utime(file, (1, 1))
    assert kept.find(head_alone(alpha=0.25, weights=file)) is None


def test_precision_is_the_models_own():
    before = keras.config.dtype_policy().name
    network = build(settings("cnn", "gem", "mlp", precision="mixed_bfloat16"), TASK)
    assert keras.config.dtype_policy().name == before
    model = network.model
    assert model.get_layer("block1_conv1").compute_dtype == "bfloat16"
    assert model.get_layer("block1_conv1").variable_dtype == "float32"
    assert model.get_layer("block1_conv1").input.dtype == "float32"
    assert model.output.dtype == "float32"
    assert np.asarray(model(IMAGES)).dtype == np.float32
    assert build(settings("cnn"), TASK).model.get_layer("block1_conv1").compute_dtype == "float32"


def test_precision_is_back_after_a_failure():
    before = keras.config.dtype_policy().name
    with pytest.raises(BadInput):
        build(settings("cnn", "none", precision="mixed_bfloat16"), TASK)
    assert keras.config.dtype_policy().name == before


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(("model", "pooling"), [("cnn", "gem"), ("mobilenetv3small", "avgmax")])
def test_a_saved_model_predicts_the_same(model, pooling, precision, tmp_path):
    network = build(settings(model, pooling, "mlp", precision=precision), TASK)
    network.model.save(tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(IMAGES), network.model(IMAGES))
    assert [layer.name for layer in again.layers] == [layer.name for layer in network.model.layers]


def test_a_model_says_what_images_it_takes_and_grey_ones_reach_any_base_in_three_channels(tmp_path):
    network = build(settings("cnn", resize="pad", channels=1), TASK)
    coloured = build(settings("cnn"), TASK)
    coloured.model.set_weights(network.model.get_weights())
    grey = IMAGES[:, :32, :32, :1]
    expected = coloured.model(np.repeat(grey, 3, axis=-1))
    for name in ("model.keras", "model.h5"):
        network.model.save(tmp_path / name)
        looked = describe(tmp_path / name)
        assert (looked.size, looked.channels, named(looked.name)) == ((32, 32), 1, ("pad", 7))
        np.testing.assert_allclose(load_model(tmp_path / name)(grey), expected, atol=1e-6)
    assert Geometry.of(coloured.model) == Geometry((32, 32))


def test_what_keras_refuses_is_one_message():
    with pytest.raises(BadInput, match=r"base 'mobilenet' can't be built") as error:
        build(settings(alpha=0.001), TASK)
    assert error.value.problems[0].where == "model"


@pytest.mark.parametrize("content", [b"", b"no model"])
def test_a_damaged_model_file_is_one_message(content, tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    with pytest.raises(BadInput, match="can't be loaded"):
        load_model(path)
    with pytest.raises(BadInput, match="can't be loaded"):
        load_model(tmp_path / "missing.keras")

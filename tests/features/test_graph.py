"""The frozen prefix: where each network is cut, what ends it, and that both halves are still one model."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from framework.core.backend import keras
from framework.features.graph import frozen_prefix, resized, split

ATTEMPTS = ("nothing", "all", "last block", "named layer")


@pytest.fixture(autouse=True)
def fresh_names():
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)


def small(*, between=None, rate=0.0):
    """Two convolutions with batch normalisation, something between, then pooling, dropout and a head."""
    images = keras.Input((12, 12, 3), name="image")
    tensor = keras.layers.Rescaling(1 / 255, name="scale")(images)
    tensor = keras.layers.Conv2D(4, 3, name="conv1")(tensor)
    tensor = keras.layers.BatchNormalization(name="norm1")(tensor)
    if between is not None:
        tensor = between(tensor)
    tensor = keras.layers.Conv2D(6, 3, name="conv2", activation="relu")(tensor)
    tensor = keras.layers.GlobalAveragePooling2D(name="pool")(tensor)
    tensor = keras.layers.Dropout(rate, name="drop")(tensor)
    return keras.Model(images, keras.layers.Dense(3, name="logits")(tensor))


def freeze(model, *names):
    for name in names:
        model.get_layer(name).trainable = False
    return model


def test_frozen_base_is_cut_behind_its_pooling_at_the_dropout():
    cut = frozen_prefix(freeze(small(rate=0.5), "norm1"), {"logits"})
    assert cut.names == ("pool",)
    assert cut.stops == {"drop": "it draws at random"}
    assert cut.layers == ("scale", "conv1", "norm1", "conv2", "pool")
    assert cut.shapes == ((6,),)
    assert cut.numbers == 6


def test_dropout_of_rate_zero_does_not_end_the_prefix():
    cut = frozen_prefix(freeze(small(), "norm1"), {"logits"})
    assert cut.names == ("drop",)
    assert cut.stops == {"logits": "it trains"}


def test_trained_may_be_a_function_of_the_layer():
    assert frozen_prefix(freeze(small(), "norm1"), lambda layer: layer.name == "conv2").names == ("norm1",)


def test_batch_normalisation_that_follows_the_batch_ends_the_prefix():
    cut = frozen_prefix(small(), {"logits"})
    assert cut.names == ("conv1",)
    assert cut.stops == {"norm1": "it follows the batch"}


def test_batch_normalisation_in_inference_mode_does_not():
    assert frozen_prefix(small(), {"logits"}, inference={"norm1"}).names == ("drop",)


def test_everything_constant_is_cut_before_the_output():
    cut = frozen_prefix(freeze(small(), "norm1"), set())
    assert cut.names == ("drop",)
    assert cut.stops == {"logits": "it is the output"}


def test_everything_trained_is_cut_at_the_input():
    cut = frozen_prefix(small(), lambda layer: True)
    assert cut.at_input
    assert cut.numbers == 0
    assert cut.stops == {"conv1": "it trains"}


def test_only_preprocessing_is_not_worth_keeping():
    assert frozen_prefix(small(), {"conv1"}).at_input


def random_layers():
    regular = [
        keras.layers.Dropout(0.1),
        keras.layers.SpatialDropout2D(0.1),
        keras.layers.AlphaDropout(0.1),
        keras.layers.GaussianDropout(0.1),
        keras.layers.GaussianNoise(0.1),
        keras.layers.RandomFlip(),
        keras.layers.RandomRotation(0.1),
        keras.layers.RandomZoom(0.1),
        keras.layers.RandomErasing(),
        keras.layers.RandomBrightness(0.1),
        keras.layers.RandAugment(),
        keras.layers.Lambda(lambda tensor: tensor),
    ]
    from keras.src.applications.convnext import StochasticDepth

    return [*regular, StochasticDepth(0.1)]


@pytest.mark.parametrize("index", range(13))
def test_random_layers_end_the_prefix_unless_in_inference(index):
    layer = random_layers()[index]
    model = freeze(small(between=layer), "norm1")
    assert frozen_prefix(model, {"logits"}).names == ("norm1",)
    assert list(frozen_prefix(model, {"logits"}).stops) == [layer.name]
    assert frozen_prefix(model, {"logits"}, inference={layer.name}).names == ("drop",)


def test_layers_that_take_training_and_do_nothing_with_it_do_not():
    for layer in (keras.layers.Resizing(10, 10), keras.layers.CenterCrop(8, 8), keras.layers.Dropout(0)):
        assert frozen_prefix(freeze(small(between=layer), "norm1"), {"logits"}).names == ("drop",)


def test_a_layer_of_unknown_kind_that_takes_training_ends_the_prefix():
    class Own(keras.layers.Layer):
        def call(self, tensor, training=False):
            return tensor

    cut = frozen_prefix(freeze(small(between=Own(name="own")), "norm1"), {"logits"})
    assert cut.stops == {"own": "it may behave otherwise in training"}


def branches(count: int, trained_in=(0,)):
    """A stem, then ``count`` branches of a frozen and a second convolution, added up."""
    images = keras.Input((8, 8, 3))
    stem = keras.layers.Conv2D(4, 1, name="stem")(images)
    first = [keras.layers.Conv2D(4, 1, name=f"first{index}")(stem) for index in range(count)]
    second = [keras.layers.Conv2D(4, 1, name=f"second{index}")(tensor) for index, tensor in enumerate(first)]
    tensor = keras.layers.GlobalAveragePooling2D()(keras.layers.Add()(second))
    return keras.Model(images, keras.layers.Dense(2, name="logits")(tensor))


def test_few_tensors_may_cross():
    model = branches(3)
    cut = frozen_prefix(model, {"second0", "second1", "second2", "logits"})
    assert sorted(cut.names) == ["first0", "first1", "first2"]
    same_as_whole(model, cut)


def test_many_tensors_fall_back_to_the_last_single_one():
    model = branches(4)
    cut = frozen_prefix(model, {f"second{index}" for index in range(4)} | {"logits"})
    assert cut.names == ("stem",)
    same_as_whole(model, cut)


def test_what_is_cheap_to_run_again_is_not_kept_twice():
    images = keras.Input((8, 8, 3))
    stem = keras.layers.Conv2D(4, 1, name="stem")(images)
    branch = keras.layers.Conv2D(4, 1, name="branch")(keras.layers.ReLU(name="active")(stem))
    model = keras.Model(images, keras.layers.Conv2D(2, 1, name="last")(keras.layers.Add()([stem, branch])))
    cut = frozen_prefix(model, {"branch", "last"})
    assert cut.names == ("stem",)
    same_as_whole(model, cut)


def test_no_single_tensor_but_the_input_means_no_cut():
    images = keras.Input((8, 8, 3))
    first = [keras.layers.Conv2D(4, 1)(images) for _ in range(4)]
    second = [keras.layers.Conv2D(4, 1, name=f"second{index}")(tensor) for index, tensor in enumerate(first)]
    model = keras.Model(images, keras.layers.Add()(second))
    assert frozen_prefix(model, {f"second{index}" for index in range(4)}).at_input


def test_a_skip_connection_from_the_input_means_no_cut():
    images = keras.Input((8, 8, 3))
    tensor = keras.layers.Conv2D(3, 1)(images)
    model = keras.Model(images, keras.layers.Conv2D(2, 1, name="last")(keras.layers.Concatenate()([images, tensor])))
    assert frozen_prefix(model, {"last"}).names == ("concatenate",)
    skipped = keras.layers.Concatenate()([images, keras.layers.Conv2D(2, 1, name="middle")(tensor)])
    assert frozen_prefix(keras.Model(images, skipped), {"middle"}).at_input


def same_as_whole(model, cut, inference=()):
    prefix, tail = split(model, cut, inference)
    images = np.random.default_rng(0).uniform(0, 255, (2, *model.input_shape[1:])).astype("float32")
    tensors = images if prefix is None else prefix(images, training=False)
    np.testing.assert_allclose(
        np.asarray(tail(tensors, training=False)), np.asarray(model(images, training=False)), atol=1e-6, rtol=1e-6
    )
    return prefix, tail


# by network: its constructor, its side, and where a late block begins
NETWORKS = {
    "xception": (lambda **k: keras.applications.Xception(**k), 71, "block14_sepconv1", "block13_sepconv1_act"),
    "mobilenet": (lambda **k: keras.applications.MobileNet(alpha=0.25, **k), 32, "conv_pw_13", "conv_dw_11"),
    "mobilenet_v2": (
        lambda **k: keras.applications.MobileNetV2(alpha=0.35, **k),
        32,
        "block_16_expand",
        "block_15_expand",
    ),
    "mobilenet_v3": (
        lambda **k: keras.applications.MobileNetV3Small(alpha=0.75, minimalistic=False, **k),
        32,
        "conv_1",
        "expanded_conv_10_expand",
    ),
    "efficientnet": (
        lambda **k: keras.applications.EfficientNetB0(**k),
        32,
        "block7a_expand_conv",
        "block7a_se_reduce",
    ),
    "efficientnet_v2": (
        lambda **k: keras.applications.EfficientNetV2B0(**k),
        32,
        "block6h_expand_conv",
        "block6h_se_reduce",
    ),
    "densenet": (lambda **k: keras.applications.DenseNet121(**k), 32, "conv5_block1_0_bn", "conv5_block16_1_conv"),
    "resnet_v2": (lambda **k: keras.applications.ResNet50V2(**k), 32, "conv5_block1_preact_bn", "conv5_block3_2_conv"),
    "convnext": (
        lambda **k: keras.applications.ConvNeXtTiny(**k),
        32,
        "convnext_tiny_stage_3_block_0_depthwise_conv",
        "convnext_tiny_stage_3_block_2_pointwise_conv_1",
    ),
    "inception": (lambda **k: keras.applications.InceptionV3(**k), 75, "mixed9", "mixed10"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_real_networks_are_cut_and_stay_the_same(name):
    build, side, block, layer = NETWORKS[name]
    images = keras.Input((side, side, 3), name="image")
    base = build(weights=None, include_top=False, input_tensor=images)
    base_layers = [one.name for one in base.layers]
    pooled = keras.layers.Dropout(0.3, name="drop")(keras.layers.GlobalAveragePooling2D(name="pool")(base.output))
    model = keras.Model(images, keras.layers.Dense(5, name="logits")(pooled))

    for start in (block, layer):
        at = base_layers.index(start)
        trained, frozen = {*base_layers[at:], "logits"}, set(base_layers[:at])
        for each in model.layers:
            each.trainable = each.name not in frozen
        cut = frozen_prefix(model, trained, inference=frozen)
        prefix, _ = same_as_whole(model, cut, inference=frozen)
        assert prefix is not None
        assert 1 <= len(cut.tensors) <= 3
        weighted = {each.name for each in model.layers if each.weights}
        assert not trained & weighted & set(cut.layers)
        assert len(cut.layers) > len(base_layers) / 2
        assert {weight.path for weight in prefix.weights} < {weight.path for weight in model.weights}

    cut = frozen_prefix(model, {"logits"}, inference=set(base_layers))
    assert cut.names == ("pool",)
    same_as_whole(model, cut, inference=set(base_layers))

    cut = frozen_prefix(model, lambda each: True)
    assert cut.at_input
    prefix, tail = same_as_whole(model, cut)
    assert prefix is None
    assert tail.input_shape == (None, side, side, 3)


def test_frozen_dropout_of_a_base_is_still_in_a_training_tail():
    model = small(rate=0.9)
    cut = frozen_prefix(model, {"conv2", "logits"}, inference={"norm1", "drop"})
    prefix, tail = split(model, cut, inference={"norm1", "drop"})
    images = np.random.default_rng(0).uniform(0, 255, (2, 12, 12, 3)).astype("float32")
    expected = np.asarray(model(images, training=False))
    np.testing.assert_allclose(np.asarray(tail(prefix(images), training=True)), expected, atol=1e-6)
    _, drawn = split(model, cut)
    assert np.abs(np.asarray(drawn(prefix(images), training=True)) - expected).max() > 1e-4


def test_batch_normalisation_in_inference_keeps_its_statistics_and_trains_its_scale():
    model = small()
    cut = frozen_prefix(model, lambda layer: True)
    _, tail = split(model, cut, inference={"norm1"})
    norm = model.get_layer("norm1")
    mean, gamma = np.asarray(norm.moving_mean), np.asarray(norm.gamma)
    train(tail, np.random.default_rng(0).uniform(0, 255, (8, 12, 12, 3)).astype("float32"))
    np.testing.assert_array_equal(np.asarray(norm.moving_mean), mean)
    assert np.abs(np.asarray(norm.gamma) - gamma).max() > 0


def test_frozen_layers_stay_frozen_in_a_tail_that_runs_them_as_in_inference():
    model = freeze(small(), "norm1")
    _, tail = split(model, frozen_prefix(model, {"conv1", "conv2", "logits"}), inference={"norm1"})
    assert {weight.path for weight in tail.trainable_variables} == {
        f"{layer}/{weight}" for layer in ("conv1", "conv2", "logits") for weight in ("kernel", "bias")
    }
    assert {weight.path for weight in tail.weights} == {weight.path for weight in model.weights}


def train(tail, inputs):
    tail.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    tail.fit(inputs, np.arange(8) % 3, epochs=2, verbose=0, batch_size=4)


def test_training_the_tail_trains_the_model_which_still_saves(tmp_path):
    model = freeze(small(rate=0.2), "norm1", "conv1")
    cut = frozen_prefix(model, {"conv2", "logits"})
    prefix, tail = split(model, cut, inference={"norm1"})
    images = np.random.default_rng(0).uniform(0, 255, (8, 12, 12, 3)).astype("float32")
    before = np.asarray(model(images))
    kept = np.asarray(prefix(images))
    train(tail, kept)
    after = np.asarray(model(images))
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(np.asarray(prefix(images)), kept, atol=1e-6)
    np.testing.assert_allclose(np.asarray(tail(kept)), after, atol=1e-6)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    np.testing.assert_allclose(np.asarray(again(images)), after, atol=1e-6)
    # a loaded model can be cut as well, and twice
    for _ in range(2):
        same_as_whole(again, frozen_prefix(again, {"logits"}, inference={"norm1"}))


def test_shared_layers_are_judged_call_by_call():
    images = keras.Input((8, 8, 3))
    conv = keras.layers.Conv2D(3, 1, name="twice")
    tensor = keras.layers.Conv2D(3, 1, name="middle")(conv(images))
    model = keras.Model(images, keras.layers.Dense(2, name="logits")(keras.layers.Flatten()(conv(tensor))))
    cut = frozen_prefix(model, {"middle", "logits"})
    assert cut.names == ("twice",)
    same_as_whole(model, cut)


def test_plain_operations_are_part_of_the_graph():
    images = keras.Input((8, 8, 3))
    tensor = keras.ops.mean(keras.layers.Conv2D(4, 3, name="conv")(images) * 2.0, axis=(1, 2))
    model = keras.Model(images, keras.layers.Dense(2, name="logits")(tensor))
    cut = frozen_prefix(model, {"logits"})
    assert cut.shapes == ((4,),)
    same_as_whole(model, cut)


def test_importing_the_room_loads_no_tensorflow():
    code = "import framework.features.graph, framework.features.compute, framework.features.store, sys; " + (
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_same_layers_take_images_of_another_size():
    model = small()
    large = resized(model, (20, 16))
    assert large.input_shape == (None, 20, 16, 3)
    assert [id(one) for one in large.weights] == [id(one) for one in model.weights]
    images = np.random.default_rng(0).uniform(0, 255, (2, 20, 16, 3)).astype(np.float32)
    again = keras.models.clone_model(large)
    again.set_weights(model.get_weights())
    np.testing.assert_allclose(large(images), again(images), rtol=1e-6)
    flat = keras.Sequential([keras.Input((12, 12, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="incompatible"):
        resized(keras.Model(flat.inputs, flat.outputs), (20, 16))


def test_of_a_real_base_it_is_what_would_be_built_for_that_size():
    def built(side):
        images = keras.Input((side, side, 3))
        maps = keras.applications.MobileNet(include_top=False, weights=None, alpha=0.25, input_tensor=images).output
        return keras.Model(images, keras.layers.GlobalAveragePooling2D()(maps))

    model, larger = built(64), built(96)
    larger.set_weights(model.get_weights())
    images = np.random.default_rng(0).uniform(-1, 1, (2, 96, 96, 3)).astype(np.float32)
    np.testing.assert_allclose(resized(model, (96, 96))(images), larger(images), rtol=1e-5, atol=1e-6)

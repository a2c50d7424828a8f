"""Bases, poolings and heads: what their keys do to the network that is built, and to what it computes."""

from __future__ import annotations

import numpy as np
import pytest

from framework.core import keras_hub_private, registry
from framework.core.backend import keras
from framework.core.errors import BadInput
from framework.model.build import build
from tests.options.counted import effect, effects
from tests.options.made import SMALL, TASKS, built, chosen, settings

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
MAPS = RNG.uniform(0, 3, (2, 3, 4, 5)).astype(np.float32)
VECTORS = RNG.normal(size=(50, 7)).astype(np.float32)


def network(*overrides):
    return build(settings(*SMALL, "data.dir=photos", *overrides), TASKS["one_hot"])


def base(option, side=32, **changed):
    """Output, and layers by name, of a base on images of this side."""
    images = keras.Input((side, side, 3))
    return keras.Model(images, built("base", "model", option, images, **changed))


@effect("model.weights")
def test_weights_come_from_the_file_that_is_named(tmp_path):
    first = network()
    file = tmp_path / "model.keras"
    first.model.save(file)
    again, other = network(f"model.weights={file}"), network("model.weights=null")
    layer = first.base_layers[0]
    kernels = [np.array(one.model.get_layer(layer).kernel) for one in (first, again, other)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])


@effect("model.trainable")
def test_a_base_that_is_not_trainable_leaves_the_head_to_train():
    for trainable, expected in (("true", 2 + 2), ("false", 2)):
        made = network(f"model.trainable={trainable}")
        assert len(made.model.trainable_weights) == expected
        assert made.model.get_layer("logits").trainable


@effects("overrides, shape", {
    "model.image_size": (("model.image_size=16",), (None, 16, 16, 3)),
    "data.image_size": (("model.image_size=16", "data.image_size=[24,20]"), (None, 24, 20, 3)),
})  # fmt: skip
def test_images_go_in_at_the_size_that_is_named(overrides, shape):
    assert network(*overrides).model.input_shape == shape


@effect("model.cnn.filters", "model.cnn.convolutions", "model.cnn.kernel")
def test_a_small_network_is_as_deep_and_wide_as_told():
    model = base("cnn", filters=[3, 4], convolutions=2, kernel=5)
    kernels = [layer.kernel.shape for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [tuple(shape) for shape in kernels] == [(5, 5, 3, 3), (5, 5, 3, 3), (5, 5, 3, 4), (5, 5, 4, 4)]
    assert model.output_shape == (None, 8, 8, 4)


def between(model, before, after):
    """What lies between two layers, as a model of its own."""
    return keras.Model(model.get_layer(before).output, model.get_layer(after).output)


@effect("model.cnn.activation")
@pytest.mark.parametrize("name", ["relu", "leaky_relu", "elu", "selu", "gelu", "silu", "tanh"])
def test_a_small_networks_activation(name):
    model = base("cnn", filters=[5], activation=name, normalization="none")
    apply = between(model, "block1_conv1", f"block1_{name}1")
    values = np.linspace(-2, 2, 32 * 32 * 5, dtype=np.float32).reshape(1, 32, 32, 5)
    np.testing.assert_allclose(apply(values), keras.activations.get(name)(values), atol=1e-5)


@effect("model.cnn.normalization")
def test_a_small_networks_normalization():
    def spread(kind):
        model = base("cnn", filters=[5], normalization=kind)
        values = keras.Model(model.input, model.get_layer("block1_relu1").input)(IMAGES, training=True)
        return np.std(values, axis=(0, 1, 2)), np.std(values, axis=-1).mean()

    channels, _ = spread("batch")
    np.testing.assert_allclose(channels, 1, rtol=0.02)
    channels, within = spread("layer")
    assert within == pytest.approx(1, rel=0.05)
    assert not np.allclose(channels, 1, rtol=0.02)
    channels, within = spread("none")
    assert not np.allclose(channels, 1, rtol=0.02)
    assert within != pytest.approx(1, rel=0.05)


@effect("model.cnn.pooling")
def test_a_small_network_halves_by_maximum_or_average():
    for kind, reduce in (("max", np.max), ("avg", np.mean)):
        model = base("cnn", filters=[5], pooling=kind)
        values = RNG.normal(size=(2, 32, 32, 5)).astype(np.float32)
        found = between(model, "block1_relu1", "block1_pool")(values)
        np.testing.assert_allclose(found, reduce(values.reshape(2, 16, 2, 16, 2, 5), axis=(2, 4)), atol=1e-6)


def dropped(model, values):
    """Share of the values that are zero in training; none is at inference."""
    assert np.mean(np.array(model(values, training=False)) == 0) == 0
    return np.mean(np.array(model(values, training=True)) == 0)


@effect("model.cnn.dropout")
def test_a_small_network_drops_its_share_behind_each_block():
    model = base("cnn", filters=[5, 5], dropout=0.3)
    for block in (1, 2):
        behind = keras.Model(
            model.get_layer(f"block{block}_pool").output, model.get_layer(f"block{block}_dropout").output
        )
        assert dropped(behind, np.ones((9, *behind.input_shape[1:]))) == pytest.approx(0.3, abs=0.05)
    assert not [layer for layer in base("cnn", filters=[5]).layers if isinstance(layer, keras.layers.Dropout)]


# at alpha 1: 1,024 channels of MobileNet, 320 of MobileNetV2's last block, 576 and 960 of MobileNetV3's
@effects("option, channels", {
    "model.mobilenetv2.alpha": ("mobilenetv2", {"block_16_project": 160}),
    "model.mobilenetv3small.alpha": ("mobilenetv3small", {"conv_1": 288}),
    "model.mobilenetv3large.alpha": ("mobilenetv3large", {"conv_1": 480}),
})  # fmt: skip
def test_alpha_is_the_share_of_each_layers_filters(option, channels):
    changed = {"minimalistic": True} if "v3" in option else {}
    model = base(option, alpha=0.5, **changed)
    assert {name: model.get_layer(name).filters for name in channels} == channels
    if changed:
        assert_minimalistic(model)


def assert_minimalistic(model):
    convolutions = [
        layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D)
    ]
    assert {layer.kernel_size for layer in convolutions} == {(1, 1), (3, 3)}
    assert not [layer for layer in model.layers if "squeeze_excite" in layer.name or "hard" in layer.name]


@effect("model.mobilenetv3small.minimalistic", "model.mobilenetv3large.minimalistic")
@pytest.mark.parametrize("option", ["mobilenetv3small", "mobilenetv3large"])
def test_a_mobilenet_that_is_not_minimalistic_has_large_windows_and_gates(option):
    model = base(option, alpha=0.5, minimalistic=False)
    with pytest.raises(AssertionError):
        assert_minimalistic(model)
    assert (5, 5) in {getattr(layer, "kernel_size", None) for layer in model.layers}


@effect("model.mobilenet.alpha", "model.mobilenet.depth_multiplier")
def test_mobilenets_width_and_depth_multiplier():
    model = base("mobilenet", alpha=0.25, depth_multiplier=2)
    assert model.output_shape[-1] == 1024 / 4
    kernels = [layer.kernel.shape for layer in model.layers if isinstance(layer, keras.layers.DepthwiseConv2D)]
    assert {shape[-1] for shape in kernels} == {2}


@effects("option, expected", {
    "pooling=avg": ("avg", MAPS.mean((1, 2))),
    "pooling=max": ("max", MAPS.max((1, 2))),
    "pooling=avgmax": ("avgmax", np.concatenate([MAPS.mean((1, 2)), MAPS.max((1, 2))], axis=-1)),
    "pooling=gem": ("gem", np.cbrt((MAPS**3).mean((1, 2)))),
    "pooling=flatten": ("flatten", MAPS.reshape(2, -1)),
})  # fmt: skip
def test_each_pooling_makes_its_vector_of_feature_maps(option, expected):
    maps = keras.Input(MAPS.shape[1:])
    np.testing.assert_allclose(keras.Model(maps, built("pooling", "pooling", option, maps))(MAPS), expected, rtol=1e-4)


TOKENS = RNG.normal(size=(2, 1 + 6, 4)).astype(np.float32)


def pooled_tokens(option, **changed):
    """A pooling of a class token and six patches, as a function of the seven tokens."""
    first, patches = keras.Input((4,)), keras.Input((6, 4))
    model = keras.Model([first, patches], built("pooling", "pooling", option, first, patches, **changed))
    return model, model([TOKENS[:, 0], TOKENS[:, 1:]])


@effects("option, expected", {
    "pooling=cls": ("cls", TOKENS[:, 0]),
    "pooling=tokens": ("tokens", TOKENS[:, 1:].mean(1)),
    "pooling=cls_tokens": ("cls_tokens", np.concatenate([TOKENS[:, 0], TOKENS[:, 1:].mean(1)], axis=-1)),
})  # fmt: skip
def test_each_pooling_of_tokens_makes_its_vector(option, expected):
    np.testing.assert_allclose(pooled_tokens(option)[1], expected, rtol=1e-5)


@effect("pooling=attention", "pooling.attention.heads")
@pytest.mark.parametrize("heads", [1, 2])
def test_attention_weighs_patches_by_how_they_answer_a_learned_question(heads):
    model, found = pooled_tokens("attention", heads=heads)
    query, *weights = model.get_layer("pooling").get_weights()
    (wq, bq), (wk, bk), (wv, bv), (wo, bo) = zip(weights[::2], weights[1::2], strict=True)
    patches = TOKENS[:, 1:]
    q = np.einsum("qc,chd->qhd", query[0], wq) + bq
    k = np.einsum("bnc,chd->bnhd", patches, wk) + bk
    v = np.einsum("bnc,chd->bnhd", patches, wv) + bv
    scores = np.einsum("qhd,bnhd->bhn", q, k) / np.sqrt(4 / heads)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    expected = np.einsum("bhn,bnhd,hdc->bc", shares, v, wo) + bo
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(BadInput, match="4 channels can't be shared out among 3 heads"):
        pooled_tokens("attention", heads=3)


@pytest.mark.skipif(not keras_hub_private.installed(), reason="Keras Hub is not installed; it needs Python 3.11")
def test_poolings_of_maps_see_the_patches_of_tokens_as_a_grid():
    size = (
        "model=vit_tiny",
        "model.image_size=[32,48]",
        "model.num_layers=1",
        "model.num_heads=1",
        "model.hidden_dim=4",
    )
    chosen = settings("data=image_folder", "data.dir=photos", *size, "pooling=flatten")
    model = build(chosen, TASKS["one_hot"]).model
    maps = keras.Model(model.input, [model.get_layer("patch_tokens").input, model.get_layer("patch_maps").output])
    tokens, grid = maps(RNG.uniform(0, 255, (1, 32, 48, 3)).astype(np.float32))
    assert grid.shape == (1, 2, 3, 4)
    np.testing.assert_array_equal(np.array(grid)[0, 1, 2], np.array(tokens)[0, 1 + 1 * 3 + 2])


@effect("pooling=none")
def test_no_pooling_leaves_vectors_as_they_are():
    vectors = keras.Input((5,))
    assert built("pooling", "pooling", "none", vectors) is vectors


@effect("pooling.gem.p")
def test_the_generalised_means_exponent_leads_from_average_to_maximum():
    def pooled(p):
        maps = keras.Input(MAPS.shape[1:])
        return np.array(keras.Model(maps, built("pooling", "pooling", "gem", maps, p=p))(MAPS))

    np.testing.assert_allclose(pooled(1.0), MAPS.mean((1, 2)), rtol=1e-4)
    assert (pooled(1.0) < pooled(3.0)).all()
    assert (pooled(3.0) < pooled(20.0)).all()
    np.testing.assert_allclose(pooled(50.0), MAPS.max((1, 2)), rtol=0.1)


FOR = {"dense": "one_hot", "binary": "binary", "multilabel": "multi_hot"}


def head(option, labels=None, **changed):
    vectors = keras.Input((7,))
    task = TASKS[labels or FOR[option]]
    return keras.Model(vectors, built("head", "head", option, vectors, task, **changed))


def each(key):
    """The case of this key of each head."""
    return {f"head.{option}.{key}": option for option in FOR}


@effects("option", {f"head={option}": option for option in FOR})
def test_each_head_gives_as_many_logits_as_its_question_takes(option):
    model = head(option)
    assert model.output_shape == (None, TASKS[FOR[option]].units)
    assert [layer.name for layer in model.layers[1:]] == ["logits"]


@effect("head=dense10")
def test_ten_logits_are_for_ten_classes():
    with pytest.raises(BadInput, match="the head has 10 logits, the data needs 3"):
        head("dense10", "one_hot")


@effects("option, share", {"head=dense100": ("dense100", 0.5), "head=mlp": ("mlp", 0.2)})
def test_a_hidden_layer_of_100_units_of_which_a_share_is_dropped(option, share):
    model = head(option, "one_hot")
    assert model.get_layer("head_dense1").units == 100
    behind = keras.Model(model.get_layer("head_relu1").output, model.get_layer("head_dropout1").output)
    assert dropped(behind, np.ones((50, 100))) == pytest.approx(share, abs=0.05)


@effect("head.dense.units")
def test_units_says_how_many_logits_there_are_to_be():
    assert head("dense", units=3).output_shape == head("dense", units=None).output_shape == (None, 3)
    with pytest.raises(BadInput, match="the head has 4 logits, the data needs 3"):
        head("dense", units=4)


@effects("option", each("hidden"))
def test_hidden_layers_have_the_units_that_are_named(option):
    model = head(option, hidden=[6, 5])
    assert [layer.units for layer in model.layers if isinstance(layer, keras.layers.Dense)][:-1] == [6, 5]


@effects("option", each("activation"))
def test_hidden_layers_have_the_activation_that_is_named(option):
    model = head(option, hidden=[6], activation="tanh")
    apply = keras.Model(model.get_layer("head_dense1").output, model.get_layer("logits").input)
    values = RNG.normal(size=(4, 6)).astype(np.float32)
    np.testing.assert_allclose(apply(values), np.tanh(values), atol=1e-5)


@effects("option", each("normalization"))
def test_hidden_layers_are_normalised_over_the_batch_or_the_layer(option):
    for kind, axis, other in (("batch", 0, 1), ("layer", 1, 0)):
        model = head(option, hidden=[6], normalization=kind)
        values = keras.Model(model.input, model.get_layer("head_relu1").input)(VECTORS, training=True)
        np.testing.assert_allclose(np.mean(values, axis=axis), 0, atol=0.01)
        assert np.abs(np.mean(values, axis=other)).max() > 0.05


@effects("option", each("dropout"))
def test_the_share_is_dropped_behind_hidden_layers_or_from_the_vector(option):
    model = head(option, hidden=[60], dropout=0.3)
    behind = keras.Model(model.get_layer("head_relu1").output, model.get_layer("logits").input)
    assert dropped(behind, np.ones((50, 60))) == pytest.approx(0.3, abs=0.05)
    model = head(option, dropout=0.3)
    assert dropped(keras.Model(model.input, model.get_layer("logits").input), np.ones((90, 7))) == pytest.approx(
        0.3, abs=0.08
    )


def fitted(option, labels, vectors, truth, **changed):
    """A fitted head on these vectors, as a model."""
    task = TASKS[labels]
    (values,) = chosen("head", option)
    part = registry.get("head", values.pop("name"))
    values |= changed
    inputs = keras.Input((vectors.shape[1],))
    model = keras.Model(inputs, part(inputs, task, *([len(vectors)] if part.details["remembers"] else []), **values))
    part.details["fit"](
        model.get_layer("logits"), vectors, np.eye(len(task.classes), dtype=np.float32)[truth], **values
    )
    return model


CLOUDS = (np.repeat(RNG.normal(size=(3, 7)), 20, axis=0) + RNG.normal(0, 0.4, (60, 7))).astype(np.float32)
TRUTH = np.repeat(np.arange(3), 20)


@effect("head=prototypes", "head.prototypes.distance", "head.prototypes.scale")
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_the_nearest_class_mean_answers(distance):
    found = np.array(fitted("prototypes", "one_hot", CLOUDS, TRUTH, distance=distance, scale=3.0)(VECTORS))

    def seen(vectors):
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True) if distance == "cosine" else vectors

    means = seen(np.stack([seen(CLOUDS)[number == TRUTH].mean(0) for number in range(3)]))
    own = ((seen(CLOUDS) - means[TRUTH]) ** 2).sum(1).mean()
    expected = -3 * ((seen(VECTORS)[:, None] - means) ** 2).sum(-1) / own
    # but for what all classes have in common
    np.testing.assert_allclose(found - found[:, :1], expected - expected[:, :1], rtol=1e-3, atol=1e-3)
    yes = np.array(fitted("prototypes", "binary", CLOUDS[:40], TRUTH[:40], distance=distance)(VECTORS))
    both = np.array(fitted("prototypes", "one_hot", CLOUDS, TRUTH, distance=distance)(VECTORS))
    assert yes.shape == (50, 1)
    assert np.mean((yes[:, 0] > 0) == (both[:, 1] > both[:, 0])) > 0.9


@effect("head=knn", "head.knn.neighbours", "head.knn.temperature")
@pytest.mark.parametrize(("neighbours", "temperature"), [(1, 0.07), (5, 0.07), (5, 1e6)])
def test_the_nearest_training_images_vote(neighbours, temperature):
    changed = {"neighbours": neighbours, "temperature": temperature}
    model = fitted("knn", "one_hot", CLOUDS, TRUTH, **changed)

    def votes(vectors, left_out=False):
        a, b = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (vectors, CLOUDS))
        cosines = a @ b.T
        if left_out:
            np.fill_diagonal(cosines, -2)
        found = np.zeros((len(vectors), 3))
        for row, near in enumerate(np.argsort(-cosines, axis=1)[:, :neighbours]):
            weights = np.exp((cosines[row, near] - 1) / temperature)
            np.add.at(found[row], TRUTH[near], weights / weights.sum())
        return 0.99 * found + 0.01 / 3

    np.testing.assert_allclose(np.exp(model(VECTORS)), votes(VECTORS), rtol=1e-3)
    # in training an image does not vote on itself
    np.testing.assert_allclose(np.exp(model(CLOUDS, training=True)), votes(CLOUDS, True), rtol=1e-3)
    odds = np.array(fitted("knn", "binary", CLOUDS[:40], TRUTH[:40], **changed)(VECTORS))
    assert odds.shape == (50, 1)


@effect("head=cosine", "head.cosine.scale")
def test_cosine_is_of_the_angle_to_a_learned_direction():
    model = head("cosine", "one_hot", scale=7.0)
    kernel = np.array(model.get_layer("logits").kernel)
    kernel, vectors = kernel / np.linalg.norm(kernel, axis=0), VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)
    np.testing.assert_allclose(model(VECTORS), 7 * vectors @ kernel, rtol=1e-4, atol=1e-4)
    assert {weight.name for weight in model.trainable_weights} == {"scale", "kernel"}


@effect("head=linear_probe")
def test_a_probe_takes_features_of_any_size_alike():
    model = head("linear_probe", "one_hot")
    assert {weight.name for weight in model.trainable_weights} == {"kernel", "bias"}
    normalised = keras.Model(model.input, model.get_layer("head_norm").output)(VECTORS * 1000 + 5, training=True)
    np.testing.assert_allclose(np.std(normalised, axis=0), 1, rtol=0.01)
    np.testing.assert_allclose(np.mean(normalised, axis=0), 0, atol=0.01)

"""The contract of every base, and the features that Keras itself computes."""

from __future__ import annotations

import inspect
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from framework.config.documents import read_option
from framework.core import registry, schema
from framework.core.backend import keras
from framework.core.errors import BadInput
from framework.features.folding import folded
from framework.model import weights
from framework.parts import bases
from tests.options.counted import effect

CONF = Path(__file__).parents[2] / "conf" / "model"
COMMON = {"name", "weights", "trainable", "image_size"}
NAMES = [part.name for part in registry.parts("base") if Path(part.location[0]) == Path(bases.__file__)]
# one network of each code path in Keras, the smallest; the others are built in slow tests, Inception-ResNet and NASNet,
# which take a minute each and whose layers are the others' and one of its own (seen below), without weights
FIRST = ["cnn", "mobilenet", "mobilenetv2", "mobilenetv3small", "vgg16", "resnet50", "resnet50v2", "xception"]
FAMILIES = [
    *FIRST,
    *("inceptionv3", "densenet121"),
    *("efficientnetb0", "efficientnetv2b0", "efficientnetv2s", "convnexttiny"),
]


def each(names):
    return [pytest.param(name, marks=[] if name in FIRST else [pytest.mark.slow]) for name in names]


def option(name):
    return read_option(CONF / f"{name}.yaml").content


def parameters(name):
    return {key: value for key, value in option(name).items() if key not in COMMON}


@pytest.fixture(scope="module", params=each(NAMES))
def base(request):
    """Name and model of each base in turn, built once for all tests of it."""
    return request.param, built(request.param)


def built(name, **changes):
    """The base from YAML at its minimum size, from images to feature maps; of a family's others the weights' shapes."""
    from keras.src.backend.common import global_state

    part = registry.get("base", name)
    side = part.details["minimum_size"]
    images = keras.Input((side, side, 3), name="image")
    if name in FAMILIES:
        return keras.Model(images, part(images, **{**parameters(name), **changes}))
    with keras.StatelessScope(initialize_variables=False):
        model = keras.Model(images, part(images, **{**parameters(name), **changes}))
    # else whoever leaves such a scope next would give values to all of them: gigabytes, and a minute
    global_state.set_global_attribute("uninitialized_variables", [])
    return model


def images(side, count=2):
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3)).astype("float32")


def shuffle(model):
    """Other weights than the initial ones, so that no layer is an identity; smaller, so that nothing overflows."""
    rng = np.random.default_rng(1)
    for variable in model.weights:
        value = np.asarray(variable)
        if value.dtype == np.float32:
            scale = rng.uniform(0.6, 0.9, value.shape) if value.ndim > 1 else rng.uniform(0.9, 1.1, value.shape)
            variable.assign(value * scale + rng.uniform(0, 0.01, value.shape))


def test_every_constructor_of_keras_is_a_base():
    constructors = {name.lower() for name in dir(keras.applications) if name != name.lower()}
    assert len(constructors) == 40
    assert set(NAMES) == constructors | {"cnn"}


@pytest.mark.parametrize("name", NAMES)
def test_option_composes_the_signature_exactly(name):
    part, values = registry.get("base", name), option(name)
    assert set(values) >= COMMON
    assert values["name"] == name
    assert values["weights"] == (None if name == "cnn" else "imagenet")
    assert values["trainable"] == (name == "cnn")
    assert values["image_size"] >= part.details["minimum_size"]
    assert list(parameters(name)) == list(part.parameters)
    assert schema.check(parameters(name), part.parameters, "model", name)[1] == []
    assert (CONF / f"{name}.yaml").read_text().startswith("# ")
    assert part.summary
    assert Path(part.location[0]) == Path(bases.__file__)


@pytest.mark.slow
@effect(*(f"model={name}" for name in NAMES))
def test_contract(base, tmp_path):
    name, model = base
    side = model.input.shape[1]
    layers = model.layers
    assert len(model.output.shape) == 4
    assert len({layer.name for layer in layers}) == len(layers)
    told = (CONF / f"{name}.yaml").read_text().splitlines()[0]
    assert name == "cnn" or f" {model.count_params() / 1e6:.1f} million parameters" in told
    assert not any(isinstance(layer, keras.Model) and len(layer.layers) > 5 for layer in layers)

    preparing = [layer for layer in layers if layer.name.startswith(bases.PREPROCESS)]
    assert preparing == layers[1 : len(preparing) + 1]
    x = images(side)
    # the small network is given what Xception is
    module = sys.modules[bases.application("xception" if name == "cnn" else name).__module__]
    expected = module.preprocess_input(x.copy())
    # those that Keras prepares inside its own graph are compared in features, below
    if not np.array_equal(expected, x):
        prepared = keras.Model(model.input, layers[1 + len(preparing)].input)(x)
        np.testing.assert_allclose(prepared, expected, rtol=1e-5, atol=1e-5)

    if name in FAMILIES:
        path = tmp_path / "model.keras"
        model.save(path)
        again = keras.saving.load_model(path, safe_mode=True)
        np.testing.assert_array_equal(again(x, training=False), model(x, training=False))


def test_the_scaling_layer_of_inceptionresnetv2_is_saved_whole(tmp_path):
    from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

    one, other = keras.Input((4,)), keras.Input((4,))
    model = keras.Model([one, other], CustomScaleLayer(0.17)([one, other]))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    x = [np.ones((1, 4), np.float32), np.full((1, 4), 2, np.float32)]
    np.testing.assert_array_equal(again(x), model(x))


def shows(model, outline):
    """Whether a base's weights are as its outline says."""
    shapes = [tuple(weight.shape) for weight in model.weights if "seed_generator" not in weight.path]
    fits = outline.numbers in (None, sum(map(math.prod, shapes))) and set(outline.shapes) <= set(shapes)
    return fits and bool(outline.numbers or outline.shapes)


def test_outline_is_what_the_weights_show(base):
    name, model = base
    assert shows(model, registry.get("base", name).details["outline"](parameters(name)))


WIDTHS = {
    "mobilenet": [{"alpha": 0.25}, {"alpha": 0.3, "depth_multiplier": 2}],
    "mobilenetv2": [{"alpha": 0.35}, {"alpha": 1.4}],
    "mobilenetv3small": [{"alpha": 0.75}, {"minimalistic": True}],
    "mobilenetv3large": [{"alpha": 0.75}],
    "cnn": [{"filters": [8, 24], "convolutions": 1, "kernel": 5}],
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "changes"), [(name, one) for name, some in WIDTHS.items() for one in some])
def test_outline_follows_the_parameters(name, changes):
    outline = registry.get("base", name).details["outline"]
    model = built(name, **changes)
    assert shows(model, outline({**parameters(name), **changes}))
    assert shows(model, outline(parameters(name))) == ("minimalistic" in changes)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`input_shape` is undefined")
def test_features_are_those_of_keras_with_its_imagenet_file(base, tmp_path, monkeypatch):
    import h5py
    from keras.src.legacy.saving import legacy_h5_format
    from keras.src.utils import file_utils

    name, model = base
    if name not in FAMILIES:
        named_as_in_keras(name)
        return
    if name == "cnn":
        assert registry.get("base", name).details["imagenet"] is None
        return
    shuffle(model)
    side = model.input.shape[1]
    file = tmp_path / "published.h5"
    if name.startswith("efficientnetb"):
        (normalization,) = (layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
        normalization.set_weights([np.float32(bases.MEAN), np.float32(bases.DEVIATION), np.zeros(())])
        normalization.finalize_state()
    with h5py.File(file, "w") as group:
        legacy_h5_format.save_weights_to_hdf5_group(group, model)

    asked = []
    monkeypatch.setattr(file_utils, "get_file", lambda fname, *_, **__: asked.append(fname) or str(file))
    theirs = bases.application(name)(
        include_top=False, weights="imagenet", input_shape=(side, side, 3), **parameters(name)
    )
    part = registry.get("base", name)
    assert asked == [part.details["imagenet"]((side, side), parameters(name))]

    x = images(side)
    prepared = sys.modules[bases.application(name).__module__].preprocess_input(x.copy())
    expected = np.asarray(theirs(prepared, training=False)).astype("float64")
    spread = expected.std()
    assert 0 < spread < np.inf
    np.testing.assert_allclose(model(x, training=False), expected, rtol=1e-3, atol=1e-4 * spread)

    for variable in model.weights:
        variable.assign(np.zeros(variable.shape, variable.dtype))
    weights.load(model, part, str(file), (side, side), parameters(name))
    np.testing.assert_allclose(model(x, training=False), expected, rtol=1e-3, atol=1e-4 * spread)


@pytest.mark.slow
def test_folded_it_gives_the_same(base):
    name, model = base
    if name not in FAMILIES:
        return
    rng = np.random.default_rng(2)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for weight in (weight for layer in norms for weight in layer.weights):
        low, high = (-0.1, 0.1) if weight.path.endswith(("mean", "beta")) else (0.9, 1.1)
        weight.assign(rng.uniform(low, high, weight.shape))
    small = folded(model)
    assert sum(isinstance(layer, keras.layers.BatchNormalization) for layer in small.layers) <= 0.6 * len(norms)
    x = images(model.input.shape[1])
    expected = np.asarray(model(x, training=False)).astype("float64")
    assert 0 < expected.std() < np.inf
    np.testing.assert_allclose(small(x, training=False), expected, rtol=1e-3, atol=1e-4 * expected.std())


def named_as_in_keras(name):
    """That the ImageNet file has the name that stands in Keras's source: its networks differ from their family's
    first, whose features are compared, in size alone."""
    constructor = bases.application(name)
    file = registry.get("base", name).details["imagenet"]((224, 224), parameters(name))
    source = Path(sys.modules[constructor.__module__].__file__).read_text()
    resnet = Path(sys.modules["keras.src.applications.resnet"].__file__).read_text()
    if name.startswith(("efficientnet", "convnext")):
        assert file == inspect.signature(constructor).parameters["name"].default + "_notop.h5"
        assert 'file_suffix = "_notop.h5"' in source
        assert "file_name = name + file_suffix" in source
    elif name.startswith("resnet"):
        assert f'"{name}": (' in resnet
        assert file == f"{name}_weights_tf_dim_ordering_tf_kernels_notop.h5"
    elif name == "mobilenetv3large":
        assert file == "weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5"
        assert '"large_224_1.0_float"' in source
    else:
        # a text over two lines is one
        assert f'"{file}"' in re.sub(r'"\s+"', "", source)


@pytest.mark.parametrize(
    ("name", "size", "changes", "file"),
    [
        ("mobilenet", (224, 224), {"alpha": 0.25}, "mobilenet_2_5_224_tf_no_top.h5"),
        ("mobilenet", (128, 128), {"alpha": 0.5}, "mobilenet_5_0_128_tf_no_top.h5"),
        ("mobilenet", (160, 128), {"alpha": 0.75}, "mobilenet_7_5_224_tf_no_top.h5"),
        ("mobilenet", (150, 150), {"alpha": 1}, "mobilenet_1_0_224_tf_no_top.h5"),
        (
            "mobilenetv2",
            (96, 96),
            {"alpha": 1.4},
            "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.4_96_no_top.h5",
        ),
        (
            "mobilenetv3small",
            (96, 96),
            {"minimalistic": True},
            "weights_mobilenet_v3_small_minimalistic_224_1.0_float_no_top_v2.h5",
        ),
    ],
)
def test_imagenet_file_of_mobilenets(name, size, changes, file):
    assert registry.get("base", name).details["imagenet"](size, {**parameters(name), **changes}) == file


@pytest.mark.parametrize(
    ("name", "changes", "what"),
    [
        ("mobilenet", {"alpha": 0.3}, "'mobilenet' has no ImageNet weights for alpha=0.3"),
        ("mobilenet", {"depth_multiplier": 2}, "'mobilenet' has no ImageNet weights for depth_multiplier=2"),
        ("mobilenetv2", {"alpha": 0.25}, "'mobilenetv2' has no ImageNet weights for alpha=0.25"),
        (
            "mobilenetv3large",
            {"alpha": 0.75, "minimalistic": True},
            "'mobilenetv3large' has no ImageNet weights for alpha=0.75",
        ),
    ],
)
def test_no_imagenet_file_for_other_widths(name, changes, what):
    with pytest.raises(BadInput) as error:
        registry.get("base", name).details["imagenet"]((224, 224), {**parameters(name), **changes})
    assert error.value.problems[0].what == what


@pytest.mark.parametrize("mode", ["tf", "torch", "caffe"])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_preprocessing_is_that_of_keras_at_any_precision(mode, policy):
    x = images(8) + 0.25
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        image = keras.Input((8, 8, 3))
        model = keras.Model(image, bases.preprocess(image, mode))
    finally:
        keras.config.set_dtype_policy(before)
    expected = keras.applications.imagenet_utils.preprocess_input(x.copy(), mode=mode)
    assert model.output.dtype == "float32"
    np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=1e-5)


def test_cnn_is_built_as_config_says():
    model = built("cnn", filters=[4, 6], convolutions=2, normalization="layer", pooling="avg", dropout=0.1, kernel=5)
    names = [layer.name for layer in model.layers[2:]]
    assert names[:8] == [
        *("block1_conv1", "block1_norm1", "block1_relu1", "block1_conv2", "block1_norm2", "block1_relu2"),
        *("block1_pool", "block1_dropout"),
    ]
    assert model.output.shape == (None, 2, 2, 6)
    assert model.get_layer("block2_conv2").kernel.shape == (5, 5, 6, 6)
    assert model.get_layer("block1_conv1").bias is None
    plain = built("cnn", filters=[4], normalization="none")
    assert [layer.name for layer in plain.layers[2:]] == ["block1_conv1", "block1_relu1", "block1_pool"]
    assert plain.get_layer("block1_conv1").bias is not None


def test_reading_signatures_loads_no_tensorflow():
    code = (
        "import sys; from framework.parts import bases, poolings, heads; from framework.model import build, weights;"
        "from framework.core import registry;"
        "[part.parameters for kind in registry.KINDS for part in registry.parts(kind)];"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=CONF.parents[1])

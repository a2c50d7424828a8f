"""The key of a feature: whatever changes a feature changes it, and nothing else does."""

from __future__ import annotations

import json

import numpy as np
import pytest

from framework.core.backend import keras
from framework.features import key
from framework.features.key import describe, digest, fingerprint


def network(side=8, filters=4, scale=1 / 255, *, dtype=None, seed=0, order=False, **convolution):
    keras.utils.set_random_seed(seed)
    images = keras.Input((side, side, 3))
    tensor = keras.layers.Rescaling(scale)(images)
    first = keras.layers.Conv2D(filters, 3, padding="same", dtype=dtype, **convolution)(tensor)
    second = keras.layers.Conv2D(filters, 3, padding="same", dtype=dtype)(first)
    added = keras.layers.Subtract(dtype=dtype)([second, first] if order else [first, second])
    return keras.Model(images, keras.layers.Dropout(0.3)(keras.layers.BatchNormalization()(added)))


def test_names_and_what_else_was_built_do_not_matter():
    keras.backend.clear_session()
    first = network()
    keras.layers.Conv2D(1, 1), keras.layers.Rescaling(1)
    second = network(name="mine", kernel_initializer="he_normal", kernel_regularizer="l2")
    second.set_weights(first.get_weights())
    for layer in second.layers:
        layer.trainable = False
    assert [layer.name for layer in first.layers] != [layer.name for layer in second.layers]
    assert fingerprint(first) == fingerprint(second)


def test_a_saved_and_loaded_model_is_the_same(tmp_path):
    model = network()
    model.save(tmp_path / "model.keras")
    assert fingerprint(keras.models.load_model(tmp_path / "model.keras")) == fingerprint(model)


@pytest.mark.parametrize(
    "change",
    [
        {"side": 9},
        {"filters": 5},
        {"scale": 1 / 127.5},
        {"seed": 1},
        {"dtype": "mixed_bfloat16"},
        {"order": True},
        {"activation": "relu"},
        {"strides": 1, "dilation_rate": 2},
    ],
)
def test_what_changes_a_feature_changes_the_fingerprint(change):
    assert fingerprint(network(**change)) != fingerprint(network())


def test_one_weight_changes_the_fingerprint():
    model = network()
    before = fingerprint(model)
    weights = model.get_weights()
    weights[-1].flat[0] += 1e-6
    model.set_weights(weights)
    assert fingerprint(model) != before


def test_the_source_of_layers_not_from_keras_counts(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "team_layer.py"

    def built(factor):
        import importlib
        import sys

        module.write_text(
            "import keras\n\n\nclass Scaled(keras.layers.Layer):\n    def call(self, x):\n"
            f"        return x * {factor}\n"
        )
        sys.modules.pop("team_layer", None)
        importlib.invalidate_caches()
        import linecache

        linecache.clearcache()
        layer = importlib.import_module("team_layer").Scaled()
        images = keras.Input((4, 4, 3))
        return keras.Model(images, layer(images))

    monkeypatch.setattr("sys.dont_write_bytecode", True)
    first = fingerprint(built(2.0))
    assert first == fingerprint(built(2.0))
    assert first != fingerprint(built(3.0))


def test_everything_else_is_in_the_description(monkeypatch):
    model = network()

    def make(decoding="1", precision="float32", dtype="float32"):
        return digest(describe(model, decoding=decoding, precision=precision, dtype=dtype))

    base = make()
    assert base == make()
    others = [make(decoding="2"), make(precision="bfloat16"), make(dtype="float16")]
    monkeypatch.setattr(key, "version", lambda name: "99")
    others.append(make())
    monkeypatch.undo()
    monkeypatch.setattr(key, "instructions", lambda: ["other"])
    others.append(make())
    monkeypatch.undo()
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    others.append(make())
    monkeypatch.undo()
    monkeypatch.setitem(key.COMPUTE_VERSIONS, "float32", 99)
    others.append(make())
    assert len({base, *others}) == 8


def test_a_description_is_plain(tmp_path):
    description = describe(network(), decoding="1", precision="float32", dtype="float32")
    assert json.loads(json.dumps(description)) == description
    assert len(digest(description)) == 32


def test_bfloat16_is_supported_where_the_processor_says_so(monkeypatch):
    for flags, expected in (([], False), (["avx2", "avx512f"], False), (["amx_bf16"], True), (["avx512_bf16"], True)):
        monkeypatch.setattr(key, "instructions", lambda flags=flags: flags)
        assert key.bfloat16_supported() is expected


def test_weights_of_any_dtype_count():
    model = network(dtype="bfloat16")
    assert {str(np.asarray(weight).dtype) for weight in model.weights} >= {"bfloat16"}
    assert fingerprint(model) != fingerprint(network())

"""The contract of every head for every task it takes, and how it is built."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from framework.config.documents import read_option
from framework.core import registry, schema
from framework.core.backend import keras
from framework.core.errors import BadInput
from framework.core.task import Binary, Multiclass, Multilabel, Regression
from framework.parts import fitted_heads, heads  # noqa: F401 - registers them

EXAMPLES = 30
CONF = Path(__file__).parents[2] / "conf" / "head"
TASKS = {
    "multiclass": Multiclass(tuple("abcdefghij")),
    "binary": Binary(("other", "hat")),
    "multilabel": Multilabel(tuple("abc")),
    "regression": Regression(("age", "height"), mean=(40.0, 1.7), deviation=(20.0, 0.1)),
}
OPTIONS = sorted(path.stem for path in CONF.glob("[!_]*.yaml"))


def option(name):
    return read_option(CONF / f"{name}.yaml").content


def built(name, task, **changes):
    values = {**option(name), **changes}
    part = registry.get("head", values.pop("name"))
    vectors = keras.Input((7,))
    held = (EXAMPLES,) if part.details["remembers"] else (5,) if part.details["texts"] else ()
    model = keras.Model(vectors, part(vectors, task, *held, **values))
    if part.details["fit"]:
        rng = np.random.default_rng(1)
        shares = np.eye(len(task.classes), dtype=np.float32)[np.arange(EXAMPLES) % len(task.classes)]
        examples = rng.normal(size=(EXAMPLES, 7)).astype(np.float32)
        part.details["fit"](model.get_layer("logits"), examples, shares, **values)
    return model


def names(model):
    return [layer.name for layer in model.layers[1:]]


def pairs():
    for name in OPTIONS:
        for kind in registry.get("head", option(name)["name"]).details["tasks"]:
            if not (name == "dense10" and kind != "multiclass"):
                yield name, kind


def test_every_head_has_an_option():
    assert {option(name)["name"] for name in OPTIONS} == set(registry.names("head"))
    trained = {"dense", "dense10", "dense100", "mlp", "binary", "multilabel", "linear_probe", "cosine"}
    assert set(OPTIONS) == trained | {"prototypes", "knn", "text"}


@pytest.mark.parametrize(("name", "kind"), pairs())
def test_contract(name, kind, tmp_path):
    part = registry.get("head", option(name)["name"])
    values = {key: value for key, value in option(name).items() if key != "name"}
    assert set(values) == set(part.parameters)
    assert schema.check(values, part.parameters, "head", name)[1] == []
    assert part.summary
    model = built(name, TASKS[kind])
    assert model.output.shape == (None, TASKS[kind].units)
    assert names(model)[-1] == "logits"
    assert model.get_layer("logits").get_config().get("activation", "linear") == "linear"
    assert model.get_layer("logits").get_config()["units"] == TASKS[kind].units
    assert all(layer.startswith("head_") for layer in names(model)[:-1])
    x = np.random.default_rng(0).normal(size=(4, 7)).astype("float32")
    path = tmp_path / "model.keras"
    model.save(path)
    again = keras.saving.load_model(path, safe_mode=True)
    np.testing.assert_array_equal(again(x), model(x))


@pytest.mark.parametrize("name", registry.names("head"))
def test_logits_are_float32_in_half_precision(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        kind = registry.get("head", name).details["tasks"][0]
        hidden = {"hidden": [3]} if "hidden" in registry.get("head", name).parameters else {}
        model = built(name, TASKS[kind], **hidden)
    finally:
        keras.config.set_dtype_policy(before)
    if hidden:
        assert model.get_layer("head_dense1").compute_dtype == "bfloat16"
    assert model.output.dtype == "float32"


def test_layers_are_built_as_config_says():
    model = built("dense", TASKS["multiclass"], hidden=[6, 5], activation="gelu", normalization="batch", dropout=0.3)
    assert names(model) == [
        *("head_dense1", "head_norm1", "head_gelu1", "head_dropout1"),
        *("head_dense2", "head_norm2", "head_gelu2", "head_dropout2"),
        "logits",
    ]
    assert isinstance(model.get_layer("head_norm1"), keras.layers.BatchNormalization)
    assert model.get_layer("head_dense2").units == 5
    assert model.get_layer("head_dropout2").rate == 0.3
    assert names(built("dense", TASKS["multiclass"])) == ["logits"]
    assert names(built("dense", TASKS["multiclass"], dropout=0.3)) == ["head_dropout", "logits"]
    mlp = built("mlp", TASKS["multiclass"])
    assert names(mlp) == ["head_dense1", "head_relu1", "head_dropout1", "logits"]
    assert mlp.get_layer("head_dense1").units == 100


def test_units_that_the_data_does_not_need_are_refused():
    assert built("dense", TASKS["multiclass"], units=10).output.shape == (None, 10)
    with pytest.raises(BadInput) as error:
        built("dense10", TASKS["multilabel"])
    (problem,) = error.value.problems
    assert problem.what == "the head has 10 logits, the data needs 3 (multilabel, 3 classes)"
    assert problem.where == "head.units"
    assert problem.right == "head.units=3, or head.units=null to take what the data needs"


def test_binary_and_multilabel_are_for_their_task_alone():
    assert registry.get("head", "binary").details["tasks"] == ("binary",)
    assert registry.get("head", "multilabel").details["tasks"] == ("multilabel",)

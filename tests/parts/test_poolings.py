"""The contract of every pooling, and what each computes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from framework.core import registry, schema
from framework.core.backend import keras
from framework.core.errors import BadInput
from framework.parts import poolings  # noqa: F401 - registers them

CONF = Path(__file__).parents[2] / "conf" / "pooling"
NAMES = registry.names("pooling")
MAPS = np.random.default_rng(0).uniform(0, 3, (2, 3, 4, 5)).astype("float32")


def parameters(name):
    values = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    return {key: value for key, value in values.items() if key != "name"}


def takes(name):
    return registry.get("pooling", name).details["takes"]


def supplied(name):
    """Shape of what a pooling is given: feature maps, a vector, or tokens of which the first is a class token."""
    return {"maps": (3, 4, 5), "vector": (5,)}.get(takes(name), (12, 5))


def built(name, shape=(3, 4, 5), **changes):
    inputs = keras.Input(shape)
    if takes(name) in ("tokens", "class"):
        parts = keras.layers.Cropping1D((0, 11), name="pooling_first")(inputs), inputs
        parts = keras.layers.Flatten(name="pooling_class")(parts[0]), parts[1]
        return keras.Model(inputs, registry.get("pooling", name)(*parts, **{**parameters(name), **changes}))
    # Keras before 3.13 wants a model that does something
    maps = keras.layers.Identity(name="pooling_none")(inputs) if name == "none" else inputs
    return keras.Model(inputs, registry.get("pooling", name)(maps, **{**parameters(name), **changes}))


def test_every_pooling_has_its_option():
    assert {path.stem for path in CONF.glob("*.yaml")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_contract(name, tmp_path):
    part = registry.get("pooling", name)
    assert yaml.safe_load((CONF / f"{name}.yaml").read_text())["name"] == name
    assert list(parameters(name)) == list(part.parameters)
    assert schema.check(parameters(name), part.parameters, "pooling", name)[1] == []
    assert part.summary
    model = built(name, supplied(name))
    batch, width = model.output.shape
    assert batch is None
    assert width
    assert all(layer.name.startswith("pooling") for layer in model.layers[1:])
    values = MAPS.reshape(2, 12, 5)[:, : 12 if takes(name) != "vector" else 1].reshape(2, *supplied(name))
    path = tmp_path / "model.keras"
    model.save(path)
    again = keras.saving.load_model(path, safe_mode=True)
    np.testing.assert_array_equal(again(values), model(values))


def test_values():
    average, maximum = MAPS.mean((1, 2)), MAPS.max((1, 2))
    np.testing.assert_allclose(built("avg")(MAPS), average, rtol=1e-5)
    np.testing.assert_allclose(built("max")(MAPS), maximum)
    np.testing.assert_allclose(built("avgmax")(MAPS), np.concatenate([average, maximum], -1), rtol=1e-5)
    np.testing.assert_allclose(built("flatten")(MAPS), MAPS.reshape(2, -1))
    np.testing.assert_allclose(built("gem", p=1.0)(MAPS), average, rtol=1e-5)
    np.testing.assert_allclose(built("gem", p=2.0)(MAPS), np.sqrt((MAPS**2).mean((1, 2))), rtol=1e-5)
    np.testing.assert_allclose(built("gem", p=200.0)(MAPS / 3), maximum / 3, rtol=0.05)


def test_generalised_mean_learns_its_exponent_and_takes_zeros():
    from framework.core.backend import tf

    model = built("gem")
    (exponent,) = model.trainable_variables
    assert float(exponent) == 3.0
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(model(np.maximum(MAPS - 1, 0)))
    gradient = tape.gradient(total, exponent)
    assert np.isfinite(gradient)
    assert float(gradient) > 0


def test_generalised_mean_is_float32_in_half_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = built("gem")
    finally:
        keras.config.set_dtype_policy(before)
    large = (100 * MAPS).astype("float16")
    np.testing.assert_allclose(model(large), np.cbrt((large.astype("float64") ** 3).mean((1, 2))), rtol=1e-3)


def test_none_refuses_maps_and_the_others_refuse_vectors():
    with pytest.raises(BadInput, match=r"this one ends in feature maps \(3, 4, 5\)"):
        built("none")
    for name in (name for name in NAMES if takes(name) == "maps"):
        with pytest.raises(BadInput, match=r"the base ends in \(5,\), not in feature maps"):
            built(name, (5,))


@pytest.mark.slow
def test_a_saved_generalised_mean_loads_in_a_new_process(tmp_path):
    path = tmp_path / "model.keras"
    built("gem").save(path)
    code = (
        "import sys; from pathlib import Path; from framework.model.saving import load_model;"
        "print(load_model(Path(sys.argv[1])).get_layer('pooling').p)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, cwd=CONF.parents[1], check=False
    )
    assert done.stdout.strip() == "3.0", done.stderr

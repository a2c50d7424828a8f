"""Rates that fall layer by layer: with every optimizer of ``conf/optim`` a lower layer moves by its share, no more."""

from types import SimpleNamespace

import numpy as np
import pytest

import framework.parts
from framework.config.settings import OptimSettings, PartSettings
from framework.core.backend import keras, tf
from framework.training.compiling import make_optimizer
from framework.training.stages import Stage
from tests.parts.options import single

OPTIONS = single("optim")
RATE, DECAY, STEPS = 0.01, 0.5, 3
LAYERS = ("low", "middle", "top")
SHARES = {"low": DECAY**2, "middle": DECAY}


def network():
    inputs = keras.Input((4,))
    x = inputs
    for name in LAYERS:
        x = keras.layers.Dense(4, name=name, kernel_initializer=keras.initializers.RandomNormal(seed=3))(x)
    return keras.Model(inputs, x)


def optimizer(model, name, rates, precision="float32", schedule="constant", **changed):
    parameters = {key: value for key, value in {**OPTIONS[name], **changed}.items() if key != "lr"}
    optim = OptimSettings(name, parameters=parameters, lr=RATE, schedule=PartSettings(schedule))
    settings = SimpleNamespace(optim=optim, trainer=SimpleNamespace(precision=precision, gradient_accumulation_steps=1))
    stage = Stage("main", frozenset(LAYERS), frozenset(), epochs=1, lr=RATE, rates=rates)
    return make_optimizer(settings, stage, model, STEPS)


def moved(name, rates, **changed):
    """How far each kernel has gone in some steps of a compiled graph; every step has the same gradients."""
    model = network()
    made = optimizer(model, name, rates, **changed)
    scaled = getattr(made, "scale_loss", lambda loss: loss)
    made.build(model.trainable_variables)
    before = {layer: np.array(model.get_layer(layer).kernel) for layer in LAYERS}

    @tf.function
    def step():
        factor = scaled(tf.constant(1.0))
        gradients = [
            factor * (0.5 + tf.cast(tf.range(tf.size(w.value)) % 3, tf.float32)) for w in model.trainable_variables
        ]
        shaped = [tf.reshape(g, w.shape) for g, w in zip(gradients, model.trainable_variables, strict=True)]
        made.apply(shaped, model.trainable_variables)

    for _ in range(STEPS):
        step()
    return {layer: np.array(model.get_layer(layer).kernel) - before[layer] for layer in LAYERS}


def assert_shares(name, tolerance=2e-3, **changed):
    whole, shared = moved(name, {}, **changed), moved(name, SHARES, **changed)
    assert np.abs(whole["low"]).min() > 1e-5
    for layer in LAYERS:
        np.testing.assert_allclose(shared[layer], whole[layer] * SHARES.get(layer, 1.0), rtol=tolerance, atol=1e-7)


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_a_lower_layer_moves_by_its_share(name):
    assert_shares(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_weight_decay_is_of_the_layer_s_own_rate(name):
    """A strong decay on weights that differ: with the whole rate the lower layers would move several times too far."""
    assert_shares(name, tolerance=0.05, weight_decay=0.3)


def test_mixed_precision_and_schedules_and_momentum_and_clipping():
    assert_shares("adam", precision="mixed_float16")
    assert_shares("lion", precision="mixed_float16", weight_decay=0.01, tolerance=0.05)
    assert_shares("sgd", momentum=0.9, nesterov=True, clipnorm=0.1)


def test_the_saved_settings_are_those_of_the_config():
    made = optimizer(network(), "adamw", SHARES, weight_decay=0.02)
    assert made.get_config()["weight_decay"] == pytest.approx(0.02)
    assert framework.parts

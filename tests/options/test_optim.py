"""Optimizers and schedules: what their keys do to the steps that a weight takes, and to the rate."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from framework.config.folders import groups
from framework.core.backend import keras, tf
from tests.options.counted import effects
from tests.options.made import built, chosen

LR, START = 0.1, 2.0
GRADIENTS = (1.0, -0.3, 0.5)
KERAS = {
    "adagrad": "Adagrad",
    "adam": "Adam",
    "adamw": "AdamW",
    "lion": "Lion",
    "nadam": "Nadam",
    "rmsprop": "RMSprop",
    "sgd": "SGD",
}


def steps(optimizer, gradients):
    """How far each step moves two weights of one tensor, for gradients of these norms: shape (steps, 2)."""
    weight = keras.Variable([START, START])
    places = [np.array(weight)]
    for norm in gradients:
        optimizer.apply([tf.constant([0.6 * norm, 0.8 * norm], tf.float32)], [weight])
        places.append(np.array(weight))
    return np.diff(places, axis=0)


@functools.cache
def theirs(option):
    return steps(getattr(keras.optimizers, KERAS[option])(LR), GRADIENTS)


def with_and_without(option, gradients, key, *values, **fixed):
    """The steps for each of these values of the key."""
    return [
        steps(built("optimizer", "optim", option, LR, **{"weight_decay": 0.0, **fixed, key: value}), gradients)
        for value in values
    ]


def of(keys):
    """A case for each optimizer that has such a key."""
    return {
        f"optim.{option}.{key}": (option, key) for option in KERAS for key in keys if key in chosen("optim", option)[0]
    }


@effects("option", {f"optim={option}": option for option in groups()["optim"]})
def test_each_choice_steps_as_its_namesake_in_keras_and_no_other(option):
    ours = steps(built("optimizer", "optim", option, LR), GRADIENTS)
    assert [other for other in KERAS if np.allclose(ours, theirs(other), atol=1e-6)] == [option]


@effects("option, key", of(["beta_1"]))
def test_beta_1_keeps_the_direction_of_earlier_gradients(option, key):
    if option == "lion":
        forgets, keeps = with_and_without(option, (1.0, -0.01), key, 0.01, 0.9)
        assert (forgets[1] > 0).all()
    else:
        forgets, keeps = with_and_without(option, (1.0, 0.0), key, 0.0, 0.9)
        np.testing.assert_allclose(forgets[1], 0, atol=1e-7)
    assert (keeps[1] < 0).all()


@effects("option, key", of(["beta_2", "rho"]))
def test_beta_2_and_rho_remember_how_large_gradients_were(option, key):
    if option == "lion":
        # the momentum itself, which the new gradient is held against
        forgets, remembers = with_and_without(option, (1.0, -0.5), key, 0.0, 0.99)
        assert (forgets[1] < 0).all()
        assert (remembers[1] > 0).all()
    else:
        fixed = {} if option == "rmsprop" else {"beta_1": 0.0}
        forgets, remembers = with_and_without(option, (10.0, 0.1), key, 0.0, 0.99, **fixed)
        np.testing.assert_allclose(forgets[1], -LR, rtol=1e-3)
        assert (np.abs(remembers[1]) < LR / 5).all()


@effects("option, key", of(["epsilon"]))
def test_epsilon_tames_the_step_of_a_tiny_gradient(option, key):
    fixed = {"initial_accumulator_value": 0.0} if option == "adagrad" else {}
    tiny, large = with_and_without(option, (1e-5,), key, 1e-12, 1e-2, **fixed)
    assert (np.abs(tiny) > LR / 2).all()
    assert (np.abs(large) < LR / 100).all()


@effects("option, key", of(["amsgrad"]))
def test_amsgrad_lets_no_step_grow_again(option, key):
    plain, ams = with_and_without(option, (10.0, 0.1, 0.1, 0.1), key, False, True, beta_1=0.0, beta_2=0.1)
    assert (np.abs(plain[3]) > 5 * np.abs(ams[3])).all()


@effects("option, key", of(["weight_decay"]))
def test_weight_decay_takes_its_share_times_the_rate(option, key):
    none, some = with_and_without(option, (0.0,), key, 0.0, 0.5)
    np.testing.assert_allclose(none, 0, atol=1e-7)
    np.testing.assert_allclose(some, -LR * 0.5 * START, rtol=1e-5)


@effects("option, key", of(["clipnorm"]))
def test_clipnorm_limits_the_norm_of_a_tensors_gradient(option, key):
    free, clipped = with_and_without(option, (100.0, -1.0), key, None, 1.0)
    (short,) = with_and_without(option, (1.0, -1.0), key, 1.0)
    np.testing.assert_allclose(clipped, short, atol=1e-6)
    assert not np.allclose(free, short, atol=1e-3)


@effects("option, key", of(["momentum"]))
def test_momentum_repeats_its_share_of_the_last_step(option, key):
    none, some = with_and_without(option, (1.0, 0.0), key, 0.0, 0.9)
    np.testing.assert_allclose(none[1], 0, atol=1e-7)
    np.testing.assert_allclose(some[1], 0.9 * some[0], rtol=1e-5)


@effects("option, key", of(["nesterov"]))
def test_nesterov_looks_ahead_along_the_momentum(option, key):
    plain, ahead = with_and_without(option, (1.0,), key, False, True, momentum=0.9)
    np.testing.assert_allclose(ahead, 1.9 * plain, rtol=1e-5)


@effects("option, key", of(["centered"]))
def test_centered_divides_by_the_variance(option, key):
    square, variance = with_and_without(option, (1.0, 1.0, 1.0), key, False, True)
    assert (np.abs(variance[2]) > 1.05 * np.abs(square[2])).all()


@effects("option, key", of(["initial_accumulator_value"]))
def test_adagrads_sum_starts_where_it_is_told(option, key):
    for start in (0.1, 3.0):
        (found,) = with_and_without(option, (1.0,), key, start)
        gradient = np.array([0.6, 0.8])
        np.testing.assert_allclose(found[0], -LR * gradient / np.sqrt(start + gradient**2), rtol=1e-4)


EPOCHS, EACH = 10, 4


def rates(option, each=EACH, **changed):
    """Learning rate of every step of a stage that begins with rate 1, and of the step after its last."""
    made = built("schedule", "optim/schedule", option, 1.0, EPOCHS, each, **changed)
    return np.array([made if isinstance(made, float) else float(made(step)) for step in range(EPOCHS * each + 1)])


HALF_COSINE = (1 + np.cos(np.pi * np.arange(EPOCHS * EACH + 1) / (EPOCHS * EACH))) / 2
CLIMB = (np.arange(EACH) + 1) / (EACH + 1)
FALL = (1 + np.cos(np.pi * np.arange((EPOCHS - 1) * EACH + 1) / ((EPOCHS - 1) * EACH))) / 2
SHAPES = {
    "constant": np.ones(EPOCHS * EACH + 1),
    "cosine": HALF_COSINE,
    "exponential": 0.9 ** (np.arange(EPOCHS * EACH + 1) / EACH),
    "step": 0.1 ** (np.arange(EPOCHS * EACH + 1) // (5 * EACH)),
    "warmup_cosine": np.concatenate([CLIMB, FALL]),
}


@effects("option", {f"optim/schedule={option}": option for option in groups()["optim/schedule"]})
def test_each_schedule_has_its_shape(option):
    np.testing.assert_allclose(rates(option), SHAPES[option], atol=1e-5)


@effects("option, changed, expected", {
    "optim.schedule.cosine.alpha": ("cosine", {"alpha": 0.25}, {-1: 0.25, EPOCHS * EACH // 2: 0.625}),
    "optim.schedule.exponential.decay_rate": ("exponential", {"decay_rate": 0.5}, {EACH: 0.5, 2 * EACH: 0.25}),
    "optim.schedule.exponential.decay_epochs": ("exponential", {"decay_epochs": 2.0}, {EACH: 0.9**0.5, 2 * EACH: 0.9}),
    "optim.schedule.step.every": ("step", {"every": 2}, {2 * EACH - 1: 1.0, 2 * EACH: 0.1}),
    "optim.schedule.step.factor": ("step", {"factor": 0.5}, {5 * EACH - 1: 1.0, 5 * EACH: 0.5}),
    "optim.schedule.warmup_cosine.warmup_epochs": (
        "warmup_cosine",
        {"warmup_epochs": 0.5},
        {0: 2 / (EACH + 2), EACH // 2: 1.0, -1: 0.0},
    ),
    "optim.schedule.warmup_cosine.alpha": ("warmup_cosine", {"alpha": 0.25}, {EACH: 1.0, -1: 0.25}),
})  # fmt: skip
def test_a_schedules_key_moves_the_rate_where_it_says(option, changed, expected):
    found = rates(option, **changed)
    assert {step: found[step] for step in expected} == pytest.approx(expected, abs=1e-5)


def test_parts_of_an_epoch_count_also_where_an_epoch_is_one_step():
    found = rates("exponential", each=1, decay_epochs=2.4)
    np.testing.assert_allclose(found, 0.9 ** (np.arange(EPOCHS + 1) / 2.4), rtol=1e-5)

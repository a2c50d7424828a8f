import pytest

import framework.parts.optimizers  # noqa: F401
from framework.core import registry, schema
from framework.core.backend import keras, tf
from tests.parts.options import assert_contract, assert_described, assert_light, composed, single

OPTIONS = single("optim")


def test_contract():
    assert_contract("optimizer", OPTIONS, framework_keys=("lr",))
    assert_described("optim")
    assert_light("framework.parts.optimizers")


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_a_small_loss_gets_smaller(name):
    parameters = {key: value for key, value in OPTIONS[name].items() if key != "lr"}
    optimizer = registry.get("optimizer", name)(0.05, **parameters)
    weights = keras.Variable([1.0, -2.0])
    for _ in range(20):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(weights.value))
        optimizer.apply([tape.gradient(loss, weights.value)], [weights])
    assert float(tf.reduce_sum(tf.square(weights.value))) < 0.9 * 5.0


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_defaults_are_those_of_keras(name):
    parameters = {key: value for key, value in OPTIONS[name].items() if key != "lr"}
    ours = registry.get("optimizer", name)(0.05, **parameters).get_config()
    assert ours == {
        **type(registry.get("optimizer", name)(0.05, **parameters))(0.05).get_config(),
        "name": ours["name"],
    }


def test_parameters_reach_the_optimizer():
    parameters = {**OPTIONS["sgd"], "momentum": 0.9, "nesterov": True, "clipnorm": 1.0, "weight_decay": 0.01}
    del parameters["lr"]
    config = registry.get("optimizer", "sgd")(0.05, **parameters).get_config()
    assert (config["momentum"], config["nesterov"], config["clipnorm"]) == (0.9, True, 1.0)
    assert config["weight_decay"] == 0.01


def test_lions_step_without_momentum_is_refused_before_keras_does():
    part = registry.get("optimizer", "lion")
    given = {key: value for key, value in OPTIONS["lion"].items() if key != "lr"}
    (problem,) = schema.check({**given, "beta_1": 0.0}, part.parameters, "optim", "optimizer 'lion'")[1]
    assert problem.what == "optim.beta_1=0.0 is not a number above 0 and below 1"


def test_optimizer_and_schedule_compose():
    config = composed("+optim=sgd", "optim/schedule=cosine", "optim.lr=0.1")["optim"]
    assert config["name"] == "sgd"
    assert config["lr"] == 0.1
    assert config["schedule"] == {"name": "cosine", "alpha": 0.0}
    assert composed("+optim=adam")["optim"]["schedule"] == {"name": "constant"}

"""What a stage trains on where features can't be kept: the frozen prefix, folded, with the tail behind it."""

import numpy as np
import pytest

from framework.core.backend import keras
from framework.features.graph import frozen_prefix, split
from framework.training.inputs import with_prefix

L = keras.layers
IMAGES = np.random.default_rng(0).uniform(0, 255, (6, 12, 12, 3)).astype(np.float32)


def network(crossing):
    """Frozen but for the last layers; one tensor or two lead out of what is frozen."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((12, 12, 3))
    x = L.Rescaling(1 / 255)(inputs)
    x = L.Conv2D(4, 3, padding="same", name="conv")(x)
    x = L.BatchNormalization(name="norm")(x)
    x = L.ReLU()(x)
    side = L.Conv2D(4, 3, padding="same", name="side")(x)
    y = L.Conv2D(4, 1, name="trained")(side)
    if crossing == 2:
        y = L.Multiply()([y, L.Conv2D(4, 3, padding="same", name="gate")(x)])
    model = keras.Model(inputs, L.Dense(2, name="logits")(L.GlobalAveragePooling2D()(y)))
    frozen = {"conv", "norm", "side", "gate"}
    for layer in model.layers:
        layer.trainable = layer.name not in frozen
    model.get_layer("norm").moving_variance.assign([0.5, 2.0, 1.0, 0.1])
    return model, frozen


@pytest.mark.parametrize("crossing", [1, 2])
def test_the_tail_behind_its_prefix_is_the_whole_network_and_trains_what_the_stage_trains(crossing):
    model, frozen = network(crossing)
    cut = frozen_prefix(model, {"trained", "logits"}, frozen)
    assert len(cut.tensors) == crossing
    together = with_prefix(*split(model, cut, frozen))
    assert together.input_shape == model.input_shape
    expected = model(IMAGES, training=False)
    for training in (False, True):
        np.testing.assert_allclose(together(IMAGES, training=training), expected, rtol=1e-4, atol=1e-5)
    assert [id(one) for one in together.trainable_variables] == [id(one) for one in model.trainable_variables]
    before = [np.array(weight) for weight in model.non_trainable_variables]
    together.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    together.fit(IMAGES, np.arange(6) % 2, epochs=2, verbose=0)
    for old, new in zip(before, model.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_allclose(together(IMAGES), model(IMAGES, training=False), rtol=1e-4, atol=1e-5)

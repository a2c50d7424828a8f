"""The steps of a call in one loop: the numbers of Keras's own function, every batch once, from where an epoch is entered."""

import itertools
import time

import numpy as np
import pytest

from framework.core.backend import keras, tf
from framework.data.pipeline import (
    epoch_order,
    epochs,
    evaluation_dataset,
    evaluation_gathered,
    training_dataset,
    training_gathered,
)
from framework.training import loop
from framework.training.loop import StepLoop

COUNT, BATCH, STEPS = 50, 8, 7
FEATURES = np.random.default_rng(0).normal(size=(COUNT, 6)).astype(np.float32)
LABELS = np.arange(COUNT, dtype=np.int32) % 3


class Features:
    def __len__(self):
        return COUNT

    def read(self, indices):
        return tf.gather(tf.constant(FEATURES), indices)


def classifier(at_once):
    keras.utils.set_random_seed(4)
    inputs = keras.Input((6,))
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Dropout(0.3)(inputs)))
    model.compile(
        keras.optimizers.Adam(0.05),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=at_once,
    )
    return model


def fitted(model, training=None, validation=None):
    history = model.fit(
        training or training_dataset(Features(), LABELS, batch_size=BATCH, seed=3),
        steps_per_epoch=STEPS,
        validation_data=validation or evaluation_dataset(Features(), LABELS, 32),
        validation_steps=2,
        epochs=3,
        verbose=0,
        shuffle=False,
    )
    return history.history, model.get_weights()


def looped(at_once):
    model = classifier(at_once)
    model.train_function = StepLoop(model, model.train_step, STEPS, at_once)
    model.test_function = StepLoop(model, model.test_step, 2, at_once)
    return fitted(model)


def test_results_are_those_of_keras_own_function():
    one, other = looped(1), fitted(classifier(1))
    assert one[0].keys() == other[0].keys() == {"accuracy", "loss", "val_accuracy", "val_loss"}
    for key, values in other[0].items():
        np.testing.assert_allclose(one[0][key], values, rtol=1e-5)
    for first, second in zip(one[1], other[1], strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("at_once", [2, 100])
def test_batches_that_it_gathers_itself_give_the_same_to_the_bit(at_once):
    model, batches = classifier(at_once), training_gathered(Features(), LABELS, batch_size=BATCH, seed=3)
    model.train_function = StepLoop(model, model.train_step, STEPS, at_once, gathered=batches)
    batches = evaluation_gathered(Features(), LABELS, 32)
    model.test_function = StepLoop(model, model.test_step, 2, at_once, gathered=batches)
    one, other = fitted(model, epochs(), epochs()), looped(at_once)
    assert one[0] == other[0]
    for first, second in zip(one[1], other[1], strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [2, 3, STEPS, 100])
def test_results_do_not_depend_on_how_many_steps_a_call_runs(at_once):
    one, many = looped(1), looped(at_once)
    assert one[0] == many[0]
    for first, second in zip(one[1], many[1], strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("gathers", [False, True])
@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_each_epoch_sees_each_image_once_also_where_the_first_is_entered_in_its_middle(at_once, gathers):
    seen = []

    class Watch(keras.Model):
        def train_step(self, data):
            tf.py_function(lambda x: seen.extend(x.numpy()[:, 0].astype(int)), [data[0]], [])
            return super().train_step(data)

    class Rows(Features):
        def read(self, indices):
            return tf.cast(indices, tf.float32)[:, None]

    inputs = keras.Input((1,))
    model = Watch(inputs, keras.layers.Dense(1)(inputs))
    model.compile(keras.optimizers.SGD(0.0), "mse", steps_per_execution=at_once)
    gathered = training_gathered(Rows(), LABELS, batch_size=BATCH, seed=3) if gathers else None
    model.train_function = StepLoop(model, model.train_step, STEPS, at_once, first=STEPS - 3, gathered=gathered)
    for start, steps, until in (((2, 3), STEPS - 3, 3), ((3, 0), STEPS, 5)):
        dataset = training_dataset(Rows(), LABELS, batch_size=BATCH, seed=3, start=start)
        dataset = epochs(start[0]) if gathers else dataset
        model.fit(dataset, steps_per_epoch=steps, initial_epoch=start[0], epochs=until, verbose=0, shuffle=False)
    expected = [epoch_order(COUNT, 3, 2)[3 * BATCH :], epoch_order(COUNT, 3, 3), epoch_order(COUNT, 3, 4)]
    assert seen == np.concatenate(expected).tolist()


def test_a_call_that_takes_long_is_divided_so_that_a_signal_is_seen(monkeypatch):
    monkeypatch.setattr(loop, "LOOK_SECONDS", 0.1)
    model, looks, seen = classifier(1000), [0], []

    def slow(data):
        seen.append(data)
        return tf.py_function(lambda: time.sleep(0.02) or 0, [], tf.int32)

    run = StepLoop(model, slow, 40, 1000, look=looks.append)
    monkeypatch.setattr(model, "get_metrics_result", lambda: {"loss": tf.constant(0.0)})
    run(iter(training_dataset(Features(), LABELS, batch_size=BATCH, seed=3)))
    # a step takes 0.02 s at least: five of them are 0.1 s
    assert max(later - earlier for earlier, later in itertools.pairwise([*looks, 40])) <= 5
    assert looks == sorted(looks)
    assert looks[-1] < 40


def test_what_is_left_of_an_epoch_is_some_of_its_steps():
    for first in (0, -2, STEPS + 1):
        with pytest.raises(ValueError, match="of an epoch of 7"):
            StepLoop(None, None, STEPS, 1, first)

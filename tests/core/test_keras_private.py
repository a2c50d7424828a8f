"""What is used of Keras's private names does what its public ones do."""

from __future__ import annotations

import random

import numpy as np

from framework.core.backend import keras, tf
from framework.core.keras_private import set_seed_of_keras


def drawn():
    return random.random(), np.random.rand(), keras.random.uniform((2,)).numpy().tolist()


def test_all_seeds_but_tensorflows_are_set():
    keras.utils.set_random_seed(7)
    expected = drawn()
    tf.random.set_seed(1)
    first = tf.random.uniform((2,)).numpy().tolist()
    tf.random.set_seed(1)
    set_seed_of_keras(7)
    assert drawn() == expected
    assert tf.random.uniform((2,)).numpy().tolist() == first

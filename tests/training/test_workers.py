"""What several workers share, in one process: their rows of each batch, and the moments that they find together."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from framework.core import registry
from framework.core.backend import keras, tf
from framework.core.errors import RunStopped
from framework.data.pipeline import Share, evaluation_dataset, training_dataset
from framework.training.workers import Workers, lost_is_stopped

COUNT, BATCH, SEED = 21, 8, 3


class Numbers:
    def __len__(self):
        return COUNT

    def read(self, indices):
        return tf.ensure_shape(
            tf.cast(indices, tf.uint8)[:, None, None, None] + tf.zeros((1, 2, 2, 1), tf.uint8), (None, 2, 2, 1)
        )


LABELS = np.eye(3, dtype=np.float32)[np.arange(COUNT) % 3]


@pytest.mark.parametrize("workers", [2, 3, 5])
@pytest.mark.parametrize("count", [1, 2, 4, 31, 32])
def test_shares_are_consecutive_and_differ_by_one_at_most_and_none_is_empty(workers, count):
    rows = list(range(count))
    shares = {Share(place, workers): rows[Share(place, workers).of(count)] for place in range(workers)}
    counting = [own for share, own in shares.items() if not share.is_without(count + 64, 64)]
    assert [row for own in counting for row in own] == rows
    assert len(counting) == min(count, workers)
    assert max(map(len, shares.values())) - min(map(len, shares.values())) <= 1
    assert min(map(len, shares.values())) >= 1


@pytest.mark.parametrize("blended", [False, True])
def test_the_batches_of_all_workers_together_are_those_of_one(blended):
    mixup = {"mixup": registry.get("augmentation", "mixup")(alpha=1.0)} if blended else {}

    def batches(share=None):
        weights = np.array([1.0, 2.0, 3.0], np.float32)
        told = None if blended else np.arange(COUNT, dtype=np.float32)[:, None]
        given = dict(batch_size=BATCH, seed=SEED, augmentations=mixup, class_weights=weights, start=(1, 1), share=share)
        given["answers"] = told
        # to the end of the second epoch, whose last batch has five images, and into the third
        found = training_dataset(Numbers(), LABELS, **given).take(3).as_numpy_iterator()
        return [keras.tree.flatten(batch) for batch in found]

    whole, shares = batches(), [batches(Share(place, 3, blended)) for place in range(3)]
    assert [len(batch[0]) for batch in whole] == [8, 5, 8]
    assert len(whole[0]) == (3 if blended else 4)
    for step, expected in enumerate(whole):
        for part, array in enumerate(expected):
            np.testing.assert_array_equal(np.concatenate([share[step][part] for share in shares]), array)


def test_each_evaluates_its_share_of_each_batch_and_a_row_of_anothers_in_place_of_none():
    first, second = (
        [
            y.argmax(1).tolist()
            for _, y in evaluation_dataset(Numbers(), LABELS, 10, Share(place, 2)).as_numpy_iterator()
        ]
        for place in range(2)
    )
    assert [len(one) for one in first] == [5, 5, 1]
    assert Share(0, 2).is_without(COUNT, 10)
    first[-1] = []
    assert [len(one) for one in second] == [5, 5, 1]
    together = [one for pair in zip(first, second, strict=True) for part in pair for one in part]
    assert together == (np.arange(COUNT) % 3).tolist()


class Apart(Workers):
    """Workers one after the other: each leaves what it would send, then gets what all have left."""

    sent: ClassVar[list] = []

    def gather(self, tensor):
        if len(self.sent) < self.count:
            self.sent.append(tensor)
            return tf.stack([tensor] * self.count)
        return tf.stack(self.sent)


@pytest.mark.parametrize("counts", [(4, 4), (5, 3, 1), (0, 3)])
def test_moments_are_those_of_the_whole_batch(counts, monkeypatch):
    monkeypatch.setattr(Apart, "sent", [])
    whole = np.random.default_rng(0).normal(1000, [1, 5, 0.1], (sum(counts), 4, 4, 3)).astype(np.float32)
    parts = np.split(whole, np.cumsum(counts)[:-1])
    workers = [Apart(place, len(counts)) for place in range(len(counts))]
    for one, count in zip(workers, counts, strict=True):
        one.counts = float(count > 0)
    parts = [part if len(part) else whole[:1] for part in parts]
    for _ in range(2):
        found = [one.moments(tf.constant(part), [0, 1, 2]) for one, part in zip(workers, parts, strict=True)]
    for mean, variance in found:
        np.testing.assert_allclose(mean, whole.mean((0, 1, 2), np.float64), rtol=1e-6)
        np.testing.assert_allclose(variance, whole.var((0, 1, 2), np.float64), rtol=1e-4, atol=1e-5)


def test_a_layer_takes_moments_from_workers_in_training_alone():
    asked = []

    class One(Workers):
        def gather(self, tensor):
            asked.append(tensor)
            return tensor[None]

    inputs = keras.Input((4, 4, 3))
    layer = keras.layers.BatchNormalization()
    model = keras.Model(inputs, layer(inputs))
    x = np.random.default_rng(0).normal(size=(6, 4, 4, 3)).astype(np.float32)
    expected = np.asarray(model(x, training=True))
    model.compile(keras.optimizers.SGD(), "mse")
    One(0, 1).join(model, 6)
    np.testing.assert_allclose(model(x, training=True), expected, atol=1e-5)
    assert len(asked) == 1
    model(x, training=False)
    assert len(asked) == 1


def test_what_each_draws_is_another_and_the_first_draws_as_it_would_alone():
    def state(place):
        keras.utils.set_random_seed(1)
        inputs = keras.Input((3,))
        model = keras.Model(inputs, keras.layers.Dropout(0.5)(inputs))
        Workers(place, 3).set_apart(model)
        return np.array(model.layers[1].seed_generator.state).tolist()

    keras.utils.set_random_seed(1)
    alone = np.array(keras.layers.Dropout(0.5).seed_generator.state).tolist()
    assert state(0) == alone
    assert len({tuple(state(place)) for place in range(3)}) == 3


def test_a_lost_worker_means_stopped_and_a_fault_of_the_data_stays_one():
    with pytest.raises(RunStopped, match="another worker is lost"), lost_is_stopped():
        raise tf.errors.UnavailableError(None, None, "peer")
    with pytest.raises(tf.errors.InvalidArgumentError), lost_is_stopped():
        raise tf.errors.InvalidArgumentError(None, None, "a damaged image")

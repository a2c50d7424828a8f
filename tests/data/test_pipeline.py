"""The input pipeline with real Keras: order, chance, weights, resuming, and the same pixels from memory and files."""

import numpy as np
import pytest

from framework.core.backend import tf
from framework.core.geometry import Geometry
from framework.data.pipeline import (
    Augmentation,
    Balance,
    FileImages,
    MemoryImages,
    augmented_dataset,
    draws,
    epoch_order,
    evaluation_dataset,
    evaluation_gathered,
    image_rows,
    steps,
    training_dataset,
    training_gathered,
)
from framework.data.sources import image_folder

COUNT, BATCH, STEPS = 50, 8, 7


class Positions:
    """Rows that are their own positions."""

    def __len__(self):
        return COUNT

    def read(self, indices):
        return tf.cast(indices, tf.float32)[:, None]


class Pairs(Positions):
    def read(self, indices):
        return tf.cast(indices, tf.float32)[:, None], tf.cast(-indices, tf.bfloat16)[:, None]


SHIFT = Augmentation(2, lambda x, y, uniforms: (x + uniforms, y))


def training(rows=None, **changes):
    labels = changes.pop("labels", np.arange(COUNT, dtype=np.float32))
    return training_dataset(rows or Positions(), labels, **{"batch_size": BATCH, "seed": 3, **changes})


def one_epoch(**changes):
    return everything(training(**changes).take(STEPS))


def everything(dataset):
    return [np.concatenate(column) for column in zip(*dataset.as_numpy_iterator(), strict=True)]


def test_order_and_draws_are_functions_of_their_arguments():
    assert sorted(epoch_order(COUNT, 1, 0)) == list(range(COUNT))
    assert np.array_equal(epoch_order(COUNT, 1, 0), epoch_order(COUNT, 1, 0))
    assert not np.array_equal(epoch_order(COUNT, 1, 0), epoch_order(COUNT, 1, 1))
    assert not np.array_equal(epoch_order(COUNT, 1, 0), epoch_order(COUNT, 2, 0))
    one = draws(COUNT, 3, 1, 0, "crop")
    assert one.dtype == np.float32
    assert 0 <= one.min() < one.max() < 1
    np.testing.assert_array_equal(draws(COUNT + 9, 3, 1, 0, "crop")[:COUNT], one)
    for other in (draws(COUNT, 3, 1, 1, "crop"), draws(COUNT, 3, 1, 0, "flip"), draws(COUNT, 3, 2, 0, "crop")):
        assert not np.array_equal(one, other)


def test_epochs_follow_each_other_without_end_each_in_its_order():
    assert steps(COUNT, BATCH) == STEPS
    x, y = everything(training(start=(4, 0)).take(3 * STEPS))
    expected = np.concatenate([epoch_order(COUNT, 3, epoch) for epoch in (4, 5, 6)])
    np.testing.assert_array_equal(x[:, 0], expected)
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"copies": 2, "rows": 2},
        {"balance": Balance("over", np.arange(COUNT) // 40)},
        {"class_weights": np.array([1.0, 3.0], np.float32)},
    ],
    ids=str,
)
def test_batches_that_a_step_gathers_are_those_of_the_dataset(given):
    class Copies(Positions):
        def __len__(self):
            return COUNT * given.get("rows", 1)

    labels, weights = (np.arange(COUNT) % 2).astype(np.int32), given.get("class_weights")
    chance = {key: value for key, value in given.items() if key in ("copies", "balance")}
    gathered = training_gathered(Copies(), labels, batch_size=BATCH, seed=3, class_weights=weights, **chance)
    made = []
    for order in (gathered.order(4), gathered.order(5)):
        places = map(tf.constant, np.arange(steps(len(order), BATCH)))
        made += [gathered.batch(tf.constant(order), place) for place in places]
    wanted = training(Copies(), labels=labels, start=(4, 0), class_weights=weights, **chance).take(len(made))
    for one, other in zip(made, wanted, strict=True):
        assert len(one) == len(other) == (3 if weights is not None else 2)
        for tensor, expected in zip(one, other, strict=True):
            np.testing.assert_array_equal(tensor, expected)


def test_what_is_evaluated_comes_in_its_own_order_each_time():
    gathered = evaluation_gathered(Positions(), np.arange(COUNT), 32)
    for epoch in (0, 1):
        np.testing.assert_array_equal(gathered.order(epoch), np.arange(COUNT))
    x, y = gathered.batch(tf.range(COUNT, dtype=tf.int64), tf.constant(1, tf.int64))
    np.testing.assert_array_equal(x[:, 0], np.arange(32, COUNT))
    np.testing.assert_array_equal(y, np.arange(32, COUNT))


def test_an_epoch_that_is_entered_in_its_middle_is_short_and_the_next_one_whole():
    y = everything(training(start=(5, 2)).take(STEPS - 2 + STEPS))[1]
    np.testing.assert_array_equal(y, [*epoch_order(COUNT, 3, 5)[2 * BATCH :], *epoch_order(COUNT, 3, 6)])


@pytest.mark.parametrize(("how", "count"), [("over", 9), ("under", 2)])
def test_classes_are_drawn_equally_often(how, count):
    labels = np.array([0] * 2 + [1] * 9 + [3] * 4)
    balance = Balance(how, labels)
    assert len(balance) == 3 * count
    epochs = [balance.images(1, epoch) for epoch in range(40)]
    for images in epochs:
        assert np.bincount(labels[images]).tolist() == [count, count, 0, count]
        times = np.bincount(images, minlength=15)
        for one in (0, 1, 3):
            assert np.ptp(times[labels == one]) <= 1
    assert set(np.concatenate(epochs)) == set(range(15))
    np.testing.assert_array_equal(epochs[0], Balance(how, labels).images(1, 0))
    assert not np.array_equal(epochs[0], epochs[1])


def test_a_balanced_epoch_is_entered_in_its_middle():
    labels = np.array([0] * 3 + [1] * (COUNT - 3))
    given = {"batch_size": BATCH, "seed": 3, "balance": Balance("over", labels)}
    each = steps(2 * (COUNT - 3), BATCH)
    vary = {"shift": Augmentation(1, lambda x, y, uniforms: (x + uniforms, y))}
    whole = everything(training_dataset(Positions(), labels, **given, augmentations=vary).take(2 * each))
    assert np.bincount(whole[1]).tolist() == [2 * (COUNT - 3)] * 2
    later = everything(training_dataset(Positions(), labels, **given, augmentations=vary, start=(1, 2)).take(each - 2))
    for one, other in zip(later, whole, strict=True):
        np.testing.assert_array_equal(one, other[-len(one) :])
    # an image that is repeated is varied each time
    assert len(np.unique(whole[0][whole[1] == 0])) == 2 * (COUNT - 3)


@pytest.mark.parametrize("dataset", [training, lambda: evaluation_dataset(Positions(), np.arange(COUNT), BATCH)])
def test_nothing_is_left_to_autotuning(dataset):
    assert dataset().options().autotune.enabled is False


def test_draws_follow_the_image_not_its_place():
    for epoch in (0, 4):
        x, y = one_epoch(start=(epoch, 0), augmentations={"one": SHIFT, "two": SHIFT})
        positions = y.astype(int)
        moved = draws(COUNT, 2, 3, epoch, "one") + draws(COUNT, 2, 3, epoch, "two")
        np.testing.assert_allclose(x, positions[:, None] + moved[positions], rtol=1e-6)
        kept, order = everything(
            augmented_dataset(
                Positions(),
                np.arange(COUNT),
                batch_size=BATCH,
                seed=3,
                epoch=epoch,
                augmentations={"one": SHIFT, "two": SHIFT},
                positions=positions,
            )
        )
        assert order.tolist() == positions.tolist()
        np.testing.assert_allclose(kept, x, rtol=1e-6)


def test_copies_take_turns_an_epoch_each():
    def rows_of(epoch: int) -> list[int]:
        x, y = one_epoch(start=(epoch, 0), copies=3)
        assert y.tolist() == (x[:, 0] % COUNT).tolist()
        return sorted(x[:, 0].astype(int).tolist())

    for epoch in range(5):
        start = epoch % 3 * COUNT
        assert rows_of(epoch) == list(range(start, start + COUNT))


def test_rows_of_several_tensors_pass_as_they_are():
    (first, second), _ = next(iter(training(Pairs())))
    assert (first.dtype, second.dtype) == (tf.float32, tf.bfloat16)


def test_evaluation_is_in_order():
    x, y = everything(evaluation_dataset(Positions(), np.arange(COUNT), BATCH))
    assert x[:, 0].tolist() == y.tolist() == list(range(COUNT))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.arange(COUNT, dtype=np.int32) % 2, lambda y: 1 + 2 * y),
        (np.eye(2, dtype=np.float32)[np.arange(COUNT) % 2], lambda y: 1 + 2 * y[:, 1]),
        ((np.arange(COUNT, dtype=np.float32) % 2)[:, None], lambda y: 1 + 2 * y[:, 0]),
        (np.tile(np.asarray([[1, 1], [0, 0]], np.float32), (COUNT // 2, 1)), lambda y: 1 + y[:, 1]),
    ],
    ids=["index", "one_hot", "binary", "multi_hot"],
)
def test_class_weights(labels, expected):
    _, y, weights = one_epoch(labels=labels, class_weights=np.asarray([1, 3], np.float32))
    np.testing.assert_allclose(weights, expected(y), rtol=1e-6)


def test_images_from_memory_and_files_are_the_same(photos):
    images = image_folder(1, dir=str(photos), validation=0.2, test=0.0).splits["train"]
    in_memory = image_rows(images.paths, Geometry((32, 24)), 10)
    from_files = image_rows(images.paths, Geometry((32, 24)), 0)
    assert isinstance(in_memory, MemoryImages)
    assert isinstance(from_files, FileImages)
    assert len(in_memory) == len(from_files) == 24
    both = [training_dataset(rows, images.labels, batch_size=7, seed=1) for rows in (in_memory, from_files)]
    one, two = (everything(dataset.take(4)) for dataset in both)
    assert one[0].dtype == np.float32
    assert one[0].shape == (24, 32, 24, 3)
    assert 50 < one[0].mean() < 200
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_array_equal(one[1], two[1])
    assert both[0].element_spec[0].shape.as_list() == [None, 32, 24, 3]


def test_the_pipeline_stays_parallel_under_op_determinism():
    """A stateful call would make TensorFlow rewrite it into a sequential one; there is none."""
    rows = MemoryImages(np.zeros((COUNT, 4, 4, 3), np.uint8))
    dataset = training(rows, augmentations={"one": Augmentation(1, lambda x, y, u: (x + u[:, :, None, None], y))})
    graph = tf.compat.v1.GraphDef.FromString(dataset._as_serialized_graph().numpy())
    ops = {node.op for function in graph.library.function for node in function.node_def} | {n.op for n in graph.node}
    assert "ParallelMapDatasetV2" in ops
    assert "PyFuncStateless" in ops
    assert not {"PyFunc", "EagerPyFunc"} & ops

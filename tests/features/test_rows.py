"""Kept features as rows of the pipeline: the same from memory and from disk, in any order, without filling memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from framework.core.backend import keras, tf
from framework.features import store as module
from framework.features import upkeep
from framework.features.rows import FeatureRows
from framework.features.shards import Layout
from framework.features.store import Store

COUNT = 23


@pytest.fixture(params=[((5,),), ((2, 3), (4,))], ids=["one tensor", "two tensors"])
def shapes(request):
    return request.param


@pytest.fixture
def kept(tmp_path, shapes, monkeypatch):
    """A store of 23 rows in several shards, and its tensors."""
    layout = Layout(shapes, "float32")
    monkeypatch.setattr(module, "SHARD_BYTES", 4 * layout.bytes)
    flat = np.random.default_rng(0).standard_normal((COUNT, layout.bytes // 4)).astype(np.float32)
    store = Store(tmp_path, {}, layout)
    store.open({})
    with store.writing():
        store.add(([str(row)], flat[row : row + 1].view(np.uint8)) for row in range(COUNT))
    return store, layout.tensors(flat.view(np.uint8))


def rows_of(store, order, *, in_memory):
    rows = FeatureRows(store, [str(row) for row in order], 0, 0.0, memory_limit=1 << 20 if in_memory else 0)
    assert rows.in_memory == in_memory
    return rows


def as_list(tensors):
    return list(tensors) if isinstance(tensors, tuple) else [tensors]


@pytest.mark.parametrize("in_memory", [True, False])
def test_rows_come_in_the_order_asked_for(kept, shapes, in_memory):
    store, expected = kept
    order = np.random.default_rng(1).permutation(COUNT)
    rows = rows_of(store, order, in_memory=in_memory)
    assert len(rows) == COUNT
    batches = tf.data.Dataset.from_tensor_slices(np.r_[np.arange(COUNT)[::-1], 3, 3]).batch(7)
    dataset = batches.map(rows.read, num_parallel_calls=2)
    assert [spec.shape for spec in as_list(dataset.element_spec)] == [(None, *shape) for shape in shapes]
    assert {spec.dtype for spec in as_list(dataset.element_spec)} == {tf.float32}
    got = [
        np.concatenate(parts) for parts in zip(*(as_list(batch) for batch in dataset.as_numpy_iterator()), strict=True)
    ]
    for tensor, whole in zip(got, expected, strict=True):
        np.testing.assert_array_equal(tensor, whole[order][np.r_[np.arange(COUNT)[::-1], 3, 3]])


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_part_is_a_split_of_them(kept, in_memory):
    store, expected = kept
    part = rows_of(store, range(COUNT), in_memory=in_memory).part(5, 9)
    assert (len(part), part.in_memory) == (4, in_memory)
    np.testing.assert_array_equal(as_list(part.read(tf.constant([3, 0], tf.int64)))[0], expected[0][[8, 5]])


def test_arrays_are_all_rows_at_once(kept):
    store, expected = kept
    order = [4, 4, 0, 22]
    for tensor, whole in zip(as_list(rows_of(store, order, in_memory=True).arrays()), expected, strict=True):
        np.testing.assert_array_equal(tensor.numpy(), whole[order])


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_model_fits_on_them(kept, shapes, in_memory):
    store, _ = kept
    rows = rows_of(store, range(COUNT), in_memory=in_memory)
    inputs = [keras.Input(shape) for shape in shapes]
    flat = [keras.layers.Flatten()(tensor) for tensor in inputs]
    tensor = keras.layers.Dense(1)(keras.layers.Concatenate()(flat) if len(flat) > 1 else flat[0])
    model = keras.Model(tuple(inputs) if len(inputs) > 1 else inputs[0], tensor)
    model.compile("adam", "mse")
    labels = tf.constant(np.arange(COUNT, dtype=np.float32)[:, None])
    dataset = tf.data.Dataset.range(COUNT).batch(4).map(lambda index: (rows.read(index), tf.gather(labels, index)))
    losses = model.fit(dataset, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_the_store_stays_in_use_as_long_as_its_rows(kept, tmp_path):
    store, _ = kept
    rows = rows_of(store, range(3), in_memory=False)
    del kept, store
    assert upkeep.clear(tmp_path)[1]
    rows.store.close()
    assert not upkeep.clear(tmp_path)[1]


MEMORY = """
import resource, sys, threading, time
from pathlib import Path
import numpy as np
from framework.core.backend import keras, tf
from framework.features.rows import FeatureRows
from framework.features.shards import Layout
from framework.features.store import Store

count, width = 16_000, 8_000
store = Store(Path(sys.argv[1]), {}, Layout(((width,),), "float32"))
store.open({})
keys = [str(row) for row in range(count)]
batch = np.ones((100, width), np.float32).view(np.uint8)
with store.writing():
    store.add((keys[start:start + 100], batch) for start in range(0, count, 100))
model = keras.Sequential([keras.Input((width,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(np.ones((64, width), np.float32), np.ones(64), verbose=0)
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
rows = FeatureRows(store, keys, 0, 0.0)
assert not rows.in_memory
order = tf.data.Dataset.range(count).shuffle(count, seed=0).batch(32)
data = order.map(rows.read, num_parallel_calls=2).map(lambda x: (x, tf.ones(tf.shape(x)[0]))).prefetch(2)
model.fit(data, epochs=1, verbose=0)
print(peak() - before)
"""


@pytest.mark.slow
def test_features_larger_than_the_limit_do_not_fill_memory(tmp_path):
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path)], capture_output=True, text=True, cwd=root, check=True
    )
    mebibytes = float(done.stdout)
    assert mebibytes < 150, "of 488 MiB of features"

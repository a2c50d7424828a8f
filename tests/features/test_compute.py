"""Features are the prefix's output, computed once for each image whatever the order, the split or the process."""

from __future__ import annotations

import select
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from framework.config.settings import CacheSettings
from framework.core.backend import keras, tf
from framework.core.errors import BadInput, RunFailed
from framework.core.geometry import Geometry
from framework.core.together import Alone
from framework.data import columns, fingerprint
from framework.data.embedded import Embedded, list_embedded
from framework.features import compute, key
from framework.features.bfloat16 import in_bfloat16
from framework.features.graph import frozen_prefix, split
from framework.features.upkeep import listing
from tests.data.sharded import webdataset
from tests.data.test_embedded import MADE_BY, written
from tests.data.test_shards import undrawn

SIDE = 8
GEOMETRY = Geometry((SIDE, SIDE))
features, kept = partial(compute.features, geometry=GEOMETRY), partial(compute.kept, geometry=GEOMETRY)


@pytest.fixture
def cache(tmp_path):
    return CacheSettings(use="auto", dir=str(tmp_path / "features"), dtype="float32", size_limit=1.0, compute="local")


def network(seed=0, scale=1 / 255):
    keras.utils.set_random_seed(seed)
    image = keras.Input((SIDE, SIDE, 3), name="image")
    tensor = keras.layers.Rescaling(scale)(image)
    tensor = keras.layers.Conv2D(4, 3, name="conv")(tensor)
    tensor = keras.layers.BatchNormalization()(tensor)
    tensor = keras.layers.ReLU(6)(tensor)
    tensor = keras.layers.Dropout(0.5)(tensor)
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D()(tensor))
    norm = model.layers[3]
    norm.moving_mean.assign(np.linspace(-1, 1, 4))
    norm.gamma.assign(np.linspace(0.5, 2, 4))
    return model


class Source:
    """Images made for it, which counts those that are read."""

    def __init__(self, count=20, dtype=np.uint8, seed=0):
        self.images = np.random.default_rng(seed).integers(0, 255, (count, SIDE, SIDE, 3)).astype(dtype)
        self.keys = [str(number) for number in range(count)]
        self.read: list[int] = []

    def features(self, prefix, cache, order=None, precision="float32", team=None):
        order = np.arange(len(self.keys)) if order is None else np.asarray(order)

        def batches(positions):
            self.read += order[positions].tolist()
            return tf.data.Dataset.from_tensor_slices(self.images[order[positions]]).batch(6)

        keys = [self.keys[number] for number in order]
        about = {"base": "small"}
        return features(prefix, keys, keys, cache=cache, precision=precision, about=about, batches=batches, team=team)


def expected(prefix, images):
    return np.asarray(prefix(images.astype(np.float32), training=False))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_features_are_the_prefixs_output(cache, dtype):
    prefix, source = network(), Source(dtype=dtype)
    rows = source.features(prefix, cache)
    assert (len(rows), rows.computed, rows.shapes) == (20, 20, ((4,),))
    assert rows.seconds > 0
    np.testing.assert_allclose(rows.arrays().numpy(), expected(prefix, source.images), atol=1e-6, rtol=1e-6)


def test_known_images_are_not_computed_again_in_any_order_or_subset(cache):
    prefix, source = network(), Source()
    source.features(prefix, cache).store.close()
    source.read.clear()
    order = [7, 3, 3, 19, 0]
    rows = source.features(prefix, cache, order)
    assert (source.read, rows.computed) == ([], 0)
    np.testing.assert_allclose(rows.arrays(), expected(prefix, source.images[order]), atol=1e-6)


def test_known_images_do_not_wait_for_a_writer(cache, monkeypatch):
    prefix, source = network(), Source()
    source.features(prefix, cache)
    monkeypatch.setattr(compute.Store, "writing", lambda store: pytest.fail("asked to write"))
    assert source.features(prefix, cache, [1, 2]).computed == 0


def test_one_added_image_computes_one(cache):
    prefix, source = network(), Source()
    source.features(prefix, cache, range(19))
    source.read.clear()
    rows = source.features(prefix, cache)
    assert (source.read, rows.computed) == ([19], 1)
    np.testing.assert_allclose(rows.arrays(), expected(prefix, source.images), atol=1e-6)


def test_the_same_image_twice_is_computed_once(cache):
    source = Source()
    rows = source.features(network(), cache, [1, 2, 1, 2, 2])
    assert source.read == [1, 2]
    assert (len(rows), rows.computed) == (5, 2)


def test_other_weights_size_precision_or_dtype_are_computed_anew(cache):
    source = Source()
    source.features(network(), cache)
    for prefix, other, precision in [
        (network(seed=1), cache, "float32"),
        (network(scale=1.0), cache, "float32"),
        (network(), cache, "bfloat16"),
        (network(), replace(cache, dtype="float16"), "float32"),
    ]:
        assert source.features(prefix, other, precision=precision).computed == 20
    assert len(listing(Path(cache.dir))) == 5


def test_the_key_is_what_it_was_before_there_was_a_choice_and_another_for_other_images(cache, monkeypatch):
    monkeypatch.setattr(key, "fingerprint", lambda model: "prefix")
    monkeypatch.setattr(key, "version", lambda name: "1")
    monkeypatch.setattr(key, "_machine", lambda: {})
    monkeypatch.setattr(compute, "DECODER_VERSION", "2")

    def digest(*given, **more):
        store = compute._store(network(), Geometry((32, 24), *given, **more), cache, "float32")
        return key.digest(store.description)

    # computed by the version before
    assert digest() == "d9a3f59106b8d6fac9378b09b678347c"
    assert len({digest(), digest("crop"), digest("pad"), digest("pad", fill=1), digest(channels=1)}) == 5


def test_a_rebuilt_prefix_finds_what_is_kept(cache):
    source = Source()
    first = source.features(network(), cache)
    assert first.computed == 20
    assert source.features(network(), cache).computed == 0


def test_kept_counts_without_computing_or_writing(cache):
    source = Source()
    assert kept(network(), source.keys, cache=cache, precision="float32") == 0
    assert not Path(cache.dir).exists()
    source.features(network(), cache, range(5))
    assert kept(network(), [*source.keys, "0"], cache=cache, precision="float32") == 5


def test_rows_are_augmented_copies_where_keys_say_so(cache):
    prefix, source = network(), Source(count=4)
    source.features(prefix, cache)
    source.read.clear()
    source.keys = [f"{number}-{copy}-flip" for number in range(2) for copy in range(2)]
    assert source.features(prefix, cache).computed == 4


@pytest.mark.parametrize(("dtype", "error"), [("float16", 1e-3), ("bfloat16", 1e-2)])
def test_smaller_numbers_on_disk(cache, dtype, error):
    prefix, source = network(), Source()
    rows = source.features(prefix, replace(cache, dtype=dtype))
    assert rows.store.layout.bytes == 8
    got = rows.arrays().numpy()
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected(prefix, source.images), rtol=error, atol=error)
    assert np.abs(got - expected(prefix, source.images)).max() > 0


def test_features_too_large_for_float16_are_refused(cache):
    prefix = keras.Model(*(lambda image: (image, image * 1e6))(keras.Input((SIDE, SIDE, 3))))
    with pytest.raises(BadInput, match="features are too large for float16"):
        Source().features(prefix, replace(cache, dtype="float16"))
    assert listing(Path(cache.dir))[0].images == 0


def test_bfloat16_prefix_is_the_same_network_in_fewer_bits(cache):
    prefix, source = network(), Source()
    low = in_bfloat16(prefix)
    assert {weight.dtype for weight in low.weights} == {"float32"}
    assert low.layers[1].compute_dtype == "float32"
    assert {layer.compute_dtype for layer in low.layers[2:]} == {"bfloat16"}
    got = source.features(prefix, cache, precision="bfloat16").arrays().numpy()
    whole = expected(prefix, source.images)
    assert 0 < np.abs(got - whole).max() < 0.03 * np.abs(whole).max()


def test_a_prefix_in_mixed_precision_is_kept_as_it_is(cache):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        prefix, source = network(), Source()
    finally:
        keras.config.set_dtype_policy("float32")
    assert prefix.output.dtype == "bfloat16"
    got = source.features(prefix, cache).arrays().numpy()
    np.testing.assert_allclose(got, np.float32(expected(prefix, source.images)), rtol=0.03, atol=0.03)


def test_several_tensors_are_kept(cache):
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 3))
    stem = keras.layers.Conv2D(4, 3, name="stem")(image)
    left, right = keras.layers.Conv2D(2, 1)(stem), keras.layers.Conv2D(3, 1)(stem)
    joined = keras.layers.Concatenate()(
        [keras.layers.Conv2D(2, 1, name=f"late{i}")(x) for i, x in enumerate((left, right))]
    )
    model = keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(joined)))
    prefix, tail = split(model, frozen_prefix(model, {"late0", "late1", "dense"}))
    source = Source()
    rows = source.features(prefix, cache)
    assert sorted(rows.shapes) == [(6, 6, 2), (6, 6, 3)]
    np.testing.assert_allclose(tail(list(rows.arrays())), expected(model, source.images), atol=1e-4, rtol=1e-5)


def test_files_are_read_where_no_batches_are_given(cache, photos):
    paths = sorted(str(path) for path in photos.rglob("*.jpg"))
    prefix = network()
    rows = features(prefix, paths, paths, cache=cache, precision="float32", about={})
    batches = compute.image_batches(paths, GEOMETRY)(np.arange(len(paths)))
    images = np.concatenate(list(batches.as_numpy_iterator()))
    assert images.shape == (36, SIDE, SIDE, 3)
    np.testing.assert_allclose(rows.arrays(), expected(prefix, images), atol=1e-6)


def test_images_that_cannot_be_decoded_are_named(cache, photos):
    paths = sorted(str(path) for path in photos.rglob("*.jpg"))
    Path(paths[3]).write_bytes(b"no image")
    with pytest.raises(BadInput) as caught:
        features(network(), paths, paths, cache=cache, precision="float32", about={})
    assert paths[3] in str(caught.value)
    assert not list(Path(cache.dir).rglob("*.rows"))


def test_too_few_images_are_an_error(cache):
    prefix, source = network(), Source()
    short = lambda positions: tf.data.Dataset.from_tensor_slices(source.images[:3]).batch(2)  # noqa: E731
    with pytest.raises(RunFailed, match="20 images were to be read, and 3 came"):
        features(prefix, source.keys, source.keys, cache=cache, precision="float32", about={}, batches=short)


def test_what_is_kept_is_listed(cache):
    source = Source()
    rows = source.features(network(), cache)
    (entry,) = listing(Path(cache.dir))
    assert (entry.key, entry.about, entry.images, entry.in_use) == (rows.store.key, {"base": "small"}, 20, True)


PROCESS = """
import sys, time
from pathlib import Path
import numpy as np
from framework.config.settings import CacheSettings
from framework.core.backend import keras, tf
from framework.features import store
from tests.features.test_compute import Source, network, features
store.SHARD_SECONDS = 0.2
source = Source(count=60)
cache = CacheSettings("auto", sys.argv[1], "float32", 1.0, "local")
def batches(positions):
    def slowly(number):
        time.sleep(0.02)
        while number > 40 and not Path(sys.argv[1], "go").exists():
            time.sleep(0.02)
        return source.images[number]
    data = tf.data.Dataset.from_tensor_slices(positions)
    data = data.map(lambda n: tf.ensure_shape(tf.numpy_function(slowly, [n], tf.uint8), (8, 8, 3)))
    return data.batch(1)
prefix = network()
rows = features(prefix, source.keys, source.keys, cache=cache, precision="float32", about={}, batches=batches)
print(rows.computed)
"""


def process(root):
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


@pytest.mark.slow
def test_two_processes_compute_once_and_the_second_survives_the_first(tmp_path):
    both = [process(tmp_path), process(tmp_path)]
    said, _, _ = select.select([one.stderr for one in both], [], [], 120)
    (waits,) = [one for one in both if one.stderr in said]
    assert waits.stderr.readline().startswith("Waiting: another process computes these features")
    (computes,) = [one for one in both if one is not waits]
    end = time.monotonic() + 60
    while len(list(tmp_path.glob("*/[!.]*.rows"))) < 2:
        assert time.monotonic() < end
        time.sleep(0.02)
    computes.kill()
    computes.communicate()
    (tmp_path / "go").touch()
    out, _ = waits.communicate(timeout=120)
    assert 0 < int(out) < 59
    out, _ = process(tmp_path).communicate(timeout=120)
    assert out == "0\n"


class Pair(Alone):
    """One of two who do one work in threads of this process."""

    count = 2

    def __init__(self, place, said, barrier):
        self.place, self._said, self._barrier = place, said, barrier

    def said(self, own):
        self._said[self.place] = own
        self._barrier.wait(60)
        found = list(self._said)
        self._barrier.wait(60)
        return found

    def of_first(self, own):
        return self.said(own)[0]


def together(asks):
    """What two get who ask together, each by a function that takes its team."""
    said, barrier = [None, None], threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(ask, team=Pair(place, said, barrier)) for place, ask in enumerate(asks)]
        return [one.result(120) for one in asked]


@pytest.mark.parametrize("shared", [True, False])
def test_each_of_two_computes_every_other_batch_or_all_where_disks_are_not_shared(cache, monkeypatch, shared):
    monkeypatch.setattr(compute, "BATCH_SIZE", 6)
    elsewhere = replace(cache, dir=f"{cache.dir}-alone")
    Source().features(network(), elsewhere, [0])
    alone = Source().features(network(), elsewhere)
    caches = [cache, cache if shared else replace(cache, dir=f"{cache.dir}-other")]
    sources = [Source(), Source()]
    sources[0].features(network(), cache, [0]).store.close()
    if not shared:
        sources[1].features(network(), caches[1], [0]).store.close()
    for source in sources:
        source.read.clear()
    asks = [partial(source.features, network(), own) for source, own in zip(sources, caches, strict=True)]
    found = together(asks)
    halves = [[*range(1, 7), *range(13, 19)], [*range(7, 13), 19]]
    rest = [[], []] if shared else halves[::-1]
    assert [source.read for source in sources] == [half + other for half, other in zip(halves, rest, strict=True)]
    for rows in found:
        assert rows.computed == 19
        np.testing.assert_array_equal(rows.arrays().numpy(), alone.arrays().numpy())
    again = together(asks)
    assert [rows.computed for rows in again] == [0, 0]


@pytest.mark.parametrize("shared", [True, False])
def test_each_of_two_lays_down_a_piece_of_given_features_or_all_where_disks_are_not_shared(
    cache, tmp_path, monkeypatch, shared
):
    prefix, read, real = network(), list[list[int]](), Embedded.read
    written(tmp_path / "a.parquet", made={**MADE_BY, "weights": key.weights_of(prefix)})
    embedded = list_embedded(str(tmp_path / "a.parquet"), "classes", 0.0, 0.0).features
    monkeypatch.setattr(Embedded, "read", lambda self, wanted: read.append(wanted.tolist()) or real(self, wanted))
    caches = [cache, cache if shared else replace(cache, dir=f"{cache.dir}-other")]
    asks = [
        partial(compute.brought, prefix, ["pooling"], embedded, embedded.images, cache=own, about={}) for own in caches
    ]
    found = together(asks)
    halves = [[*range(6)], [*range(6, 12)]]
    assert sorted(read) == sorted(halves if shared else halves * 2)
    for rows in found:
        np.testing.assert_array_equal(rows.arrays(), np.arange(12)[:, None] + np.arange(4))
    assert [rows.computed for rows in together(asks)] == [0, 0]


def test_images_of_shards_are_known_by_these_and_their_rows(photos, tmp_path, cache, monkeypatch):
    monkeypatch.setattr(columns, "MANY", 1)
    monkeypatch.setattr(compute, "CHUNK", 10)  # several chunks
    files = webdataset(photos, tmp_path / "shards")
    prefix = network()

    def rows(folder, order=slice(None)):
        paths = undrawn("webdataset", folder).splits["train"].paths[order]
        return features(prefix, paths, fingerprint.keys(paths), cache=cache, precision="float32", about={}), paths

    found, paths = rows(tmp_path / "shards")
    assert (found.computed, len(found)) == (24, 24)
    known = fingerprint.contents(tuple(paths))
    alone = features(prefix, tuple(paths), known, cache=cache, precision="float32", about={})
    np.testing.assert_allclose(found.arrays(), alone.arrays(), atol=1e-6)
    shutil.copytree(tmp_path / "shards", tmp_path / "moved")
    again, _ = rows(tmp_path / "moved", slice(None, None, -1))
    assert again.computed == 0
    np.testing.assert_array_equal(again.arrays(), found.arrays().numpy()[::-1])
    assert kept(prefix, fingerprint.keys(paths), cache=cache, precision="float32") == 24
    first, second = (file.read_bytes() for file in files)
    files[0].write_bytes(second)  # another shard under this name, and its own under the other
    files[1].write_bytes(first)
    turned, _ = rows(tmp_path / "shards")
    assert turned.computed == 0
    np.testing.assert_array_equal(turned.arrays(), np.roll(found.arrays(), 12, axis=0))
    data = bytearray(second)
    data[data.index(b"\xff\xd8\xff") + 2 : data.index(b"\xff\xd8\xff") + 90] = bytes(88)
    files[0].write_bytes(data)
    with pytest.raises(BadInput, match=r"1 image can't be read:\n.*train-000.tar/.*jpg"):
        rows(tmp_path / "shards")

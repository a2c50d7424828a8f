"""Runs the frozen prefix over the images that are not kept yet, and hands out the features of all asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from framework.config.settings import CacheSettings
from framework.core.backend import keras, tf
from framework.core.console import progress
from framework.core.errors import BadInput, Problem, RunFailed
from framework.core.geometry import Geometry
from framework.core.keras_hub_private import config_of
from framework.data.decode import DECODER_VERSION
from framework.data.rows import WORKERS, FileImages, undecodable, untuned
from framework.features.folding import folded
from framework.features.graph import has_kernel
from framework.features.key import describe
from framework.features.rows import FeatureRows
from framework.features.shards import Layout
from framework.features.store import Store
from framework.features.upkeep import root_folder
from framework.model.build import precision as built_in

BATCH_SIZE = 64

# From positions among the images that were asked for to a dataset of batches of them, in that order.
Batches = Callable[[np.ndarray], "tf.data.Dataset"]


def features(
    prefix: keras.Model,
    paths: Sequence[str],
    keys: Sequence[str],
    *,
    geometry: Geometry,
    cache: CacheSettings,
    precision: str,
    about: Mapping[str, Any],
    batches: Batches | None = None,
) -> FeatureRows:
    """The prefix's output on each image, computed where it is not kept yet, and then kept.

    Two processes that want the same features compute them once. What is done when one is killed is kept. Several splits
    are best asked for at once and taken apart with ``FeatureRows.part``: the graph is then built once.

    Args:
        prefix: from images, float32 of shape (batch, height, width, channels) in 0-255, to what is kept.
        paths: the images' files.
        keys: what each image is: the hash of its contents; for augmented copies also which copy of what augmentation.
        geometry: how a file becomes an image.
        cache: where, in which dtype, and how many GiB at most.
        precision: ``float32`` runs the prefix as it is, ``bfloat16`` in mixed_bfloat16.
        about: what ``listing`` shows of the features, such as the base's name and the cut.
        batches: gives batches of the images at some positions, in order, uint8 or float32; None reads ``paths``.

    Raises:
        BadInput: images that can't be decoded, all named; features larger than the cache may be; a folder that
            can't be used.
        RunFailed: the disk is full or failing.
    """
    store = _store(prefix, geometry, cache, precision)
    store.open(about)
    try:
        store.refresh()
        computed, seconds = 0, 0.0
        if store.missing(keys):
            with store.writing():
                missing = store.missing(keys)
                started = time.perf_counter()
                if missing:
                    store.make_room(len(missing), cache.size_limit)
                    positions = {key: position for position, key in enumerate(keys)}
                    wanted = np.array([positions[key] for key in missing], np.int64)
                    files = batches or image_batches(paths, geometry)
                    store.add(_compute(prefix, geometry, files, paths, wanted, missing, store.layout, precision))
                computed, seconds = len(missing), time.perf_counter() - started
        if store.missing(keys):
            raise RunFailed(f"Features were written and can't be read back: the disk of {store.folder} may be failing.")
        return FeatureRows(store, keys, computed, seconds)
    except BaseException:
        store.close()
        raise


def outputs(model: keras.Model, paths: Sequence[str], *, geometry: Geometry) -> np.ndarray:
    """What a model with one output gives for each image, float32 (images, …), kept nowhere; raises as ``features``."""
    layout = Layout((tuple(model.outputs[0].shape[1:]),), "float32")
    files, wanted = image_batches(paths, geometry), np.arange(len(paths))
    batches = _compute(model, geometry, files, paths, wanted, paths, layout, "float32")
    return np.concatenate([layout.tensors(records)[0] for _, records in batches])


def kept(prefix: keras.Model, keys: Sequence[str], *, geometry: Geometry, cache: CacheSettings, precision: str) -> int:
    """How many of these images' features are kept already."""
    store = _store(prefix, geometry, cache, precision)
    store.refresh()
    return len(set(keys)) - len(store.missing(keys))


def measured(prefix: keras.Model, *, cache: CacheSettings, precision: str) -> tuple[float, float]:
    """Seconds until the pass can begin, and seconds an image from then on, found on a batch of noise."""
    layout = _layout(prefix, cache)
    noise = tf.cast(tf.random.uniform((BATCH_SIZE, *prefix.input_shape[1:]), 0, 256, tf.int32), tf.uint8)
    started = time.perf_counter()
    forward = _forward(prefix, layout, noise, precision)
    forward(noise).numpy()
    ready = time.perf_counter()
    forward(noise).numpy()
    taken = time.perf_counter() - ready
    return max(0.0, ready - started - taken), taken / BATCH_SIZE


def image_batches(paths: Sequence[str], geometry: Geometry) -> Batches:
    """Batches of images decoded from their files while the ones before are computed on; uint8."""

    def batches(positions: np.ndarray) -> tf.data.Dataset:
        files = FileImages([paths[position] for position in positions], geometry)
        indices = tf.data.Dataset.range(len(files)).batch(BATCH_SIZE)
        images = indices.map(files.read, num_parallel_calls=WORKERS, deterministic=True)
        return untuned(images.prefetch(2))

    return batches


def in_bfloat16(prefix: keras.Model) -> keras.Model:
    """A copy that computes in bfloat16 from its first layer with a matrix of weights on; weights stay float32.

    What comes before prepares the images, and would lose their lower bits.
    """
    from framework.parts.layers import FirstOutput

    first = next((number for number, operation in enumerate(prefix.operations) if has_kernel(operation)), 0)
    later = {id(operation) for operation in prefix.operations[first:]}

    def copy(layer: Any) -> Any:
        return again(layer, {"dtype": "mixed_bfloat16"} if id(layer) in later else {})

    def again(layer: Any, changes: Mapping[str, Any]) -> Any:
        if not isinstance(layer, keras.Layer):
            return layer
        if isinstance(layer, FirstOutput):
            return FirstOutput(again(layer.layer, changes))
        return type(layer).from_config({**config_of(layer), **changes})

    # some of Keras Hub's make layers within that say nothing of their own precision
    with built_in("mixed_bfloat16"):
        model = keras.models.clone_model(prefix, clone_function=copy)
    model.set_weights(prefix.get_weights())
    return model


def _store(prefix: keras.Model, geometry: Geometry, cache: CacheSettings, precision: str) -> Store:
    decoding = f"decoder {DECODER_VERSION}, {geometry.key}"
    description = describe(prefix, decoding=decoding, precision=precision, dtype=cache.dtype)
    return Store(root_folder(cache.dir), description, _layout(prefix, cache))


def _layout(prefix: keras.Model, cache: CacheSettings) -> Layout:
    return Layout(tuple(tuple(tensor.shape[1:]) for tensor in prefix.outputs), cache.dtype)


def _compute(
    prefix: keras.Model,
    geometry: Geometry,
    batches: Batches,
    paths: Sequence[str],
    wanted: np.ndarray,
    keys: Sequence[str],
    layout: Layout,
    precision: str,
) -> Iterator[tuple[Sequence[str], np.ndarray]]:
    """Keys and records, batch by batch."""
    dataset = batches(wanted)
    forward = _forward(prefix, layout, dataset.element_spec, precision)
    done = 0
    with progress("Computing features", len(keys), "images") as advance:
        try:
            for images in dataset:
                records = forward(images).numpy()
                if layout.dtype == "float16" and not np.isfinite(records.view(np.float16)).all():
                    raise BadInput(
                        Problem("features are too large for float16", "cache.dtype", "cache.dtype=bfloat16 or float32")
                    )
                yield keys[done : done + len(records)], records
                done += len(records)
                advance(len(records))
        except tf.errors.ResourceExhaustedError as error:
            raise RunFailed(f"The features can't be computed: {error.message.splitlines()[0]}") from None
        except tf.errors.OpError:
            raise undecodable([paths[position] for position in wanted], geometry) from None
    if done != len(keys):
        raise RunFailed(f"{len(keys)} images were to be read, and {done} came: their files may have changed meanwhile")


def _forward(
    prefix: keras.Model, layout: Layout, spec: tf.TensorSpec | tf.Tensor, precision: str
) -> Callable[[tf.Tensor], tf.Tensor]:
    """From a batch of images to their records, uint8 of shape (batch, bytes), in one graph."""
    network = in_bfloat16(folded(prefix)) if precision == "bfloat16" else folded(prefix)

    def forward(images: tf.Tensor) -> tf.Tensor:
        outputs = network(tf.cast(images, tf.float32), training=False)
        flat = [
            tf.reshape(tf.cast(tensor, layout.dtype), (tf.shape(images)[0], -1)) for tensor in tf.nest.flatten(outputs)
        ]
        records = tf.bitcast(tf.concat(flat, axis=1), tf.uint8)
        return tf.reshape(records, (tf.shape(images)[0], layout.bytes))

    signature = tf.TensorSpec((None, *spec.shape[1:]), spec.dtype)
    return tf.function(forward, input_signature=[signature], autograph=False)

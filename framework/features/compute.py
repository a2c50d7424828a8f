"""Runs the frozen prefix over the images that are not kept yet, and hands out the features of all asked for."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Protocol

import numpy as np

from framework.config.settings import CacheSettings, ComputeSettings
from framework.core.backend import keras, tf
from framework.core.console import progress
from framework.core.errors import BadInput, Problem, RunFailed, listing
from framework.core.geometry import Geometry
from framework.core.together import Alone
from framework.data import containers
from framework.data.columns import Keys, ShardPaths, at
from framework.data.decode import DECODER_VERSION
from framework.data.embedded import Embedded
from framework.data.rows import WORKERS, FileImages, undecodable, untuned
from framework.features.bfloat16 import in_bfloat16
from framework.features.folding import folded
from framework.features.key import describe, weights_of
from framework.features.rows import FeatureRows
from framework.features.shards import Layout, names_checksum, numpy_type
from framework.features.store import Store
from framework.features.upkeep import root_folder

BATCH_SIZE = 64
CHUNK = 1024 * BATCH_SIZE  # images that are prepared at once, whose names and readers are in memory

# From positions among the images that were asked for to a dataset of batches of them, in that order.
Batches = Callable[[np.ndarray], "tf.data.Dataset"]


class Seen(Protocol):
    """How each image is seen where that is not once, as it is; ``evaluation.seeing.Views`` is one.

    It goes to machines of a cluster by ``pickle``.
    """

    @property
    def key(self) -> str:
        """All that decides what comes of it."""
        ...

    @property
    def count(self) -> int:
        """Views of an image."""
        ...

    def through(self, network: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor) -> tf.Tensor:
        """What a network gives for images, float32 (batch, height, width, channels): of all views as one."""
        ...


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
    compute: ComputeSettings | None = None,
    team: Alone | None = None,
    seen: Seen | None = None,
) -> FeatureRows:
    """The prefix's output on each image, computed where it is not kept yet, and then kept.

    Two processes that want the same features compute them once, and those of a team its share each. What is done when
    one is killed is kept. Several splits are best asked for at once and taken apart with ``FeatureRows.part``: the graph
    is then built once.

    Args:
        prefix: from images, float32 of shape (batch, height, width, channels) in 0-255, to what is kept.
        paths: the images' files.
        keys: what each image is, as ``fingerprint.keys``; for augmented copies also which copy of what augmentation.
        geometry: how a file becomes an image.
        cache: where, in which dtype, and how many GiB at most.
        precision: ``float32`` runs the prefix as it is, ``bfloat16`` in mixed_bfloat16.
        about: what ``listing`` shows of the features, such as the base's name and the cut.
        batches: gives batches of the images at some positions, in order, uint8 or float32; None reads ``paths``.
        compute: of ``cache.compute=ray`` which cluster, and what each of its tasks gets; not with ``batches``.
        team: processes that all ask for these features now; None for this one alone.
        seen: how each image is seen; None for once, as it is. Not with ``batches``.

    Raises:
        BadInput: images that can't be decoded, all named; features larger than the cache may be; a folder that
            can't be used; no cluster answers.
        RunFailed: the disk is full or failing.
    """
    store = _store(prefix, geometry, cache, precision, keys, seen)

    def add(wanted: np.ndarray) -> None:
        if cache.compute == "ray" and compute is not None and batches is None:
            from framework.features.on_ray import spread

            spread(store, prefix, at(paths, wanted), at(keys, wanted), geometry, precision, compute, seen)
            store.refresh()
            return
        files = functools.partial(at, paths, wanted)
        size = CHUNK if batches is None else len(wanted)
        chunks = [wanted[start : start + size] for start in range(0, len(wanted), size)]
        made = batches or image_batches(paths, geometry, seen)
        datasets = map(made, chunks)
        first = next(datasets)
        forward = forward_of(prefix, store.layout, first.element_spec, precision, seen)

        def stream(advance: Callable[[int], object]) -> Iterator[tuple[Sequence[str], np.ndarray]]:
            for chunk, dataset in zip(chunks, chain([first], datasets), strict=True):
                found = records(forward, dataset, files, at(keys, chunk), geometry, store.layout, advance)
                yield from unchanged(found, listed(at(paths, chunk)))

        with progress("Computing features", len(wanted), "images") as advance:
            store.add(stream(advance))

    return _filled(store, keys, add, cache, about, team or Alone(), BATCH_SIZE)


def brought(
    prefix: keras.Model,
    cut: Sequence[str],
    embedded: Embedded,
    paths: Sequence[str],
    *,
    cache: CacheSettings,
    about: Mapping[str, Any],
    team: Alone | None = None,
) -> FeatureRows:
    """Features that the data bring, kept as those are that are computed: they are read in any order in little memory.

    Those of a team lay down a share each.

    Args:
        prefix: whose output they are to be.
        cut: names of the layers that give it.
        embedded: where they are.
        paths: the images.
        cache: where they are kept, and how many GiB at most.
        about: what ``listing`` shows of them.
        team: as for ``features``.

    Raises:
        BadInput: they are another network's, a file is damaged, or they are larger than the cache may be.
        RunFailed: the disk is full or failing.
    """
    _refuse_others(prefix, cut, embedded)
    keys, layout = embedded.keys(paths), Layout(((embedded.size,),), embedded.dtype)
    store = Store(root_folder(cache.dir), {"embedded": embedded.digests()}, layout, isinstance(keys, Keys))

    def stream(wanted: np.ndarray) -> Iterator[tuple[Sequence[str], np.ndarray]]:
        rows_of = keys.row[wanted] if isinstance(keys, Keys) else np.asarray(at(keys, wanted), np.int64)
        order = np.argsort(rows_of, kind="stable")
        done = 0
        with progress("Reading features", len(wanted), "images") as advance:
            for rows, values in embedded.read(rows_of[order]):
                little = values.astype(numpy_type(embedded.dtype), copy=False)
                yield at(keys, wanted[order[done : done + len(rows)]]), np.ascontiguousarray(little).view(np.uint8)
                done += len(rows)
                advance(len(rows))

    # a piece each: neighbours in a file lie mostly together, and each of a team reads few row groups beside its own
    return _filled(store, keys, lambda wanted: store.add(stream(wanted)), cache, about, team or Alone(), None)


def _refuse_others(prefix: keras.Model, cut: Sequence[str], embedded: Embedded) -> None:
    """Let only features pass that this prefix gives, as far as can be told without an image.

    Raises:
        BadInput: they are of other weights, or end at another layer.
    """
    made, file = embedded.made, embedded.files[0]
    if made["cut"] != list(cut):
        what = f"the features in {file} end at {listing(made['cut'])}, and this network's at {listing(cut)}"
        raise BadInput(Problem(what, "head.name", f"a head that begins there, or {' '.join(made['words'])}"))
    if made["weights"] != weights_of(prefix):
        what = f"the features in {file} were made with other weights than those of model.weights"
        right = "the file of weights that embed was given, of random ones the same trainer.seed"
        raise BadInput(Problem(what, "model.weights", right))


def _filled(
    store: Store,
    keys: Sequence[str],
    add: Callable[[np.ndarray], None],
    cache: CacheSettings,
    about: Mapping[str, Any],
    team: Alone,
    together: int | None,
) -> FeatureRows:
    """The kept rows of these keys, after those were added that were missing; arguments as for ``features``.

    ``add`` is given positions among the keys; ``together`` as for ``_share``.
    """
    store.open(about)
    try:
        store.refresh()
        computed, seconds = _fill(store, keys, cache.size_limit, add, team, together)
        if team.count > 1 and len(store.absent(keys)):
            # others of the team keep theirs on disks of their own
            seconds += _fill(store, keys, cache.size_limit, add, Alone(), together)[1]
        if len(store.absent(keys)):
            raise RunFailed(f"Features were written and can't be read back: the disk of {store.folder} may be failing.")
        return FeatureRows(store, keys, computed, seconds)
    except BaseException:
        store.close()
        raise


def _fill(
    store: Store,
    keys: Sequence[str],
    limit: float,
    add: Callable[[np.ndarray], None],
    team: Alone,
    together: int | None,
) -> tuple[int, float]:
    """Compute what is missing, each of a team its share of it; how many features that were, and seconds.

    The first has the store for all of them. Where they do not see one and the same, nothing is computed.
    """
    if not any(team.said(len(store.absent(keys)))):
        return 0, 0.0
    with store.writing() if team.first else contextlib.nullcontext():
        team.of_first(b"")
        started = time.perf_counter()
        store.refresh()
        absent = store.absent(keys)
        if len(absent):
            store.make_room(len(absent), limit)
        if len(set(team.said(names_checksum(at(keys, absent))))) == 1 and len(own := _share(absent, team, together)):
            add(own)
        team.said("done")
    store.refresh()
    return len(absent), time.perf_counter() - started


def _share(positions: np.ndarray, team: Alone, together: int | None) -> np.ndarray:
    """Every so many-th ``together``, or a piece each where that is None.

    By batches these are those of a process alone, and to the bit what is computed of them.
    """
    together = together or max(1, -(-len(positions) // team.count))
    return positions[np.arange(len(positions)) // together % team.count == team.place]


def listed(paths: Sequence[str]) -> tuple[tuple[str, tuple[int, int]], ...]:
    """The shards that images in columns lie in, and their states when they were listed."""
    if not isinstance(paths, ShardPaths):
        return ()
    return tuple((shard.file, shard.state) for shard in (paths.shards[number] for number in paths.used))


def unchanged(
    stream: Iterable[tuple[Sequence[str], np.ndarray]], shards: Sequence[tuple[str, tuple[int, int]]]
) -> Iterator[tuple[Sequence[str], np.ndarray]]:
    """Keys and records as they come, as long as the shards are as they were listed: else the keys would be of other images.

    Raises:
        RunFailed: one has changed meanwhile.
    """
    for keys, found in stream:
        for file, state in shards:
            if containers.state_of(file) != state:
                raise RunFailed(f"{file} has changed since it was listed; the same command reads it anew")
        yield keys, found


def outputs(model: keras.Model, paths: Sequence[str], *, geometry: Geometry) -> np.ndarray:
    """What a model with one output gives for each image, float32 (images, …), kept nowhere; raises as ``features``."""
    layout = Layout((tuple(model.outputs[0].shape[1:]),), "float32")
    dataset = image_batches(paths, geometry)(np.arange(len(paths)))
    forward = forward_of(model, layout, dataset.element_spec, "float32")
    with progress("Computing features", len(paths), "images") as advance:
        found = records(forward, dataset, lambda: paths, paths, geometry, layout, advance)
        return np.concatenate([layout.tensors(one)[0] for _, one in found])


def kept(prefix: keras.Model, keys: Sequence[str], *, geometry: Geometry, cache: CacheSettings, precision: str) -> int:
    """How many of these images' features are kept already."""
    store = _store(prefix, geometry, cache, precision, keys)
    store.refresh()
    return (len(keys) if isinstance(keys, Keys) else len(set(keys))) - len(store.absent(keys))


def measured(prefix: keras.Model, *, cache: CacheSettings, precision: str) -> tuple[float, float]:
    """Seconds until the pass can begin, and seconds an image from then on, found on a batch of noise."""
    layout = _layout(prefix, cache)
    noise = tf.cast(tf.random.uniform((BATCH_SIZE, *prefix.input_shape[1:]), 0, 256, tf.int32), tf.uint8)
    started = time.perf_counter()
    forward = forward_of(prefix, layout, noise, precision)
    forward(noise).numpy()
    ready = time.perf_counter()
    forward(noise).numpy()
    taken = time.perf_counter() - ready
    return max(0.0, ready - started - taken), taken / BATCH_SIZE


def image_batches(paths: Sequence[str], geometry: Geometry, seen: Seen | None = None) -> Batches:
    """Batches of images decoded from their files while the ones before are computed on; uint8.

    Of images that are seen several times fewer, so that a network has no more of them at once.
    """
    size = BATCH_SIZE if seen is None else max(1, BATCH_SIZE // seen.count)

    def batches(positions: np.ndarray) -> tf.data.Dataset:
        files = FileImages(tuple(at(paths, positions)), geometry)
        indices = tf.data.Dataset.range(len(files)).batch(size)
        images = indices.map(files.read, num_parallel_calls=WORKERS, deterministic=True)
        return untuned(images.prefetch(2))

    return batches


def _store(
    prefix: keras.Model,
    geometry: Geometry,
    cache: CacheSettings,
    precision: str,
    keys: Sequence[str] = (),
    seen: Seen | None = None,
) -> Store:
    decoding = f"decoder {DECODER_VERSION}, {geometry.key}"
    description = describe(prefix, decoding=decoding, precision=precision, dtype=cache.dtype)
    if seen is not None:
        description["seen"] = seen.key
    return Store(root_folder(cache.dir), description, _layout(prefix, cache), isinstance(keys, Keys))


def _layout(prefix: keras.Model, cache: CacheSettings) -> Layout:
    return Layout(tuple(tuple(tensor.shape[1:]) for tensor in prefix.outputs), cache.dtype)


Forward = Callable[["tf.Tensor"], "tf.Tensor"]


def records(
    forward: Forward,
    dataset: tf.data.Dataset,
    files: Callable[[], Sequence[str]],
    keys: Sequence[str],
    geometry: Geometry,
    layout: Layout,
    advance: Callable[[int], object],
) -> Iterator[tuple[Sequence[str], np.ndarray]]:
    """Keys and records of some images, batch by batch.

    Args:
        forward: as ``forward_of`` makes it.
        dataset: of batches of them.
        files: gives those of the images, and of all that are computed with them, for messages.
        keys: of the images.
        geometry: how a file becomes one.
        layout: of a record.
        advance: told how many are done.

    Raises:
        BadInput: images that can't be decoded, all named; features too large for their dtype.
        RunFailed: memory is too small, or files have changed meanwhile.
    """
    done = 0
    try:
        for images in dataset:
            found = forward(images).numpy()
            if layout.dtype == "float16" and not np.isfinite(found.view(np.float16)).all():
                raise BadInput(
                    Problem("features are too large for float16", "cache.dtype", "cache.dtype=bfloat16 or float32")
                )
            yield keys[done : done + len(found)], found
            done += len(found)
            advance(len(found))
    except tf.errors.ResourceExhaustedError as error:
        raise RunFailed(f"The features can't be computed: {error.message.splitlines()[0]}") from None
    except tf.errors.OpError:
        raise undecodable(files(), geometry) from None
    if done != len(keys):
        raise RunFailed(f"{len(keys)} images were to be read, and {done} came: their files may have changed meanwhile")


def forward_of(
    prefix: keras.Model, layout: Layout, spec: tf.TensorSpec | tf.Tensor, precision: str, seen: Seen | None = None
) -> Forward:
    """From a batch of images to their records, uint8 of shape (batch, bytes), in one graph."""
    network = in_bfloat16(folded(prefix)) if precision == "bfloat16" else folded(prefix)
    once = functools.partial(network, training=False)

    def forward(images: tf.Tensor) -> tf.Tensor:
        given = tf.cast(images, tf.float32)
        outputs = once(given) if seen is None else seen.through(once, given)
        flat = [
            tf.reshape(tf.cast(tensor, layout.dtype), (tf.shape(images)[0], -1)) for tensor in tf.nest.flatten(outputs)
        ]
        records = tf.bitcast(tf.concat(flat, axis=1), tf.uint8)
        return tf.reshape(records, (tf.shape(images)[0], layout.bytes))

    signature = tf.TensorSpec((None, *spec.shape[1:]), spec.dtype)
    return tf.function(forward, input_signature=[signature], autograph=False)

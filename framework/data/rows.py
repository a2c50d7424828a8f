"""What a batch is gathered from: decoded images in memory, or image files decoded anew each epoch."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from framework.core.backend import tf
from framework.core.console import progress
from framework.core.errors import BadInput, Problem
from framework.core.geometry import Geometry
from framework.data.columns import InShards, at
from framework.data.containers import ready
from framework.data.decode import plan, read_image, unreadable

_MIB = 2**20
# Batches read at once. A stated number, for tf.data's autotuning begins with one and takes seconds to find the others.
WORKERS = max(2, min(os.cpu_count() or 2, 16))


class Rows(Protocol):
    """A row for each image, read by position: images, kept features, or several tensors an image.

    ``read`` is traced into the input pipeline: there many batches are read at once, so it must depend on nothing but
    its argument. What it calls in Python goes through ``tf.numpy_function(stateful=False)``, for a stateful call would
    keep the batches from being read in parallel.
    """

    def __len__(self) -> int:
        """How many rows there are."""
        ...

    def read(self, indices: tf.Tensor) -> Any:
        """Rows at these positions.

        Args:
            indices: int64 of shape (batch,), in any order, repeats allowed.

        Returns:
            A tensor of shape (batch, …), or a tuple of such; all but the first dimension known.
        """
        ...


class FileImages:
    """Images decoded from their files whenever they are read: uint8 of shape (height, width, channels).

    Of paths in columns none is held: those of a batch are made when it is read.
    """

    def __init__(self, paths: Sequence[str], geometry: Geometry):
        self.paths = paths if isinstance(paths, InShards) else tuple(paths)
        self.geometry = geometry
        # Eager tensors: a constant would be copied into each graph that reads it.
        with tf.init_scope():
            self._names = None
            if not isinstance(self.paths, InShards):
                self._names = tf.constant(_encoded(self.paths), tf.string)
            self._readers = tf.constant(plan(self.paths, geometry), tf.int8)

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, indices: tf.Tensor) -> tf.Tensor:
        """Images at these positions: uint8 of shape (batch, height, width, channels)."""
        return tf.map_fn(
            lambda file: read_image(file[0], file[1], self.geometry),
            (self._named(indices), tf.gather(self._readers, indices)),
            fn_output_signature=tf.TensorSpec(self.geometry.shape, tf.uint8),
        )

    def _named(self, indices: tf.Tensor) -> tf.Tensor:
        if self._names is not None:
            return tf.gather(self._names, indices)
        names = tf.numpy_function(
            lambda rows: np.array(_encoded(at(self.paths, rows)), object), [indices], tf.string, stateful=False
        )
        return tf.ensure_shape(names, (None,))

    def ready(self, limit: float) -> None:
        """Prepare to read them in any order, where that is not fast by itself.

        Args:
            limit: how many GiB copies of them may take.
        """
        paths: Sequence[str] = self.paths
        if isinstance(paths, InShards):  # what is prepared of an image is prepared of all of its shard
            ranges = paths.by_shard()
            paths = paths[np.array([ranges.places(number)[0] for number in paths.used], np.int64)]
        ready(paths, limit)


def _encoded(paths: Sequence[str]) -> list[bytes]:
    return [os.fsencode(path) for path in paths]


class MemoryImages:
    """Images held decoded: uint8 of shape (images, height, width, channels)."""

    def __init__(self, images: np.ndarray):
        # Gathered by NumPy: as a tensor they would be copied once more, and for no speed.
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def read(self, indices: tf.Tensor) -> tf.Tensor:
        """Images at these positions: uint8 of shape (batch, height, width, channels)."""
        gathered = tf.numpy_function(lambda positions: self.images[positions], [indices], tf.uint8, stateful=False)
        return tf.ensure_shape(gathered, (None, *self.images.shape[1:]))


def decode_all(files: FileImages) -> np.ndarray:
    """Every image, decoded once, in parallel, with progress: uint8 of shape (images, height, width, channels).

    Raises:
        BadInput: files that can't be decoded, all of them named.
    """
    images = np.empty((len(files), *files.geometry.shape), np.uint8)
    batches = tf.data.Dataset.range(len(files)).batch(16)
    batches = untuned(batches.map(files.read, num_parallel_calls=WORKERS, deterministic=True).prefetch(1))
    done = 0
    with progress("Reading images", len(files), "images") as advance:
        try:
            for batch in batches.as_numpy_iterator():
                images[done : done + len(batch)] = batch
                done += len(batch)
                advance(len(batch))
        except tf.errors.OpError:
            raise undecodable(files.paths, files.geometry) from None
    return images


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The dataset without tf.data's autotuning, for its numbers are stated.

    In TensorFlow 2.21 the thread that tunes an iterator sleeps for spells that double, and the iterator, when it is
    closed, waits for that thread to wake: now and then as long again as it has run.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def image_rows(paths: Sequence[str], geometry: Geometry, memory_limit: int) -> FileImages | MemoryImages:
    """Images kept in memory if they fit, else read from their files each epoch.

    Args:
        paths: image files.
        geometry: of the images.
        memory_limit: MiB that they may take, decoded.

    Raises:
        BadInput: files that can't be decoded, where they are read at once.
    """
    files = FileImages(paths, geometry)
    if len(paths) * math.prod(geometry.shape) > memory_limit * _MIB:
        return files
    return MemoryImages(decode_all(files))


class Undecodable(BadInput):
    """Reading images failed.

    Attributes:
        reasons: of each file that can't be read, why.
    """

    def __init__(self, bad: Sequence[tuple[str, str]]):
        super().__init__(unreadable_problem(bad))
        self.reasons = dict(bad)


def undecodable(paths: Sequence[str], geometry: Geometry) -> BadInput:
    """The error to raise where decoding failed in the graph: names the files, which the graph's own error does not."""
    bad = unreadable(paths if isinstance(paths, InShards) else list(dict.fromkeys(paths)), geometry)
    if not bad:
        what = "an image couldn't be read, and now all can: files change while they are read"
        return BadInput(Problem(what, "data", "the same command again"))
    return Undecodable(bad)


def unreadable_problem(bad: Sequence[tuple[str, str]]) -> Problem:
    """One entry for all files that can't be read, each named with its reason."""
    what = f"{len(bad)} image{'s' * (len(bad) > 1)} can't be read:"
    lines = [f"\n    {path}: {why}" for path, why in bad]
    return Problem(what + "".join(lines), "data", "data.on_error=skip leaves them out")

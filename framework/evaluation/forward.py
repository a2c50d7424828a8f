"""Image files through a network, streaming: decoding runs beside it, memory stays flat, a bad file stops nothing."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from framework.core.backend import keras, tf
from framework.core.geometry import Geometry
from framework.data.decode import plan, read_image, why_unreadable
from framework.data.rows import WORKERS, untuned
from framework.evaluation.seeing import Views
from framework.features.folding import folded

if TYPE_CHECKING:
    from framework.evaluation.familiar import Familiar

LOOKAHEAD = 256


def forward(
    model: keras.Model,
    paths: Iterable[str],
    geometry: Geometry,
    batch_size: int,
    unreadable: list[tuple[str, str]],
    seen: Views | None = None,
    deep: list[str] | None = None,
    far: Familiar | None = None,
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Files and their logits, a batch at a time, in the order given.

    Args:
        model: from raw images, float32 0-255 (batch, height, width, channels), to logits.
        paths: any number of files; read a few hundred ahead.
        geometry: of the images that it takes.
        batch_size: images a batch.
        unreadable: each file that can't be decoded is added here with the reason, and left out.
        seen: how each image is seen; None for once, as it is.
        deep: files of more than 8 bits a channel, of which 8 are read, are added here.
        far: what distances are to; None for no distance.

    Yields:
        the files of a batch, and float32 logits of shape (files, units); with ``far`` the distance in one more column.
    """
    network = inference(model, seen, far)
    for names, images in batches(paths, geometry, batch_size, unreadable, deep):
        yield names, network(images).numpy()


def apart(rows: np.ndarray, units: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Of what ``forward`` gives, the logits and the distances; None where there are none."""
    return rows[:, :units], rows[:, units] if rows.shape[1] > units else None


def batches(
    paths: Iterable[str],
    geometry: Geometry,
    batch_size: int,
    unreadable: list[tuple[str, str]],
    deep: list[str] | None = None,
) -> Iterator[tuple[list[str], tf.Tensor]]:
    """Files and their pixels, a batch at a time, in the order given; arguments as for ``forward``.

    Yields:
        the files of a batch, and uint8 (files, height, width, channels).
    """
    waiting: deque[str] = deque()

    def look_ahead() -> Iterator[tuple[np.ndarray, list[bytes], np.ndarray]]:
        given, number = iter(paths), 0
        while names := list(itertools.islice(given, LOOKAHEAD)):
            waiting.extend(names)
            readers = plan(names, geometry, deep)
            yield np.arange(number, number + len(names)), [os.fsencode(name) for name in names], readers
            number += len(names)

    def read(number: tf.Tensor, path: tf.Tensor, reader: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return number, read_image(path, reader, geometry)

    kinds = (tf.TensorSpec((None,), tf.int64), tf.TensorSpec((None,), tf.string), tf.TensorSpec((None,), tf.int8))
    files = tf.data.Dataset.from_generator(look_ahead, output_signature=kinds).unbatch()
    images = files.map(read, num_parallel_calls=WORKERS, deterministic=True).ignore_errors()
    done = 0
    for numbers, batch in untuned(images.batch(batch_size).prefetch(2)):
        read_ones = []
        for number in numbers.numpy():
            unreadable += [(name := waiting.popleft(), why_unreadable(name, geometry)) for _ in range(number - done)]
            read_ones.append(waiting.popleft())
            done = number + 1
        yield read_ones, batch
    unreadable += [(name, why_unreadable(name, geometry)) for name in waiting]


def inference(
    model: keras.Model, seen: Views | None = None, far: Familiar | None = None
) -> tf.types.experimental.PolymorphicFunction:
    """The model as one graph from uint8 images to its output, traced once for batches of any length.

    Args:
        model: from raw images, float32 0-255.
        seen: how each image is seen; None for once, as it is.
        far: what distances are to, which follow in one more column; None for no distance.
    """
    network = folded(model if far is None else far.beside(model))
    signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8)]

    def forward(batch: tf.Tensor) -> tf.Tensor:
        images = tf.cast(batch, tf.float32)
        views = [images] if seen is None else seen.of(images)
        found = network(tf.concat(views, axis=0), training=False)
        logits = found if far is None else found[0]
        if seen is not None:
            logits = seen.mean(logits, len(views))
        if far is None:
            return logits
        distances = tf.reduce_mean(tf.reshape(far.distance(found[1]), (len(views), -1)), axis=0)
        return tf.concat([tf.cast(logits, tf.float32), distances[:, None]], axis=1)

    return tf.function(forward, input_signature=signature)

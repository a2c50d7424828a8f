"""The input pipeline: rows, labels and weights to batches, with the same order and draws for the same seed and epoch.

Chance has one source. The order of an epoch, and which images a balanced one has, is a function of (seed, epoch);
what an augmentation draws is a function of (seed, epoch, image, name of the augmentation). So batches are prepared in
parallel and still come out the same, and a resumed run needs no saved state of the pipeline.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from framework.core.backend import tf
from framework.data.rows import WORKERS, FileImages, MemoryImages, Rows, image_rows, untuned

__all__ = [
    "Augmentation",
    "Balance",
    "FileImages",
    "Gathered",
    "MemoryImages",
    "Rows",
    "Share",
    "all_draws",
    "augmented_dataset",
    "draws",
    "epoch_order",
    "epochs",
    "evaluation_dataset",
    "evaluation_gathered",
    "image_rows",
    "steps",
    "training_dataset",
    "training_gathered",
]


@dataclass(frozen=True)
class Augmentation:
    """A way to vary images, chance supplied from outside.

    Attributes:
        draws: how many uniform numbers it needs an image.
        apply: ``(images, labels, uniforms) -> (images, labels)``, in TensorFlow: images float32 of shape (batch,
            height, width, channels) in 0–255, labels as encoded, uniforms float32 of shape (batch, draws) in [0, 1).
    """

    draws: int
    apply: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


@dataclass(frozen=True)
class Share:
    """The rows of each batch that one of several workers takes: consecutive ones, as many as another takes or one more.

    Attributes:
        place: of the worker, from 0.
        workers: how many there are.
        blended: whether augmentations blend the rows of a batch: the share is then taken behind them, of the whole batch.
    """

    place: int
    workers: int
    blended: bool = False

    def of(self, count: Any) -> slice:
        """Its rows of so many; where there are fewer rows than workers, a row of another's in place of none.

        With oneDNN a convolution of no rows comes out in a wrong shape (TensorFlow 2.21).
        """
        start, end = count * self.place // self.workers, count * (self.place + 1) // self.workers
        return slice(start, (max if isinstance(count, int) else tf.maximum)(start + 1, end))

    def is_without(self, images: int, batch_size: int) -> bool:
        """Whether the last batch of so many images has no row for this worker, and what it gets does not count."""
        count = images % batch_size or batch_size
        return count * self.place // self.workers == count * (self.place + 1) // self.workers


def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order of an epoch: int64, each of ``range(count)`` once."""
    return _generator("order", seed, epoch).permutation(count)


@dataclass(frozen=True, eq=False)
class Balance:
    """Classes that are drawn equally often in each epoch.

    Attributes:
        how: ``over`` repeats images of the smaller classes; ``under`` leaves out some of the larger ones, others in
            each epoch.
        labels: int of shape (images,): the class of each training image.
    """

    how: Literal["over", "under"]
    labels: np.ndarray

    def __len__(self) -> int:
        """Images of an epoch."""
        counts = self._counts
        return len(counts) * int(counts.max() if self.how == "over" else counts.min())

    def images(self, seed: int, epoch: int) -> np.ndarray:
        """Positions of an epoch's images, class by class: int64 of shape (images of an epoch,).

        Of images that are repeated, all are as often as the others of their class, or once more.
        """
        counts, chance = self._counts, _generator("balance", seed, epoch)
        wanted = len(self) // len(counts)
        members = (chance.permutation(np.flatnonzero(self.labels == one)) for one in np.unique(self.labels))
        return np.concatenate([np.resize(own, wanted) for own in members])

    @property
    def _counts(self) -> np.ndarray:
        return np.unique(self.labels, return_counts=True)[1]


def draws(count: int, number: int, seed: int, epoch: int, name: str) -> np.ndarray:
    """What an augmentation draws in an epoch: float32 of shape (count, number) in [0, 1), a row an image.

    An image's row does not depend on how many images come after it.
    """
    return _generator(f"augmentation {name}", seed, epoch).random((count, number), np.float32)


def steps(count: int, batch_size: int) -> int:
    """Batches of an epoch, the last one possibly smaller."""
    return -(-count // batch_size)


def training_dataset(
    rows: Rows,
    labels: np.ndarray,
    *,
    batch_size: int,
    seed: int,
    start: tuple[int, int] = (0, 0),
    augmentations: Mapping[str, Augmentation] | None = None,
    class_weights: np.ndarray | None = None,
    copies: int = 1,
    balance: Balance | None = None,
    share: Share | None = None,
    answers: np.ndarray | None = None,
) -> tf.data.Dataset:
    """Training batches, epoch after epoch, without end: to be read with ``fit(steps_per_epoch=...)``.

    One iterator for all epochs, for to make one takes as long as a small head's epoch.

    Args:
        rows: images, or what is kept of them.
        labels: encoded for the task, a row each.
        batch_size: rows a batch; the last batch has what is left.
        seed: of the run.
        start: the epoch to begin with, and the steps of it that are left out, for a run that is resumed within one.
        augmentations: by name, in the order they are applied; the name is part of what they draw.
        class_weights: float32 of shape (classes,); adds sample weights. For blended labels they blend too.
        copies: how many rows there are of each label: all of the first copy, then all of the second, and so on. Each
            epoch reads one copy, in turn.
        balance: which images an epoch has; None: each once. What augmentations draw then is a function of (seed, epoch,
            place among the epoch's images), so that an image that is repeated is varied each time.
        share: the rows of each batch that are read; None: all.
        answers: a teacher's logits, float32, a row for each label; ``y`` is then a pair of labels and these. What varies the
            images leaves them as they are.

    Returns:
        Batches ``(x, y)`` or ``(x, y, sample_weight)``. Images (uint8) become float32 in 0–255, other rows stay as
        they are.
    """
    parts = dict(augmentations or {})
    count = len(labels)
    columns = sum(part.draws for part in parts.values())

    def begin(number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        epoch = int(number)
        rows_now, order = _positions(count, seed, epoch, copies, balance)
        left = slice(start[1] * batch_size if epoch == start[0] else 0, None)
        return rows_now[left], all_draws(parts, len(order), seed, epoch)[order[left]]

    def batches(epoch: tf.Tensor) -> tf.data.Dataset:
        # not stateful: one such call anywhere, and op determinism makes the whole pipeline sequential
        order, uniforms = tf.numpy_function(begin, [epoch], [tf.int64, tf.float32], stateful=False)
        order = tf.ensure_shape(order, (None,))
        early = None if share is None or share.blended else share
        return _batches(order, tf.ensure_shape(uniforms, (None, columns)), batch_size, early)

    late = share if share is not None and share.blended else None
    return _parallel(
        epochs(start[0]).flat_map(_as_it_is(batches)), _Batch(rows, labels, parts, class_weights, late, answers)
    )


@dataclass(frozen=True, eq=False)
class Gathered:
    """Batches that the loop of steps gathers itself, of rows that lie in memory as tensors.

    tf.data takes longer to hand on a batch of a head's than the head does to train on it.

    Attributes:
        order: from the number of an epoch to which row comes when: int64 of shape (rows of the epoch,).
        batch: from an order and the number of a step in it, in the graph, to ``(x, y)`` or ``(x, y, sample_weight)``.
    """

    order: Callable[[int], np.ndarray]
    batch: Callable[[tf.Tensor, tf.Tensor], tuple[Any, ...]]


def training_gathered(
    rows: Rows,
    labels: np.ndarray,
    *,
    batch_size: int,
    seed: int,
    class_weights: np.ndarray | None = None,
    copies: int = 1,
    balance: Balance | None = None,
) -> Gathered:
    """The batches of ``training_dataset``."""

    def order(epoch: int) -> np.ndarray:
        return _positions(len(labels), seed, epoch, copies, balance)[0]

    return Gathered(order, _gathering(_Batch(rows, labels, {}, class_weights), batch_size))


def evaluation_gathered(rows: Rows, labels: np.ndarray, batch_size: int) -> Gathered:
    """The batches of ``evaluation_dataset``."""
    return Gathered(lambda epoch: np.arange(len(rows)), _gathering(_Batch(rows, labels, {}, None), batch_size))


def epochs(start: int = 0) -> tf.data.Dataset:
    """What ``fit`` is given where batches are gathered: the numbers of epochs, without end."""
    return untuned(tf.data.Dataset.range(start, np.iinfo(np.int64).max))


def _gathering(prepare: _Batch, batch_size: int) -> Callable[[tf.Tensor, tf.Tensor], tuple[Any, ...]]:
    return lambda order, step: prepare(order[step * batch_size : (step + 1) * batch_size], tf.zeros((0, 0)))


def _positions(
    count: int, seed: int, epoch: int, copies: int, balance: Balance | None
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of an epoch in the order in which they come, and for each its place among the epoch's images."""
    order = epoch_order(count if balance is None else len(balance), seed, epoch)
    rows = order if balance is None else balance.images(seed, epoch)[order]
    # of very many images nothing is written twice
    return rows if copies == 1 else rows + epoch % copies * count, order


def augmented_dataset(
    rows: Rows,
    labels: np.ndarray,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    augmentations: Mapping[str, Augmentation],
    positions: np.ndarray,
) -> tf.data.Dataset:
    """The rows at these positions, each varied as training would vary it in that epoch: ``(x, y)``."""
    parts = dict(augmentations)
    uniforms = all_draws(parts, len(rows), seed, epoch)[positions]
    order = tf.constant(positions, tf.int64)
    return _parallel(_batches(order, tf.constant(uniforms), batch_size), _Batch(rows, labels, parts, None))


def evaluation_dataset(rows: Rows, labels: np.ndarray, batch_size: int, share: Share | None = None) -> tf.data.Dataset:
    """All rows in their own order, or a share of each batch, unvaried: ``(x, y)``; images as float32 in 0–255.

    Keras is not told how many batches these are: it would make an iterator behind each evaluation that nobody reads.
    """
    order = tf.range(len(rows), dtype=tf.int64)
    uniforms = tf.zeros((len(rows), 0), tf.float32)
    dataset = _parallel(_batches(order, uniforms, batch_size, share), _Batch(rows, labels, {}, None))
    dataset.cardinality = lambda: tf.constant(tf.data.UNKNOWN_CARDINALITY, tf.int64)
    return dataset


@dataclass(frozen=True, eq=False)
class _Batch:
    """From positions and draws to what ``fit`` takes."""

    rows: Rows
    labels: np.ndarray
    augmentations: Mapping[str, Augmentation]
    class_weights: np.ndarray | None
    share: Share | None = None
    answers: np.ndarray | None = None

    def __call__(self, indices: tf.Tensor, uniforms: tf.Tensor) -> tuple[Any, ...]:
        x = tf.nest.map_structure(_as_float, self.rows.read(indices))
        places = indices % len(self.labels)
        y, told = tf.gather(tf.constant(self.labels), places), self._told(places)
        start = 0
        for part in self.augmentations.values():
            x, y = part.apply(x, y, uniforms[:, start : start + part.draws])
            start += part.draws
        share = self.share
        if share is not None:
            x, y, told = tf.nest.map_structure(lambda tensor: tensor[share.of(tf.shape(tensor)[0])], (x, y, told))
        weights = () if self.class_weights is None else (_sample_weights(y, self.class_weights),)
        return (x, (y, *told) if told else y, *weights)

    def _told(self, places: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """What a teacher answers, if there is one; gathered by NumPy, for a graph copies its constants."""
        answers = self.answers
        if answers is None:
            return ()
        found = tf.numpy_function(lambda rows: answers[rows], [places], tf.float32, stateful=False)
        return (tf.ensure_shape(found, (None, answers.shape[1])),)


def _batches(order: tf.Tensor, uniforms: tf.Tensor, batch_size: int, share: Share | None = None) -> tf.data.Dataset:
    def cut(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        start, end = step * batch_size, (step + 1) * batch_size
        if share is not None:
            own = share.of(tf.minimum(end, count) - start)
            start, end = start + own.start, start + own.stop
        rows = slice(start, end)
        return order[rows], uniforms[rows]

    count = order.shape[0] if order.shape[0] is not None else tf.shape(order, tf.int64)[0]
    return tf.data.Dataset.range(-(-count // batch_size)).map(_as_it_is(cut))


def _parallel(batches: tf.data.Dataset, prepare: _Batch) -> tf.data.Dataset:
    # an augmentation may be written with Python's `if` on tensors; nothing else here is
    function = prepare if prepare.augmentations else _as_it_is(prepare)
    return untuned(batches.map(function, num_parallel_calls=WORKERS, deterministic=True).prefetch(2))


def _as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function without AutoGraph, whose rewriting of its source takes longer than training a small head."""
    return tf.autograph.experimental.do_not_convert(function)


def all_draws(parts: Mapping[str, Augmentation], count: int, seed: int, epoch: int) -> np.ndarray:
    """What all augmentations draw in an epoch, side by side: float32 of shape (count, draws)."""
    columns = [draws(count, part.draws, seed, epoch, name) for name, part in parts.items()]
    return np.concatenate([np.empty((count, 0), np.float32), *columns], axis=1)


def _as_float(rows: tf.Tensor) -> tf.Tensor:
    return tf.cast(rows, tf.float32) if rows.dtype == tf.uint8 else rows


def _sample_weights(y: tf.Tensor, class_weights: np.ndarray) -> tf.Tensor:
    """Float32 of shape (batch,): the weight of the label, for several labels or a blend of labels their mean."""
    weights = tf.constant(class_weights, tf.float32)
    if y.shape.rank == 1:
        return tf.gather(weights, y)
    if y.shape[1] == 1 and len(class_weights) == 2:
        return weights[0] + (weights[1] - weights[0]) * tf.cast(y[:, 0], tf.float32)
    y = tf.cast(y, tf.float32)
    total = tf.reduce_sum(y, axis=1)
    return tf.where(total > 0, tf.linalg.matvec(y, weights) / tf.maximum(total, 1e-6), 1.0)


def _generator(purpose: str, seed: int, epoch: int) -> np.random.Generator:
    key = hashlib.blake2b(f"{purpose}/{seed}/{epoch}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(key, np.uint64)))

"""Several workers train one network: each reads its share of every batch, and does to its copy what all have found.

A worker is a process with one device. All have the same settings, data and first weights, so each has the whole network
and changes it alike; what goes between them is one sum a step, of gradients, and one a call of several steps, of what
metrics have counted. Batch normalisation that trains takes its moments over all workers. So the numbers are those of
one worker, but for the order in which sums are added, and the same to the bit each time. What the network draws itself
(dropout) each worker draws for its own rows.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from framework.core import keras_private
from framework.core.backend import hushed, keras, tf
from framework.core.errors import BadInput, Problem, RunStopped
from framework.core.together import Alone
from framework.data.pipeline import Share
from framework.training.interruption import Interruption
from framework.training.loop import StepLoop, few_enough
from framework.training.state import StageProgress, layer_variables

# any number, the same in all workers: this is the only group
_GROUP = 1
# for each exchange: there and back, or one for each size
_KEYS = 32


class OneWorker(Alone):
    """A training by one process."""

    def share(self, blended: bool = False) -> Share | None:
        """The rows of each batch that this worker takes; ``blended`` if augmentations blend those of a batch."""
        return None

    def interruption(self) -> Interruption:
        """What remembers a signal."""
        return Interruption()

    def join(self, model: keras.Model, batch_size: int) -> None:
        """Have a compiled model, its optimizer built, train on what all workers find."""

    def loop(
        self, at: StageProgress, interruption: Interruption, images: int, batch_size: int
    ) -> Callable[..., StepLoop]:
        """Makes the loop of a stage's steps over so many images, from the arguments of ``StepLoop`` behind the model."""
        return partial(StepLoop, at.tail)

    def set_apart(self, model: keras.Model) -> None:
        """Let the model's random generators draw other numbers than those of other workers."""

    def agree(self, wanted: bool) -> bool:
        """What the first worker wants."""
        return wanted


class Workers(OneWorker):
    """One of several workers, in a process where ``come_together`` has brought all of them together.

    Whatever is exchanged is a sum, so all workers must ask for the same, in the same order.

    Raises:
        RunStopped: by all that exchanges something: another worker is lost.
    """

    def __init__(self, place: int, count: int):
        self.place, self.count = place, count
        self._keys = itertools.count(0, _KEYS)
        # while a step is traced: 0 where its rows do not count, else 1; and the part of the batch size that they are
        self.counts: Any = 1.0
        self.part: Any = 0.0

    def share(self, blended: bool = False) -> Share:
        """The rows of each batch that this worker takes; ``blended`` if augmentations blend those of a batch."""
        return Share(self.place, self.count, blended)

    def interruption(self) -> Interruption:
        """What remembers a signal until all workers know of it."""
        return Interruption(agreed=True)

    def join(self, model: keras.Model, batch_size: int) -> None:
        """Have a compiled model, its optimizer built, train on what all workers find.

        Each worker's loss is a mean over its own rows. It counts as its part of the batch size, so that the gradients
        of all add up to those of the whole batch; through batch normalisation, too, which mixes the rows of all. Clipping,
        and the look for what is not finite, come behind the sum.
        """
        optimizer = model.optimizer
        scale_loss, apply = optimizer.scale_loss, optimizer.apply
        self.batch_size = batch_size

        def scaled(loss: tf.Tensor) -> tf.Tensor:
            return scale_loss(loss * tf.cast(self.part, loss.dtype))

        def summed(gradients: Sequence[Any], variables: Any = None) -> None:
            apply(self._summed(gradients), variables)

        optimizer.scale_loss, optimizer.apply = scaled, summed
        for layer in keras_private.layers_within(model):
            if isinstance(layer, keras.layers.BatchNormalization):
                keras_private.take_moments(layer, self.moments)

    def loop(
        self, at: StageProgress, interruption: Interruption, images: int, batch_size: int
    ) -> Callable[..., StepLoop]:
        """Makes the loop of a stage's steps over so many images, from the arguments of ``StepLoop`` behind the model."""
        return partial(_SharedLoop, self, at, interruption, self.share().is_without(images, batch_size))

    def set_apart(self, model: keras.Model) -> None:
        """Let the model's random generators draw other numbers than those of other workers."""
        for _, state in layer_variables(model, ()):
            seed, *counts = np.array(state)
            state.assign(np.array([seed + self.place, *counts], state.dtype))

    def agree(self, wanted: bool) -> bool:
        """What the first worker wants."""
        with lost_is_stopped():
            return bool(self.sum(tf.constant(int(wanted and self.first))))

    def said(self, own: Any) -> list[Any]:
        """What each worker says, as JSON can hold it."""
        text = np.frombuffer(json.dumps(own).encode(), np.uint8).astype(np.int32)
        with lost_is_stopped():
            rows = self.concatenated(tf.constant(text)[:, None]).numpy().astype(np.uint8)[:, 0]
            ends = np.cumsum(self.gather(tf.constant(len(text))).numpy())
        return [json.loads(one.tobytes()) for one in np.split(rows, ends[:-1])]

    def of_first(self, own: bytes) -> bytes:
        """The first worker's bytes; those of others are not looked at."""
        own = own if self.first else b""
        with lost_is_stopped():
            size = int(self.sum(tf.constant(len(own), tf.int64)))
            if not size:  # TensorFlow dies of a sum of nothing
                return b""
            words = np.zeros(-(-size // 4) * 4, np.uint8)
            words[: len(own)] = np.frombuffer(own, np.uint8)
            return self.sum(tf.constant(words.view(np.int32))).numpy().tobytes()[:size]

    def sum(self, tensor: tf.Tensor) -> tf.Tensor:
        """The sum over all workers, of a tensor of one shape in all; the gradient of it is a sum, too."""
        there = next(self._keys)
        back = there + 1

        @tf.custom_gradient
        def summed(own: tf.Tensor) -> Any:
            return self._exchange(own, there), lambda upstream: self._exchange(upstream, back)

        return summed(tensor)

    def gather(self, tensor: tf.Tensor) -> tf.Tensor:
        """What each worker has, one after the other in a new first dimension; of one shape in all."""
        around = [[self.place, self.count - 1 - self.place], *([[0, 0]] * tensor.shape.rank)]
        return self.sum(tf.pad(tensor[None], around))

    def concatenated(self, rows: tf.Tensor) -> tf.Tensor:
        """The rows of each worker, one after the other, of shape (rows, columns); each may have another number of them.

        TensorFlow holds each key to one shape, and dies of a sum of nothing: there is a key for each power of two.
        """
        counts = self.gather(tf.shape(rows)[0])
        before, total = tf.reduce_sum(counts[: self.place]), tf.reduce_sum(counts)
        size = tf.math.log(tf.cast(tf.maximum(total, 1), tf.float64)) / np.log(2.0)
        power = tf.cast(tf.math.ceil(size), tf.int32)
        after = tf.bitwise.left_shift(1, power) - before - tf.shape(rows)[0]
        return self._exchange(tf.pad(rows, [[before, after], [0, 0]]), next(self._keys) + power)[:total]

    def moments(self, inputs: tf.Tensor, axes: Sequence[int]) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and variance over these axes and all workers, float32 (channels,): Chan et al., 1979, of their parts.

        Source: Updating Formulae and a Pairwise Algorithm for Computing Sample Variances, Stanford STAN-CS-79-773.
        """
        inputs = tf.cast(inputs, tf.float32)
        rows = tf.cast(tf.reduce_prod(tf.gather(tf.shape(inputs), axes)), tf.float32) * self.counts
        mean = tf.reduce_mean(inputs, axes, keepdims=True)
        squares = tf.reduce_sum(tf.square(inputs - mean), axes) * self.counts
        own = tf.concat([rows[None], tf.reshape(mean, (-1,)), squares], axis=0)
        parts = self.gather(own)
        counts, means, spreads = tf.split(parts, [1, squares.shape[0], squares.shape[0]], axis=1)
        total = tf.reduce_sum(counts)
        whole = tf.reduce_sum(counts * means, axis=0) / total
        spread = tf.reduce_sum(spreads + counts * tf.square(means - whole), axis=0)
        return whole, spread / total

    def _summed(self, gradients: Sequence[Any]) -> list[Any]:
        """The gradients of the whole batch, from those of this worker's part of it: one sum for all."""
        given = [tf.convert_to_tensor(gradient) for gradient in gradients if gradient is not None]
        flat = [tf.reshape(tf.cast(gradient, tf.float32), (-1,)) for gradient in given]
        # the parts of all workers are one, but in a last batch that is smaller
        total: Any = self.sum(tf.concat([self.part[None], *flat], axis=0))
        pieces = iter(tf.split(total[1:] / total[0], [one.shape[0] for one in flat]))
        whole = (tf.cast(tf.reshape(next(pieces), tf.shape(one)), one.dtype) for one in given)
        return [None if gradient is None else next(whole) for gradient in gradients]

    def _exchange(self, tensor: tf.Tensor, key: int | tf.Tensor) -> tf.Tensor:
        return tf.raw_ops.CollectiveReduceV2(
            input=tensor,
            group_size=self.count,
            group_key=_GROUP,
            instance_key=key,
            ordering_token=[],
            merge_op="Add",
            final_op="Id",
            communication_hint="ring",
        )


class _SharedLoop(StepLoop):
    """Steps that several workers do together: metrics are summed behind each call, and a signal to one is for all.

    The first worker's clock says how many steps are done before a look. Between calls every worker has the metrics of
    all; within one only the first goes on from there.
    """

    def __init__(
        self,
        workers: Workers,
        at: StageProgress,
        interruption: Interruption,
        without: bool,
        *given: Any,
        **named: Any,
    ):
        super().__init__(at.tail, *given, **named)
        self.workers, self.interruption, self.without = workers, interruption, without
        metrics = [at.tail.metrics[0], *at.metrics]
        self._gathered = [metric for metric in metrics if hasattr(metric, "gather")]
        self._counts = [one for metric in metrics if metric not in self._gathered for one in metric.variables]
        self._measured = [*self._counts, *(metric.count for metric in self._gathered)]
        self._next = 1

    def _call(self, iterator: Any, count: int) -> dict[str, tf.Tensor]:
        started = time.perf_counter()
        heard = self.interruption.heard
        told = [heard == signal.SIGTERM, heard == signal.SIGINT, self._next if self.workers.first else 0]
        with lost_is_stopped():
            numbers = tf.constant(count), tf.constant(self._left), tf.constant(told, tf.float64)
            results, agreed = self._run(iterator, *numbers)
            terminate, interrupt, few = map(int, agreed.numpy())
        if terminate or interrupt:
            self.interruption.signal = signal.SIGTERM if terminate else signal.SIGINT
        self._few, self._next = few, few_enough(count, time.perf_counter() - started)
        return results

    def _chunk(self, iterator: Any, count: tf.Tensor, left: tf.Tensor, told: tf.Tensor) -> Any:  # type: ignore[override]
        starts = [tf.identity(metric.count) for metric in self._gathered]
        for variable in [] if self.workers.first else self._counts:
            variable.assign(tf.zeros(variable.shape, variable.dtype))
        self._loop(iterator, count, left)
        for metric, start in zip(self._gathered, starts, strict=True):
            metric.gather(start, self.workers.concatenated)
        flat = [tf.reshape(tf.cast(tf.convert_to_tensor(variable), tf.float64), (-1,)) for variable in self._counts]
        total = self.workers.sum(tf.concat([told, *flat], axis=0))
        agreed, *sums = tf.split(total, [told.shape[0], *(one.shape[0] for one in flat)])
        for variable, one in zip(self._counts, sums, strict=True):
            variable.assign(tf.cast(tf.reshape(one, variable.shape), variable.dtype))
        return self.model.get_metrics_result(), agreed

    def _loop(self, iterator: Any, count: tf.Tensor, left: tf.Tensor) -> None:  # type: ignore[override]
        def body(done: tf.Tensor) -> tf.Tensor:
            data = next(iterator)
            rows = tf.cast(tf.shape(tf.nest.flatten(data)[0])[0], tf.float32)
            self.workers.counts = tf.cast(done < left - 1, tf.float32) if self.without else 1.0
            self.workers.part = rows * self.workers.counts / self.workers.batch_size
            before = [tf.identity(variable) for variable in self._measured] if self.without else []
            self.step(data)
            for variable, value in zip(self._measured, before, strict=self.without):
                variable.assign(tf.where(self.workers.counts > 0, variable, value))
            return done + 1

        tf.while_loop(lambda done: done < count, body, [tf.constant(0)], parallel_iterations=1)


@contextlib.contextmanager
def lost_is_stopped() -> Iterator[None]:
    """Where another worker is lost, the run is stopped, not failed: the same command goes on.

    Raises:
        RunStopped: in place of what TensorFlow says of a collective operation then.
    """
    errors = tf.errors
    lost = (errors.UnavailableError, errors.AbortedError, errors.InternalError, errors.DeadlineExceededError)
    try:
        yield
    except (*lost, errors.CancelledError, errors.FailedPreconditionError) as error:
        raise RunStopped(
            "another worker is lost; the same command goes on from the last state that was saved"
        ) from error


def come_together(place: int, count: int, device: int) -> Workers:
    """Bring up the cluster that ``TF_CONFIG`` describes; waits for all workers, deaf to SIGTERM.

    To be called before anything is computed. The strategy serves for nothing else: it would have variables of its own,
    and Keras's ``fit`` does not train under it (https://github.com/keras-team/keras/issues/20585).

    Args:
        place: of this worker, from 0.
        count: how many there are.
        device: which of this machine's cards is this worker's, from 0, where it has any.

    Raises:
        BadInput: the machine has fewer cards than workers.
    """
    cards = tf.config.list_physical_devices("GPU")
    if cards and device >= len(cards):
        what = f"worker {place} is number {device + 1} on its machine, which has {len(cards)} cards"
        raise BadInput(Problem(what, "trainer.workers", f"trainer.workers={len(cards)}: one a card"))
    if cards:
        tf.config.set_visible_devices(cards[device], "GPU")
    before = signal.getsignal(signal.SIGTERM)
    with hushed():
        tf.distribute.MultiWorkerMirroredStrategy()
    # TensorFlow has taken it, to tell others of a machine that is about to be taken away
    signal.signal(signal.SIGTERM, before)
    return Workers(place, count)

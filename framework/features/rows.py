"""Kept features as rows of the input pipeline: in memory where they fit, else read from disk batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from framework.core.backend import tf
from framework.features.store import Store

# Bytes of float32 features of one split that are held in memory.
MEMORY_LIMIT = 256 << 20
_CHUNK = 16 << 20


class FeatureRows:
    """The kept features of some images, in their order, float32; ``framework.data.rows.Rows`` is what it fulfils.

    Args:
        store: where they are; it stays in use as long as these rows.
        keys: row of each image in the store, repeats allowed.
        computed: how many had to be computed.
        seconds: how long that took.
        memory_limit: bytes that may be held in memory.
    """

    def __init__(
        self, store: Store, keys: Sequence[str], computed: int, seconds: float, memory_limit: int = MEMORY_LIMIT
    ):
        self.store, self.computed, self.seconds = store, computed, seconds
        self._keys, self._memory_limit = keys, memory_limit
        self.shapes = store.layout.shapes
        self._places = store.finder(keys)
        numbers = sum(int(np.prod(shape)) for shape in self.shapes)
        self.in_memory = len(keys) * numbers * 4 <= memory_limit
        self._arrays: list[tf.Tensor] | None = None

    def __len__(self) -> int:
        return len(self._keys)

    def part(self, start: int, stop: int) -> FeatureRows:
        """The rows from ``start`` up to ``stop``, for one split of several that were computed together."""
        return FeatureRows(self.store, self._keys[start:stop], 0, 0.0, self._memory_limit)

    def read(self, indices: tf.Tensor) -> Any:
        """Features at these positions: float32 of shape (batch, …), or a tuple of such where several tensors are kept.

        Args:
            indices: int64 of shape (batch,), in any order, repeats allowed.
        """
        if self.in_memory:
            tensors = [tf.gather(array, indices) for array in self._load()]
        else:
            types = [tf.float32] * len(self.shapes)
            tensors = tf.numpy_function(lambda rows: self._read(rows), [indices], types, stateful=False)
            tensors = tensors if isinstance(tensors, list | tuple) else [tensors]  # eagerly, one comes as itself
            for tensor, shape in zip(tensors, self.shapes, strict=True):
                tensor.set_shape((None, *shape))
        return tensors[0] if len(tensors) == 1 else tuple(tensors)

    def arrays(self) -> Any:
        """All features as one eager float32 tensor of shape (images, …), or a tuple; only if ``in_memory``."""
        arrays = self._load()
        return arrays[0] if len(arrays) == 1 else tuple(arrays)

    def _load(self) -> list[tf.Tensor]:
        if self._arrays is None:
            whole = [_aligned((len(self), *shape)) for shape in self.shapes]
            step = max(1, _CHUNK // self.store.layout.bytes)
            for start in range(0, len(self), step):
                for array, part in zip(whole, self._read(np.arange(start, min(start + step, len(self)))), strict=True):
                    array[start : start + step] = part
            with tf.init_scope():  # eager: a constant of the graph would be copied with it
                self._arrays = [tf.experimental.dlpack.from_dlpack(array.__dlpack__()) for array in whole]
        return self._arrays

    def _read(self, rows: np.ndarray) -> list[np.ndarray]:
        return self.store.layout.tensors(self.store.read(self._places(rows)))


def _aligned(shape: tuple[int, ...]) -> np.ndarray:
    """An empty float32 array that TensorFlow takes as it lies: it wants 64 bytes for a boundary."""
    numbers, boundary = int(np.prod(shape)), 16
    memory = np.empty(numbers + boundary, np.float32)
    start = -memory.ctypes.data // memory.itemsize % boundary
    return memory[start : start + numbers].reshape(shape)

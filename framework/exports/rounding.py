"""Rounds a network's weights to 8 bits so that its answers change least: what plain rounding loses is most of the loss.

Layer after layer, on calibration images: the weights are first fitted so that, on what the already rounded network below
gives, the layer answers as the original does on its own input; then they are rounded one input after another, each
rounding error made up for by the weights that are still to be rounded. GPTQ, Frantar et al. 2023,
https://arxiv.org/abs/2210.17323; the fit to the original's answers is GPTAQ's idea, Li et al. 2025,
https://arxiv.org/abs/2504.02692.

What comes out are float weights that lie on the grid LiteRT's converter chooses, symmetric and one step size a channel, so
that it rounds nothing further.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from framework.core.backend import keras, tf
from framework.core.console import progress

LEVELS = 127
# share of the mean square that is added to all: what calibration images say is not the whole truth
DAMPING, FIT_DAMPING = 0.01, 0.003
# step sizes that are tried, as shares of the one that just covers the largest weight
CLIPS = np.linspace(1.0, 0.3, 15)
AT_ONCE = 16
ROWS = 400  # positions of an image that are looked at
MEMORY = 2**30  # bytes of a network's inner values that are kept


def with_8_bit_weights(model: keras.Model, images: np.ndarray, smallest: int) -> keras.Model:
    """A copy of the model whose convolutions and dense layers hold weights of 8 bits.

    Args:
        model: from raw images, float32 0-255 (batch, height, width, channels).
        images: to calibrate with, uint8 (images, height, width, channels).
        smallest: kernels of fewer weights are left as they are.
    """
    # clones: a layer of the model itself may be part of other graphs too, and have several inputs
    original, copy = _clone(model), _clone(model)
    pairs = [(layer, copy.get_layer(layer.name)) for layer in original.layers if _is_rounded(layer, smallest)]
    random = np.random.default_rng(0)
    ours, theirs = _Walk(original, images), _Walk(copy, images)
    with progress("Rounding", len(pairs), "layers") as advance:
        for layer, twin in pairs:
            same, mixed = _moments(layer, ours.to(layer), theirs.to(twin), random)
            twin.kernel.assign(_round_kernel(layer.kernel.numpy().astype(np.float64), same, mixed))
            advance(1)
    return copy


def _clone(model: keras.Model) -> keras.Model:
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def _is_rounded(layer: keras.Layer, smallest: int) -> bool:
    """Whether the layer is of a kind known here: others keep their weights, and the converter rounds them."""
    if not layer.weights or math.prod(layer.weights[0].shape) < smallest:
        return False
    if type(layer) in (keras.layers.Conv2D, keras.layers.DepthwiseConv2D):
        return layer.dilation_rate == (1, 1) and getattr(layer, "groups", 1) == 1
    return type(layer) is keras.layers.Dense


class _Walk:
    """The images on their way through a network, up to one layer's input after the other."""

    def __init__(self, model: keras.Model, images: np.ndarray):
        self._kept: list[tuple[Any, list[np.ndarray]]] = [
            (model.input, np.array_split(images, -(-len(images) // AT_ONCE)))
        ]

    def to(self, layer: keras.Layer) -> list[np.ndarray]:
        """The layer's input, a batch at a time; goes on from the last place on the way that the input hangs on alone."""
        for start, batches in reversed(self._kept):
            if start is layer.input:
                return batches
            try:
                part = keras.Model(start, layer.input)
                found = [part(tf.cast(batch, tf.float32), training=False).numpy() for batch in batches]
            except (ValueError, KeyError):  # the second when it is called, by Keras before 3.13
                continue
            self._kept.append((layer.input, found))
            while len(self._kept) > 2 and sum(batch.nbytes for _, kept in self._kept for batch in kept) > MEMORY:
                del self._kept[1]
            return found
        raise AssertionError("every layer hangs on the images")


def _moments(
    layer: keras.Layer, ours: list[np.ndarray], theirs: list[np.ndarray], random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Second moments of what a weight's row is multiplied with, (groups, inputs, inputs): of the rounded network's
    values, and of those by the original's. A depthwise convolution has a group for each channel, any other layer one.
    """
    same = mixed = np.zeros(())
    groups = layer.kernel.shape[2] if isinstance(layer, keras.layers.DepthwiseConv2D) else 1
    for own, other in zip(ours, theirs, strict=True):
        pair = [_rows(values, layer) for values in (own, other)]
        if len(pair[0]) > ROWS * len(own):
            chosen = random.choice(len(pair[0]), ROWS * len(own), replace=False)
            pair = [rows[chosen] for rows in pair]
        own_rows, other_rows = (
            rows.astype(np.float64).reshape(len(rows), -1, groups).transpose(2, 0, 1) for rows in pair
        )
        turned = other_rows.transpose(0, 2, 1)
        same, mixed = same + turned @ other_rows, mixed + turned @ own_rows
    return same, mixed


def _rows(values: np.ndarray, layer: keras.Layer) -> np.ndarray:
    """What the kernel is laid on, (positions, inputs)."""
    if isinstance(layer, keras.layers.Dense):
        return values.reshape(-1, values.shape[-1])
    sizes, steps = [1, *layer.kernel_size, 1], [1, *layer.strides, 1]
    patches = tf.image.extract_patches(values, sizes, steps, [1, 1, 1, 1], layer.padding.upper()).numpy()
    return patches.reshape(-1, patches.shape[-1])


def _round_kernel(kernel: np.ndarray, same: np.ndarray, mixed: np.ndarray) -> np.ndarray:
    if len(same) == 1:
        inputs = kernel.reshape(-1, kernel.shape[-1])
        return _round(_fit(inputs, same[0], mixed[0]), same[0]).reshape(kernel.shape)
    # depthwise, (rows, columns, channels, multiplier)
    by_channel = kernel.reshape(-1, *kernel.shape[2:]).transpose(1, 0, 2)
    done = [_round(_fit(*group), group[1]) for group in zip(by_channel, same, mixed, strict=True)]
    return np.stack(done).transpose(1, 0, 2).reshape(kernel.shape)


def _damped(same: np.ndarray, share: float) -> np.ndarray:
    return same + (share * np.mean(np.diag(same)) + 1e-8) * np.eye(len(same))


def _fit(weights: np.ndarray, same: np.ndarray, mixed: np.ndarray) -> np.ndarray:
    """Weights (inputs, outputs) that answer to the rounded network's values as the given ones do to the original's."""
    moments = _damped(same, FIT_DAMPING)
    return np.linalg.solve(moments, mixed @ weights + (moments - same) @ weights)


def _round(weights: np.ndarray, same: np.ndarray) -> np.ndarray:
    """Weights (inputs, outputs) on a symmetric grid of 255 steps a column, its largest one at the grid's end."""
    moments = _damped(same, DAMPING)
    step = _steps(weights, moments)
    order = np.argsort(-np.diag(moments), kind="stable")
    largest = np.abs(weights).argmax(axis=0)
    inverse = np.linalg.cholesky(np.linalg.inv(moments[np.ix_(order, order)])).T
    left, done = weights[order].copy(), np.empty_like(weights)
    for place, row in enumerate(order):
        levels = np.clip(np.round(left[place] / step), -LEVELS, LEVELS)
        # the converter takes the largest weight for the grid's end: it must stay there
        levels = np.where(largest == row, np.where(weights[row] < 0, -LEVELS, LEVELS), levels)
        done[row] = levels * step
        error = (left[place] - done[row]) / inverse[place, place]
        left[place + 1 :] -= np.outer(inverse[place, place + 1 :], error)
    return done


def _steps(weights: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """The step size of each column that plain rounding loses least with: one that cuts off a weight that does little."""
    full = np.maximum(np.abs(weights).max(axis=0), 1e-12) / LEVELS
    best, least = full, np.full(weights.shape[1], np.inf)
    for clip in CLIPS:
        error = np.clip(np.round(weights / (clip * full)), -LEVELS, LEVELS) * (clip * full) - weights
        lost = np.einsum("io,ij,jo->o", error, moments, error, optimize=True)
        best, least = np.where(lost < least, clip * full, best), np.minimum(lost, least)
    return best

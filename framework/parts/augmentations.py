"""Augmentations: how training images are varied, as pure functions of images, labels and uniform numbers.

Nothing here draws: the pipeline hands in uniform numbers for each image, so that the same seed, epoch and image
always give the same result. Work is done on whole batches, in the image's own 0–255.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np

from framework.core.backend import tf
from framework.core.registry import augmentation
from framework.core.schema import NonNegative, Share, Whole
from framework.data.pipeline import Augmentation

Fill = Literal["reflect", "nearest"]


@augmentation("geometric")
def geometric(
    *, flip: bool, rotation: NonNegative, zoom: Share, shear: NonNegative, shift: Share, fill: Fill
) -> Augmentation:
    """Left-right flip, rotation, zoom, shear and shift, as one transform an image.

    ``rotation`` and ``shear`` in degrees, either way; ``zoom`` 0.1 for 0.9 to 1.1 times; ``shift`` as a share of height
    and width; ``fill`` for what comes into view from outside.
    """

    def apply(x: tf.Tensor, y: tf.Tensor, uniforms: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        chance, turned, scaled, sheared, right, down = tf.unstack(uniforms, axis=1)
        mirrored = chance < 0.5 if flip else tf.zeros_like(chance, tf.bool)
        if not (rotation or zoom or shear or shift):
            return tf.where(mirrored[:, None, None, None], tf.reverse(x, [2]), x), y
        moved = _transformed(
            x,
            mirror=tf.where(mirrored, -1.0, 1.0),
            rotation=_either_way(turned) * math.radians(rotation),
            zoom=1 + _either_way(scaled) * zoom,
            shear_x=tf.tan(_either_way(sheared) * math.radians(shear)),
            right=_either_way(right) * shift,
            down=_either_way(down) * shift,
            fill=fill,
        )
        return moved, y

    return Augmentation(6, apply)


@augmentation("orientation")
def orientation(*, upside_down: bool, quarter_turns: bool) -> Augmentation:
    """Up and down swapped for half of the images, and turns of 0, 90, 180 or 270 degrees, each as often.

    For images that have no up: from above, through a microscope. Images that are not square are turned by 0 or 180 degrees.
    """

    def apply(x: tf.Tensor, y: tf.Tensor, uniforms: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        swapped, turned = tf.unstack(uniforms[:, :, None, None, None], axis=1)
        if upside_down:
            x = tf.where(swapped < 0.5, tf.reverse(x, [1]), x)
        if quarter_turns:
            x = tf.where(turned < 0.5, tf.reverse(x, [1, 2]), x)
            if x.shape[1] == x.shape[2]:
                # the second binary digit of the number says whether it is a quarter more
                x = tf.where(tf.math.floormod(turned * 4, 2) < 1, tf.reverse(tf.transpose(x, (0, 2, 1, 3)), [1]), x)
        return x, y

    return Augmentation(2, apply)


@augmentation("crop")
def crop(*, cut: Share, aspect: NonNegative) -> Augmentation:
    """A part of the image, brought back to full size (Szegedy et al. 2014, arXiv:1409.4842).

    ``cut`` is how much of the area goes at most; ``aspect`` 0.33 lets the part's sides stand at 3:4 to 4:3.
    """

    def apply(x: tf.Tensor, y: tf.Tensor, uniforms: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        area, ratio, across, along = tf.unstack(uniforms, axis=1)
        side = tf.sqrt(1 - area * cut)
        stretch = tf.pow(1 + aspect, _either_way(ratio) / 2)
        height, width = tf.minimum(side * stretch, 1.0), tf.minimum(side / stretch, 1.0)
        top, left = along * (1 - height), across * (1 - width)
        boxes = tf.stack([top, left, top + height, left + width], axis=1)
        return tf.image.crop_and_resize(x, boxes, tf.range(tf.shape(x)[0]), x.shape[1:3]), y

    return Augmentation(4, apply)


@augmentation("color")
def color(*, brightness: Share, contrast: Share, saturation: Share) -> Augmentation:
    """Brightness, contrast and saturation, each by a factor: 0.2 for 0.8 to 1.2 times."""

    def apply(x: tf.Tensor, y: tf.Tensor, uniforms: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        bright, hard, vivid = tf.unstack(_either_way(uniforms), axis=1)
        return _recoloured(x, bright * brightness, hard * contrast, vivid * saturation), y

    return Augmentation(3, apply)


@augmentation("erase")
def erase(*, area: Share) -> Augmentation:
    """A rectangle of up to this share of the image becomes its mean colour (Zhong et al. 2017, arXiv:1708.04896)."""

    def apply(x: tf.Tensor, y: tf.Tensor, uniforms: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        share, ratio, across, along = tf.unstack(uniforms, axis=1)
        side, stretch = tf.sqrt(share * area), tf.pow(2.0, _either_way(ratio) / 2)
        inside = _box(x, across, along, width=side * stretch, height=side / stretch)
        return tf.where(inside, tf.reduce_mean(x, axis=(1, 2), keepdims=True), x), y

    return Augmentation(4, apply)


@augmentation("randaugment")
def randaugment(*, layers: Whole, magnitude: NonNegative) -> Augmentation:
    """So many changes an image, each chosen out of thirteen (Cubuk et al. 2019, arXiv:1909.13719; all but equalize).

    ``magnitude`` counts to 10, as in the paper.
    """
    changes = _changes(magnitude / 10)

    def one(image: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        x, uniforms = image[0][None], image[1]
        for number in range(layers):
            chosen = tf.cast(uniforms[2 * number] * len(changes), tf.int32)
            sign = tf.where(uniforms[2 * number + 1 : 2 * number + 2] < 0.5, -1.0, 1.0)
            x = tf.switch_case(chosen, [partial(change, x, sign) for change in changes])
        return tf.ensure_shape(x[0], image[0].shape)

    def apply(x: tf.Tensor, y: tf.Tensor, uniforms: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # Image by image, so that each pays for its own changes only.
        return tf.map_fn(one, (x, uniforms), fn_output_signature=tf.TensorSpec(x.shape[1:], tf.float32)), y

    return Augmentation(2 * layers, apply)


@augmentation("mixup", mixes=True)
def mixup(*, alpha: NonNegative) -> Augmentation:
    """Each image blended with its neighbour in the batch, and so their labels (Zhang et al. 2017, arXiv:1710.09412).

    The share follows Beta(alpha, alpha); 0 blends nothing.
    """
    quantiles = _beta_quantiles(alpha)

    def apply(x: tf.Tensor, y: tf.Tensor, uniforms: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        share = _share(quantiles, uniforms[:, 0])
        return _blended(x, _per_image(share)), _blended(_of_classes(y), share[:, None])

    return Augmentation(1, apply)


@augmentation("cutmix", mixes=True)
def cutmix(*, alpha: NonNegative) -> Augmentation:
    """A rectangle of each image's neighbour pasted in, labels by area (Yun et al. 2019, arXiv:1905.04899).

    The share kept follows Beta(alpha, alpha); 0 pastes nothing.
    """
    quantiles = _beta_quantiles(alpha)

    def apply(x: tf.Tensor, y: tf.Tensor, uniforms: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        share, across, along = tf.unstack(uniforms, axis=1)
        side = tf.sqrt(1 - _share(quantiles, share))
        inside = _box(x, across, along, width=side, height=side)
        kept = 1 - tf.reduce_mean(tf.cast(inside, tf.float32), axis=(1, 2, 3))
        return tf.where(inside, tf.roll(x, 1, axis=0), x), _blended(_of_classes(y), kept[:, None])

    return Augmentation(3, apply)


def _changes(strength: float) -> list[Callable[[tf.Tensor, tf.Tensor], tf.Tensor]]:
    """RandAugment's, each from one image of shape (1, height, width, channels) and a sign of shape (1,) to the image."""

    def moved(name: str, most: float) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
        return lambda x, sign: _transformed(x, **{name: sign * strength * most}, fill="reflect")

    def recoloured(name: str) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
        return lambda x, sign: _recoloured(x, **{name: sign * strength * 0.9})

    def sharpened(x: tf.Tensor, sign: tf.Tensor) -> tf.Tensor:
        return tf.clip_by_value(x + sign * strength * 0.9 * (x - _softened(x)), 0.0, 255.0)

    def stretched(x: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
        lowest, highest = (reduce(x, axis=(1, 2), keepdims=True) for reduce in (tf.reduce_min, tf.reduce_max))
        return (x - lowest) * (255 / tf.maximum(highest - lowest, 1.0))

    def posterized(x: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
        level = 2.0 ** round(4 * min(strength, 1.5))
        return tf.floor(x / level) * level

    def solarized(x: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
        return tf.where(x >= 256 * (1 - min(strength, 1.0)), 255 - x, x)

    return [
        lambda x, _: x,
        moved("rotation", math.radians(30)),
        moved("shear_x", 0.3),
        moved("shear_y", 0.3),
        moved("right", 0.33),
        moved("down", 0.33),
        recoloured("brightness"),
        recoloured("contrast"),
        recoloured("saturation"),
        sharpened,
        stretched,
        posterized,
        solarized,
    ]


def _either_way(uniforms: tf.Tensor) -> tf.Tensor:
    """From [0, 1) to [-1, 1)."""
    return 2 * uniforms - 1


def _per_image(values: tf.Tensor) -> tf.Tensor:
    """Shape (batch,) to (batch, 1, 1, 1)."""
    return values[:, None, None, None]


def _transformed(
    x: tf.Tensor,
    *,
    fill: Fill,
    mirror: tf.Tensor | float = 1.0,
    rotation: tf.Tensor | float = 0.0,
    zoom: tf.Tensor | float = 1.0,
    shear_x: tf.Tensor | float = 0.0,
    shear_y: tf.Tensor | float = 0.0,
    right: tf.Tensor | float = 0.0,
    down: tf.Tensor | float = 0.0,
) -> tf.Tensor:
    """Move each image about its centre: numbers, or one an image; rotation in radians, right and down as shares of the sides.

    The matrix leads from a place in the result to the place it comes from.
    """
    height, width = tf.cast(tf.shape(x)[1], tf.float32), tf.cast(tf.shape(x)[2], tf.float32)
    cos, sin = tf.cos(rotation) / zoom, tf.sin(rotation) / zoom
    # (rotation and zoom) times shear times mirror
    a, b = (cos - sin * shear_y) * mirror, cos * shear_x - sin
    c, d = (sin + cos * shear_y) * mirror, sin * shear_x + cos
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    from_x = middle_x - a * middle_x - b * middle_y - right * width
    from_y = middle_y - c * middle_x - d * middle_y - down * height
    each = tf.zeros(tf.shape(x)[:1])
    matrix = tf.stack([each + number for number in (a, b, from_x, c, d, from_y, 0.0, 0.0)], axis=1)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=x,
        transforms=matrix,
        output_shape=tf.shape(x)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode=fill.upper(),
    )


def _recoloured(
    x: tf.Tensor,
    brightness: tf.Tensor | None = None,
    contrast: tf.Tensor | None = None,
    saturation: tf.Tensor | None = None,
) -> tf.Tensor:
    """Away from black, from each pixel's grey and from the mean grey by these factors of shape (batch,); 0 is as is."""
    if brightness is not None:
        x = x * _per_image(1 + brightness)
    if saturation is not None:
        x = x + _per_image(saturation) * (x - _grey(x))
    if contrast is not None:
        x = x + _per_image(contrast) * (x - tf.reduce_mean(_grey(x), axis=(1, 2), keepdims=True))
    return tf.clip_by_value(x, 0.0, 255.0)


def _grey(x: tf.Tensor) -> tf.Tensor:
    if x.shape[-1] == 1:
        return x
    return tf.tensordot(x, tf.constant([[0.299], [0.587], [0.114]]), 1)


def _softened(x: tf.Tensor) -> tf.Tensor:
    """Each pixel with its eight neighbours, itself five times as heavy: what sharpness leads away from."""
    kernel = np.ones((3, 3, x.shape[-1], 1), np.float32)
    kernel[1, 1] = 5
    padded = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="SYMMETRIC")
    return tf.nn.depthwise_conv2d(padded, kernel / 13, strides=[1, 1, 1, 1], padding="VALID")


def _box(x: tf.Tensor, across: tf.Tensor, along: tf.Tensor, *, width: tf.Tensor, height: tf.Tensor) -> tf.Tensor:
    """Whether each pixel is in a rectangle wholly inside the image: bool of shape (batch, height, width, 1).

    Sides are shares of the image's; ``across`` and ``along`` in [0, 1) say where in the room that is left.
    """

    def within(pixels: tf.Tensor, side: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
        middles = (tf.cast(tf.range(pixels), tf.float32) + 0.5) / tf.cast(pixels, tf.float32)
        side = tf.minimum(side, 1.0)[:, None]
        start = place[:, None] * (1 - side)
        return (middles >= start) & (middles < start + side)

    rows = within(tf.shape(x)[1], height, along)
    columns = within(tf.shape(x)[2], width, across)
    return (rows[:, :, None] & columns[:, None, :])[..., None]


def _beta_quantiles(alpha: float) -> np.ndarray:
    """What uniform numbers become to follow Beta(alpha, alpha): float32, in equal steps of probability.

    From sorted samples, for no library here has the inverse; symmetric, as the distribution is.
    """
    if alpha == 0:
        return np.ones(1, np.float32)
    samples = np.sort(np.random.Generator(np.random.Philox(key=0)).beta(alpha, alpha, 2**17))
    samples = (samples + 1 - samples[::-1]) / 2
    return samples.reshape(4096, -1).mean(axis=1).astype(np.float32)


def _share(quantiles: np.ndarray, uniforms: tf.Tensor) -> tf.Tensor:
    return tf.gather(tf.constant(quantiles), tf.cast(uniforms * len(quantiles), tf.int32))


def _blended(values: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Each row with the one before it."""
    return share * values + (1 - share) * tf.roll(values, 1, axis=0)


def _of_classes(y: tf.Tensor) -> tf.Tensor:
    if not y.dtype.is_floating:
        raise ValueError("labels that are indices can't be blended: they must be one-hot")
    return y

"""The bytes of an image's file to pixels within a SavedModel's graph: as near to ``data.upright`` as TensorFlow goes."""

from __future__ import annotations

from collections.abc import Callable

from framework.core.backend import tf
from framework.core.geometry import Geometry
from framework.data.decode import fit, whole_in_graph

# what from_bytes does otherwise than a run, for its users
LIMITS = (
    "from_bytes reads as a run does, but sees orientation only where EXIF states it in the first 64 KiB of a JPEG or PNG, "
    "and transparency only in a PNG; BMP with a palette, TIFF, AVIF and HEIC are to be sent as pixels"
)
# An EXIF entry of the orientation, one SHORT, in either byte order, up to its value, and where that lies.
_ENTRIES = ((b"\x12\x01\x03\x00\x01\x00\x00\x00", 8), (b"\x01\x12\x00\x03\x00\x00\x00\x01", 9))
_HEAD = 1 << 16


def decoded(data: tf.Tensor, geometry: Geometry) -> tf.Tensor:
    """One image.

    Args:
        data: scalar string, a file's bytes.
        geometry: of the image that is wanted.

    Returns:
        float32 of shape (height, width, channels), whole numbers 0-255.
    """

    def other(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return image, _whole(tf.shape(image)[:2], geometry)

    is_png = tf.equal(tf.strings.substr(data, 0, 4), b"\x89PNG")
    image, whole = tf.case(
        [
            (tf.io.is_jpeg(data), lambda: _jpeg(data, geometry)),
            (is_png, lambda: other(_turned(_png(data), _orientation(data)))),
        ],
        lambda: other(tf.io.decode_image(data, channels=3, expand_animations=False)),
    )
    return tf.cast(fit(_shrunk(tf.ensure_shape(image, (None, None, 3)), whole), geometry), tf.float32)


def _whole(sides: tf.Tensor, geometry: Geometry) -> tf.Tensor:
    return whole_in_graph(sides, tf.constant(geometry.size), geometry.resize)


def _jpeg(data: tf.Tensor, geometry: Geometry) -> tuple[tf.Tensor, tf.Tensor]:
    """At half, a quarter or an eighth of its size where that is at least twice what is wanted; upright. And the sides
    that its whole comes to."""
    turned = _orientation(data)
    stored = tf.image.extract_jpeg_shape(data)[:2]
    whole = _whole(tf.where(turned < 5, stored, stored[::-1]), geometry)
    spare = tf.reduce_min(stored // (2 * tf.where(turned < 5, whole, whole[::-1])))

    def at(ratio: int) -> Callable[[], tf.Tensor]:
        return lambda: tf.io.decode_jpeg(
            data, channels=3, ratio=ratio, try_recover_truncated=True, dct_method="INTEGER_ACCURATE"
        )

    number = tf.reduce_sum(tf.cast(spare >= [2, 4, 8], tf.int32))
    return _turned(tf.switch_case(number, [at(ratio) for ratio in (1, 2, 4, 8)]), turned), whole


def _png(data: tf.Tensor) -> tf.Tensor:
    """On white, of 8 bits."""

    def byte(place: int) -> tf.Tensor:
        return tf.io.decode_raw(tf.strings.substr(data, place, 1), tf.uint8)[0]

    def deep() -> tf.Tensor:
        levels = tf.cast(tf.io.decode_png(data, channels=4, dtype=tf.uint16), tf.float32)
        # as Pillow: grey scaled and rounded, of other colours the upper byte
        return tf.cond(tf.equal(byte(25), 0), lambda: tf.round(levels / 257), lambda: tf.floor(levels / 256))

    def usual() -> tf.Tensor:
        return tf.cast(tf.io.decode_png(data, channels=4), tf.float32)

    bits = byte(24)  # behind signature, chunk's head, two sides; the kind of colours follows
    values = tf.cond(tf.equal(bits, 16), deep, usual)
    colours, opaque = values[..., :3], values[..., 3:] / 255
    # where there is no transparency and a colour has fewer than 8 bits, TensorFlow 2.21 fills in their largest number
    filled = (bits < 8) & (tf.reduce_max(opaque) < 16 / 255)
    opaque = tf.where(filled, 1.0, opaque)
    return tf.cast(tf.round(colours * opaque + 255 * (1 - opaque)), tf.uint8)


def _orientation(data: tf.Tensor) -> tf.Tensor:
    """EXIF's orientation, 1 to 8, from the first entry of it at the beginning of the file; 1 if there is none."""
    head = tf.io.decode_raw(tf.strings.substr(data, 0, _HEAD), tf.uint8)
    found = tf.constant(1)
    for entry, place in _ENTRIES:
        last = tf.maximum(tf.size(head) - place, 0)
        matches = [tf.equal(head[number : number + last], byte) for number, byte in enumerate(entry)]
        starts = tf.where(tf.reduce_all(matches, axis=0))[:1, 0]
        values = tf.cast(tf.gather(head, starts + place), tf.int32)
        found = tf.reduce_max(tf.concat([[found], tf.where(values <= 8, values, 1)], 0))
    return found


def _turned(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    turns = [
        lambda: image,
        lambda: image[:, ::-1],
        lambda: image[::-1, ::-1],
        lambda: image[::-1],
        lambda: tf.transpose(image, (1, 0, 2)),
        lambda: tf.transpose(image[::-1], (1, 0, 2)),
        lambda: tf.transpose(image[::-1, ::-1], (1, 0, 2)),
        lambda: tf.transpose(image[:, ::-1], (1, 0, 2)),
    ]
    return tf.switch_case(orientation - 1, turns)


def _shrunk(image: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    """By means over squares of a whole side, to no less than twice the sides wanted; the last squares are cut by the
    edge."""
    height, width = tf.unstack(tf.shape(image)[:2])
    side = tf.maximum(1, tf.reduce_min(tf.shape(image)[:2] // (2 * wanted)))
    rows, columns = -(-height // side), -(-width // side)
    padded = tf.pad(tf.cast(image, tf.int32), [[0, rows * side - height], [0, columns * side - width], [0, 0]])
    sums = tf.reduce_sum(tf.reshape(padded, (rows, side, columns, side, 3)), (1, 3))
    tall = tf.minimum(side, height - side * tf.range(rows))
    wide = tf.minimum(side, width - side * tf.range(columns))
    return tf.cast((2 * sums + (area := tall[:, None, None] * wide[:, None])) // (2 * area), tf.uint8)

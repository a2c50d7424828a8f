"""An image's file to RGB pixels: TensorFlow's JPEG and PNG decoders where they read it alike, Pillow for the rest.

The rule is that of ``upright``, by Pillow. TensorFlow's decoders work in the graph, in parallel, at half of the cost, and
give the same pixels of plain files: they know nothing of orientation, CMYK, transparency or 16 bits, and refuse other
damage than Pillow. So each file is looked at first, and only a plain one, sound in its structure, is theirs. A file is
unreadable where Pillow can't read it, and nowhere else.
"""

from __future__ import annotations

import functools
import io
import os
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from framework.core.backend import tf
from framework.core.errors import many
from framework.core.geometry import Geometry, Resize
from framework.data import containers, fingerprint
from framework.data.columns import ShardPaths
from framework.data.folders import CONVERT, HEIC_ADVICE, READS_HEIF
from framework.data.headers import HEAD, format_of, is_deep, jpeg_header, jpeg_skeleton, png_header, png_is_whole
from framework.data.memo import by_threads, remembered, remembered_of_rows
from framework.data.upright import upright, whole

# Part of the key of everything computed from decoded images: raise it with any change of the pixels.
DECODER_VERSION = "3"

# reader of a file; _JPEG + n decodes at 1/2**n of the size, and _MEMBER + n a member of a container
_PILLOW, _JPEG, _PNG, _MEMBER = 0, 1, 5, 6
_REDUCTIONS = (1, 2, 4, 8)
# What a file is decoded for to see whether it can be, where no size is known: small, so that a JPEG costs little.
_SMALL = (64, 64)
_DEEP = "more than 8 bits"  # what is remembered of a file that can be read
DEPTH = "more than 8 bits a channel, and 8 of them are read"
_DAMAGED = "damaged: its compressed data make no sense"
_STREAM = re.compile(
    "(broken|unrecognized|bad) data stream|decoder error|decoding error|could not create decoder", re.IGNORECASE
)  # Pillow's words


def plan(paths: Sequence[str], geometry: Geometry, deep: list[str] | None = None) -> np.ndarray:
    """How each file is to be read for such images: what ``read_image`` takes.

    Looks at each file's bytes without decoding them. A file that can't be opened is left to Pillow, whose error says why.

    Args:
        paths: image files.
        geometry: of the images that are wanted.
        deep: files of more than 8 bits a channel are added here; None asks for none.

    Returns:
        int8 of shape (images,).
    """
    return np.fromiter((_reader(path, geometry, deep) for path in paths), np.int8, len(paths))


def read_image(path: tf.Tensor, reader: tf.Tensor, geometry: Geometry) -> tf.Tensor:
    """Decode one file in the graph and bring it to its size.

    Args:
        path: scalar string.
        reader: scalar int8, from ``plan``.
        geometry: of the image that is wanted.

    Returns:
        uint8 of shape (height, width, channels).
    """

    def outside(read: Callable[[str], Any], kind: tf.DType) -> Callable[[], tf.Tensor]:
        return lambda: tf.numpy_function(
            lambda name: read(os.fsdecode(np.asarray(name).item())), [path], kind, stateful=False
        )

    def jpeg(ratio: int, data: Callable[[], tf.Tensor]) -> Callable[[], tf.Tensor]:
        # As Pillow: in accurate arithmetic, and a damaged scan is read as far as it makes sense.
        return lambda: tf.io.decode_jpeg(
            data(), channels=3, ratio=ratio, try_recover_truncated=True, dct_method="INTEGER_ACCURATE"
        )

    by_pillow, by_png = (outside(functools.partial(read, geometry=geometry), tf.uint8) for read in (_pillow, _png))
    files = [jpeg(ratio, lambda: tf.io.read_file(path)) for ratio in _REDUCTIONS]
    members = [jpeg(ratio, outside(containers.contents, tf.string)) for ratio in _REDUCTIONS]
    decoded = tf.switch_case(tf.cast(reader, tf.int32), [by_pillow, *files, by_png, *members])
    return fit(tf.ensure_shape(decoded, (None, None, 3)), geometry)


def fit(image: tf.Tensor, geometry: Geometry) -> tf.Tensor:
    """An image brought to its size in the graph: to the bit what ``upright.fitted`` makes of it.

    Args:
        image: uint8 of shape (any height, any width, 3), RGB.
        geometry: of the image that is wanted.

    Returns:
        uint8 of shape (height, width, channels).
    """
    size = tf.constant(geometry.size)
    if geometry.resize == "crop":
        sides = tf.shape(image)[:2]
        part = whole_in_graph(size, sides, "pad")
        image = tf.slice(image, [*tf.unstack((sides - part) // 2), 0], [*tf.unstack(part), 3])
    inside = whole_in_graph(tf.shape(image)[:2], size, "pad") if geometry.resize == "pad" else size
    image = tf.cast(tf.round(tf.image.resize(image, inside)), tf.uint8)  # bilinear: never below 0 or above 255
    if geometry.resize == "pad":
        before = (size - inside) // 2
        margins = [*tf.unstack(tf.stack([before, size - inside - before], axis=1)), [0, 0]]
        image = tf.pad(image, margins, constant_values=tf.constant(geometry.fill, tf.uint8))
    if geometry.channels == 1:
        luma = tf.reduce_sum(tf.cast(image, tf.int32) * [19595, 38470, 7471], axis=2, keepdims=True)
        image = tf.cast(tf.bitwise.right_shift(luma + 32768, 16), tf.uint8)
    return tf.ensure_shape(image, geometry.shape)


def whole_in_graph(sides: tf.Tensor, size: tf.Tensor, resize: Resize) -> tf.Tensor:
    """``upright.whole`` of int32 tensors of shape (2,)."""
    if resize == "stretch":
        return size
    sides, size = tf.cast(sides, tf.int64), tf.cast(size, tf.int64)
    scaled = (2 * sides * size[::-1] + sides[::-1]) // (2 * sides[::-1])
    scaled = tf.maximum(tf.minimum(size, scaled), 1) if resize == "pad" else tf.maximum(size, scaled)
    return tf.cast(scaled, tf.int32)


def image(path: str, geometry: Geometry) -> np.ndarray:
    """One file as the network gets it: the very pixels that a pipeline reads.

    Returns:
        uint8 of shape (height, width, channels).

    Raises:
        ValueError: the file can't be read; the text names it.
    """
    (reader,) = plan([path], geometry)
    try:
        return read_image(tf.constant(os.fsencode(path)), tf.constant(reader), geometry).numpy()
    except tf.errors.OpError:
        pixels(path, geometry.size)  # says why in Pillow's words
        raise ValueError(f"{path}: {_DAMAGED}") from None


def pixels(path: str, size: tuple[int, int] | None = None, resize: Resize = "stretch") -> np.ndarray:
    """What ``upright`` reads of a file; arguments as there.

    Returns:
        uint8 of shape (height, width, 3), RGB, not brought to ``size`` yet.

    Raises:
        ValueError: the file can't be read; the text names it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return upright(containers.openable(path), size, resize)
    except Exception as error:
        raise ValueError(f"{path}: {reason(error, path)}") from error


class Look(NamedTuple):
    """What a look at files found.

    Attributes:
        unreadable: files that can't be decoded, each with the reason, in the order given.
        deep: files of more than 8 bits a channel, of which 8 are read.
    """

    unreadable: list[tuple[str, str]]
    deep: list[str]


def look(paths: Sequence[str], geometry: Geometry | None = None) -> Look:
    """Look at each file once.

    Of JPEG and PNG files the structure, tables and checksums are checked, which is far cheaper than decoding; what looks
    odd, and every other format, is decoded. What that can't see, such as a PNG that was compressed wrongly and then
    given a right checksum, shows when the file is read. Verdicts on unchanged files are remembered.

    Args:
        paths: image files.
        geometry: read every file as a pipeline does for such images, and remember what comes of it in place of what a
            look at its structure said; loads TensorFlow.
    """

    hashes: dict[str, str] = {}
    in_shards = isinstance(paths, ShardPaths)  # which are known by these, and not by the hash of each

    def check(path: str) -> str:
        return _second_look(path, geometry) if geometry else _first_look(path, None if in_shards else hashes)

    readers = f"looked-{DECODER_VERSION}" + "-heif" * READS_HEIF  # what is installed later reads more
    anew = geometry is not None
    if isinstance(paths, ShardPaths):
        said = remembered_of_rows(paths, readers, "Looking at images", check, anew=anew)
        found = [(paths[position], verdict) for position, verdict in said.items()]
    else:
        verdicts = remembered(paths, readers, lambda names: by_threads("Looking at images", check, names), anew=anew)
        # a disk that is slow, or another machine's, is asked once for what both the look and the hash need
        fingerprint.note(hashes)
        found = [(path, verdict) for path, verdict in zip(paths, verdicts, strict=True) if verdict]
    return Look([one for one in found if one[1] != _DEEP], [path for path, verdict in found if verdict == _DEEP])


def told_depth(count: int) -> str:
    """That so many images have more than 8 bits a channel."""
    return f"{many(count, 'image has', 'images have')} {DEPTH}"


def unreadable(paths: Sequence[str], geometry: Geometry | None = None) -> list[tuple[str, str]]:
    """Files that can't be decoded, each with the reason, in the order given; arguments as for ``look``."""
    return look(paths, geometry).unreadable


def why_unreadable(path: str, geometry: Geometry) -> str:
    """Why a pipeline can't read a file for such images; empty if it can."""
    return _error_of(lambda: image(path, geometry), path)


def reason(error: Exception, path: str) -> str:
    """An exception of Pillow or the system about a file as a short clause."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return _no_image(path)
    if isinstance(error, Image.DecompressionBombError):
        return "more pixels than any photo has"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    text = str(error) or type(error).__name__
    if "truncated" in text.lower():
        return "truncated"
    return _DAMAGED if _STREAM.match(text) else text.splitlines()[0]


def _no_image(path: str) -> str:
    """What a file is that Pillow knows no image in."""
    from PIL import features

    try:
        format = format_of(containers.head(path, HEAD))
    except OSError:
        format = None
    match format:
        case None:
            return "not an image"
        case "empty":
            return "empty, 0 bytes"
        case "HEIC" if not READS_HEIF:
            return f"HEIC, {HEIC_ADVICE}"
        case "AVIF" if not features.check("avif"):
            return f"AVIF, which this Pillow does not read: pip install -U pillow, or {CONVERT}"
        case "JPEG" | "PNG" | "GIF" | "BMP" | "TIFF" | "WebP" | "AVIF" | "HEIC" | "PPM":
            return f"begins as {format} does, and is none further on"
        case _:
            return f"not an image but {format}"


def _pillow(path: str, geometry: Geometry) -> np.ndarray:
    return pixels(path, geometry.size, geometry.resize)


def _png(path: str, geometry: Geometry) -> np.ndarray:
    """A plain PNG by TensorFlow; by Pillow where its data end otherwise than TensorFlow demands and Pillow doesn't mind."""
    try:
        return tf.io.decode_png(containers.contents(path), channels=3).numpy()
    except tf.errors.OpError:
        return _pillow(path, geometry)


def _reader(path: str, geometry: Geometry, deep: list[str] | None) -> int:
    """TensorFlow's decoder for a sound file that it reads as Pillow does, and that needs no shrinking beyond it."""
    try:
        data, member = containers.fetched(path)
    except OSError:
        return _PILLOW
    if deep is not None and is_deep(data):
        deep.append(path)
    if (jpeg := jpeg_header(data)) and jpeg.plain and jpeg.upright and jpeg_skeleton(data):
        height, width = whole((jpeg.height, jpeg.width), geometry.size, geometry.resize)
        spare = min(jpeg.height // (2 * height), jpeg.width // (2 * width))
        number = sum(ratio <= spare for ratio in _REDUCTIONS[1:])
        ratio = _REDUCTIONS[number]
        shrunk = -(-jpeg.height // ratio), -(-jpeg.width // ratio)
        return _PILLOW if _is_large(shrunk, (height, width)) else (_MEMBER if member else _JPEG) + number
    if (png := png_header(data)) and png.plain and png_is_whole(data):
        sides = png.height, png.width
        return _PILLOW if _is_large(sides, whole(sides, geometry.size, geometry.resize)) else _PNG
    return _PILLOW


def _is_large(sides: tuple[int, int], wanted: tuple[int, int]) -> bool:
    """Whether ``upright`` would shrink it by means."""
    return sides[0] >= 4 * wanted[0] and sides[1] >= 4 * wanted[1]


def _first_look(path: str, hashes: dict[str, str] | None) -> str:
    """Why a file can't be decoded, empty if it can, by its structure where that is enough; its hash is kept if wanted."""
    try:
        data = containers.contents(path)
    except OSError as error:
        return reason(error, path)
    if hashes is not None:
        hashes[path] = fingerprint.digest(data)
    if png_is_whole(data) or ((skeleton := jpeg_skeleton(data)) and _opens(skeleton)):
        return _DEEP * is_deep(data)
    return _error_of(lambda: pixels(path, _SMALL), path) or _DEEP * is_deep(data)


def _second_look(path: str, geometry: Geometry) -> str:
    """The same by reading the file as a pipeline does."""
    if why := why_unreadable(path, geometry):
        return why
    return _DEEP * is_deep(containers.contents(path))


def _opens(jpeg: bytes) -> bool:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(jpeg)) as opened:
            opened.load()
    except Exception:
        return False
    return True


def _error_of(read: Callable[[], object], path: str) -> str:
    try:
        read()
    except ValueError as error:
        return str(error).removeprefix(f"{path}: ")
    return ""

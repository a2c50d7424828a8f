"""A picture's file to RGB pixels: TensorFlow's JPEG and PNG decoders where they read it right, Pillow for the rest.

TensorFlow's decoders work in the graph, in parallel, at half of Pillow's cost, but know nothing of EXIF orientation,
CMYK, transparency or 16 bits. So each file's header is looked at first, and says who reads it.
"""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from framework.core.backend import tf
from framework.core.console import progress
from framework.data.headers import jpeg_header, jpeg_is_whole, png_is_whole
from framework.data.memo import remembered

if TYPE_CHECKING:
    from PIL.Image import Image

# Part of the key of everything computed from decoded pictures: raise it with any change of the pixels.
DECODER_VERSION = "1"

_PILLOW, _JPEG, _PNG = 0, 1, 5  # reader of a file; _JPEG + n decodes at 1/2**n of the size
_REDUCTIONS = (1, 2, 4, 8)
_HEADER_BYTES = 1 << 16


def plan(paths: Sequence[str], size: tuple[int, int]) -> np.ndarray:
    """How each file is to be read for pictures of this height and width: what ``read_picture`` takes.

    Looks at each file's first and last bytes only. A file that can't be opened is left to Pillow, whose error says why.

    Returns:
        int32 of shape (pictures,).
    """
    return np.fromiter((_reader(path, size) for path in paths), np.int32, len(paths))


def read_picture(path: tf.Tensor, reader: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Decode one file in the graph and resize it, bilinearly and without keeping its aspect.

    Args:
        path: scalar string.
        reader: scalar int32, from ``plan``.
        size: height and width in pixels.

    Returns:
        uint8 of shape (height, width, 3), RGB.
    """

    def pillow() -> tf.Tensor:
        decoded = tf.numpy_function(
            lambda name: pixels(os.fsdecode(np.asarray(name).item()), size), [path], tf.uint8, stateful=False
        )
        return tf.ensure_shape(decoded, (None, None, 3))

    def jpeg(ratio: int) -> Callable[[], tf.Tensor]:
        # Told to recover it reads a damaged scan as Pillow does; files that end early are Pillow's, or refused before.
        return lambda: tf.io.decode_jpeg(tf.io.read_file(path), channels=3, ratio=ratio, try_recover_truncated=True)

    def png() -> tf.Tensor:
        return tf.io.decode_png(tf.io.read_file(path), channels=3)

    decoded = tf.switch_case(reader, [pillow, *(jpeg(ratio) for ratio in _REDUCTIONS), png])
    resized = tf.image.resize(tf.ensure_shape(decoded, (None, None, 3)), size)
    return tf.cast(tf.round(resized), tf.uint8)  # bilinear: never below 0 or above 255


def pixels(path: str, size: tuple[int, int] | None = None) -> np.ndarray:
    """Decode a file with Pillow: upright, its first frame, transparency on white, 16 bits scaled to 8.

    Args:
        path: any picture Pillow reads.
        size: height and width that it will be resized to; a much larger picture is shrunk by a whole factor to no less
            than twice that, which costs less and aliases less.

    Returns:
        uint8 of shape (height, width, 3), RGB, not resized to ``size`` yet.

    Raises:
        ValueError: the file can't be read; the text names it.
    """
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings(), Image.open(path) as opened:
            warnings.simplefilter("ignore")
            if size is not None:
                opened.draft(None, (2 * max(size), 2 * max(size)))
            picture = ImageOps.exif_transpose(opened)
            picture = _rgb(picture)
            if size is not None:
                factor = min(picture.height // (2 * size[0]), picture.width // (2 * size[1]))
                picture = picture.reduce(factor) if factor > 1 else picture
            return np.asarray(picture)
    except Exception as error:
        raise ValueError(f"{path}: {reason(error)}") from error


def unreadable(paths: Sequence[str], thorough: bool = False) -> list[tuple[str, str]]:
    """Files that can't be decoded, each with the reason, in the order given.

    The bytes of JPEG and PNG files are checked for their structure, which is far cheaper than decoding; what looks
    odd, and every other format, is decoded. Verdicts on unchanged files are remembered.

    Args:
        paths: picture files.
        thorough: decode every file, and remember what comes of it in place of what a look at its structure said.
    """
    check = _try_decoding if thorough else _first_look

    def look(names: list[str]) -> list[str]:
        with progress("Looking at pictures", len(names), "files") as advance, ThreadPoolExecutor() as pool:
            reasons = []
            for found in pool.map(check, names):
                reasons.append(found)
                advance(1)
            return reasons

    reasons = remembered(paths, f"readable-{DECODER_VERSION}", look, anew=thorough)
    return [(path, found) for path, found in zip(paths, reasons, strict=True) if found]


def _rgb(picture: Image) -> Image:
    """Any mode to RGB of 8 bits."""
    from PIL import Image

    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.asarray(picture, np.float64)
        top = values.max(initial=0)
        # 16 bits by their mode; a mode of 32 bits has no stated range: the smallest usual one that holds it
        scale = 65535 if picture.mode.startswith("I;16") else next(s for s in (1, 255, 65535, max(top, 1)) if top <= s)
        scale = 255 if picture.mode == "I" and top <= 255 else scale
        return Image.fromarray(np.clip(np.round(values * (255 / scale)), 0, 255).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        paper = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(paper, picture).convert("RGB")
    return picture.convert("RGB")


def _reader(path: str, size: tuple[int, int]) -> int:
    try:
        with open(path, "rb") as file:
            head = file.read(_HEADER_BYTES)
            if head.startswith(b"\xff\xd8"):
                file.seek(max(os.fstat(file.fileno()).st_size - 256, 0))
                return _jpeg_reader(head, file.read(), size)
            return _png_reader(head, size)
    except OSError:
        return _PILLOW


def _jpeg_reader(head: bytes, tail: bytes, size: tuple[int, int]) -> int:
    header = jpeg_header(head)
    if header is None or not header.plain or header.orientation != 1 or b"\xff\xd9" not in tail:
        return _PILLOW
    height, width = 2 * size[0], 2 * size[1]
    spare = min(header.height / height, header.width / width)
    return _JPEG + max((number for number, ratio in enumerate(_REDUCTIONS) if ratio <= spare), default=0)


def _png_reader(head: bytes, size: tuple[int, int]) -> int:
    """Plain 8-bit grey or RGB of a modest size is for TensorFlow."""
    if not head.startswith(b"\x89PNG\r\n\x1a\n") or len(head) < 33:
        return _PILLOW
    width, height, depth, colour = struct.unpack(">IIBB", head[16:26])
    large = height >= 4 * size[0] and width >= 4 * size[1]
    if large or (depth, colour) not in {(8, 0), (8, 2)}:
        return _PILLOW
    before_pixels = head[33 : head.find(b"IDAT")] if b"IDAT" in head else head
    return _PILLOW if any(chunk in before_pixels for chunk in (b"tRNS", b"eXIf", b"acTL")) else _PNG


def _first_look(path: str) -> str:
    """Why a file can't be decoded, empty if it can, by its structure where that is enough."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        return reason(error)
    if data.startswith(b"\xff\xd8") and jpeg_is_whole(data):
        return ""
    if data.startswith(b"\x89PNG") and png_is_whole(data):
        return ""
    return _try_decoding(path)


def _try_decoding(path: str) -> str:
    from PIL import Image

    try:
        with warnings.catch_warnings(), Image.open(path) as picture:
            warnings.simplefilter("ignore")
            picture.load()
    except Exception as error:
        return reason(error)
    return ""


def reason(error: Exception) -> str:
    """An exception of Pillow or the system as a short clause."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "not a picture"
    if isinstance(error, Image.DecompressionBombError):
        return "more pixels than any photo has"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    text = str(error) or type(error).__name__
    return "truncated" if "truncated" in text.lower() else text.splitlines()[0]

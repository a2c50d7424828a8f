"""A picture's file to RGB pixels: TensorFlow's JPEG and PNG decoders where they read it right, Pillow for the rest.

TensorFlow's decoders work in the graph, in parallel, at half of Pillow's cost, but know nothing of EXIF orientation,
CMYK, transparency or 16 bits. So each file's header is looked at first, and says who reads it.
"""

from __future__ import annotations

import os
import re
import struct
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from framework.core.backend import tf
from framework.core.console import progress
from framework.data.memo import remembered

if TYPE_CHECKING:
    from PIL.Image import Image

# Part of the key of everything computed from decoded pictures: raise it with any change of the pixels.
DECODER_VERSION = "1"

_PILLOW, _JPEG, _PNG = 0, 1, 5  # reader of a file; _JPEG + n decodes at 1/2**n of the size
_REDUCTIONS = (1, 2, 4, 8)
_HEADER_BYTES = 1 << 16
_ORIENTATION = 0x0112


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
        decoded = tf.numpy_function(lambda name: pixels(os.fsdecode(name), size), [path], tf.uint8, stateful=False)
        return tf.ensure_shape(decoded, (None, None, 3))

    def jpeg(ratio: int) -> Callable[[], tf.Tensor]:
        return lambda: tf.io.decode_jpeg(tf.io.read_file(path), channels=3, ratio=ratio)

    def png() -> tf.Tensor:
        return tf.io.decode_png(tf.io.read_file(path), channels=3)

    decoded = tf.switch_case(reader, [pillow, *(jpeg(ratio) for ratio in _REDUCTIONS), png])
    resized = tf.image.resize(tf.ensure_shape(decoded, (None, None, 3)), size)
    return tf.saturate_cast(tf.round(resized), tf.uint8)


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
        raise ValueError(f"{path}: {_reason(error)}") from error


def unreadable(paths: Sequence[str], thorough: bool = False) -> list[tuple[str, str]]:
    """Files that can't be decoded, each with the reason, in the order given.

    The bytes of JPEG and PNG files are checked for their structure, which is far cheaper than decoding; what looks
    odd, and every other format, is decoded. Verdicts on unchanged files are remembered.

    Args:
        paths: picture files.
        thorough: decode every file.
    """
    check = _try_decoding if thorough else _first_look

    def look(names: list[str]) -> list[str]:
        with progress("Looking at pictures", len(names), "files") as advance, ThreadPoolExecutor() as pool:
            reasons = []
            for reason in pool.map(check, names):
                reasons.append(reason)
                advance(1)
            return reasons

    reasons = look(list(paths)) if thorough else remembered(paths, f"readable-{DECODER_VERSION}", look)
    return [(path, reason) for path, reason in zip(paths, reasons, strict=True) if reason]


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


class _Jpeg(NamedTuple):
    """What a JPEG file's header says."""

    width: int
    height: int
    plain: bool  # baseline or progressive, 8 bits, grey or three colours
    orientation: int


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
    header = _jpeg_header(head)
    if header is None or not header.plain or header.orientation != 1 or b"\xff\xd9" not in tail:
        return _PILLOW
    height, width = 2 * size[0], 2 * size[1]
    fits = [n for n, ratio in enumerate(_REDUCTIONS) if header.height >= ratio * height and header.width >= ratio * width]
    return _JPEG + max(fits, default=0)


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


def _jpeg_header(data: bytes) -> _Jpeg | None:
    """Walk the segments up to the frame header; None if there is none."""
    position, orientation, colours_as_rgb = 2, 1, False
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        body = data[position + 4 : position + 2 + length]
        if marker == 0xE1 and body.startswith(b"Exif\0\0"):
            orientation = _exif_orientation(body[6:])
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if len(body) < 6:
                return None
            precision, height, width, components = struct.unpack(">BHHB", body[:6])
            plain = marker in (0xC0, 0xC1, 0xC2) and precision == 8 and components in (1, 3) and min(height, width) > 0
            return _Jpeg(width, height, plain, orientation)
        elif marker in (0xD9, 0xDA):
            return None
        position += 2 + length
    return None


def _exif_orientation(exif: bytes) -> int:
    """Orientation from the first directory of an EXIF block; 0, which is none, if the block is broken."""
    try:
        order = {b"II": "<", b"MM": ">"}[exif[:2]]
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (entries,) = struct.unpack_from(order + "H", exif, start)
        for entry in range(entries):
            tag, _, _, value = struct.unpack_from(order + "HHIH", exif, start + 2 + 12 * entry)
            if tag == _ORIENTATION:
                return value
    except (KeyError, struct.error):
        return 0
    return 1


# What may not follow FF inside a JPEG's entropy-coded data: anything but a stuffed zero, a restart or padding.
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_SEGMENTS = frozenset({0xC4, 0xDA, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)})


def _first_look(path: str) -> str:
    """Why a file can't be decoded, empty if it can, by its structure where that is enough."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        return _reason(error)
    if data.startswith(b"\xff\xd8") and _jpeg_is_whole(data):
        return ""
    if data.startswith(b"\x89PNG") and _png_is_whole(data):
        return ""
    return _try_decoding(path)


def _jpeg_is_whole(data: bytes) -> bool:
    """Whether all segments and scans follow each other up to the end marker."""
    header = _jpeg_header(data)
    if header is None or not header.plain:
        return False
    position, scans = 2, 0
    while found := _MARKER.search(data, position):
        marker = found.group(1)[0]
        if marker == 0xD9:
            return scans > 0
        if scans and marker not in _SEGMENTS:
            return False
        scans += marker == 0xDA
        position = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return False


def _png_is_whole(data: bytes) -> bool:
    """Whether every chunk is there, with the checksum it states."""
    import zlib

    position = 8
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        end = position + 8 + length
        if data[end : end + 4] != struct.pack(">I", zlib.crc32(data[position + 4 : end])):
            return False
        if data[position + 4 : position + 8] == b"IEND":
            return b"IDAT" in data
        position = end + 4
    return False


def _try_decoding(path: str) -> str:
    from PIL import Image

    try:
        with warnings.catch_warnings(), Image.open(path) as picture:
            warnings.simplefilter("ignore")
            picture.load()
    except Exception as error:
        return _reason(error)
    return ""


def _reason(error: Exception) -> str:
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

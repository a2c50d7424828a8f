"""From an image's file to the pixels that a network gets, by Pillow and NumPy alone: the rule that all else follows.

Every function stands by itself, with its imports inside, for ``call.py`` beside an exported file holds their text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from typing import BinaryIO

    from PIL.Image import Image


def upright(path: str | BinaryIO, size: tuple[int, int] | None = None, resize: str = "stretch") -> np.ndarray:
    """A file's image: upright, its first frame, transparency on white, 16 bits scaled to 8.

    Args:
        path: any image Pillow reads, or its opened file.
        size: height and width that it will be brought to; a much larger image is shrunk by a whole factor to no less
            than twice what it will be, which costs less and aliases less: a JPEG by its decoder as far as that can,
            then by means.
        resize: what ``fitted`` will do with its aspect.

    Returns:
        uint8 of shape (height, width, 3), RGB, not brought to ``size`` yet.

    Raises:
        Exception: whatever Pillow finds wrong with the file.
    """
    from PIL import Image

    with opened(path) as file:
        stored = file.size[::-1]
        if size is not None and file.format in ("JPEG", "MPO"):
            turned = orientation(file) > 4
            height, width = whole(stored[::-1] if turned else stored, size, resize)
            file.draft(None, (2 * height, 2 * width) if turned else (2 * width, 2 * height))
        file.load()  # what follows the pixels in a file may turn them too
        turns = [
            Image.Transpose.FLIP_LEFT_RIGHT,
            Image.Transpose.ROTATE_180,
            Image.Transpose.FLIP_TOP_BOTTOM,
            Image.Transpose.TRANSPOSE,
            Image.Transpose.ROTATE_270,
            Image.Transpose.TRANSVERSE,
            Image.Transpose.ROTATE_90,
        ]
        turn = orientation(file)
        image = rgb(file)
    if turn > 1:
        image = image.transpose(turns[turn - 2])
    if size is not None:
        height, width = whole(stored[::-1] if turn > 4 else stored, size, resize)
        factor = min(image.height // (2 * height), image.width // (2 * width))
        image = image.reduce(factor) if factor > 1 else image
    return np.asarray(image)


def opened(path: str | BinaryIO) -> Image:
    """The file, opened by Pillow; HEIC where ``pillow-heif`` is installed, whatever the file's ending says.

    Other formats that Pillow reads are not tried: for some it runs another program on the file.
    """
    from PIL import Image, UnidentifiedImageError

    Image.init()
    photos = ("JPEG", "PNG", "GIF", "BMP", "DIB", "TIFF", "PPM", "WEBP", "AVIF")
    try:
        return Image.open(path, formats=[name for name in photos if name in Image.OPEN])
    except UnidentifiedImageError as error:
        try:
            from pillow_heif import register_heif_opener
        except ImportError:
            raise error from None
        register_heif_opener()
        return Image.open(path, formats=["HEIF"])


def whole(length: tuple[int, int], size: tuple[int, int], resize: str) -> tuple[int, int]:
    """Height and width that the whole of an image of these sides comes to, cut or not."""
    if resize == "stretch":
        return size
    (height, width), (tall, wide) = length, size
    scaled = (2 * height * wide + width) // (2 * width), (2 * width * tall + height) // (2 * height)
    if resize == "pad":
        return max(1, min(tall, scaled[0])), max(1, min(wide, scaled[1]))
    return max(tall, scaled[0]), max(wide, scaled[1])


def orientation(image: Image) -> int:
    """How an image is turned, 1 (upright) to 8, as EXIF numbers it: from EXIF, or from XMP where that has none."""
    try:
        value = int(image.getexif().get(0x0112, 1))
    except Exception:  # a block that makes no sense says nothing
        return 1
    return value if 1 <= value <= 8 else 1


def rgb(image: Image) -> Image:
    """Any mode to RGB of 8 bits."""
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, np.float64)
        top = values.max(initial=0)
        if image.mode.startswith("I;16") or image.format in ("PNG", "PPM"):
            scale = 65535  # as the mode says, and the format, whatever mode Pillow gives it
        elif image.mode == "I" and top <= 255:
            scale = 255
        else:  # a mode of 32 bits has no stated range: the smallest usual one that holds it
            scale = next(size for size in (1, 255, 65535, max(top, 1)) if top <= size)
        return Image.fromarray(np.clip(np.round(values * (255 / scale)), 0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(paper, image).convert("RGB")
    return image.convert("RGB")


def fitted(image: np.ndarray, size: tuple[int, int], resize: str, fill: int, channels: int) -> np.ndarray:
    """An image brought to a size.

    Args:
        image: uint8 (height, width, 3), RGB.
        size: height and width.
        resize: ``stretch``, ``crop`` or ``pad``, as ``core.geometry`` says.
        fill: level of what ``pad`` adds.
        channels: 3, or 1 for grey: ITU-R BT.601's luma, in the whole numbers that Pillow computes it with.

    Returns:
        uint8 (height, width, channels).
    """
    height, width = image.shape[:2]
    if resize == "crop":
        tall, wide = whole(size, (height, width), "pad")  # the largest part of that aspect
        top, left = (height - tall) // 2, (width - wide) // 2
        image = image[top : top + tall, left : left + wide]
    if resize == "pad":
        tall, wide = whole((height, width), size, "pad")
        top, left = (size[0] - tall) // 2, (size[1] - wide) // 2
        ground = np.full((*size, 3), fill, np.uint8)
        ground[top : top + tall, left : left + wide] = bilinear(image, (tall, wide))
        image = ground
    else:
        image = bilinear(image, size)
    if channels == 1:
        luma = image.astype(np.int32) @ np.array([19595, 38470, 7471], np.int32)
        image = ((luma + 32768) >> 16).astype(np.uint8)[..., None]
    return image


def bilinear(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear between centres of pixels, to the bit what ``tf.image.resize`` computes, rounded.

    Args:
        image: uint8 (height, width, channels).
        size: height and width.
    """

    def places(length: int, wanted: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        half, scale = np.float32(0.5), np.float32(length) / np.float32(wanted)
        at = (np.arange(wanted, dtype=np.float32) + half) * scale - half
        low = np.floor(at)
        return np.maximum(low, 0).astype(int), np.minimum(np.ceil(at), length - 1).astype(int), at - low

    (top, bottom, down), (left, right, across) = (places(*each) for each in zip(image.shape, size, strict=False))
    across = across[:, None]
    rows = []
    for place in (top, bottom):
        row = image[place].astype(np.float32)
        rows.append(row[:, left] + (row[:, right] - row[:, left]) * across)
    upper, lower = rows
    return np.rint(upper + (lower - upper) * down[:, None, None]).astype(np.uint8)

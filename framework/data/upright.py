"""From an image's file to the pixels that a network gets, by Pillow and NumPy alone: the rule that all else follows.

Every function stands by itself, with its imports inside, for ``call.py`` beside an exported file holds their text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image


def upright(path: str, size: tuple[int, int] | None = None) -> np.ndarray:
    """A file's image: upright, its first frame, transparency on white, 16 bits scaled to 8.

    Args:
        path: any image Pillow reads.
        size: height and width that it will be resized to; a much larger image is shrunk by a whole factor to no less
            than twice that, which costs less and aliases less: a JPEG by its decoder as far as that can, then by means.

    Returns:
        uint8 of shape (height, width, 3), RGB, not resized to ``size`` yet.

    Raises:
        Exception: whatever Pillow finds wrong with the file.
    """
    from PIL import Image

    with Image.open(path) as opened:
        if size is not None and opened.format in ("JPEG", "MPO"):
            height, width = size if orientation(opened) < 5 else size[::-1]
            opened.draft(None, (2 * width, 2 * height))
        opened.load()  # what follows the pixels in a file may turn them too
        turns = [
            Image.Transpose.FLIP_LEFT_RIGHT,
            Image.Transpose.ROTATE_180,
            Image.Transpose.FLIP_TOP_BOTTOM,
            Image.Transpose.TRANSPOSE,
            Image.Transpose.ROTATE_270,
            Image.Transpose.TRANSVERSE,
            Image.Transpose.ROTATE_90,
        ]
        turned = orientation(opened)
        image = rgb(opened)
    if turned > 1:
        image = image.transpose(turns[turned - 2])
    if size is not None:
        factor = min(image.height // (2 * size[0]), image.width // (2 * size[1]))
        image = image.reduce(factor) if factor > 1 else image
    return np.asarray(image)


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
        # 16 bits by their mode; a mode of 32 bits has no stated range: the smallest usual one that holds it
        scale = 65535 if image.mode.startswith("I;16") else next(s for s in (1, 255, 65535, max(top, 1)) if top <= s)
        scale = 255 if image.mode == "I" and top <= 255 else scale
        return Image.fromarray(np.clip(np.round(values * (255 / scale)), 0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(paper, image).convert("RGB")
    return image.convert("RGB")


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
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

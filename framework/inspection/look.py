"""One look at each file: what it is, whether it decodes, and a small version to compare with others."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from framework.core.console import progress
from framework.core.errors import BadInput
from framework.data.containers import contents
from framework.data.decode import pixels, reason
from framework.data.fingerprint import digest
from framework.data.headers import is_deep
from framework.data.upright import opened

SIDE = 16
# how the two names of one format are told as one
_SAME = {"MPO": "JPEG"}


@dataclass(frozen=True)
class Look:
    """What was seen of a file.

    Attributes:
        path: the file.
        error: why it can't be decoded; empty if it can.
        format: by its contents, as Pillow calls it; empty if it is no image.
        named: the format that its ending names.
        mode: of its pixels, as Pillow calls it.
        width: in pixels, as stored.
        height: the same.
        frames: more than one in an animation.
        orientation: of EXIF; 1 is upright.
        deep: whether it has more than 8 bits a channel.
        hash: of the bytes; empty if they can't be read.
        small: RGB, uint8 (SIDE, SIDE, 3), upright, its aspect not kept; None if it can't be decoded.
    """

    path: str
    error: str = ""
    format: str = ""
    named: str = ""
    mode: str = ""
    width: int = 0
    height: int = 0
    frames: int = 1
    orientation: int = 1
    deep: bool = False
    hash: str = ""
    small: np.ndarray | None = None


def look_at(paths: Sequence[str]) -> list[Look]:
    """Look at files, in their order, with progress; each is decoded to its end."""
    with progress("Looking at images", len(paths), "files") as advance, ThreadPoolExecutor(os.cpu_count()) as pool:
        looks = []
        for look in pool.map(_look, paths):
            looks.append(look)
            advance(1)
        return looks


def _look(path: str) -> Look:
    from PIL import Image

    try:
        data = contents(path)
        if not data:
            return Look(path, "empty, 0 bytes")
        with warnings.catch_warnings(), opened(io.BytesIO(data)) as image:
            warnings.simplefilter("ignore")
            known = {
                "format": _SAME.get(image.format or "", image.format or ""),
                "named": _named(path),
                "mode": image.mode,
                "width": image.width,
                "height": image.height,
                "frames": 1 if image.format == "MPO" else getattr(image, "n_frames", 1),
                "orientation": int(image.getexif().get(0x0112, 1) or 1),
                "deep": is_deep(data),
                "hash": digest(data),
            }
    except BadInput:  # the container is broken, and all in it
        raise
    except Exception as error:
        return Look(path, reason(error, path))
    try:
        decoded = Image.fromarray(pixels(path, (4 * SIDE, 4 * SIDE)))
    except ValueError as error:
        return Look(path, str(error).removeprefix(f"{path}: "), **known)
    return Look(path, small=np.asarray(decoded.resize((SIDE, SIDE), Image.Resampling.BOX)), **known)


def _named(path: str) -> str:
    """The format that a file's ending stands for; empty for none that Pillow knows."""
    from PIL import Image

    format = Image.registered_extensions().get(Path(path).suffix.lower(), "")
    return _SAME.get(format, format)

"""Where the evidence lies: an image, and over it the heat of each class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from framework.core.names import short
from framework.reports.style import GREY, INK, bare, figure, heading, save

STRENGTH = 0.6
MOST = 8  # classes beside each other


def draw(path: Path, image: np.ndarray, heats: Sequence[tuple[str, str, np.ndarray]], title: str, below: str) -> Path:
    """Write the figure.

    Args:
        path: a PNG file.
        image: RGB 0-255, uint8 (height, width, 3).
        heats: a name, a line under it, and the heat, float (rows, columns) in [0, 1], for each class.
        title: above it.
        below: a line under the title.
    """
    tall = image.shape[0] / image.shape[1]
    page = figure(2.7 * (len(heats) + 1) + 0.3, 2.6 * tall + 1.3)
    grid = page.subplots(1, len(heats) + 1, squeeze=False)[0]
    grid[0].imshow(image)
    _name(grid[0], "image", "as the network sees it")
    for axes, (name, line, heat) in zip(grid[1:], heats, strict=True):
        axes.imshow(overlay(image, heat))
        _name(axes, short(name), line)
    heading(page, title, below)
    return save(page, path)


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The image with the heat over it: uint8 of the image's shape. Cold places keep the image, in grey.

    Args:
        image: RGB 0-255, uint8 (height, width, 3).
        heat: float (rows, columns) in [0, 1], enlarged smoothly.
    """
    import matplotlib
    from PIL import Image

    height, width = image.shape[:2]
    large = Image.fromarray(heat.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    smooth = np.clip(np.asarray(large), 0, 1)
    colour = matplotlib.colormaps["inferno"](0.25 + 0.75 * smooth)[..., :3] * 255
    grey = np.repeat(image.mean(axis=-1, keepdims=True), 3, axis=-1)
    share = STRENGTH * smooth[..., None] ** 0.8
    return np.round((1 - share) * (0.75 * grey + 0.25 * image) + share * colour).astype(np.uint8)


def _name(axes: object, name: str, line: str) -> None:
    bare(axes)  # type: ignore[arg-type]
    axes.set_title(name, loc="left", fontsize=11, color=INK, pad=16)  # type: ignore[attr-defined]
    axes.text(0, 1.02, line, transform=axes.transAxes, fontsize=8.5, color=GREY, va="bottom")  # type: ignore[attr-defined]

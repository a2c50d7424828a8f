"""A contact sheet: images in a grid, each with its file and a line or two under it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from framework.core.names import short
from framework.reports.style import EDGE, GREY, HEADING, INK, ORANGE, bare, figure, heading, save

COLUMNS, FEWEST = 6, 4
CELL, GAP, TEXT = 1.7, 0.16, 0.6  # inches: an image, between two, and the lines under it


@dataclass(frozen=True)
class Frame:
    """One image of a sheet: RGB of 0-255, uint8 (height, width, 3), a headline in orange, a line below, its file."""

    image: np.ndarray
    headline: str
    line: str
    file: str


def draw(path: Path, frames: Sequence[Frame], title: str, below: str) -> Path:
    """Write the sheet, left to right and down."""
    columns = max(min(COLUMNS, len(frames)), FEWEST)
    rows = -(-len(frames) // columns)
    width, height = columns * (CELL + GAP) - GAP + 2 * EDGE, HEADING + rows * (CELL + TEXT) + EDGE
    page = figure(width, height)
    page.set_layout_engine("none")
    heading(page, title, below)
    for place, frame in enumerate(frames):
        row, column = divmod(place, columns)
        left, bottom = EDGE + column * (CELL + GAP), height - HEADING - (row + 1) * CELL - row * TEXT
        axes = page.add_axes((left / width, bottom / height, CELL / width, CELL / height))
        bare(axes)
        axes.imshow(_square(frame.image))
        lines = (
            (0.05, short(frame.headline, 22), 9.5, ORANGE, "bold"),
            (0.215, short(frame.line, 26), 8.5, INK, "normal"),
            (0.365, short(frame.file, 36), 5.5, GREY, "normal"),
        )
        for down, text, size, colour, weight in lines:
            y = (bottom - down) / height
            page.text(left / width, y, text, va="top", fontsize=size, color=colour, fontweight=weight)
    return save(page, path)


def _square(image: np.ndarray) -> np.ndarray:
    """The image in the middle of a pale square of its longer side."""
    height, width = image.shape[:2]
    side = max(height, width)
    square = np.full((side, side, 3), 244, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = image
    return square

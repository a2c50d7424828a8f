"""A contact sheet: pictures in a grid, each with its file and a line or two under it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from framework.reports.style import GREY, INK, ORANGE, bare, figure, heading, save

COLUMNS = 6
CELL = 1.75


@dataclass(frozen=True)
class Frame:
    """One picture of a sheet: RGB of 0-255, uint8 (height, width, 3), a headline in orange, a line below, its file."""

    picture: np.ndarray
    headline: str
    line: str
    file: str


def draw(path: Path, frames: Sequence[Frame], title: str) -> Path:
    """Write the sheet, left to right and down."""
    columns = min(COLUMNS, max(len(frames), 3))
    rows = -(-len(frames) // columns)
    page = figure(columns * CELL + 0.3, rows * (CELL + 0.55) + 0.6)
    grid = page.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        bare(axes)
    for axes, frame in zip(grid, frames, strict=False):
        axes.imshow(_square(frame.picture))
        below = {"ha": "left", "va": "top", "transform": axes.transAxes}
        axes.text(0, -0.03, frame.headline, fontsize=9, fontweight="bold", color=ORANGE, **below)  # type: ignore[arg-type]
        axes.text(0, -0.15, frame.line, fontsize=8, color=INK, **below)  # type: ignore[arg-type]
        axes.text(0, -0.26, _short(frame.file), fontsize=5.5, color=GREY, **below)  # type: ignore[arg-type]
    heading(page, title)
    return save(page, path)


def _square(picture: np.ndarray) -> np.ndarray:
    """The picture in the middle of a pale square of its longer side."""
    height, width = picture.shape[:2]
    side = max(height, width)
    square = np.full((side, side, 3), 244, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = picture
    return square


def _short(name: str, most: int = 38) -> str:
    return name if len(name) <= most else f"…{name[-most + 1 :]}"

"""The filters of a first layer as small coloured tiles: what the network looks for before anything else."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from framework.reports.style import bare, figure, heading, save

MOST = 64


def draw(path: Path, kernel: np.ndarray, title: str, below: str) -> Path:
    """Write the figure; each filter is scaled by its own largest weight, grey is none.

    Args:
        path: a PNG file.
        kernel: float (rows, columns, channels, filters); three channels are red, green and blue.
        title: above it.
        below: a line under the title.
    """
    count = min(kernel.shape[-1], MOST)
    columns = min(8, max(4, math.ceil(math.sqrt(count))))
    rows = -(-count // columns)
    page = figure(columns * 0.95 + 0.3, rows * 0.95 + 0.9)
    grid = page.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        bare(axes)
    for axes, number in zip(grid, range(count), strict=False):
        weights = kernel[..., number]
        scaled = 0.5 + 0.5 * weights / max(float(np.abs(weights).max()), 1e-12)
        if scaled.shape[-1] == 3:
            axes.imshow(scaled, interpolation="nearest")
        else:
            axes.imshow(scaled.mean(axis=-1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    heading(page, title, below)
    return save(page, path)

"""Feature maps of several layers for one image: a row a layer, its strongest channels beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from framework.core.names import short
from framework.reports.style import EDGE, GREY, HEADING, INK, bare, figure, heading, save

CHANNELS, LAYERS = 8, 20  # at most
CELL, GAP, NAME = 1.15, 0.06, 1.75


def draw(path: Path, image: np.ndarray, layers: Sequence[tuple[str, np.ndarray]], title: str, below: str) -> Path:
    """Write the figure. Of each layer the channels that respond most are shown, each on its own scale.

    Args:
        path: a PNG file.
        image: RGB 0-255, uint8 (height, width, 3), as the network saw it.
        layers: name and float (rows, columns, channels) of each, from the input on.
        title: above it.
        below: a line under the title.
    """
    first = EDGE + CELL + NAME
    width, height = first + CHANNELS * (CELL + GAP) + EDGE, HEADING + len(layers) * (CELL + GAP) + EDGE
    page = figure(width, height)
    page.set_layout_engine("none")
    heading(page, title, below)
    place = page.add_axes((EDGE / width, 1 - (HEADING + CELL) / height, CELL / width, CELL / height))
    bare(place)
    place.imshow(image)
    for row, (name, maps) in enumerate(layers):
        bottom = height - HEADING - row * (CELL + GAP) - CELL
        rows, columns, channels = maps.shape
        text = f"{rows}×{columns}, {channels} channels"
        page.text((first - 0.12) / width, (bottom + CELL / 2) / height, short(name, 22), **_label(INK, 9, "bottom"))
        page.text((first - 0.12) / width, (bottom + CELL / 2 - 0.05) / height, text, **_label(GREY, 7.5, "top"))
        strongest = np.argsort(-maps.reshape(-1, channels).std(axis=0), kind="stable")[:CHANNELS]
        for column, channel in enumerate(strongest):
            left = first + column * (CELL + GAP)
            axes = page.add_axes((left / width, bottom / height, CELL / width, CELL / height))
            bare(axes)
            axes.imshow(maps[..., channel], cmap="viridis", interpolation="nearest")
    return save(page, path)


def _label(colour: str, size: float, where: str) -> dict[str, Any]:
    return {"ha": "right", "va": where, "fontsize": size, "color": colour}

"""Numbers that were predicted against true ones, a panel a column: on the line where they agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from framework.core.errors import many
from framework.core.names import short
from framework.reports.style import BLUE, GREY, INK, figure, heading, quiet, save

MOST, ACROSS = 6, 3  # panels, and so many beside each other
POINTS = 5000  # images that are drawn; of more some, spread over all


def draw(path: Path, names: Sequence[str], true: np.ndarray, said: np.ndarray, title: str, below: str) -> Path:
    """Write the figure.

    Args:
        path: a PNG file.
        names: of the columns; the first ``MOST`` are drawn.
        true: float (images, columns).
        said: what was predicted, of the same shape.
        title: above it.
        below: a line under the title.
    """
    count = min(len(names), MOST)
    columns = min(count, ACROSS)
    page = figure(1 + 4.2 * columns, 0.9 + 4.2 * math.ceil(count / columns))
    chosen = np.unique(np.linspace(0, len(true) - 1, min(POINTS, len(true))).astype(int))
    panels = page.subplots(math.ceil(count / columns), columns, squeeze=False).ravel()
    for axes in panels[count:]:
        axes.set_visible(False)
    for place, axes in enumerate(panels[:count]):
        x, y = true[chosen, place], said[chosen, place]
        low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
        margin = 0.04 * (high - low) or 1.0
        ends = (low - margin, high + margin)
        axes.plot(ends, ends, color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        axes.scatter(x, y, s=14, color=BLUE, alpha=0.5, linewidths=0)
        axes.set_xlim(*ends)
        axes.set_ylim(*ends)
        axes.set_aspect("equal")
        axes.set_title(short(names[place]), loc="left", fontsize=12, color=INK)
        axes.set_xlabel("true", color=GREY)
        axes.set_ylabel("predicted", color=GREY)
        quiet(axes)
    left_out = f"; {many(len(names) - count, 'more column')} left out" if len(names) > count else ""
    heading(page, title, f"{below}{left_out}")
    return save(page, path)

"""Precision, recall and F1 of each class as one figure, the best class on top; of many the ``MOST`` worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from framework.core.names import short
from framework.reports.style import BLUE, FAINT, GREY, INK, ORANGE, figure, heading, quiet, save

MOST = 40


def draw(path: Path, rows: Sequence[Mapping[str, Any]], title: str, below: str) -> Path:
    """Write the figure.

    Args:
        path: a PNG file.
        rows: for each class ``class``, ``precision``, ``recall``, ``f1`` and ``support``.
        title: above it.
        below: a line under the title.
    """
    ordered = sorted(rows, key=lambda row: (row["f1"], row["class"]))
    if len(ordered) > MOST:
        # a class without figures says nothing
        ordered = sorted(ordered, key=lambda row: not row["support"])[:MOST]
        title += f": the {MOST} worst of {len(rows):,}"
    places = range(len(ordered))
    page = figure(7.2, max(2.6, 0.34 * len(ordered) + 1.4))
    axes = page.subplots()
    for place, row in zip(places, ordered, strict=True):
        axes.plot([row["precision"], row["recall"]], [place, place], color=FAINT, linewidth=5, solid_capstyle="round")
    dots = (("precision", "o", ORANGE, 7), ("recall", "o", BLUE, 7), ("f1", "|", INK, 13))
    for key, marker, colour, size in dots:
        values = [row[key] for row in ordered]
        label = "F1" if key == "f1" else key
        axes.plot(
            values, places, marker, color=colour, markersize=size, markeredgewidth=2 if key == "f1" else 0, label=label
        )
    axes.set_yticks(places, [f"{short(row['class'])}  {row['support']:,}" for row in ordered])
    quiet(axes, "x")
    axes.tick_params(axis="y", labelcolor=INK, labelsize=9.5)
    axes.set_xlim(min(0.5, *(min(row["precision"], row["recall"]) - 0.05 for row in ordered)), 1.02)
    axes.set_ylim(-0.7, len(ordered) - 0.3)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, frameon=False, fontsize=9, labelcolor=GREY)
    heading(page, title, below)
    return save(page, path)

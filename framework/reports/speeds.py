"""Accuracy against time: what a base is worth, by what it takes on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from framework.reports.style import BLUE, FAINT, ORANGE, figure, heading, quiet, save


def draw(path: Path, rows: Sequence[tuple[str, float, float, float]], title: str, below: str) -> Path:
    """Write the figure.

    Args:
        path: a PNG file.
        rows: name, published accuracy of 0 to 1, seconds of the first run, seconds of each later one.
        title: above it.
        below: a line under the title.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    page = figure(8.5, 4.8)
    heading(page, title, below)
    axes = page.add_subplot()
    quiet(axes)
    axes.set_xscale("log")
    for name, accuracy, first, later in rows:
        axes.plot([later, first], [accuracy, accuracy], color=FAINT, linewidth=2, zorder=1)
        axes.annotate(name, (first, accuracy), xytext=(6, 5), textcoords="offset points", fontsize=9)
    for place, (word, colour) in enumerate((("first run", BLUE), ("each later run", ORANGE)), start=2):
        axes.plot([row[place] for row in rows], [row[1] for row in rows], "o", color=colour, label=word)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.1%}")
    axes.set_xlabel("seconds of a run of the head")
    axes.set_ylabel("published accuracy on ImageNet")
    axes.margins(x=0.18, y=0.15)
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.2)
    return save(page, path)

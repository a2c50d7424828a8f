"""Accuracy against coverage: what answering only the surest images comes to; and how sure it is of unknown ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from framework.reports.style import BLUE, GREY, INK, ORANGE, figure, heading, quiet, save

BINS = 20


def draw(
    path: Path, steps: Mapping[str, np.ndarray], known: np.ndarray, unknown: np.ndarray | None, title: str, below: str
) -> Path:
    """Write the figure; where there are unknown images a second panel shows how sure the answers are.

    Args:
        path: a PNG file.
        steps: ``coverage`` and ``accuracy``, both rising along the steps from the surest image down.
        known: confidence of the evaluated images.
        unknown: that of images of no class; None if there are none.
        title: above it.
        below: a line under the title.
    """
    page = figure(5.6 if unknown is None else 10.6, 4.4)
    left, *right = page.subplots(1, 1 if unknown is None else 2, squeeze=False)[0]
    left.plot(steps["coverage"], steps["accuracy"], color=BLUE, linewidth=2.2)
    whole = steps["accuracy"][-1]
    left.axhline(whole, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    left.text(0.01, whole, f"all images {whole:.3f}", fontsize=9, color=GREY, va="bottom")
    left.set_xlim(0, 1.01)
    left.set_ylim(min(whole, steps["accuracy"].min()) - 0.02, 1.005)
    left.set_xlabel("share of the images that is answered, the surest first", color=GREY)
    left.set_ylabel("accuracy of these answers", color=GREY)
    quiet(left, "y")
    if unknown is not None:
        (axes,) = right
        edges = np.linspace(0, 1, BINS + 1)
        for values, name, colour in ((known, "known", BLUE), (unknown, "unknown", ORANGE)):
            share = np.full(len(values), 1 / len(values))
            axes.hist(values, edges, weights=share, color=colour, alpha=0.6, label=f"{len(values):,} {name}")
        axes.set_xlabel("confidence of the answer", color=GREY)
        axes.set_title("Share of the images", loc="left", fontsize=11, color=INK)
        axes.legend(loc="upper left", frameon=False, fontsize=9, labelcolor=GREY)
        quiet(axes, "y")
    heading(page, title, below)
    return save(page, path)

"""The reliability diagram: how often answers of each confidence are right."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from framework.reports.style import BLUE, GREY, INK, ORANGE, figure, heading, quiet, save


def draw(
    path: Path, counts: np.ndarray, confidence: np.ndarray, accuracy: np.ndarray, error: float, title: str, below: str
) -> Path:
    """Write the figure: above, accuracy against confidence in bins of equal width; below, how many answers each has.

    Args:
        path: a PNG file.
        counts: answers in each bin.
        confidence: their mean confidence, NaN where there are none.
        accuracy: share of them that is right, NaN where there are none.
        error: expected calibration error.
        title: above it.
        below: a line under the title.
    """
    page = figure(5.6, 6.0)
    upper, lower = page.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    bins = len(counts)
    width = 1 / bins
    middle = (np.arange(bins) + 0.5) * width
    filled = counts > 0
    upper.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    upper.bar(middle[filled], accuracy[filled], width=0.92 * width, color=BLUE, alpha=0.85, label="share that is right")
    for x, sure, share in zip(middle[filled], confidence[filled], accuracy[filled], strict=True):
        upper.plot([x, x], [share, sure], color=ORANGE, linewidth=2.2, solid_capstyle="butt")
        upper.plot([x - 0.4 * width, x + 0.4 * width], [sure, sure], color=ORANGE, linewidth=2.2)
    upper.plot([], [], color=ORANGE, linewidth=2.2, label="confidence, and the gap to it")
    upper.set_ylim(0, 1.02)
    upper.set_xlim(0, 1)
    upper.set_ylabel("accuracy", color=GREY)
    upper.legend(loc="upper left", frameon=False, fontsize=9, labelcolor=GREY)
    upper.set_title(f"calibration error {error:.3f}", loc="right", fontsize=11, color=INK)
    lower.bar(middle, counts, width=0.92 * width, color=GREY, alpha=0.55)
    lower.set_ylabel("answers", color=GREY)
    lower.set_xlabel("confidence of the answer", color=GREY)
    for axes in (upper, lower):
        quiet(axes, "y")
    heading(page, title, below)
    return save(page, path)

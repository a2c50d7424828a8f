"""A yes-or-no classifier at every threshold: ROC curve, precision against recall, and where both answers lie."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from framework.core.names import short
from framework.reports.style import BLUE, FAINT, GREY, INK, ORANGE, figure, heading, quiet, save

BINS = 30


def draw(
    path: Path,
    yes: np.ndarray,
    labels: np.ndarray,
    curve: Mapping[str, np.ndarray],
    marked: Mapping[str, tuple[float, int]],
    numbers: Mapping[str, Any],
    classes: tuple[str, str],
    title: str,
    below: str,
) -> Path:
    """Write the figure.

    Args:
        path: a PNG file.
        yes: probability of yes, (images,).
        labels: 1 for yes, 0 for no, (images,).
        curve: ``recall``, ``false_alarm_rate`` and ``precision`` at each threshold, from the highest down.
        marked: name of a point to its threshold and its index on the curve; -1 is before the first.
        numbers: ``roc_area`` and ``average_precision``, None where they mean nothing.
        classes: names of no and yes.
        title: above it.
        below: a line under the title.
    """
    page = figure(13, 4.4)
    left, middle, right = page.subplots(1, 3)
    colours = dict(zip(marked, (INK, ORANGE), strict=False))

    left.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    left.plot(np.r_[0, curve["false_alarm_rate"]], np.r_[0, curve["recall"]], color=BLUE, linewidth=2.2)
    left.set_xlabel("false positive rate", color=GREY)
    left.set_ylabel("true positive rate", color=GREY)
    left.set_title(_with("ROC, area", numbers["roc_area"]), loc="left", fontsize=12, color=INK)

    middle.axhline(labels.mean(), color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    middle.plot(np.r_[0, curve["recall"]], np.r_[curve["precision"][0], curve["precision"]], color=BLUE, linewidth=2.2)
    middle.set_xlabel("recall", color=GREY)
    middle.set_ylabel("precision", color=GREY)
    middle.set_title(
        _with("Precision and recall, average precision", numbers["average_precision"]),
        loc="left",
        fontsize=12,
        color=INK,
    )
    for name, (threshold, index) in marked.items():
        if index >= 0:
            label = f"{name} {threshold:.2f}"
            look = {"color": colours[name], "markersize": 8, "markeredgecolor": "white", "markeredgewidth": 1.5}
            left.plot(curve["false_alarm_rate"][index], curve["recall"][index], "o", label=label, **look)
            middle.plot(curve["recall"][index], curve["precision"][index], "o", label=label, **look)
    for axes in (left, middle):
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(0, 1.03)
        axes.legend(loc="lower left" if axes is middle else "lower right", frameon=False, fontsize=9, labelcolor=GREY)

    edges = np.linspace(0, 1, BINS + 1)
    for value, name, colour in ((0, classes[0], GREY), (1, classes[1], BLUE)):
        # the number first: Matplotlib leaves out of a legend what begins with _
        label = f"{int((labels == value).sum()):,} {short(name)}"
        right.hist(yes[labels == value], edges, color=colour, alpha=0.6, label=label)
    for name, (threshold, _) in marked.items():
        right.axvline(threshold, color=colours[name], linewidth=1.2, linestyle=":")
    right.set_xlabel(f"probability of {short(classes[1])}", color=GREY)
    right.set_ylabel("images", color=GREY)
    right.set_yscale("symlog", linthresh=10)
    right.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    right.set_title("Where both answers lie", loc="left", fontsize=12, color=INK)
    legend = right.legend(loc="upper right", fontsize=9, labelcolor=GREY, framealpha=0.9, edgecolor="white")
    legend.set_zorder(5)
    for axes in (left, middle, right):
        quiet(axes)
        axes.spines["bottom"].set_visible(True)
        axes.spines["bottom"].set_color(FAINT)
    heading(page, title, below)
    return save(page, path)


def _with(text: str, number: float | None) -> str:
    return text if number is None else f"{text} {number:.3f}"

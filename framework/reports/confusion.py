"""The confusion matrix as a figure: a row a true class, right answers in blue, mistakes in orange.

Of more than ``WHOLE_UP_TO`` classes those that are most often mistaken for each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from framework.core.names import short
from framework.reports.style import BLUE, FAINT, GREY, INK, ORANGE, figure, heading, save, shades

WHOLE_UP_TO, NUMBERS_UP_TO = 100, 30


def draw(path: Path, confusion: np.ndarray, classes: Sequence[str], title: str, below: str) -> Path:
    """Write the figure of a confusion matrix.

    Args:
        path: a PNG file.
        confusion: counts (classes, classes), a row for each true class.
        classes: names.
        title: above it.
        below: a line under the title.
    """
    totals = confusion.sum(axis=1)
    if len(classes) > WHOLE_UP_TO:
        chosen = _most_confused(confusion, NUMBERS_UP_TO)
        title += f"; {len(chosen)} of {len(classes):,} classes, the most confused"
        confusion, totals = confusion[np.ix_(chosen, chosen)], totals[chosen]
        classes = [classes[place] for place in chosen]
    count, classes = len(classes), [short(name) for name in classes]
    share = confusion / np.maximum(totals, 1)[:, None]
    cell = 0.52 if count <= 15 else 0.36 if count <= NUMBERS_UP_TO else max(0.08, 9 / count)
    longest = 0.075 * max(map(len, classes))
    page = figure(max(4.5, count * cell + longest + 1.6), max(3.6, count * cell + longest + 1.5))
    axes = page.subplots()
    right = np.eye(count, dtype=bool)
    blue, orange = shades(BLUE)(0.9 * share), shades(ORANGE)(np.minimum(1.6 * share, 0.9))
    axes.imshow(np.where(right[..., None], blue, orange), interpolation="nearest")
    if count <= NUMBERS_UP_TO:
        for row, column in np.argwhere(confusion > 0):
            dark = share[row, column] > (0.55 if row == column else 0.35)
            axes.text(
                column,
                row,
                f"{confusion[row, column]:,}",
                ha="center",
                va="center",
                fontsize=9 if cell > 0.4 else 7,
                color="white" if dark else INK,
                fontweight="bold" if row == column else "normal",
            )
    size = 9.5 if count <= NUMBERS_UP_TO else max(3.5, 72 * cell * 0.8)
    axes.set_xticks(range(count), classes, rotation=45, ha="left", rotation_mode="anchor", fontsize=size, color=INK)
    axes.set_yticks(range(count), [f"{name}  {total:,}" for name, total in zip(classes, totals, strict=True)])
    axes.tick_params(axis="y", labelsize=size, labelcolor=INK)
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=FAINT, linewidth=1.2 if count <= NUMBERS_UP_TO else 0.3)
    axes.tick_params(which="minor", length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_ylabel("true class, and its images", color=GREY)
    axes.set_xlabel("predicted class", color=GREY)
    heading(page, title, below)
    return save(page, path)


def _most_confused(confusion: np.ndarray, most: int) -> np.ndarray:
    """Places of the classes in the pairs that are mistaken most often, in their order; filled up with large classes."""
    true, predicted = np.nonzero(confusion)
    wrong = true != predicted
    true, predicted = true[wrong], predicted[wrong]
    order = np.argsort(-confusion[true, predicted], kind="stable")
    pairs = np.stack([true[order], predicted[order]], axis=1).ravel()
    large = np.argsort(-confusion.sum(axis=1), kind="stable")
    return np.sort(list(dict.fromkeys([*pairs.tolist(), *large.tolist()]))[:most])

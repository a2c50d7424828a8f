"""The learning curves of one run, as a figure fit for a talk."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framework.core.digits import rounded
from framework.core.errors import BadInput, Problem
from framework.core.runs import RunFolder
from framework.reports.entries import NOT_MEASURED, read_entry
from framework.reports.style import BLUE, EDGE, FAINT, GREY, INK, ORANGE, figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

WORDS = {
    "auc": "ROC AUC",
    "f1": "F1",
    "top_k": "Top-k accuracy",
    "mae": "Mean absolute error",
    "rmse": "Root mean squared error",
    "r2": "R²",
}
MARKED_UP_TO = 30
PANEL, HEIGHT = 6.0, 4.2  # inches
# inches around panels and between them, for numbers and titles: to have them measured takes as long as to draw
LEFT, RIGHT, BETWEEN, ABOVE, BELOW, TITLE = 0.58, 0.16, 0.66, 0.42, 0.5, 0.36


def draw(folder: RunFolder) -> Path:
    """Write ``curves.png`` from ``history.csv`` and, if it is there, ``run.json``.

    Two panels, the metric that chose the best epoch (else the first) and the loss: validation solid, training dashed.
    Values that are not finite leave a gap. Of ``run.json`` it reads ``title`` and ``best``; where no best epoch is named,
    it is the best by the column that the run watches.

    Returns:
        The figure's path.

    Raises:
        BadInput: the history has no epoch, or ``run.json`` can't be read.
    """
    rows = folder.read_history()
    if not rows:
        raise BadInput(Problem(f"{folder.history} has no epoch yet: there is nothing to draw", str(folder.history)))
    run = folder.read_run() if folder.run_json.exists() else {}
    measured = [column for column in rows[0] if column not in NOT_MEASURED and not column.startswith("val_")]
    entry = read_entry(folder.path, folder.path.name)
    watched = entry.yardstick.column.removeprefix("val_")
    metrics = sorted((column for column in measured if column != "loss"), key=lambda column: column != watched)
    best = next((index for index, row in enumerate(rows) if row["epoch"] == entry.best.get("epoch")), None)
    word = "last epoch" if (run.get("best") or {}).get("kept") == "last" else "epoch"
    panels = [*metrics[:1], "loss"]

    drawn, title = figure(PANEL * len(panels), HEIGHT), run.get("title")
    for axes, column, colour in zip(_axes(drawn, len(panels), bool(title)), panels, (BLUE, ORANGE), strict=False):
        _panel(axes, rows, column, colour, best, word)
    if title:
        across, up = EDGE / (PANEL * len(panels)), 1 - 0.14 / HEIGHT
        drawn.text(across, up, title, va="top", fontsize=14, fontweight="bold", color=INK)
    return save(drawn, folder.curves)


def _axes(drawn: Figure, count: int, titled: bool) -> Sequence[Axes]:
    """So many panels side by side, with room for what stands around them."""
    inner = (PANEL * count - LEFT - RIGHT - (count - 1) * BETWEEN) / count
    above = ABOVE + TITLE * titled
    drawn.set_layout_engine(None)
    drawn.subplots_adjust(
        left=LEFT / (PANEL * count),
        right=1 - RIGHT / (PANEL * count),
        bottom=BELOW / HEIGHT,
        top=1 - above / HEIGHT,
        wspace=BETWEEN / inner,
    )
    panels: Sequence[Axes] = drawn.subplots(1, count, squeeze=False)[0]
    for axes in panels:
        # said, for where they would be is measured each time that they are drawn
        axes.xaxis.set_label_coords(0.5, -0.26 / (HEIGHT - above - BELOW))
        axes.yaxis.set_label_coords(0, 0.5)
    return panels


def _values(rows: Sequence[Mapping[str, Any]], column: str) -> list[float]:
    """A column, with NaN for what is missing or infinite; empty where the history has no such column."""
    if column not in rows[0]:
        return []
    values = [math.nan if row[column] is None else row[column] for row in rows]
    return [value if math.isfinite(value) else math.nan for value in values]


def _panel(
    axes: Axes, rows: Sequence[Mapping[str, Any]], column: str, colour: str, best: int | None, word: str
) -> None:
    epochs = [row["epoch"] for row in rows]
    training, validation = _values(rows, column), _values(rows, f"val_{column}")
    marker = "o" if len(rows) <= MARKED_UP_TO else None
    shape: dict[str, Any] = {"marker": marker, "markersize": 3.5, "solid_capstyle": "round", "dash_capstyle": "round"}
    axes.plot(epochs, training, color=colour, alpha=0.6, linewidth=1.6, dashes=(3, 2), label="training", **shape)
    if validation:
        axes.plot(epochs, validation, color=colour, linewidth=2.2, label="validation", **shape)

    title = axes.set_title(
        WORDS.get(column, column.replace("_", " ").capitalize()),
        loc="left",
        fontsize=12,
        color=INK,
        pad=10,
        y=1,
    )
    axes.set_xlabel("epoch", color=GREY)
    axes.set_xticks(_ticks(epochs[0], epochs[-1]))
    margin = max(0.5, 0.03 * len(epochs)) if len(epochs) > 1 else 1
    axes.set_xlim(epochs[0] - margin, epochs[-1] + margin)
    axes.grid(axis="y", color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=GREY, length=0, labelsize=9)
    axes.margins(y=0.12)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    # on the line of "epoch": above, a metric's name and its best value may take the whole width
    axes.legend(
        loc="upper right",
        bbox_to_anchor=(1.0, axes.xaxis.label.get_position()[1]),
        ncols=2,
        frameon=False,
        fontsize=9,
        labelcolor=GREY,
        borderaxespad=0,
        borderpad=0.1,
        handlelength=2.2,
        columnspacing=1.2,
    )
    _mark_stages(axes, rows)
    if best is not None:
        _mark_best(axes, epochs[best], (validation or training)[best], colour, title, word)


def _mark_stages(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    """A thin line where a stage begins, with its name; nothing for a run of one stage."""
    starts = [index for index, row in enumerate(rows) if index == 0 or row["stage"] != rows[index - 1]["stage"]]
    if len(starts) == 1:
        return
    for index in starts:
        if index:
            axes.axvline(rows[index]["epoch"] - 0.5, color=GREY, linewidth=0.8, alpha=0.7, zorder=1)
        left = rows[index]["epoch"] - 0.5 if index else axes.get_xlim()[0]
        axes.annotate(
            rows[index]["stage"],
            (left, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(4, -2),
            textcoords="offset points",
            va="top",
            fontsize=8.5,
            fontstyle="italic",
            color=GREY,
            bbox={"boxstyle": "square,pad=0.15", "facecolor": "white", "edgecolor": "none"},
        )


def _mark_best(axes: Axes, epoch: int, value: float, colour: str, title: Text, word: str) -> None:
    """A ring around the value of the epoch that was kept, and its number behind the title, where no curve can cross it."""
    if not math.isfinite(value):
        return
    axes.axvline(epoch, color=colour, linewidth=0.9, linestyle=":", alpha=0.7, zorder=1)
    axes.plot([epoch], [value], "o", markersize=9, markerfacecolor="white", markeredgecolor=colour, markeredgewidth=2.2)
    axes.annotate(
        f"{rounded(value)} in {word} {epoch}",
        (1, 0),
        xycoords=title,
        xytext=(9, 0),
        textcoords="offset points",
        va="bottom",
        fontsize=12,
        fontweight="bold",
        color=colour,
    )


def _ticks(first: int, last: int) -> list[int]:
    """At most a dozen whole epochs, round ones where not all fit."""
    if last - first < 12:
        return list(range(first, last + 1))
    step = next(
        size * 10**power for power in range(9) for size in (2, 5, 10) if (last - first) / (size * 10**power) <= 10
    )
    return [epoch for epoch in range(first, last + 1) if epoch % step == 0]

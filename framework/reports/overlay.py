"""``comparison.png``: learning curves laid over each other, and the metric against each number that was varied."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framework.core.digits import brief, is_number
from framework.core.names import short
from framework.reports.comparison import Comparison, Variant
from framework.reports.curves import WORDS
from framework.reports.interval import wilson
from framework.reports.style import FAINT, GREY, INK, figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

# Okabe and Ito's palette, which colour-blind readers can tell apart, darkened where it is too light on white
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#b8579a", "#c99700", "#3a9bd1", "#7a5195", "#6b737d")
MOST_LINES = len(COLOURS)
# lines of the other panel mean something else, so they look different
TONES = ("#22272e", "#9a4a12", "#3f6212", "#6d28d9", "#0f766e", "#9f1239", "#854d0e", "#6b737d")
MARKERS = "osD^vPX*"
MOST_TICKS = 7
MOST_KEYS = 3


def draw(comparison: Comparison, path: Path) -> Path | None:
    """Write the figure; with more variants than colours the best have one each and the others are grey.

    Returns:
        The figure's path, or None where no run has an epoch.
    """
    variants = [variant for variant in comparison.variants if variant.measured]
    if not variants:
        return None
    numeric = numeric_keys(comparison)[:MOST_KEYS]
    shown = variants[:MOST_LINES]
    longest = max(len(variant.label) for variant in shown)
    columns = 1 if longest > 55 else 2
    legend_lines = math.ceil((len(shown) + (len(variants) > len(shown)) + 2) / columns)
    width = 6.2 * (1 + max(1, len(numeric)))
    height = 4.4 + 0.22 * legend_lines
    drawn = figure(width, height)
    panels = drawn.subplots(1, 1 + max(1, len(numeric)), squeeze=False)[0]
    metric = comparison.monitor.removeprefix("val_")
    handles = _curves(panels[0], variants, shown, metric)
    if numeric:
        for axes, key in zip(panels[1:], numeric, strict=True):
            _against(axes, comparison, key)
    else:
        rest = [name for name in comparison.metrics if name != metric]
        _curves(panels[1], variants, shown, "loss" if "loss" in rest else (rest or [metric])[0])
    failed = f", {len(comparison.failures)} failed" if comparison.failures else ""
    title = f"{short(comparison.name, 70)}: {len(variants)} variant{'s' * (len(variants) > 1)}{failed}"
    drawn.suptitle(title, x=0.012, ha="left", fontsize=14, fontweight="bold", color=INK, parse_math=False)
    legend = drawn.legend(
        handles=handles,
        loc="outside lower left",
        ncols=columns,
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        handlelength=2.4,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    return save(drawn, path, formulas=True)


def numeric_keys(comparison: Comparison) -> list[str]:
    """Varied keys that have a number in every measured variant, and at least two different ones."""
    variants = [variant for variant in comparison.variants if variant.measured]
    return [
        key
        for key in comparison.keys
        if all(is_number(variant.values[key]) for variant in variants)
        and len({variant.values[key] for variant in variants}) > 1
    ]


def is_logarithmic(values: Sequence[float]) -> bool:
    """Whether a log axis fits: there are values, all above 0, a factor of at least 10 between the ends."""
    return bool(values) and min(values) > 0 and max(values) >= 10 * min(values)


def mean_curve(variant: Variant, column: str) -> tuple[list[int], list[float]]:
    """Epochs and the mean of a column over the repeats that reached them; values that are not finite leave a gap."""
    by_epoch: dict[int, list[float]] = {}
    for run in variant.measured:
        for row in run.history:
            if column in row:
                by_epoch.setdefault(row["epoch"], []).append(row[column] if is_number(row[column]) else math.nan)
    epochs = sorted(by_epoch)
    return epochs, [statistics.fmean(by_epoch[epoch]) for epoch in epochs]


def _curves(axes: Axes, variants: Sequence[Variant], shown: Sequence[Variant], metric: str) -> list[Line2D]:
    from matplotlib.lines import Line2D

    def plot(variant: Variant, column: str, **how: Any) -> None:
        epochs, values = mean_curve(variant, column)
        axes.plot(epochs, values, marker="o" if len(epochs) == 1 else None, **how)  # of one epoch there is no line

    for variant in variants[len(shown) :]:
        plot(variant, f"val_{metric}", color="#c3c8ce", linewidth=0.7, alpha=0.7, zorder=1)
    handles: list[Line2D] = []
    for place, variant in reversed(list(enumerate(shown))):
        colour = COLOURS[place]
        plot(variant, metric, color=colour, linewidth=1.3, alpha=0.65, dashes=(3, 2), zorder=2)
        plot(variant, f"val_{metric}", color=colour, linewidth=2.1, zorder=3)
        if len(variant.measured) > 1:
            _band(axes, variant, f"val_{metric}", colour)
        handles.insert(0, Line2D([], [], color=colour, linewidth=2.4, label=short(variant.label, 80)))
    if len(variants) > len(shown):
        handles.append(Line2D([], [], color="#c3c8ce", label=f"{len(variants) - len(shown)} others"))
    handles.append(Line2D([], [], color=GREY, linewidth=2.1, label="validation"))
    handles.append(Line2D([], [], color=GREY, linewidth=1.3, dashes=(3, 2), label="training"))
    _dress(axes, WORDS.get(metric, metric.replace("_", " ").capitalize()), "epoch")
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, min_n_ticks=1))
    return handles


def _band(axes: Axes, variant: Variant, column: str, colour: str) -> None:
    """From the lowest to the highest of the repeats."""
    by_epoch: dict[int, list[float]] = {}
    for run in variant.measured:
        for row in run.history:
            if is_number(row.get(column)):
                by_epoch.setdefault(row["epoch"], []).append(row[column])
    epochs = sorted(by_epoch)
    low, high = ([edge(by_epoch[epoch]) for epoch in epochs] for edge in (min, max))
    axes.fill_between(epochs, low, high, color=colour, alpha=0.13, linewidth=0, zorder=2)


def _against(axes: Axes, comparison: Comparison, key: str) -> None:
    """The compared metric against one key, without runs cut short; a line for each combination of the others, if few."""
    others = [other for other in comparison.keys if other != key]
    lines: dict[str, list[Variant]] = {}
    for variant in comparison.variants:
        if variant.mean(comparison.monitor) is not None and not variant.cut_short:
            label = " ".join(f"{other}={variant.shown[other]}" for other in others)
            lines.setdefault(label, []).append(variant)
    joined = len(lines) <= MOST_LINES
    for place, (label, found) in enumerate(lines.items()):
        found.sort(key=lambda variant: variant.values[key])
        tone = TONES[place] if joined else TONES[0]
        axes.errorbar(
            [variant.values[key] for variant in found],
            [variant.mean(comparison.monitor) for variant in found],  # type: ignore[arg-type]
            yerr=_errors(comparison, found) if joined else None,
            color=tone,
            marker=MARKERS[place] if joined else "o",
            markersize=5 if joined else 3.5,
            linewidth=1.8 if joined else 0,
            alpha=1 if joined else 0.45,
            capsize=2,
            elinewidth=0.9,
            label=short(label, 34) or None,
        )
    values = [variant.values[key] for found in lines.values() for variant in found]
    if is_logarithmic(values):
        axes.set_xscale("log")
    if len(distinct := sorted(set(values))) <= MOST_TICKS:
        axes.set_xticks(distinct, list(brief(distinct).values()))
    metric = comparison.monitor.removeprefix("val_")
    side = "validation " if comparison.monitor.startswith("val_") else ""
    _dress(axes, f"Best {side}{metric.replace('_', ' ')}", key)
    if joined and len(lines) > 1:
        legend = axes.legend(frameon=False, fontsize=8.5, labelcolor=INK, loc="best")
        for text in legend.get_texts():
            text.set_parse_math(False)


def _errors(comparison: Comparison, variants: Sequence[Variant]) -> Any:
    """Distances to both ends of each variant's 95 % interval for the number of figures; None where there is none."""
    if comparison.interval is None or comparison.images is None:
        return None
    means = [variant.mean(comparison.monitor) or 0.0 for variant in variants]
    ends = [wilson(mean, comparison.images) for mean in means]
    low = [max(0.0, mean - end[0]) for mean, end in zip(means, ends, strict=True)]
    high = [max(0.0, end[1] - mean) for mean, end in zip(means, ends, strict=True)]
    return [low, high]


def _dress(axes: Axes, title: str, below: str) -> None:
    axes.set_title(short(title, 80), loc="left", fontsize=12, color=INK, pad=10, parse_math=False)
    axes.set_xlabel(short(below, 80), color=GREY, parse_math=False)
    axes.grid(axis="y", color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=GREY, which="both", length=0, labelsize=9)
    axes.margins(y=0.08)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)

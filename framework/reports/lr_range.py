"""The figure of a learning rate range test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from framework.reports.style import BLUE, GREY, ORANGE, figure, heading, save


def draw(
    path: Path, title: str, rates: Sequence[float], losses: Sequence[float], smooth: Sequence[float], suggestion: float
) -> None:
    """Write the loss against the rate as a PNG: each step's grey, smoothed blue, the suggestion marked."""
    page = figure(7.5, 4.5)
    heading(page, "Learning rate range test", title)
    axes = page.add_subplot()
    axes.set_xscale("log")
    axes.plot(rates, losses, color=GREY, linewidth=0.8, alpha=0.5, label="each step")
    axes.plot(rates, smooth, color=BLUE, linewidth=2, label="smoothed")
    said = f"a tenth of the lowest loss's rate: {suggestion:.2g}"
    axes.axvline(suggestion, color=ORANGE, linewidth=1.5, linestyle="--", label=said)
    low, high = min(smooth), max(smooth[: len(smooth) // 2] or smooth)
    axes.set_ylim(max(0.0, low - 0.15 * (high - low)), high + 0.6 * (high - low))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(lambda *_: "")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    save(page, path)

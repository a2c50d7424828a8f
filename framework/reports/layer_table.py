"""A network's layers as a table with bars: shapes, parameters, operations, and what is frozen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from framework.core.names import short
from framework.reports.style import BLUE, EDGE, FAINT, GREY, HEADING, INK, ORANGE, figure, heading, save

ROW, WIDTH = 0.235, 9.6
COLUMNS = {"layer": 0.0, "kind": 2.6, "output": 4.35, "parameters": 5.55, "FLOPs": 7.55}  # inches from the left edge
BAR = 1.05


@dataclass(frozen=True)
class Row:
    """One line: a layer, or several as one; ``frozen`` None has nothing to train."""

    name: str
    kind: str
    shape: str
    parameters: int
    flops: int
    frozen: bool | None


def draw(path: Path, rows: Sequence[Row], title: str, below: str) -> Path:
    """Write the figure; orange trains, blue is frozen, grey has no weights."""
    height = HEADING + (len(rows) + 1) * ROW + 2 * EDGE
    page = figure(WIDTH, height)
    page.set_layout_engine("none")
    heading(page, title, below)
    axes = page.add_axes((EDGE / WIDTH, EDGE / height, 1 - 2 * EDGE / WIDTH, 1 - (HEADING + EDGE) / height))
    axes.set_xlim(0, WIDTH - 2 * EDGE)
    axes.set_ylim(len(rows) + 1, 0)
    axes.axis("off")
    for name, x in COLUMNS.items():
        title = "layer, and how many follow it" if name == "layer" else name
        axes.text(x, 0.5, title, fontsize=9, color=GREY, va="center")
    most = {key: max(getattr(row, key) for row in rows) or 1 for key in ("parameters", "flops")}
    for line, row in enumerate(rows, start=1):
        colour = GREY if row.frozen is None else BLUE if row.frozen else ORANGE
        if line % 2:
            axes.axhspan(line, line + 1, color=FAINT, alpha=0.45, linewidth=0)
        weight = "bold" if row.frozen is False else "normal"
        texts = (
            ("layer", short(row.name, 32), INK),
            ("kind", short(row.kind, 23), GREY),
            ("output", short(row.shape, 16), INK),
        )
        for key, text, shade in texts:
            bold = weight if key == "layer" else "normal"
            axes.text(COLUMNS[key], line + 0.5, text, fontsize=8.5, color=shade, va="center", fontweight=bold)
        for key, x in (("parameters", COLUMNS["parameters"]), ("flops", COLUMNS["FLOPs"])):
            value = getattr(row, key)
            axes.text(x + 0.68, line + 0.5, amount(value), fontsize=8.5, color=INK, va="center", ha="right")
            axes.barh(line + 0.5, BAR * value / most[key], left=x + 0.76, height=0.55, color=colour)
    return save(page, path)


def amount(value: int) -> str:
    """A count in few letters: 950, 12.3k, 4.6M, 1.2G; a dash for none."""
    if not value:
        return "–"
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= size:
            return f"{value / size:.1f}{letter}"
    return str(value)

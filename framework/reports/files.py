"""The files that a comparison leaves: table, figure and page."""

from __future__ import annotations

from pathlib import Path

from framework.reports import overlay, page, table
from framework.reports.comparison import Comparison


def write(comparison: Comparison, folder: Path) -> list[Path]:
    """Write ``comparison.csv``, ``comparison.png`` (where a run has an epoch) and ``report.html`` to ``folder``."""
    figure = overlay.draw(comparison, folder / "comparison.png")
    return [
        table.write_csv(comparison, folder / "comparison.csv"),
        *([figure] if figure else []),
        page.write(comparison, folder / "report.html"),
    ]

"""How runs and comparisons show themselves in a notebook: HTML that needs nothing from anywhere.

A run folder may come from someone else: whatever text is in it stays text.
"""

from __future__ import annotations

import base64
import contextlib
import io
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framework.core.digits import is_number, rounded
from framework.core.errors import BadInput
from framework.model.saved import Trained
from framework.reports import overlay, table
from framework.reports.comparison import Comparison

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_ROWS = 50
_CELL = "text-align:right;padding:2px 12px 2px 0"


def png(image: Image) -> bytes:
    """An image as a PNG file."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def of_run(trained: Trained, said: Mapping[str, Any], metrics: Mapping[str, float]) -> str:
    """A run: what it is, its scores, its curves."""
    title = said.get("title") or trained.name
    best = said["best"] if isinstance(said.get("best"), dict) else {}
    below = [f"<code>{escape(trained.name)}</code>{escape(trained.chosen)}"]
    below += [escape(f"{best['kept']} epoch {best.get('epoch')} of {said.get('epochs')}")] if "kept" in best else []
    parts = [f"<strong>{escape(str(title))}</strong><br><small>{'<br>'.join(below)}</small>"]
    if metrics:
        parts.append(_table(list(metrics), [[rounded(value) for value in metrics.values() if is_number(value)]]))
    if trained.run is not None:
        with contextlib.suppress(BadInput, OSError):  # no curves, or a link that leads out of the folder
            parts.append(_figure(trained.output(trained.run.curves.name)))
    return "<div>" + "\n".join(parts) + "</div>"


def of_comparison(comparison: Comparison) -> str:
    """A comparison: a row a variant, best first, and the figure of its curves."""
    shown = [variant for variant in comparison.variants if variant.measured][:MOST_ROWS]
    columns = list(dict.fromkeys([comparison.monitor, *comparison.columns]))
    heads = ["", *(comparison.keys or ["run"]), *columns, "best epoch", "seconds", "parameters"]
    rows = []
    for place, variant in enumerate(shown, start=1):
        mark = "≈" if variant.label in comparison.ties else variant.cut_short or str(place)
        names = [variant.shown[key] for key in comparison.keys] or [variant.label]
        numbers = [table.with_spread(variant, column) for column in columns]
        rows.append([mark, *names, *numbers, table.epochs(variant), table.seconds(variant), table.parameters(variant)])
    failed = [f"{table.label_of(comparison, entry)}: {entry.reason}" for entry in comparison.failures]
    told = [comparison.tie_rule] * (len(shown) > 1) + failed + list(comparison.notes)
    with tempfile.TemporaryDirectory(prefix="framework-") as folder:
        figure = overlay.draw(comparison, Path(folder, "comparison.png"))
        drawn = _figure(figure) if figure else ""
    lines = "<br>".join(map(escape, told))
    return f"<div><strong>{escape(comparison.name)}</strong>{_table(heads, rows)}<small>{lines}</small>{drawn}</div>"


def _table(heads: Iterable[str], rows: Sequence[Iterable[str]]) -> str:
    def line(cells: Iterable[str], tag: str) -> str:
        return "<tr>" + "".join(f'<{tag} style="{_CELL}">{escape(cell)}</{tag}>' for cell in cells) + "</tr>"

    return f"<table>{line(heads, 'th')}{''.join(line(row, 'td') for row in rows)}</table>"


def _figure(file: Path) -> str:
    data = base64.b64encode(file.read_bytes()).decode()
    return f'<img alt="{escape(file.stem)}" style="max-width:100%;width:900px" src="data:image/png;base64,{data}">'

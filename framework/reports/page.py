"""``report.html``: a whole comparison on one page that opens offline, its data and its plotting library inside it."""

from __future__ import annotations

import base64
import gzip
import html
from pathlib import Path
from typing import Any

from framework.core.better import Yardstick
from framework.core.console import in_bash
from framework.core.digits import brief, is_number, rounded
from framework.core.files import write_whole
from framework.core.policy import allowed
from framework.core.schema import show
from framework.reports import table
from framework.reports.comparison import Comparison, Variant, differences
from framework.reports.entries import Entry
from framework.reports.overlay import is_logarithmic, numeric_keys
from framework.reports.search import importance_lines
from framework.reports.template import asset, filled, in_script

DIGITS = 5


def write(comparison: Comparison, path: Path) -> Path:
    """Write the page whole.

    The plotting library is Plotly (https://plotly.com/javascript), taken from its Python package and kept compressed:
    the browser unpacks it. A content policy forbids the page every connection, and every script but these two.
    """
    from plotly.offline import get_plotlyjs

    plotly, script = get_plotlyjs(), asset("report.js")
    parts = {
        "title": html.escape(comparison.name),
        "allowed": allowed(script, plotly),
        "style": asset("report.css"),
        "script": script,
        "data": in_script(tell(comparison)),
        "plotly": base64.b64encode(gzip.compress(plotly.encode(), mtime=0)).decode(),
    }
    write_whole(path, filled("report.html", parts))
    return path


def tell(comparison: Comparison) -> dict[str, Any]:
    """All that the page shows, as plain values; numbers that are not finite are null."""
    numeric = numeric_keys(comparison)
    best = comparison.best_run
    confusion = best.confusion if best else None
    reference = best or next((entry for entry in comparison.entries if entry.config), None)
    return {
        "name": comparison.name,
        "command": comparison.command,
        "keys": [{"key": key, **_axis(comparison, key, key in numeric)} for key in comparison.keys],
        "monitor": comparison.monitor,
        # which way is better, of each column that is shown
        "higher": {column: Yardstick.of(column).higher for column in comparison.columns}
        | {comparison.monitor: comparison.yardstick.higher},
        "metrics": list(comparison.metrics),
        "columns": list(comparison.columns),
        "repeated": bool(comparison.repeated),
        "images": comparison.images,
        "interval": comparison.interval and [rounded(end) for end in comparison.interval],
        "ties": bool(comparison.tie_rules),
        "rule": comparison.tie_rule,
        "variants": [
            _variant(comparison, place, variant, reference) for place, variant in enumerate(comparison.variants)
        ],
        "reference": {
            "name": reference.name if reference else None,
            "config": [[key, show(value)] for key, value in reference.config.items()] if reference else [],
        },
        "evaluate": None if best is None else in_bash("python", "-m", "framework.evaluate", f"run={best.folder}"),
        "confusion": {"classes": confusion.classes, "counts": confusion.counts, "run": best.name}
        if confusion and best
        else None,
        "failures": [
            {
                "name": entry.name,
                "label": table.label_of(comparison, entry),
                "reason": entry.reason or "no reason was noted",
            }
            for entry in comparison.failures
        ],
        "search": _search(comparison),
        "notes": list(comparison.notes),
        "seconds": sum(entry.seconds or 0 for entry in comparison.entries),
    }


def _search(comparison: Comparison) -> dict[str, Any] | None:
    """What drew the runs, for the plots of a search; None where no search did."""
    told = comparison.search
    if told is None:
        return None
    return {
        "sampler": told.sampler,
        "keys": [dict(key) for key in told.keys],
        "objectives": [dict(objective) for objective in told.objectives],
        # those that were measured to their end
        "trials": [
            {"run": trial["folder"], "results": trial["results"], "values": trial["values"]}
            for trial in told.trials
            if trial["state"] == "complete"
        ],
        "ended": sum(trial["state"] == "pruned" for trial in told.trials),
        "best": sorted(told.best),
        "importance": [dict(one) for one in told.importance],
        "said": importance_lines(told),
    }


def _axis(comparison: Comparison, key: str, numeric: bool) -> dict[str, Any]:
    values = [variant.values[key] for variant in comparison.variants if variant.measured]
    return {"numeric": numeric, "log": numeric and is_logarithmic(values)}


def _variant(comparison: Comparison, place: int, variant: Variant, reference: Entry | None) -> dict[str, Any]:
    columns = dict.fromkeys([comparison.monitor, *comparison.columns])
    took = [run.seconds for run in variant.runs if run.seconds is not None]
    return {
        "rank": place,
        "label": variant.label,
        "tied": variant.label in comparison.ties,
        "cut_short": variant.cut_short,
        "values": [
            # null: nothing says what the run was
            {
                "shown": variant.shown[key] if variant.runs[0].known else None,
                "number": value if is_number(value) else None,
            }
            for key, value in variant.values.items()
        ],
        "mean": {column: _digits(variant.mean(column)) for column in columns},
        "seconds": _digits(sum(took) / len(took)) if took else None,
        "parameters": next((run.parameters for run in variant.runs if run.parameters is not None), None),
        # as the table on the terminal says it
        "shown": {column: table.with_spread(variant, column) for column in columns}
        | {"epoch": table.epochs(variant), "seconds": table.seconds(variant), "parameters": table.parameters(variant)},
        "runs": [_run(run, reference) for run in variant.runs],
    }


def _run(run: Entry, reference: Entry | None) -> dict[str, Any]:
    return {
        "name": run.name,
        "status": run.status,
        "reason": run.reason,
        "seed": run.config.get("trainer.seed"),
        "epoch": run.best.get("epoch"),
        "history": {
            column: [_digits(row.get(column)) for row in run.history]
            for column in run.columns
            if column not in ("stage", "seconds", "learning_rate")
        },
        # the config is the reference's with these keys changed; null stands for a key that is not there
        "differs": [
            [
                key,
                texts[show(own)] if key in run.config else None,
                texts[show(other)] if key in reference.config else None,
            ]
            for key, (own, other) in differences(run, reference).items()
            for texts in [brief((own, other))]
        ]
        if reference and run.config
        else [],
        "configured": bool(run.config),
    }


def _digits(value: Any) -> Any:
    """Enough digits to draw and to read; None for what is missing or not finite."""
    if not is_number(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.{DIGITS}g}")

"""A comparison as a table: for the terminal, as CSV, and two runs against each other."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framework.core.files import write_whole
from framework.core.schema import show
from framework.reports.comparison import SEED, Comparison, Variant, differences, value_of
from framework.reports.entries import Entry

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

SHOWN_ON_A_TERMINAL = 50
NOTHING = "–"


def results() -> Console:
    """Console on standard output; in a file or a pipe nothing is cut or folded."""
    from framework.core.terminal import PlainConsole

    return PlainConsole(width=None if sys.stdout.isatty() else 10_000)


def show_variants(comparison: Comparison, console: Console) -> None:
    """Print one line a variant, best first: what varies, then what was measured; failures and notes below."""
    from rich.text import Text

    repeated = comparison.repeated
    measured = [variant for variant in comparison.variants if any(run.best for run in variant.runs)]
    if measured:
        table = _table()
        table.add_column("", justify="right")
        for key in comparison.keys or ("run",):
            table.add_column(Text(key), overflow="fold", min_width=8)
        heads = [*comparison.columns, "seconds", "params"]
        for head in ["best\nepoch", *(["runs"] if repeated else []), *heads]:
            table.add_column(Text(head.replace("val_", "val\n")), justify="right", no_wrap=True)
        for place, variant in enumerate(measured[:SHOWN_ON_A_TERMINAL], start=1):
            mark = "≈" if variant.label in comparison.ties else "pruned" if variant.pruned else str(place)
            keys = [show(value) for value in variant.values.values()] or [variant.runs[0].name]
            cells = [mark, *keys, epochs(variant), *([str(len(variant.measured))] if repeated else [])]
            cells += [with_spread(variant, column) for column in comparison.columns]
            cells += [seconds(variant), parameters(variant)]
            table.add_row(*map(Text, cells), style="bold" if place == 1 else None)
        console.print(table)
        if len(measured) > SHOWN_ON_A_TERMINAL:
            console.print(f"and {len(measured) - SHOWN_ON_A_TERMINAL} more, all of them in comparison.csv")
        if len(measured) > 1:
            console.print(f"sorted by {comparison.monitor}; {comparison.tie_rule}", markup=False)
    if comparison.failures:
        console.print()
        console.print(f"{len(comparison.failures)} failed", style="bold red")
        for entry in comparison.failures:
            console.print(f"  {label_of(comparison, entry)}: {entry.reason or 'no reason was noted'}", markup=False)
    if comparison.notes:
        console.print()
        for note in comparison.notes:
            console.print(f"! {note}", markup=False, style="yellow")


def show_pair(comparison: Comparison, console: Console) -> None:
    """Print what differs between two runs: config keys first, then what was measured."""
    from rich.text import Text

    first, second = comparison.entries
    table = _table()
    table.add_column("what differs")
    for entry in (first, second):
        table.add_column(Text(entry.name), justify="right", overflow="fold")
    table.add_column("difference", justify="right")
    for key, values in differences(first, second).items():
        table.add_row(Text(key), *(Text(show(value)) for value in values), "")
    if not table.row_count:
        table.add_row(Text("no config key"), "", "", "")
    table.add_section()
    for what, left, right in _measured_pair(comparison, first, second):
        both = left is not None and right is not None
        change = _number(right - left, sign=True) if both else ""
        tied = both and what == comparison.monitor and bool(comparison.ties)
        table.add_row(what, _number(left), _number(right), Text(f"{change} ≈" if tied else change))
    console.print(table)
    if comparison.best is not None:
        console.print(f"{comparison.tie_rule}", markup=False)
    for entry in comparison.failures:
        console.print(f"! {entry.name} failed: {entry.reason}", markup=False, style="bold red")
    for note in comparison.notes:
        console.print(f"! {note}", markup=False, style="yellow")


def write_csv(comparison: Comparison, path: Path) -> Path:
    """Write ``comparison.csv``: a row a run, best variant first; ``tie`` is 1 where it can't be told from the best."""
    keys = [*comparison.keys, *([SEED] if comparison.repeated else [])]
    found = {column for entry in comparison.entries for column in entry.columns}
    columns = [column for name in comparison.metrics for column in (name, f"val_{name}") if column in found]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["rank", *keys, "status", "best_epoch", *columns, "seconds", "parameters", "tie", "folder", "reason"]
    )
    for rank, variant in enumerate(comparison.variants, start=1):
        for entry in variant.runs:
            best = entry.best
            row: list[Any] = [rank if best else "", *(show(value_of(entry, key)) for key in keys), entry.status]
            row += [best.get("epoch", ""), *(best.get(column, "") for column in columns)]
            row += ["" if entry.seconds is None else round(entry.seconds, 3), entry.parameters or ""]
            writer.writerow([*row, int(variant.label in comparison.ties), entry.folder, entry.reason])
    write_whole(path, text.getvalue())
    return path


def epochs(variant: Variant) -> str:
    """The best epoch, or the range of it over the repeats."""
    found = sorted({run.best["epoch"] for run in variant.measured})
    return f"{found[0]}–{found[-1]}" if len(found) > 1 else str(found[0]) if found else NOTHING


def with_spread(variant: Variant, column: str) -> str:
    """Mean and, over repeats, standard deviation: ``0.812 ± 0.004``."""
    mean, spread = variant.mean(column), variant.spread(column)
    return _number(mean) + (f" ± {spread:.3f}" if spread is not None else "")


def seconds(variant: Variant) -> str:
    """Mean seconds of a run."""
    found = [run.seconds for run in variant.runs if run.seconds is not None]
    return f"{sum(found) / len(found):,.1f}" if found else NOTHING


def parameters(variant: Variant) -> str:
    """Weights of the whole model."""
    count = next((run.parameters for run in variant.runs if run.parameters is not None), None)
    return NOTHING if count is None else f"{count:,}"


def label_of(comparison: Comparison, entry: Entry) -> str:
    """What distinguishes a single run, its seed too where runs are repeated."""
    label = next(variant.label for variant in comparison.variants if entry in variant.runs)
    seed = value_of(entry, SEED)
    return f"{label} {SEED}={show(seed)}" if comparison.repeated and seed is not None else label


def _measured_pair(comparison: Comparison, first: Entry, second: Entry) -> list[tuple[str, Any, Any]]:
    columns = [column for name in comparison.metrics for column in (name, f"val_{name}")]
    rows = [("best epoch", first.best.get("epoch"), second.best.get("epoch"))]
    rows += [(column, first.best.get(column), second.best.get(column)) for column in columns]
    rows += [("seconds", first.seconds, second.seconds), ("parameters", first.parameters, second.parameters)]
    return [row for row in rows if row[1] is not None or row[2] is not None]


def _number(value: float | None, sign: bool = False) -> str:
    if value is None:
        return NOTHING
    plus = "+" if sign else ""
    if isinstance(value, int):
        return f"{value:{plus},}"
    return f"{value:{plus}.3f}" if abs(value) < 1000 else f"{value:{plus}.3g}"


def _table() -> Table:
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", show_edge=False, collapse_padding=True)

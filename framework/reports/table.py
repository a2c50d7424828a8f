"""A comparison as a table: for the terminal, as CSV, and two runs against each other."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from framework.core.digits import NOTHING, brief, rounded
from framework.core.errors import listing
from framework.core.files import write_whole
from framework.core.names import in_csv, text
from framework.core.schema import show
from framework.reports.comparison import Comparison, Variant, differences, value_of
from framework.reports.entries import Entry

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

SHOWN_ON_A_TERMINAL = 50
GAP = 2  # between two columns
MOST_FOLDED = 1.5  # of the width: a long name or two are folded, but many side by side would be columns of syllables
IN_WORDS = "what differs"  # the head of keys that stand in one column


def results() -> Console:
    """Console on standard output; in a file or a pipe nothing is cut or folded."""
    from framework.core.terminal import PlainConsole

    return PlainConsole(width=None if sys.stdout.isatty() else 10_000)


@dataclass(frozen=True)
class _Column:
    """One column of a table: its name, how that is broken to a head, and a cell for each variant."""

    name: str
    cells: tuple[str, ...]
    justify: Literal["left", "right"] = "right"
    breaks: str = ""

    @property
    def head(self) -> str:
        """The name, broken behind ``breaks``."""
        return self.name.replace(self.breaks, self.breaks.rstrip("_ ") + "\n", 1) if self.breaks else self.name

    @property
    def width(self) -> int:
        """Cells of the terminal that it takes, without being folded."""
        from rich.cells import cell_len

        return max(cell_len(line) for cell in (self.head, *self.cells) for line in cell.split("\n"))


def show_variants(comparison: Comparison, console: Console) -> None:
    """Print one line a variant, best first: what varies, then what was measured; failures and notes below.

    Names are never left out and numbers never cut: what has no room is named below the table. Keys that have no room side by
    side stand one after the other, each variant's own.
    """
    from rich.text import Text

    measured = [variant for variant in comparison.variants if variant.measured]
    if measured:
        shown = measured[:SHOWN_ON_A_TERMINAL]
        names, numbers = _names(comparison, shown), _numbers(comparison, shown)
        room = console.width - numbers[0].width
        if len(names) > 2 and _side_by_side(names) > MOST_FOLDED * console.width:
            names, room = [names[0], _in_words(names[1:])], console.width // 2
        numbers, left_out = _fitting(numbers, console.width, min(_side_by_side(names), room))
        table = _table()
        for column in names:
            table.add_column(Text(column.head), overflow="fold", justify=column.justify, no_wrap=not column.name)
        for column in numbers:
            table.add_column(Text(column.head), justify="right", no_wrap=True)
        for place, cells in enumerate(zip(*(column.cells for column in [*names, *numbers]), strict=True)):
            table.add_row(*map(Text, cells), style="bold" if place == 0 else None)
        console.print(table)
        if left_out:
            console.print(f"no room here for {listing(left_out)}: in comparison.csv", markup=False)
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
    """Print what differs between two runs: config keys first, then what was measured, then which is better."""
    from rich.text import Text

    first, second = comparison.entries
    table = _table()
    table.add_column(IN_WORDS)
    for entry in (first, second):
        table.add_column(Text(text(entry.name)), justify="right", overflow="fold")
    table.add_column("difference", justify="right")
    for key, values in differences(first, second).items():
        texts = brief(values)
        table.add_row(Text(text(key)), *(Text(text(texts[show(value)])) for value in values), "")
    if not table.row_count:
        table.add_row(Text("no config key"), "", "", "")
    table.add_section()
    for what, left, right in _measured_pair(comparison, first, second):
        both = left is not None and right is not None
        table.add_row(Text(text(what)), rounded(left), rounded(right), rounded(right - left, sign=True) if both else "")
    console.print(table)
    console.print(comparison.verdict, markup=False)
    for entry in comparison.failures:
        console.print(f"! {entry.name} failed: {entry.reason}", markup=False, style="bold red")
    for note in comparison.notes:
        console.print(f"! {note}", markup=False, style="yellow")


def write_csv(comparison: Comparison, path: Path) -> Path:
    """Write ``comparison.csv``: a row a run, best variant first; ``tie`` is 1 where it can't be told from the best."""
    keys = [*comparison.keys, *comparison.repeated]
    found = {column for entry in comparison.entries for column in entry.columns}
    columns = [column for name in comparison.metrics for column in (name, f"val_{name}") if column in found]
    rows: list[list[Any]] = [
        ["rank", *keys, "status", "best_epoch", *columns, "seconds", "parameters", "tie", "folder", "reason"]
    ]
    for rank, variant in enumerate(comparison.variants, start=1):
        for entry in variant.runs:
            best = entry.best
            row: list[Any] = [rank if best else "", *(show(value_of(entry, key)) for key in keys), entry.status]
            row += [best.get("epoch", ""), *(best.get(column, "") for column in columns)]
            row += ["" if entry.seconds is None else round(entry.seconds, 3), entry.parameters or ""]
            rows.append([*row, int(variant.label in comparison.ties), entry.folder, entry.reason])
    made = io.StringIO()
    safe = ([in_csv(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    csv.writer(made, lineterminator="\n").writerows(safe)
    write_whole(path, made.getvalue())
    return path


def epochs(variant: Variant) -> str:
    """The best epoch, or the range of it over the repeats."""
    found = sorted({run.best["epoch"] for run in variant.measured})
    return f"{found[0]}–{found[-1]}" if len(found) > 1 else str(found[0]) if found else NOTHING


def with_spread(variant: Variant, column: str) -> str:
    """Mean and, over repeats, standard deviation: ``0.812 ± 0.004``."""
    mean, spread = variant.mean(column), variant.spread(column)
    return rounded(mean) + (f" ± {rounded(spread)}" if spread is not None else "")


def seconds(variant: Variant) -> str:
    """Mean seconds of a run."""
    found = [run.seconds for run in variant.runs if run.seconds is not None]
    return f"{sum(found) / len(found):,.1f}" if found else NOTHING


def parameters(variant: Variant) -> str:
    """Weights of the whole model."""
    count = next((run.parameters for run in variant.runs if run.parameters is not None), None)
    return NOTHING if count is None else f"{count:,}"


def label_of(comparison: Comparison, entry: Entry) -> str:
    """What distinguishes a single run, its seed and its fold too where runs are repeated."""
    label = next(variant.label for variant in comparison.variants if entry in variant.runs)
    values = {key: value_of(entry, key) for key in comparison.repeated}
    return " ".join([label, *(f"{key}={show(value)}" for key, value in values.items() if value is not None)])


def _measured_pair(comparison: Comparison, first: Entry, second: Entry) -> list[tuple[str, Any, Any]]:
    columns = [column for name in comparison.metrics for column in (name, f"val_{name}")]
    rows = [("best epoch", first.best.get("epoch"), second.best.get("epoch"))]
    rows += [(column, first.best.get(column), second.best.get(column)) for column in columns]
    rows += [("seconds", first.seconds, second.seconds), ("parameters", first.parameters, second.parameters)]
    return [row for row in rows if row[1] is not None or row[2] is not None]


def _names(comparison: Comparison, variants: Sequence[Variant]) -> list[_Column]:
    """Place and what varies."""
    marks = [
        "≈" if variant.label in comparison.ties else variant.cut_short or str(place)
        for place, variant in enumerate(variants, start=1)
    ]
    if not comparison.keys:
        return [_Column("", tuple(marks)), _Column("run", tuple(text(variant.label) for variant in variants), "left")]
    keys = [
        _Column(text(key), tuple(text(variant.shown[key]) for variant in variants), "left") for key in comparison.keys
    ]
    return [_Column("", tuple(marks)), *keys]


def _side_by_side(columns: Sequence[_Column]) -> int:
    """Cells of the terminal that columns take, each with the gap behind it."""
    return sum(column.width + GAP for column in columns)


def _in_words(keys: Sequence[_Column]) -> _Column:
    """All keys as one column: of each variant those that it has, as they are typed."""
    rows = zip(*(key.cells for key in keys), strict=True)
    texts = (
        " ".join(f"{key.name}={cell}" for key, cell in zip(keys, row, strict=True) if cell != "null") for row in rows
    )
    return _Column(IN_WORDS, tuple(texts), "left")


def _numbers(comparison: Comparison, variants: Sequence[Variant]) -> list[_Column]:
    """What was measured, the most important first: the compared column, the best epoch, then the others."""

    def column(name: str) -> _Column:
        return _Column(text(name), tuple(with_spread(variant, name) for variant in variants), breaks="val_")

    validation = [name for name in comparison.columns if name.startswith("val_") and name != comparison.monitor]
    training = [name for name in comparison.columns if not name.startswith("val_") and name != comparison.monitor]
    runs = [_Column("runs", tuple(str(len(variant.measured)) for variant in variants))]
    return [
        column(comparison.monitor),
        _Column("best epoch", tuple(map(epochs, variants)), breaks="best "),
        *(runs if comparison.repeated else []),
        *map(column, [*validation, *training]),
        _Column("seconds", tuple(map(seconds, variants))),
        _Column("params", tuple(map(parameters, variants))),
    ]


def _fitting(numbers: Sequence[_Column], width: int, taken: int) -> tuple[list[_Column], list[str]]:
    """The numbers that there is room for, at least the first, and the names of those left out.

    Args:
        numbers: the most important first.
        width: of the terminal.
        taken: of it by the names, which are folded where they would need more: all that they need, where that leaves room
            for a number.
    """
    kept = list(numbers)
    while len(kept) > 1 and taken + _side_by_side(kept) - GAP > width:
        kept.pop()
    return kept, [column.name for column in numbers[len(kept) :]]


def _table() -> Table:
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", show_edge=False, collapse_padding=True)

"""Which base? The bases as a table to choose from: sorted, filtered, for people or as CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from framework.config import documents
from framework.core import registry
from framework.core.errors import BadInput, Problem, suggestion
from framework.core.schema import MISSING
from framework.model.weights import keras_models
from framework.parts import presets
from framework.parts.facts import facts

OPTIONS = ("sort", "where", "format")
FORMATS = ("table", "csv", "json")
# of these more is better, so that they are sorted with the largest first
MORE = ("top1", "year", "here")
_NOTHING = "–"
_CONDITION = re.compile(r"\s*(\w+)\s*(<=|>=|=|<|>)\s*([^\s<>=]+)\s*")
_UNITS = {"K": 1e3, "M": 1e6, "G": 1e9, "%": 0.01}
_WORDS = {"yes": True, "no": False, "true": True, "false": False}
# what stands above each column, and how a value is written
SHOWN: dict[str, tuple[str, Any]] = {
    "name": ("name", str),
    "top1": ("top1", lambda value: f"{value:.1%}"),
    "parameters": ("parameters", lambda value: f"{value / 1e6:.1f}M"),
    "gflops": ("gflops", lambda value: f"{value:g}"),
    "size": ("size", str),
    "minimum_size": ("minimum_size", str),
    "year": ("year", str),
    "megabytes": ("megabytes", lambda value: f"{value:,.0f}"),
    "here": ("here", lambda value: "yes" if value else "no"),
}
NOTE = """top1: published accuracy on ImageNet, each network at the size that it was trained at; f: after fine-tuning, p: by
one layer on frozen features, t: without training, by texts: these can't be compared with the others. parameters,
megabytes (of the weights' file, without head) and gflops (10⁹ multiplications and additions an image of that size)
are those of the option as it is; here: whether its weights are on this machine. Sources: framework/parts/bases.yaml.
sort=top1, sort=-gflops; where='parameters<10M,top1>=75%,here=yes'; format=csv or json"""


@dataclass(frozen=True)
class Row:
    """An option of the group ``model``; None for what is not known.

    Attributes:
        name: of the option.
        top1: published accuracy on ImageNet's validation images, 0 to 1.
        top1_by: how that was reached, as ``parts.facts`` says.
        parameters: numbers in its weights, without head.
        gflops: 10⁹ operations for an image of ``size``.
        size: side of the image in pixels that the option says.
        minimum_size: the smallest that it can take.
        year: of its paper.
        megabytes: 10⁶ bytes of its weights' file.
        here: whether its weights, of ImageNet or of a preset, are on this machine; None where there are none.
    """

    name: str
    top1: float | None
    top1_by: str | None
    parameters: int | None
    gflops: float | None
    size: int | None
    minimum_size: int | None
    year: int | None
    megabytes: float | None
    here: bool | None


COLUMNS = tuple(field.name for field in fields(Row))


def take(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The table's own options among arguments, and the others."""
    own = dict(argument.split("=", 1) for argument in arguments if argument.partition("=")[0] in OPTIONS)
    return own, [argument for argument in arguments if argument.partition("=")[0] not in OPTIONS]


def lines(options: Mapping[str, Path], given: Mapping[str, str]) -> Iterator[str]:
    """The table, line by line.

    Args:
        options: of the group, name to file.
        given: of ``OPTIONS`` those that are set.

    Raises:
        BadInput: there is no such column or format, or a condition makes no sense.
    """
    format, sort = given.get("format", "table"), given.get("sort", "")
    if format not in FORMATS:
        where = f"command line: format={format}"
        raise BadInput(Problem(f"there is no format '{format}'", where, suggestion(format, FORMATS)))
    found = [row for row in rows(options) if _meets(row, given.get("where", ""))]
    if sort:
        found = _sorted(found, sort)
    if format == "json":
        yield json.dumps([asdict(row) for row in found], indent=2)
    elif format == "csv":
        text = io.StringIO()
        table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(asdict(row) for row in found)
        yield from text.getvalue().splitlines()
    else:
        yield from _table(found)


def rows(options: Mapping[str, Path]) -> list[Row]:
    """A row an option, name to file."""
    return [_row(name, file) for name, file in options.items()]


def _row(name: str, file: Path) -> Row:
    content = documents.read_option(file).content
    base, size = str(content.get("name")), content.get("image_size")
    part = registry.get("base", base) if base in registry.names("base") else None
    known = facts(base, name)
    return Row(
        name=name,
        top1=known.top1,
        top1_by=known.top1_by,
        parameters=known.parameters,
        gflops=known.gflops,
        size=size if isinstance(size, int) else None,
        minimum_size=part.details["minimum_size"] if part else None,
        year=known.year,
        megabytes=known.megabytes,
        here=_is_here(part, size, content) if part else None,
    )


def _is_here(part: registry.Part, size: Any, content: Mapping[str, Any]) -> bool | None:
    """Whether the weights of an option as it is lie where Keras or Keras Hub keeps them; None where there are none."""
    parameters = {key: content.get(key, MISSING) for key in part.parameters}
    backbone, preset = part.details.get("backbone"), content.get("preset")
    try:
        if backbone is not None:
            return None if preset is None else isinstance(presets.find(preset, part.name, backbone), Path)
        if part.details.get("imagenet") is None or not isinstance(size, int):
            return None
        return (keras_models() / part.details["imagenet"]((size, size), parameters)).is_file()
    except BadInput:
        return None


def _sorted(rows: Sequence[Row], sort: str) -> list[Row]:
    """By a column, the better first, with a ``-`` the other way round; what is not known last."""
    column = sort.removeprefix("-")
    _refuse_column(column, f"sort={sort}")
    known = [row for row in rows if getattr(row, column) is not None]
    known.sort(key=lambda row: getattr(row, column), reverse=(column in MORE) != sort.startswith("-"))
    return [*known, *(row for row in rows if getattr(row, column) is None)]


def _meets(row: Row, where: str) -> bool:
    """Whether a row meets all conditions; what is not known meets none."""
    return all(_holds(row, condition, where) for condition in where.split(",") if condition.strip())


def _holds(row: Row, condition: str, where: str) -> bool:
    found = _CONDITION.fullmatch(condition)
    if found is None:
        right = "where='parameters<10M,top1>=75%'"
        raise BadInput(Problem(f"'{condition.strip()}' is no condition", f"command line: where={where}", right))
    column, sign, text = found.groups()
    _refuse_column(column, f"where={where}")
    value, wanted = getattr(row, column), _value(column, text, where)
    if value is None:
        return False
    return {
        "<": lambda: value < wanted,
        "<=": lambda: value <= wanted,
        ">": lambda: value > wanted,
        ">=": lambda: value >= wanted,
        "=": lambda: value == wanted,
    }[sign]()


def _value(column: str, text: str, where: str) -> Any:
    """What a condition's text stands for in this column."""
    if column in ("name", "top1_by"):
        return text
    if column == "here" and text.lower() in _WORDS:
        return _WORDS[text.lower()]
    unit = _UNITS.get(text[-1].upper())
    try:
        return float(text[:-1]) * unit if unit else float(text)
    except ValueError:
        right = "a number, as 10M, 75% or 224; here=yes"
        raise BadInput(Problem(f"'{text}' is no number", f"command line: where={where}", right)) from None


def _refuse_column(column: str, where: str) -> None:
    if column not in COLUMNS:
        what = f"there is no column '{column}'"
        raise BadInput(Problem(what, f"command line: {where}", suggestion(column, COLUMNS)))


def _table(rows: Sequence[Row]) -> Iterator[str]:
    """Aligned columns, numbers to the right, and what they mean."""
    heads = [head for head, _ in SHOWN.values()]
    cells = [[cell(row, column) for column in SHOWN] for row in rows]
    widths = [max(len(line[place]) for line in [heads, *cells]) for place in range(len(heads))]
    for line in [heads, *cells]:
        first, *rest = (
            text.ljust(widths[0]) if not place else text.rjust(widths[place]) for place, text in enumerate(line)
        )
        yield "  ".join([f"  {first}", *rest]).rstrip()
    yield ""
    yield from (f"  {line}" for line in NOTE.splitlines())


def cell(row: Row, column: str) -> str:
    """What the table shows of a row in a column of ``SHOWN``."""
    value = getattr(row, column)
    text = _NOTHING if value is None else SHOWN[column][1](value)
    return f"{text} {row.top1_by[0]}" if column == "top1" and row.top1_by else text

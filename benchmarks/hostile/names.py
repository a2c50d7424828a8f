"""Names that are no good for markup, terminals, spreadsheets or figures; each is fit for a folder."""

from __future__ import annotations

import contextlib
import csv
from pathlib import Path

from framework.core.names import FORMULA

HOSTILE = (
    "$0_$9",
    "$\\frac{",
    "$a$",
    "_background_",
    "__init__",
    "<script>alert(1)<script>",
    "&amp;\"'",
    "[red]dress[red]",
    ":dress:",
    "\x1b[31mred\x1b[0m",
    "two\nlines",
    "bell\x07",
    "right\u202eleft\u200f",
    "x" * 200,
    "=cmd|' calc'!A1",
    "+1+1",
    "@sum(A1)",
    "-1",
    "%s {0} {name}",
    "日本語",
    "🙂",
    " blanks ",
    "a,b;c\td",
    "\u0301\u0301",
)
MARKUP = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
# in no folder's name, but in a run's record
LONG = (
    "x" * 10_000,
    MARKUP,
    "<svg/onload=document.title='ran'>",
    "javascript:alert(1)",
    "{{data}}",
    "\x1b]0;title\x07\x1b[2J",
)


def is_plain(text: str) -> bool:
    """Whether a terminal, a browser and a reader see one line of what is there."""
    return all(letter.isprintable() or letter in "\u200c\u200d" for letter in text)


def formula_in(table: Path) -> str:
    """What a spreadsheet would take for a formula in a CSV file; empty if there is none."""
    with open(table, newline="", encoding="utf-8", errors="surrogateescape") as opened:
        for cell in (cell for row in csv.reader(opened) for cell in row):
            with contextlib.suppress(ValueError):
                float(cell)
                continue
            if cell.startswith(FORMULA):
                return f"a spreadsheet takes {cell[:40]!r} in {table.name} for a formula"
    return ""

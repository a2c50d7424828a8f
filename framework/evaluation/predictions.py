"""Predictions as lines of text or rows of a Parquet file, written as they come."""

from __future__ import annotations

import contextlib
import csv
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np

from framework.core.errors import BadInput, Problem
from framework.core.files import whole
from framework.core.names import cell, in_csv, path_in_csv, text, width
from framework.core.task import Classification

Format = Literal["table", "csv", "jsonl", "parquet"]
ENDINGS: dict[str, Format] = {".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet", ".txt": "table"}


@dataclass(frozen=True)
class Prediction:
    """What is said of one image.

    Attributes:
        path: the file as it was given.
        classes: the answer: one class, or the labels that are likelier than not.
        top: the likeliest classes and their probabilities, the likeliest first.
    """

    path: str
    classes: tuple[str, ...]
    top: tuple[tuple[str, float], ...]


def predictions(paths: Sequence[str], logits: np.ndarray, task: Classification, top: int) -> Iterator[Prediction]:
    """Predictions of a batch: ``logits`` float (files, units); ``top`` classes of each."""
    found = task.probabilities(logits)
    order = np.argsort(-found, axis=1, kind="stable")[:, :top]
    for path, row, answer, likeliest in zip(paths, found, task.answers(logits), order, strict=True):
        shares = tuple((task.classes[place], float(row[place])) for place in likeliest)
        yield Prediction(path, task.named(answer), shares)


class Writer(ABC):
    """Takes predictions as they come."""

    @abstractmethod
    def write(self, batch: Sequence[Prediction]) -> None:
        """Add a batch."""


@contextlib.contextmanager
def writer(format: Format | None, output: str | None, task: Classification, top: int) -> Iterator[Writer]:
    """A writer to a file, which is whole or not there, or to standard output.

    Args:
        format: None is what the file's ending says, else a table.
        output: a file; None is standard output.
        task: says whether an image has one label.
        top: classes an image.
    """
    format = chosen(format, output)
    if output is None:
        # a file name that is no text comes out as it went in
        sys.stdout.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
        yield _TEXT[format](sys.stdout, task, top)
        return
    with whole(Path(output).expanduser().resolve()) as beside:
        if format == "parquet":
            with contextlib.closing(_Parquet(beside)) as parquet:
                yield parquet
        else:
            with open(beside, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
                yield _TEXT[format](file, task, top)


def chosen(format: Format | None, output: str | None) -> Format:
    """The format that is meant.

    Raises:
        BadInput: Parquet needs a file and its package.
    """
    format = format or ENDINGS.get(Path(output or "").suffix.lower(), "table")
    if format != "parquet":
        return format
    if output is None:
        raise BadInput(
            Problem("Parquet is no text for a terminal", "command line: format=parquet", "output=FILE.parquet")
        )
    from importlib.util import find_spec

    if find_spec("pyarrow") is None:
        what = "Parquet needs the package pyarrow"
        raise BadInput(Problem(what, "command line: format=parquet", "pip install 'framework[parquet]'"))
    return format


class _Table(Writer):
    """Aligned columns, of several labels the answer in brackets, the file last: its length is not known before."""

    def __init__(self, file: TextIO, task: Classification, top: int):
        self.file, self.width = file, width(task.classes)
        self.several = task.several

    def write(self, batch: Sequence[Prediction]) -> None:
        """Add a line an image."""
        for one in batch:
            cells = "  ".join(f"{cell(name, self.width)} {share:6.1%}" for name, share in one.top)
            labels = f"  [{', '.join(map(text, one.classes))}]" if self.several else ""
            print(f"{cells}{labels}  {text(one.path)}", file=self.file)
        self.file.flush()


class _Csv(Writer):
    """A header, and a row an image; several labels are joined by ``|``."""

    def __init__(self, file: TextIO, task: Classification, top: int):
        self.file, self.rows = file, csv.writer(file, lineterminator="\n")
        several = task.several
        count = min(top, len(task.classes))
        names = [f"{name}_{place}" for place in range(1, count + 1) for name in ("class", "probability")]
        self.first = 0 if several else 1
        start = ["path", "labels"] if several else ["path", "class", "probability"]
        self.rows.writerow([*start, *names[2 * self.first :]])

    def write(self, batch: Sequence[Prediction]) -> None:
        """Add a row an image."""
        for one in batch:
            shares = [value for name, share in one.top for value in (in_csv(name), f"{share:.6f}")]
            labels = in_csv("|".join(one.classes))
            self.rows.writerow([path_in_csv(one.path), *(shares if self.first else [labels, *shares])])
        self.file.flush()


class _JsonLines(Writer):
    """An object a line."""

    def __init__(self, file: TextIO, task: Classification, top: int):
        self.file, self.several = file, task.several

    def write(self, batch: Sequence[Prediction]) -> None:
        """Add a line an image."""
        for one in batch:
            print(json.dumps({"path": one.path, **record(one, self.several)}), file=self.file)
        self.file.flush()


class _Parquet(Writer):
    """Columns ``path``, ``classes`` and ``top``; a row group for each few thousand images."""

    GROUP = 4096

    def __init__(self, path: Path):
        import pyarrow
        import pyarrow.parquet

        likeliest = pyarrow.struct([("class", pyarrow.string()), ("probability", pyarrow.float64())])
        columns = [("path", pyarrow.string()), ("classes", pyarrow.list_(pyarrow.string()))]
        self.schema = pyarrow.schema([*columns, ("top", pyarrow.list_(likeliest))])
        self.table = pyarrow.Table
        self.file = pyarrow.parquet.ParquetWriter(path, self.schema)
        self.waiting: list[dict[str, Any]] = []

    def write(self, batch: Sequence[Prediction]) -> None:
        """Add rows."""
        for one in batch:
            path = one.path.encode(errors="surrogateescape").decode(errors="replace")
            self.waiting.append({"path": path, "classes": list(one.classes), "top": _top(one)})
        if len(self.waiting) >= self.GROUP:
            self._flush()

    def close(self) -> None:
        """Write what is waiting, and the file's end."""
        self._flush()
        self.file.close()

    def _flush(self) -> None:
        if self.waiting:
            self.file.write_table(self.table.from_pylist(self.waiting, schema=self.schema))
        self.waiting = []


def record(one: Prediction, several: bool) -> dict[str, Any]:
    """What is said of an image, for JSON; ``several``: it may have several labels."""
    answer = (
        {"labels": list(one.classes)} if several else {"class": one.classes[0], "probability": round(one.top[0][1], 6)}
    )
    return {**answer, "top": _top(one)}


def _top(one: Prediction) -> list[dict[str, Any]]:
    return [{"class": name, "probability": round(share, 6)} for name, share in one.top]


_TEXT: dict[Format, Callable[[TextIO, Classification, int], Writer]] = {
    "table": _Table,
    "csv": _Csv,
    "jsonl": _JsonLines,
}

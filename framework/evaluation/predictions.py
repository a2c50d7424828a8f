"""Predictions as lines of text or rows of a Parquet file, written as they come."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np

from framework.core.digits import kept
from framework.core.errors import BadInput, Problem
from framework.core.files import whole
from framework.core.names import cell, in_csv, path_in_csv, text, width
from framework.core.task import Classification, Task
from framework.evaluation.forward import apart
from framework.evaluation.rejection import UNKNOWN, Rejection

Format = Literal["table", "csv", "jsonl", "parquet"]
ENDINGS: dict[str, Format] = {".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet", ".txt": "table"}


@dataclass(frozen=True)
class Prediction:
    """What is said of one image.

    Attributes:
        path: the file as it was given.
        classes: the answer: one class, or ``unknown``, or the labels that are likelier than not; none of numbers.
        top: the likeliest classes and their probabilities, the likeliest first; or all numbers by their names.
    """

    path: str
    classes: tuple[str, ...]
    top: tuple[tuple[str, float], ...]


class Form(ABC):
    """How the predictions of a task are made, and how one is written: as a line, a row, an object."""

    @abstractmethod
    def predictions(self, paths: Sequence[str], rows: np.ndarray) -> Iterator[Prediction]:
        """Those of a batch: ``rows`` float (files, units), as ``forward`` gives them, the distance last where it does."""

    @abstractmethod
    def line(self, one: Prediction) -> str:
        """For a terminal, without the file."""

    @abstractmethod
    def header(self) -> list[str]:
        """Columns of a CSV file behind ``path``."""

    @abstractmethod
    def row(self, one: Prediction) -> list[str]:
        """The cells of these columns."""

    @abstractmethod
    def record(self, one: Prediction) -> dict[str, Any]:
        """For JSON."""

    @abstractmethod
    def schema(self, pyarrow: Any) -> list[tuple[str, Any]]:
        """Names and types of a Parquet file's columns behind ``path``."""

    @abstractmethod
    def values(self, one: Prediction) -> dict[str, Any]:
        """The values of these columns."""


@dataclass(frozen=True)
class _Classes(Form):
    """Classes with their probabilities, ``top`` of them; the answer is unknown where ``unsure`` says so."""

    task: Classification
    top: int
    unsure: Rejection | None

    def predictions(self, paths: Sequence[str], rows: np.ndarray) -> Iterator[Prediction]:
        task = self.task
        logits, distances = apart(rows, task.units)
        found = task.probabilities(logits)
        unknown = np.zeros(len(rows), bool)
        if self.unsure is not None:
            unknown = self.unsure.unknown(task.confidence(logits), distances)
        order = np.argsort(-found, axis=1, kind="stable")[:, : self.top]
        for path, row, answer, likeliest, not_known in zip(
            paths, found, task.answers(logits), order, unknown, strict=True
        ):
            shares = tuple((task.classes[place], float(row[place])) for place in likeliest)
            yield Prediction(path, (UNKNOWN,) if not_known else task.named(answer), shares)

    @cached_property
    def _width(self) -> int:
        return width(self.task.classes)

    def line(self, one: Prediction) -> str:
        cells = "  ".join(f"{cell(name, self._width)} {share:6.1%}" for name, share in one.top)
        if self.unsure is not None:
            cells = f"{UNKNOWN if one.classes == (UNKNOWN,) else '':<{len(UNKNOWN)}}  {cells}"
        return cells + (f"  [{', '.join(map(text, one.classes))}]" if self.task.several else "")

    def header(self) -> list[str]:
        """Several labels are joined by ``|``; one class is the likeliest, and its numbered columns would repeat it."""
        count = min(self.top, len(self.task.classes))
        names = [f"{name}_{place}" for place in range(1, count + 1) for name in ("class", "probability")]
        return ["labels", *names] if self.task.several else ["class", "probability", *names[2:]]

    def row(self, one: Prediction) -> list[str]:
        shares = [value for name, share in one.top for value in (in_csv(name), f"{share:.6f}")]
        return [in_csv("|".join(one.classes)), *(shares if self.task.several else shares[1:])]

    def record(self, one: Prediction) -> dict[str, Any]:
        if self.task.several:
            return {"labels": list(one.classes), "top": _top(one)}
        return {"class": one.classes[0], "probability": round(one.top[0][1], 6), "top": _top(one)}

    def schema(self, pyarrow: Any) -> list[tuple[str, Any]]:
        likeliest = pyarrow.struct([("class", pyarrow.string()), ("probability", pyarrow.float64())])
        return [("classes", pyarrow.list_(pyarrow.string())), ("top", pyarrow.list_(likeliest))]

    def values(self, one: Prediction) -> dict[str, Any]:
        return {"classes": list(one.classes), "top": _top(one)}


@dataclass(frozen=True)
class _Numbers(Form):
    """Numbers by their names, with what digits a float32 holds."""

    task: Task

    def predictions(self, paths: Sequence[str], rows: np.ndarray) -> Iterator[Prediction]:
        for path, row in zip(paths, rows, strict=True):
            yield Prediction(path, (), tuple(zip(self.task.classes, map(kept, row.tolist()), strict=True)))

    def line(self, one: Prediction) -> str:
        return "  ".join(f"{text(name)} {value:10.6g}" for name, value in one.top)

    def header(self) -> list[str]:
        return [in_csv(name) for name in self.task.classes]

    def row(self, one: Prediction) -> list[str]:
        return [f"{value:.7g}" for _, value in one.top]

    def record(self, one: Prediction) -> dict[str, Any]:
        return {"numbers": dict(one.top)}

    def schema(self, pyarrow: Any) -> list[tuple[str, Any]]:
        return [("numbers", pyarrow.struct([(name, pyarrow.float64()) for name in self.task.classes]))]

    def values(self, one: Prediction) -> dict[str, Any]:
        return self.record(one)


def form_of(task: Task, top: int, unsure: Rejection | None = None) -> Form:
    """The form of a task's predictions.

    Args:
        task: what was asked.
        top: classes an image where it has classes.
        unsure: when an image's one answer is ``unknown``; None for never.
    """
    return _Classes(task, top, unsure) if isinstance(task, Classification) else _Numbers(task)


class Writer(ABC):
    """Takes predictions as they come."""

    @abstractmethod
    def write(self, batch: Sequence[Prediction]) -> None:
        """Add a batch."""


@contextlib.contextmanager
def writer(format: Format | None, output: str | None, form: Form) -> Iterator[Writer]:
    """A writer to a file, which is whole or not there, or to standard output.

    Args:
        format: None is what the file's ending says, else a table.
        output: a file; None is standard output.
        form: of what there is to write of an image.
    """
    format = chosen(format, output)
    if output is None:
        # a file name that is no text comes out as it went in
        sys.stdout.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
        yield _TEXT[format](sys.stdout, form)
        return
    path = Path(output).expanduser()
    # who reads a CSV file again sees its paths from its folder
    elsewhere = format == "csv" and os.path.dirname(os.path.abspath(path)) != os.getcwd()
    with whole(path.resolve()) as beside:
        if format == "parquet":
            with contextlib.closing(_Parquet(beside, form)) as parquet:
                yield parquet
        else:
            with open(beside, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
                yield (_FullCsv if elsewhere else _TEXT[format])(file, form)


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
    """Aligned columns, the file last: its length is not known before."""

    def __init__(self, file: TextIO, form: Form):
        self.file, self.form = file, form

    def write(self, batch: Sequence[Prediction]) -> None:
        """Add a line an image."""
        for one in batch:
            print(f"{self.form.line(one)}  {text(one.path)}", file=self.file)
        self.file.flush()


class _Csv(Writer):
    """A header, and a row an image; names are as they are, but on a terminal, which might take one for a command."""

    def __init__(self, file: TextIO, form: Form):
        self.file, self.form, self.rows = file, form, csv.writer(file, lineterminator="\n")
        self._shown = text if file.isatty() else str
        self._add(["path", *form.header()])

    def write(self, batch: Sequence[Prediction]) -> None:
        """Add a row an image."""
        for one in batch:
            self._add([path_in_csv(one.path), *self.form.row(one)])
        self.file.flush()

    def _add(self, row: Sequence[str]) -> None:
        self.rows.writerow(map(self._shown, row))


class _FullCsv(_Csv):
    """The same in a folder that the paths are not seen from: there they are in full."""

    def write(self, batch: Sequence[Prediction]) -> None:
        """Add a row an image."""
        super().write([replace(one, path=os.path.abspath(one.path)) for one in batch])


class _JsonLines(Writer):
    """An object a line."""

    def __init__(self, file: TextIO, form: Form):
        self.file, self.form = file, form

    def write(self, batch: Sequence[Prediction]) -> None:
        """Add a line an image."""
        for one in batch:
            print(json.dumps({"path": one.path, **self.form.record(one)}), file=self.file)
        self.file.flush()


class _Parquet(Writer):
    """Columns ``path`` and those of the form; a row group for each few thousand images."""

    GROUP = 4096

    def __init__(self, path: Path, form: Form):
        import pyarrow
        import pyarrow.parquet

        self.form = form
        self.schema = pyarrow.schema([("path", pyarrow.string()), *form.schema(pyarrow)])
        self.table = pyarrow.Table
        self.file = pyarrow.parquet.ParquetWriter(path, self.schema)
        self.waiting: list[dict[str, Any]] = []

    def write(self, batch: Sequence[Prediction]) -> None:
        """Add rows."""
        for one in batch:
            path = one.path.encode(errors="surrogateescape").decode(errors="replace")
            self.waiting.append({"path": path, **self.form.values(one)})
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


def _top(one: Prediction) -> list[dict[str, Any]]:
    return [{"class": name, "probability": round(share, 6)} for name, share in one.top]


_TEXT: dict[Format, Callable[[TextIO, Form], Writer]] = {
    "table": _Table,
    "csv": _Csv,
    "jsonl": _JsonLines,
}

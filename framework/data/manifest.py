"""A CSV file that lists images, a row each, with their labels: classes, or numbers."""

from __future__ import annotations

import codecs
import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from framework.core.errors import BadInput, Problem, listing, many, nearest, suggestion
from framework.core.names import from_csv
from framework.core.task import Labels
from framework.data import containers, folders
from framework.data.classified import classes_of, classified, named, read_names
from framework.data.folders import SPLIT_NAMES, Kind, Unused
from framework.data.images import Images, Split
from framework.data.labels import class_name
from framework.data.selection import take

CELLS = 10  # that hold no number are told one by one


def read_manifest(
    file: str,
    path_column: str,
    label_column: str | list[str],
    separator: str | None,
    split_column: str | None,
    labels: Labels = "classes",
    folder: str | None = None,
    names: str | None = None,
    apart: Mapping[str, str] | None = None,
) -> Images:
    """The rows of a CSV file in the splits that it names, all of them training images if it names none.

    What stands between columns, the encoding, and images' endings that are left out are found out, and said. Several
    columns of labels are classes by their names, each 0 or 1: one label an image where each row has one 1.

    Args:
        file: the CSV file.
        path_column: the column of paths.
        label_column: the column of labels, or several.
        separator: what stands between several labels of a cell.
        split_column: the column of splits.
        labels: what labels are.
        folder: that paths are seen from; None for that of the file.
        names: a file of the names of labels that are numbers.
        apart: the files of other splits, with the same columns.

    Raises:
        BadInput: a file, a column, a label or an image is missing, or a label is no number where it should be.
    """
    manifest = os.path.abspath(os.path.expanduser(file))
    of_labels = [label_column] if isinstance(label_column, str) else label_column
    _refuse_columns(of_labels, separator, labels)
    if apart and split_column:
        what = f"data.split_column={split_column} says who is in which split, and so do files of their own"
        raise BadInput(Problem(what, "data.split_column", "null, or no data.validation_file and data.test_file"))
    columns = [path_column, *of_labels, *([split_column] if split_column else [])]
    table = _read_table(manifest, columns)
    rows = table.rows
    in_split: list[str | None] = ["train"] * len(rows)
    unplaced = []
    if split_column:
        in_split = [folders.split_called(row[split_column].strip()) for row in rows]
        unplaced = _split_problems(rows, split_column)
    places = [os.path.dirname(manifest)] * len(rows)
    for split, other in (apart or {}).items():
        more = _read_table(os.path.abspath(os.path.expanduser(other)), columns, f"data.{split}_file")
        in_split += [split] * len(more.rows)
        places += [os.path.dirname(os.path.abspath(other))] * len(more.rows)
        notes = dict.fromkeys((*table.notes, *more.notes))
        table = _Table([*table.rows, *more.rows], [*table.places, *more.places], tuple(notes))
    if folder:
        places = [os.path.abspath(folder)] * len(places)
    found = _files([row[path_column].strip() for row in table.rows], places, folder is not None)
    table = replace(table, notes=(*table.notes, *found.notes))
    listed = _Listed(manifest, table, found.paths, in_split, found.missing, unplaced, found.unused)
    if labels == "classes":
        return _with_classes(listed, of_labels, separator, names)
    if names:
        raise BadInput(Problem("data.names names classes, and the task asks for numbers", "data.names", "null"))
    return _with_numbers(listed, of_labels)


@dataclass(frozen=True)
class _Table:
    """Rows of CSV files, the file and line that each ends in, and what is to be said of how they were read."""

    rows: list[dict[str, str]]
    places: list[str]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Listed:
    """The rows of a manifest, with the path and the split of each, and what is wrong with paths and splits."""

    manifest: str
    table: _Table
    paths: list[str]
    in_split: list[str | None]
    missing: list[Problem]
    unplaced: list[Problem]
    unused: tuple[Unused, ...]

    @property
    def table_columns(self) -> dict[str, Any]:
        """What ``Images`` says of a table."""
        names = tuple(self.table.rows[0])

        def column(name: str) -> dict[str, str] | None:
            cells = (row[name] for row in self.table.rows)
            return dict(zip(self.paths, cells, strict=True)) if name in names else None

        return {"column": column, "columns": names}

    def splits(self, labels: np.ndarray, positions: Mapping[str, Sequence[int]]) -> dict[str, Split]:
        """The images at these positions of each split."""
        everything = Split(tuple(self.paths), labels)
        return {split: take(everything, rows) for split, rows in positions.items() if rows}


def _refuse_columns(columns: Sequence[str], separator: str | None, labels: Labels) -> None:
    problems = []
    if not columns or len(set(columns)) < len(columns):
        problems.append(Problem("data.label_column names no column, or one twice", "data.label_column", "each once"))
    elif labels == "classes" and len(columns) > 1 and separator:
        what = f"data.label_column names {len(columns)} columns, each a class, and data.separator takes one apart"
        problems.append(Problem(what, "data.separator", "null, or one column"))
    if labels == "numbers" and separator:
        what = "data.separator takes labels of a cell apart, and several numbers stand in columns of their own"
        problems.append(Problem(what, "data.separator", "null, and data.label_column=[A,B]"))
    if problems:
        raise BadInput(problems)


def _with_numbers(listed: _Listed, columns: Sequence[str]) -> Images:
    numbers, problems = _numbers(listed.table, columns)
    if problems := [*listed.missing, *problems, *listed.unplaced]:
        raise BadInput(problems)
    positions = {split: [row for row, of in enumerate(listed.in_split) if of == split] for split in SPLIT_NAMES}
    return Images(
        tuple(columns),
        listed.splits(numbers, positions),
        multilabel=False,
        numbers=True,
        origin=listed.manifest,
        notes=listed.table.notes,
        unused=listed.unused,
        **listed.table_columns,
    )


def _numbers(table: _Table, columns: Sequence[str]) -> tuple[np.ndarray, list[Problem]]:
    """The numbers in these columns, float32 (rows, columns), and a problem for each cell that holds none."""
    found = np.zeros((len(table.rows), len(columns)), np.float32)
    wrong: list[tuple[str, str, str]] = []
    for place, (row, line) in enumerate(zip(table.rows, table.places, strict=True)):
        for at, column in enumerate(columns):
            text = row[column].strip()
            try:
                with np.errstate(over="ignore"):
                    found[place, at] = np.float32(float(text))
            except ValueError:
                wrong.append((line, column, f"holds '{text}', which is no number" if text else "is empty"))
            else:
                if not np.isfinite(found[place, at]):
                    wrong.append((line, column, f"holds '{text}', which is no finite number"))
    right = "a number in every row, as 1.5"
    problems = [
        Problem(f"{line}: column '{column}' {what}", "data.label_column", right) for line, column, what in wrong[:CELLS]
    ]
    if len(wrong) > CELLS:
        what = f"{wrong[0][0].rpartition(':')[0]}: {many(len(wrong) - CELLS, 'more cell holds', 'more cells hold')} no number"
        problems.append(Problem(what, "data.label_column", right))
    return found, problems


def _with_classes(listed: _Listed, columns: Sequence[str], separator: str | None, names: str | None = None) -> Images:
    rows, paths, in_split = listed.table.rows, listed.paths, listed.in_split
    cells: Sequence[Sequence[str]]
    if len(columns) > 1:
        cells, wrong = _from_columns(listed, columns)
        several = any(len(cell) != 1 for cell in cells)
        told = [
            f"{len(columns)} columns are a class each, with {'any number of labels' if several else 'one label'} an image"
        ]
    else:
        cells = [_labels(row[columns[0]], separator) for row in rows]
        wrong, several, told = _missing_labels(rows, columns[0], separator), separator is not None, []
    order = None
    if names:
        cells, order, unnamed = named(cells, read_names(names), listed.table.places.__getitem__)
        wrong += unnamed
    classes = classes_of(cells, in_split, order)
    problems = [*listed.missing, *wrong]
    if listed.unplaced:
        problems += listed.unplaced
    elif not wrong and classes.too_few:
        right = f"two classes at least in column '{columns[0]}'"
        problems.append(Problem(classes.too_few, "data.label_column", right))
    if problems:
        raise BadInput(problems)
    return classified(
        paths,
        cells,
        in_split,
        classes,
        several=several,
        where="data.file",
        origin=listed.manifest,
        unused=listed.unused,
        notes=(*listed.table.notes, *told, *_several_labels(classes.names, separator)),
        **listed.table_columns,
    )


def _from_columns(listed: _Listed, columns: Sequence[str]) -> tuple[list[list[str]], list[Problem]]:
    """The columns in which each row has a 1, and a problem for each cell that is neither 0 nor 1."""
    cells, problems = [], []
    for row, line in zip(listed.table.rows, listed.table.places, strict=True):
        said = {column: _ONE_HOT.get(row[column].strip().casefold()) for column in columns}
        problems += [
            Problem(f"{line}: column '{column}' holds '{row[column]}'", "data.label_column", "0 or 1")
            for column, on in said.items()
            if on is None
        ]
        cells.append([class_name(column) for column, on in said.items() if on])
    return cells, problems[:CELLS]


_ONE_HOT = {"0": False, "0.0": False, "": False, "false": False, "1": True, "1.0": True, "true": True}


def _labels(cell: str, separator: str | None) -> list[str]:
    """Class names in a cell."""
    parts = cell.split(separator) if separator else [cell]
    return [class_name(from_csv(part.strip())) for part in parts if part.strip()]


def _read_table(manifest: str, columns: Sequence[str], where: str = "data.file") -> _Table:
    """Rows of a CSV file that has these columns."""
    if not os.path.isfile(manifest):
        folder, name = os.path.split(manifest)
        files = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        near = nearest(name, files)
        right = os.path.join(folder, near) if near else "the path of a CSV file"
        raise BadInput(Problem(f"there is no file {manifest}", where, right))
    try:
        encoding = _encoding(manifest)
        with open(manifest, newline="", encoding=encoding) as file:
            first = file.readline()
            delimiter = _delimiter(first, columns)
            file.seek(0)
            reader = csv.DictReader(file, restval="", delimiter=delimiter, skipinitialspace=delimiter == " ")
            header = list(reader.fieldnames or [])
            numbered = [(reader.line_num, row) for row in reader]
            full = [pair for pair in numbered if any(value for value in pair[1].values() if isinstance(value, str))]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(Problem(f"{manifest} can't be read: {error}", where, "a CSV file in UTF-8")) from None
    binary = [
        name
        for name in header
        if full and all((row[name] or "").strip() in ("0", "1", "0.0", "1.0") for _, row in full)
    ]
    problems = [
        Problem(f"{manifest} has no column '{name}'", where, suggestion(name, header) if header else "a header")
        for name in dict.fromkeys(columns)
        if name not in header
    ]
    if len(binary) > 1 and [name for name in columns if name not in header] == ["label"]:
        what = f"{manifest} has no column 'label', and {many(len(binary), 'column')} of 0 and 1"
        problems = [Problem(what, "data.label_column", f"data.label_column=[{','.join(binary)}]")]
    if header and os.path.isfile(os.path.join(os.path.dirname(manifest), header[0])):
        right = f"a first line that names the columns: {delimiter.join(columns)}"
        problems = [Problem(f"{manifest} has an image in its first line, and no header", where, right)]
    if not problems and not full:
        problems = [Problem(f"{manifest} has no rows", where, "a row an image")]
    if problems:
        raise BadInput(problems)
    notes: tuple[str, ...] = () if delimiter == "," else (f"columns are separated by {_DELIMITERS[delimiter]}",)
    notes = notes if encoding == "utf-8-sig" else (*notes, "its text is UTF-16")
    return _Table([row for _, row in full], [f"{manifest}:{line}" for line, _ in full], notes)


_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "blanks"}


def _delimiter(header: str, columns: Sequence[str]) -> str:
    """What stands between columns: what makes of the header the columns that are wanted, else the most of them."""

    def fit(delimiter: str) -> tuple[int, int]:
        (names, *_) = [*csv.reader([header], delimiter=delimiter), []]
        return len(set(columns) & set(names)), len(names)

    return max(_DELIMITERS, key=fit)


def _encoding(manifest: str) -> str:
    """UTF-8, or UTF-16 where the file begins as such, as spreadsheets write it."""
    with open(manifest, "rb") as file:
        return "utf-16" if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


@dataclass(frozen=True)
class _Files:
    """The image of each row, what is wrong with some, what is to be said, and images beside them that no row names."""

    paths: list[str]
    missing: list[Problem]
    notes: tuple[str, ...]
    unused: tuple[Unused, ...]


def _files(names: Sequence[str], from_folders: Sequence[str], apart: bool) -> _Files:
    """Find the images that rows name, also without their ending; each folder is listed once.

    Args:
        names: paths.
        from_folders: that each is seen from.
        apart: whether that was named in the config.
    """
    inside: dict[str, tuple[set[str], dict[str, list[str]]]] = {}

    def listed(place: str) -> tuple[set[str], dict[str, list[str]]]:
        if place not in inside:
            try:
                there = {entry.name for entry in containers.scandir(place) if folders.is_image(entry)}
            except OSError:
                there = set()
            inside[place] = there, {}
        return inside[place]

    def of_stem(place: str, stem: str) -> list[str]:
        there, stems = listed(place)
        if not stems:
            for name in sorted(there):
                stems.setdefault(os.path.splitext(name)[0], []).append(name)
        return stems.get(stem, [])

    paths, endings = [], set()
    missing: list[str] = []
    torn: list[str] = []
    for name, folder in zip(names, from_folders, strict=True):
        path = os.path.normpath(os.path.join(folder, name))
        place, base = os.path.split(path)
        if base not in listed(place)[0] and not containers.is_file(path):
            found = of_stem(place, base)
            if len(found) == 1:
                path = os.path.join(place, found[0])
                endings.add(os.path.splitext(path)[1])
            else:
                (torn if found else missing).append(name)
        paths.append(path)
    problems = []
    for some, what in ((missing, "a file that is not there"), (torn, "several files, if for their endings")):
        if some:
            verb = "names" if len(some) == 1 else "name"
            told = f"{len(some)} of {many(len(names), 'row')} {verb} {what}: {listing(some, 3)}"
            right = (
                f"paths from {from_folders[0]} on" if apart else "paths relative to the CSV file, or data.folder=FOLDER"
            )
            problems.append(Problem(told, "data.folder" if apart else "data.file", right))
    notes = [f"images are named without their endings: {listing(sorted(endings))}"] * bool(endings)
    if more := len(paths) - len(set(paths)):
        notes.append(f"{many(more, 'row')} {'names' if more == 1 else 'name'} an image that an earlier one names")
    named = set(paths)
    others = [
        path for place, (there, _) in inside.items() for one in there if (path := os.path.join(place, one)) not in named
    ]
    kind = Kind("image that no row names", "images that no row names")
    unused = (Unused(kind, len(others), tuple(sorted(others)[: folders.EXAMPLES])),) if others else ()
    return _Files(paths, problems, tuple(notes), unused)


def _missing_labels(rows: Sequence[Mapping[str, str]], column: str, separator: str | None) -> list[Problem]:
    empty = [f"row {number}" for number, row in enumerate(rows, 1) if not row[column].strip()]
    if not empty or separator:
        return []
    what = (
        f"{len(empty)} of {many(len(rows), 'row')} {'has' if len(empty) == 1 else 'have'} no label: {listing(empty, 3)}"
    )
    return [Problem(what, "data.label_column", f"a class in column '{column}'")]


def _split_problems(rows: Sequence[Mapping[str, str]], column: str) -> list[Problem]:
    found = {row[column]: folders.split_called(row[column].strip()) for row in rows}
    unknown = [cell for cell, split in found.items() if split is None]
    if unknown:
        known = [name for names in SPLIT_NAMES.values() for name in names]
        what = f"column '{column}' has values that name no split: {listing([repr(cell) for cell in unknown], 3)}"
        return [Problem(what, "data.split_column", f"one of {listing(known)}")]
    if "train" not in found.values():
        return [Problem(f"column '{column}' names no training images", "data.split_column", "train in some rows")]
    return []


def _several_labels(classes: Sequence[str], separator: str | None) -> list[str]:
    """A note if classes look like several labels in one, as they do where the separator is another than the given."""
    for sign in "|;,/+& ":
        joined = [name for name in classes if sign in name and sign != separator]
        parts = {part.strip() for name in joined for part in name.split(sign)}
        alone = parts & set(classes)
        # no class is called so; with the other signs some may be, but not where most of their parts are classes too
        if joined and (sign in "|;" or (len(alone) > 1 and 2 * len(alone) > len(parts))):
            what = f"several labels seem to be taken for one class: {listing(joined, 3)}"
            return [f"{what}; data.separator='{sign}' takes them apart"]
    return []

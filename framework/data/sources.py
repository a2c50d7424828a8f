"""The shipped sources of pictures: class folders, a CSV manifest, and the drawn garments.

A source only lists: no picture is opened and TensorFlow is not loaded, so that a check of the data takes milliseconds.
"""

from __future__ import annotations

import csv as csv_files
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from framework.config.settings import DataSettings
from framework.core.errors import BadInput, Problem, listing, nearest, suggestion
from framework.core.registry import get, source
from framework.core.schema import Count, PathText, Share
from framework.data.garments import NAMES, demonstration_files, demonstration_folder, write_demonstration
from framework.data.pictures import Pictures, Split
from framework.data.selection import label_groups, narrow, stratified_split, take

JPEGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo")
OTHERS = (".png", ".gif", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".avif")
EXTENSIONS = frozenset(JPEGS + OTHERS)
SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid"),
    "test": ("test", "testing"),
}


def read(settings: DataSettings) -> Pictures:
    """The pictures that the settings ask for: what their source lists, narrowed to classes, question and limit.

    Raises:
        BadInput: the data can't be used; every problem that was found.
    """
    pictures = get("source", settings.name)(settings.seed, **settings.parameters)
    return narrow(pictures, settings.classes, settings.positive, settings.limit, settings.seed)


@source("image_folder")
def image_folder(seed: int, *, dir: PathText, validation: Share, test: Share) -> Pictures:
    """Class folders of pictures: inside train, validation and test folders, or all in one folder that is split.

    Pictures may lie in folders inside a class folder. What has no picture's ending, or a name that begins with a dot,
    is no picture. A training folder without a validation folder beside it is split too.
    """
    root = os.path.abspath(os.path.expanduser(dir))
    if not os.path.isdir(root):
        raise BadInput(_no_folder(root))
    folders = _split_folders(root)
    found = {split: _read_classes(folder) for split, folder in folders.items()}
    classes = tuple(sorted(found["train"].pictures))
    problems = _folder_problems(folders, found)
    if problems:
        raise BadInput(problems)
    splits = {}
    for split, listed in found.items():
        paths = [path for name in classes for path in listed.pictures.get(name, ())]
        labels = [number for number, name in enumerate(classes) for _ in listed.pictures.get(name, ())]
        splits[split] = Split(tuple(paths), np.asarray(labels, np.int32))
    names = [os.path.relpath(path, folders["train"]) for path in splits["train"].paths]
    splits = _with_missing_splits(splits, names, validation, test, seed)
    ignored = tuple(path for listed in found.values() for path in listed.ignored)
    return Pictures(classes, splits, multilabel=False, origin=root, ignored=ignored)


@source("csv")
def csv(
    seed: int,
    *,
    file: PathText,
    path_column: str,
    label_column: str,
    separator: str | None,
    split_column: str | None,
    validation: Share,
    test: Share,
) -> Pictures:
    """A CSV file with a row a picture: its path, its label or labels, and if wanted its split.

    Paths are relative to the CSV file. With a separator a cell holds any number of labels, also none.
    """
    listed = read_manifest(file, path_column, label_column, separator, split_column)
    folder = os.path.dirname(listed.origin)
    names = [os.path.relpath(path, folder) for path in listed.splits["train"].paths]
    return replace(listed, splits=_with_missing_splits(listed.splits, names, validation, test, seed))


def read_manifest(
    file: str, path_column: str, label_column: str, separator: str | None, split_column: str | None
) -> Pictures:
    """The rows of a CSV file in the splits that it names, all of them training pictures if it names none.

    Raises:
        BadInput: a file, a column, a label or a picture is missing.
    """
    manifest = os.path.abspath(os.path.expanduser(file))
    rows = _read_rows(manifest, [path_column, label_column, *([split_column] if split_column else [])])
    folder = os.path.dirname(manifest)
    names = [row[path_column] for row in rows]
    paths = [os.path.normpath(os.path.join(folder, name)) for name in names]
    cells = [
        [part for part in (label.strip() for label in row[label_column].split(separator)) if part]
        if separator
        else [row[label_column].strip()]
        for row in rows
    ]
    classes = tuple(sorted({label for cell in cells for label in cell if label}))
    problems = [*_missing_pictures(names, paths), *_label_problems(rows, label_column, separator, classes)]
    if split_column:
        problems += _split_problems(rows, split_column, cells)
    if problems:
        raise BadInput(problems)
    number = {name: position for position, name in enumerate(classes)}
    if separator:
        labels = np.zeros((len(rows), len(classes)), np.float32)
        for row, cell in enumerate(cells):
            labels[row, [number[label] for label in cell]] = 1
    else:
        labels = np.asarray([number[cell[0]] for cell in cells], np.int32)
    everything = Split(tuple(paths), labels)
    in_split = [_split_of(row[split_column]) if split_column else "train" for row in rows]
    positions = {split: [row for row, of in enumerate(in_split) if of == split] for split in SPLIT_NAMES}
    splits = {split: take(everything, rows) for split, rows in positions.items() if rows}
    return Pictures(classes, splits, multilabel=separator is not None, origin=manifest)


@source("garments", demonstration=True)
def garments(seed: int, *, train: Count, validation: Count, size: Count) -> Pictures:
    """Ten classes of clothes drawn by the project itself, once, into the user's cache folder.

    ``train`` and ``validation`` count pictures, spread evenly over the classes; ``size`` is the drawn side in pixels.
    """
    folder = demonstration_folder({"train": train, "validation": validation}, size, seed)
    splits = {}
    for split, count in {"train": train, "validation": validation}.items():
        files = demonstration_files(count)
        paths = tuple(str(folder / split / name) for _, name in files)
        splits[split] = Split(paths, np.asarray([label for label, _ in files], np.int32))
    return Pictures(
        NAMES,
        splits,
        multilabel=False,
        origin="garments, drawn for demonstration",
        prepare=lambda: write_demonstration({"train": train, "validation": validation}, size, seed),
    )


def _with_missing_splits(
    splits: Mapping[str, Split], names: Sequence[str], validation: float, test: float, seed: int
) -> dict[str, Split]:
    """The splits with validation, and test if a share is asked for, taken out of ``train`` where the data has none."""
    shares = {split: share for split, share in {"validation": validation, "test": test}.items() if split not in splits}
    if shares.get("validation") == 0:
        right = "data.validation=0.2 takes a fifth of the training pictures"
        raise BadInput(Problem("the data has no validation pictures", "data.validation", right))
    if sum(shares.values()) >= 1:
        raise BadInput(Problem("data.validation and data.test leave nothing to train on", "data.validation", "less"))
    if not any(shares.values()):
        return dict(splits)
    train = splits["train"]
    parts = stratified_split(names, label_groups(train.labels), shares, seed)
    taken = {split: take(train, positions) for split, positions in parts.items() if positions or split == "train"}
    if "validation" in shares and "validation" not in taken:
        raise BadInput(Problem("too few pictures to take validation pictures from", "data.validation", "more pictures"))
    whole = {**splits, **taken}
    return {split: whole[split] for split in SPLIT_NAMES if split in whole}


def split_folders(folder: str) -> dict[str, str]:
    """The folder of each split in a folder, as far as there are such; none where its folders are classes.

    Raises:
        BadInput: it is no folder.
    """
    if not os.path.isdir(folder):
        raise BadInput(_no_folder(folder))
    found = _named_like_splits(folder)
    return {split: path for split, path in found.items() if not any(map(_is_picture, os.scandir(path)))}


def class_folders(folder: str) -> dict[str, list[str]]:
    """Pictures of each class folder in a folder, both in the order of their names; nothing is asked of them."""
    return _read_classes(folder).pictures


def _no_folder(path: str) -> Problem:
    parent, name = os.path.split(path)
    while parent and not os.path.isdir(parent):
        parent, name = os.path.split(parent)
    try:
        near = nearest(name, sorted(entry.name for entry in os.scandir(parent) if entry.is_dir()))
    except OSError:
        near = None
    what = f"there is no folder {path}" if not os.path.exists(path) else f"{path} is not a folder"
    return Problem(what, "data.dir", os.path.join(parent, near) if near else f"a folder; {parent} is there")


@dataclass
class _Listed:
    """What lies in a folder of class folders."""

    pictures: dict[str, list[str]] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def _split_folders(root: str) -> dict[str, str]:
    """Folder of each split; the root itself is ``train`` where its folders are classes."""
    found = _named_like_splits(root)
    if "train" not in found or any(_is_picture(entry) for entry in os.scandir(found["train"])):
        return {"train": root}
    return found


def _named_like_splits(root: str) -> dict[str, str]:
    there = {entry.name.casefold(): entry.path for entry in os.scandir(root) if _is_directory(entry)}
    return {
        split: next(there[name] for name in names if name in there)
        for split, names in SPLIT_NAMES.items()
        if any(name in there for name in names)
    }


def _read_classes(folder: str) -> _Listed:
    listed = _Listed()
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith(".") or entry.name == "__MACOSX":
            continue
        if _is_directory(entry):
            trail = {_identity(folder), _identity(entry.path)}
            listed.pictures[entry.name] = sorted(_walk(entry.path, trail, listed))
        elif not _is_picture(entry):
            listed.ignored.append(entry.path)
    return listed


def _walk(folder: str, trail: set[tuple[int, int]], listed: _Listed) -> Iterator[str]:
    """Pictures under a folder; links are followed unless they lead back into the folders on the way here."""
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        listed.unreadable.append(f"{folder} can't be listed: {error.strerror}")
        return
    for entry in entries:
        if _is_directory(entry):
            if entry.name.startswith("."):
                continue
            here = _identity(entry.path)
            if here not in trail:
                yield from _walk(entry.path, trail | {here}, listed)
        elif _is_picture(entry):
            yield entry.path
        else:
            listed.ignored.append(entry.path)


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_picture(entry: os.DirEntry[str]) -> bool:
    hidden = entry.name.startswith(".")
    return not hidden and os.path.splitext(entry.name)[1].lower() in EXTENSIONS and os.path.isfile(entry.path)


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _folder_problems(folders: Mapping[str, str], found: Mapping[str, _Listed]) -> list[Problem]:
    train = found["train"].pictures
    problems = [Problem(text, "data.dir") for listed in found.values() for text in listed.unreadable]
    if not train:
        problems.append(Problem(f"{folders['train']} has no class folders", "data.dir", _layout(folders["train"])))
    elif len(train) == 1:
        what = f"{folders['train']} has one class only: {next(iter(train))}"
        problems.append(Problem(what, "data.dir", _layout(folders["train"])))
    for split, listed in found.items():
        for name, pictures in listed.pictures.items():
            if not pictures:
                what = f"class '{name}' is empty: no picture in {os.path.join(folders[split], name)}"
                problems.append(Problem(what, "data.dir", f"pictures ending in {listing(sorted(EXTENSIONS), 20)}"))
        if split == "train" or not train:
            continue
        more = [name for name in listed.pictures if name not in train]
        fewer = [name for name in train if name not in listed.pictures]
        if more or fewer:
            differ = [f"has {listing(more)}, which training has not"] * bool(more)
            differ += [f"lacks {listing(fewer)}"] * bool(fewer)
            what = f"the classes of {folders[split]} differ from training's: it {' and '.join(differ)}"
            guesses = [f"{name} for {near}" for name in fewer if (near := nearest(name, more))]
            right = f"is it {listing(guesses)}?" if guesses else f"a folder for each of {listing(list(train))}"
            problems.append(Problem(what, "data.dir", right))
    return problems


def _layout(folder: str) -> str:
    return f"a folder for each class: {os.path.join(folder, 'CLASS', 'picture.jpg')}"


def _read_rows(manifest: str, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a CSV file that has these columns."""
    if not os.path.isfile(manifest):
        folder, name = os.path.split(manifest)
        files = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        near = nearest(name, files)
        right = os.path.join(folder, near) if near else "the path of a CSV file"
        raise BadInput(Problem(f"there is no file {manifest}", "data.file", right))
    try:
        with open(manifest, newline="", encoding="utf-8-sig") as file:
            reader = csv_files.DictReader(file, restval="")
            header = list(reader.fieldnames or [])
            rows = [row for row in reader if any(value for value in row.values() if isinstance(value, str))]
    except (OSError, UnicodeDecodeError, csv_files.Error) as error:
        raise BadInput(Problem(f"{manifest} can't be read: {error}", "data.file", "a CSV file in UTF-8")) from None
    problems = [
        Problem(f"{manifest} has no column '{name}'", "data.file", suggestion(name, header) if header else "a header")
        for name in dict.fromkeys(columns)
        if name not in header
    ]
    if not problems and not rows:
        problems = [Problem(f"{manifest} has no rows", "data.file", "a row a picture")]
    if problems:
        raise BadInput(problems)
    return rows


def _missing_pictures(names: Sequence[str], paths: Sequence[str]) -> list[Problem]:
    missing = [name for name, path in zip(names, paths, strict=True) if not os.path.isfile(path)]
    if not missing:
        return []
    what = f"{len(missing)} of {len(names)} rows name a file that is not there: {listing(missing, 3)}"
    return [Problem(what, "data.file", "paths relative to the CSV file")]


def _label_problems(
    rows: Sequence[Mapping[str, str]], column: str, separator: str | None, classes: Sequence[str]
) -> list[Problem]:
    problems = []
    empty = [f"row {number}" for number, row in enumerate(rows, 1) if not row[column].strip()]
    if empty and not separator:
        what = f"{len(empty)} of {len(rows)} rows have no label: {listing(empty, 3)}"
        problems.append(Problem(what, "data.label_column", f"a class in column '{column}'"))
    if len(classes) == 1:
        problems.append(Problem(f"the data has one class only: {classes[0]}", "data.label_column", "two at least"))
    elif not classes:
        problems.append(Problem("the data has no labels", "data.label_column", f"classes in column '{column}'"))
    return problems


def _split_of(cell: str) -> str | None:
    return next((split for split, names in SPLIT_NAMES.items() if cell.strip().casefold() in names), None)


def _split_problems(rows: Sequence[Mapping[str, str]], column: str, cells: Sequence[list[str]]) -> list[Problem]:
    found = {row[column]: _split_of(row[column]) for row in rows}
    unknown = [cell for cell, split in found.items() if split is None]
    if unknown:
        known = [name for names in SPLIT_NAMES.values() for name in names]
        what = f"column '{column}' has values that name no split: {listing([repr(cell) for cell in unknown], 3)}"
        return [Problem(what, "data.split_column", f"one of {listing(known)}")]
    if "train" not in found.values():
        return [Problem(f"column '{column}' names no training pictures", "data.split_column", "train in some rows")]
    labels: dict[str | None, set[str]] = {split: set() for split in SPLIT_NAMES}
    for row, cell in zip(rows, cells, strict=True):
        labels[found[row[column]]].update(label for label in cell if label)
    return [
        Problem(f"{split} has classes that training has not: {listing(more)}", "data.file", "training pictures of them")
        for split in ("validation", "test")
        if (more := sorted(labels[split] - labels["train"]))
    ]

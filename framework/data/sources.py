"""The shipped sources of images: class folders, a CSV manifest, and the drawn garments.

A source only lists: no image is opened and TensorFlow is not loaded, so that a check of the data takes milliseconds.
"""

from __future__ import annotations

import csv as csv_files
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from framework.config.settings import DataSettings
from framework.core.errors import BadInput, Problem, listing, many, nearest, suggestion
from framework.core.registry import get, source
from framework.core.schema import Count, PathText, Share
from framework.data import folders
from framework.data.folders import EXTENSIONS, SPLIT_NAMES, Kind, Tally, Unused
from framework.data.garments import NAMES, demonstration_files, demonstration_folder, write_demonstration
from framework.data.images import Images, Split
from framework.data.labels import class_name
from framework.data.selection import label_groups, narrow, stratified_split, take


def read(settings: DataSettings) -> Images:
    """The images that the settings ask for: what their source lists, narrowed to classes, question and limit.

    Raises:
        BadInput: the data can't be used; every problem that was found.
    """
    images = get("source", settings.name)(settings.seed, **settings.parameters)
    return narrow(images, settings.classes, settings.positive, settings.limit, settings.seed)


def read_all(name: str, seed: int, **parameters: Any) -> Images:
    """All that a source lists.

    Raises:
        BadInput: as for ``read``.
    """
    return narrow(get("source", name)(seed, **parameters), None, None, None, seed)


@source("image_folder")
def image_folder(seed: int, *, dir: PathText, validation: Share, test: Share) -> Images:
    """Class folders of images: inside train, validation and test folders, or all in one folder that is split.

    Images may lie in folders inside a class folder. What has no image's ending, or a name that begins with a dot,
    is no image; folders that systems and other programs keep are passed over. A training folder without a validation
    folder beside it is split too.
    """
    root = os.path.abspath(os.path.expanduser(dir))
    named = split_folders(root)
    if named and "train" not in named:
        what = f"{root} has folders for {' and '.join(named)} ({_relative(named, root)}), and none to train on"
        raise BadInput(Problem(what, "data.dir", "a folder called train; other names if these are classes"))
    tally = Tally()
    found = {split: _read_classes(folder, tally) for split, folder in (named or {"train": root}).items()}
    if named:
        folders.beside_splits(root, named.values(), tally)
    classes = tuple(found["train"].images)
    faults = _folder_faults(found)
    if len(classes) < 2 or not any(found["train"].images.values()):
        raise BadInput(faults(None))
    splits = {}
    for split, listed in found.items():
        paths = [path for name in classes for path in listed.images.get(name, ())]
        labels = [number for number, name in enumerate(classes) for _ in listed.images.get(name, ())]
        splits[split] = Split(tuple(paths), np.asarray(labels, np.int32))
    splits = _with_missing_splits(splits, found["train"].folder, validation, test, seed)
    others = found["test"].images if "test" in found else {}
    outside = {name: paths for name, paths in others.items() if paths and name not in classes}
    renamed = named and any(
        os.path.relpath(path, root).casefold() not in SPLIT_NAMES[name] for name, path in named.items()
    )
    return Images(
        classes,
        splits,
        multilabel=False,
        origin=root,
        unused=(*tally.unused, *_not_learnt(outside)),
        notes=tuple([f"splits by name: {_relative(named, root)}"] * bool(renamed)),
        faults=faults,
    )


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
) -> Images:
    """A CSV file with a row an image: its path, its label or labels, and if wanted its split.

    Paths are relative to the CSV file. With a separator a cell holds any number of labels, also none.
    """
    listed = read_manifest(file, path_column, label_column, separator, split_column)
    folder = os.path.dirname(listed.origin)
    return replace(listed, splits=_with_missing_splits(listed.splits, folder, validation, test, seed))


def read_manifest(
    file: str, path_column: str, label_column: str, separator: str | None, split_column: str | None
) -> Images:
    """The rows of a CSV file in the splits that it names, all of them training images if it names none.

    Raises:
        BadInput: a file, a column, a label or an image is missing.
    """
    manifest = os.path.abspath(os.path.expanduser(file))
    rows, notes = _read_rows(manifest, [path_column, label_column, *([split_column] if split_column else [])])
    folder = os.path.dirname(manifest)
    names = [row[path_column] for row in rows]
    paths = [os.path.normpath(os.path.join(folder, name)) for name in names]
    cells = [_labels(row[label_column], separator) for row in rows]
    in_split = [folders.split_called(row[split_column].strip()) if split_column else "train" for row in rows]
    inside = {
        split: {label for cell, of in zip(cells, in_split, strict=True) if of == split for label in cell}
        for split in SPLIT_NAMES
        if split in in_split
    }
    # a class that only the test has is none that could be learnt
    classes = tuple(sorted(inside.get("train", set()) | inside.get("validation", set())))
    problems = [*_missing_images(names, paths), *_missing_labels(rows, label_column, separator)]
    wrong_splits = _split_problems(rows, split_column) if split_column else []
    problems += wrong_splits or _too_few(classes, label_column)
    if problems:
        raise BadInput(problems)
    number = {name: position for position, name in enumerate(classes)}
    labels = np.zeros((len(rows), len(classes)), np.float32) if separator else np.full(len(rows), -1, np.int32)
    positions: dict[str, list[int]] = {split: [] for split in inside}
    outside: dict[str, list[str]] = {}
    for row, (path, cell, split) in enumerate(zip(paths, cells, in_split, strict=True)):
        known = [number[label] for label in cell if label in number]
        if separator:
            labels[row, known] = 1
        elif known:
            labels[row] = known[0]
        if known or not cell:
            positions[str(split)].append(row)
        else:
            outside.setdefault(cell[0], []).append(path)
    everything = Split(tuple(paths), labels)
    return Images(
        classes,
        {split: take(everything, rows) for split, rows in positions.items() if rows},
        multilabel=separator is not None,
        origin=manifest,
        unused=_not_learnt(outside),
        notes=(*notes, *_several_labels(classes, separator)),
        faults=_manifest_faults(inside),
    )


def _labels(cell: str, separator: str | None) -> list[str]:
    """Class names in a cell."""
    parts = cell.split(separator) if separator else [cell]
    return [class_name(part.strip()) for part in parts if part.strip()]


@source("garments", demonstration=True)
def garments(seed: int, *, train: Count, validation: Count, size: Count) -> Images:
    """Ten classes of clothes drawn by the project itself, once, into the user's cache folder.

    ``train`` and ``validation`` count images, spread evenly over the classes; ``size`` is the drawn side in pixels.
    """
    folder = demonstration_folder({"train": train, "validation": validation}, size, seed)
    splits = {}
    for split, count in {"train": train, "validation": validation}.items():
        files = demonstration_files(count)
        paths = tuple(str(folder / split / name) for _, name in files)
        splits[split] = Split(paths, np.asarray([label for label, _ in files], np.int32))
    return Images(
        NAMES,
        splits,
        multilabel=False,
        origin="garments, drawn for demonstration",
        prepare=lambda: write_demonstration({"train": train, "validation": validation}, size, seed),
    )


def _with_missing_splits(
    splits: Mapping[str, Split], folder: str, validation: float, test: float, seed: int
) -> dict[str, Split]:
    """The splits with validation, and test if a share is asked for, taken out of ``train`` where the data has none.

    Who is taken depends on the images' paths from ``folder`` on.
    """
    shares = {split: share for split, share in {"validation": validation, "test": test}.items() if split not in splits}
    if shares.get("validation") == 0:
        right = "data.validation=0.2 takes a fifth of the training images"
        raise BadInput(Problem("the data has no validation images", "data.validation", right))
    if sum(shares.values()) >= 1:
        raise BadInput(Problem("data.validation and data.test leave nothing to train on", "data.validation", "less"))
    if not any(shares.values()):
        return dict(splits)
    train = splits["train"]
    names = [os.path.relpath(path, folder) for path in train.paths]
    parts = stratified_split(names, label_groups(train.labels), shares, seed)
    taken = {split: take(train, positions) for split, positions in parts.items() if positions or split == "train"}
    if "validation" in shares and "validation" not in taken:
        raise BadInput(Problem("too few images to take validation images from", "data.validation", "more images"))
    whole = {**splits, **taken}
    return {split: whole[split] for split in SPLIT_NAMES if split in whole}


def split_folders(folder: str) -> dict[str, str]:
    """The folder of each split in a folder, as far as there are such; none where its folders are classes.

    Raises:
        BadInput: it is no folder, or several could be one split.
    """
    if not os.path.isdir(folder):
        raise BadInput(_no_folder(folder))
    return folders.split_folders(folder)


def class_images(folder: str, tally: Tally) -> dict[str, list[str]]:
    """Images of each class folder in a folder, both in the order of their names; what is not used is counted.

    Raises:
        BadInput: a folder can't be listed.
    """
    listed = _read_classes(folder, tally)
    if listed.unlisted:
        raise BadInput(listed.unlisted.values())
    return listed.images


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


@dataclass(frozen=True)
class _Listed:
    """What lies in a folder of class folders: images by class, and by class what can't be listed."""

    folder: str
    images: dict[str, list[str]]
    unlisted: dict[str, Problem]


def _read_classes(folder: str, tally: Tally) -> _Listed:
    images: dict[str, list[str]] = {}
    unlisted = {}
    for name, path in folders.class_folders(folder, tally).items():
        same = images.setdefault(class_name(name), [])
        try:
            same.extend(folders.walk(path, tally))
        except OSError as error:
            what = f"{error.filename} can't be listed: {error.strerror}"
            unlisted[class_name(name)] = Problem(what, "data.dir", "rights to read it")
    return _Listed(folder, {name: sorted(images[name]) for name in sorted(images)}, unlisted)


def _relative(named: Mapping[str, str], root: str) -> str:
    return ", ".join(f"{split} is {os.path.relpath(path, root)}" for split, path in named.items())


def _not_learnt(outside: Mapping[str, Sequence[str]]) -> tuple[Unused, ...]:
    """Test images by class, where training has no such class."""
    if not outside:
        return ()
    kind = Kind("test image", "test images", f"of what training has not: {listing(list(outside))}")
    paths = [path for some in outside.values() for path in some]
    return (Unused(kind, len(paths), tuple(paths[: folders.EXAMPLES])),)


def _folder_faults(found: Mapping[str, _Listed]) -> Callable[[Sequence[str] | None], list[Problem]]:
    def faults(chosen: Sequence[str] | None) -> list[Problem]:
        train = found["train"]
        problems = [
            problem
            for listed in found.values()
            for name, problem in listed.unlisted.items()
            if chosen is None or name in chosen
        ]
        if not train.images:
            problems.append(Problem(f"{train.folder} has no class folders", "data.dir", _layout(train.folder)))
        elif len(train.images) == 1:
            what = f"{train.folder} has one class only: {next(iter(train.images))}"
            problems.append(Problem(what, "data.dir", _layout(train.folder)))
        classes = list(train.images) if chosen is None else chosen
        problems += _empty_classes(train, classes)
        if train.images and "validation" in found:
            validation = found["validation"]
            problems += _empty_classes(validation, validation.images if chosen is None else classes)
            more = [name for name in validation.images if name not in train.images] if chosen is None else []
            problems += _other_classes(validation, more, [name for name in classes if name not in validation.images])
        return problems

    return faults


def _empty_classes(listed: _Listed, classes: Iterable[str]) -> Iterator[Problem]:
    for name in classes:
        if listed.images.get(name) == [] and name not in listed.unlisted:
            what = f"class '{name}' is empty: no image in {os.path.join(listed.folder, name)}"
            right = f"images ending in {listing(sorted(EXTENSIONS), 20)}, or data.classes without it"
            yield Problem(what, "data.dir", right)


def _other_classes(listed: _Listed, more: Sequence[str], fewer: Sequence[str]) -> Iterator[Problem]:
    if not more and not fewer:
        return
    differ = [f"has {listing(more)}, which training has not"] * bool(more)
    differ += [f"lacks {listing(fewer)}"] * bool(fewer)
    what = f"the classes of {listed.folder} differ from training's: it {' and '.join(differ)}"
    guesses = [f"{name} for {near}" for name in fewer if (near := nearest(name, more))]
    right = f"is it {listing(guesses)}?" if guesses else "a folder for each class, or data.classes of those in both"
    yield Problem(what, "data.dir", right)


def _layout(folder: str) -> str:
    return f"a folder for each class: {os.path.join(folder, 'CLASS', 'image.jpg')}"


def _read_rows(manifest: str, columns: Sequence[str]) -> tuple[list[dict[str, str]], list[str]]:
    """Rows of a CSV file that has these columns, and what is to be said of how it was read."""
    if not os.path.isfile(manifest):
        folder, name = os.path.split(manifest)
        files = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        near = nearest(name, files)
        right = os.path.join(folder, near) if near else "the path of a CSV file"
        raise BadInput(Problem(f"there is no file {manifest}", "data.file", right))
    try:
        with open(manifest, newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            delimiter = _delimiter(first, columns)
            file.seek(0)
            reader = csv_files.DictReader(file, restval="", delimiter=delimiter, skipinitialspace=delimiter == " ")
            header = list(reader.fieldnames or [])
            rows = [row for row in reader if any(value for value in row.values() if isinstance(value, str))]
    except (OSError, UnicodeDecodeError, csv_files.Error) as error:
        raise BadInput(Problem(f"{manifest} can't be read: {error}", "data.file", "a CSV file in UTF-8")) from None
    problems = [
        Problem(f"{manifest} has no column '{name}'", "data.file", suggestion(name, header) if header else "a header")
        for name in dict.fromkeys(columns)
        if name not in header
    ]
    if header and os.path.isfile(os.path.join(os.path.dirname(manifest), header[0])):
        right = f"a first line that names the columns: {delimiter.join(columns)}"
        problems = [Problem(f"{manifest} has an image in its first line, and no header", "data.file", right)]
    if not problems and not rows:
        problems = [Problem(f"{manifest} has no rows", "data.file", "a row an image")]
    if problems:
        raise BadInput(problems)
    return rows, [] if delimiter == "," else [f"columns are separated by {_DELIMITERS[delimiter]}"]


_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "blanks"}


def _delimiter(header: str, columns: Sequence[str]) -> str:
    """What stands between columns: what makes of the header the columns that are wanted, else the most of them."""

    def fit(delimiter: str) -> tuple[int, int]:
        (names, *_) = [*csv_files.reader([header], delimiter=delimiter), []]
        return len(set(columns) & set(names)), len(names)

    return max(_DELIMITERS, key=fit)


def _missing_images(names: Sequence[str], paths: Sequence[str]) -> list[Problem]:
    missing = [name for name, path in zip(names, paths, strict=True) if not os.path.isfile(path)]
    if not missing:
        return []
    verb = "names" if len(missing) == 1 else "name"
    what = f"{len(missing)} of {many(len(names), 'row')} {verb} a file that is not there: {listing(missing, 3)}"
    return [Problem(what, "data.file", "paths relative to the CSV file")]


def _missing_labels(rows: Sequence[Mapping[str, str]], column: str, separator: str | None) -> list[Problem]:
    empty = [f"row {number}" for number, row in enumerate(rows, 1) if not row[column].strip()]
    if not empty or separator:
        return []
    what = (
        f"{len(empty)} of {many(len(rows), 'row')} {'has' if len(empty) == 1 else 'have'} no label: {listing(empty, 3)}"
    )
    return [Problem(what, "data.label_column", f"a class in column '{column}'")]


def _too_few(classes: Sequence[str], column: str) -> list[Problem]:
    if len(classes) > 1:
        return []
    what = f"the data has one class only: {classes[0]}" if classes else "the data has no labels"
    return [Problem(what, "data.label_column", f"two classes at least in column '{column}'")]


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


def _manifest_faults(inside: Mapping[str, set[str]]) -> Callable[[Sequence[str] | None], list[Problem]]:
    def faults(chosen: Sequence[str] | None) -> list[Problem]:
        more = inside.get("validation", set()) - inside["train"]
        more = more if chosen is None else more & set(chosen)
        what = f"validation has classes that training has not: {listing(sorted(more))}"
        return [Problem(what, "data.file", "training images of them, or data.classes without them")] if more else []

    return faults


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

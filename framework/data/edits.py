"""Lists of images to leave out and of other labels, that ``doctor`` writes and a person edits; no file is touched."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass, replace

import numpy as np

from framework.core.errors import BadInput, Problem, listing, many, nearest, suggestion
from framework.core.files import refuse_device
from framework.core.names import from_csv
from framework.data.folders import left_out
from framework.data.images import Images
from framework.data.labels import class_name
from framework.data.selection import take

PATH, LABEL = "path", "label"
BETWEEN = "|"  # several labels of an image


def edited(images: Images, exclude: str | None, relabel: str | None) -> Images:
    """The images without those that one list names, and with the labels that another gives them.

    Paths in a list are seen from the data's folder. What a list names and the data do not have is told; the images may
    have gone since.

    Args:
        images: what a source listed.
        exclude: a file with a path a line, or a CSV file with a column ``path``; None for none.
        relabel: a CSV file with the columns ``path`` and ``label``; None for none.

    Raises:
        BadInput: a list can't be read, names no image of the data at all, or gives a label that is no class.
    """
    problems: list[Problem] = []
    for key, file in (("data.exclude", exclude), ("data.relabel", relabel)):
        if file is None:
            continue
        try:
            rows = _read(file, images, key)
            images = _without(images, rows) if key == "data.exclude" else _relabelled(images, rows, file)
        except BadInput as error:
            problems += error.problems
    if problems:
        raise BadInput(problems)
    return images


@dataclass(frozen=True)
class _Rows:
    """The labels that a list gives, empty texts if it gives none, by path in full; those that are there; what to say."""

    labels: dict[str, str]
    lines: dict[str, int]
    there: set[str]
    notes: tuple[str, ...]


def table_of(path: str, key: str) -> list[tuple[int, list[str]]]:
    """The rows of a CSV file that are not empty, each with its line.

    Args:
        path: in full.
        key: of the config, that names it.

    Raises:
        BadInput: it can't be read.
    """
    try:
        refuse_device(path)
        with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as opened:
            return [(place, row) for place, row in enumerate(csv.reader(opened), start=1) if any(row)]
    except (OSError, csv.Error) as error:
        folder, name = os.path.split(path)
        near = nearest(name, os.listdir(folder)) if os.path.isdir(folder) else None
        why = "there is no file" if isinstance(error, FileNotFoundError) else "can't be read:"
        what = (
            f"{why} {path}" if why.startswith("there") else f"{path} {why} {getattr(error, 'strerror', error) or error}"
        )
        raise BadInput(Problem(what, key, os.path.join(folder, near) if near else "the path of a list")) from None


def _read(file: str, images: Images, key: str) -> _Rows:
    path = os.path.abspath(file)
    table = table_of(path, key)
    header = [cell.strip() for cell in table[0][1]] if table else []
    wanted = [PATH] if key == "data.exclude" else [PATH, LABEL]
    if PATH not in header and len(wanted) == 1:
        header = [PATH]  # nothing but paths
    elif missing := [name for name in wanted if name not in header]:
        right = f"a first line that names them: {','.join(wanted)}"
        raise BadInput(Problem(f"{path} has no column {listing(missing)}", key, right))
    else:
        table = table[1:]
    labels, lines = {}, {}
    for line, row in table:
        cells = dict(zip(header, row, strict=False))
        full = os.path.normpath(os.path.join(images.root, cells[PATH]))
        labels[full], lines[full] = cells.get(LABEL, "").strip(), line
    every = (os.path.normpath(one) for split in images.splits.values() for one in split.paths)
    there = {one for one in every if one in labels}
    gone = [os.path.relpath(one, images.root) for one in labels if one not in there]
    if gone and len(gone) == len(labels):
        what = f"{path} names no image of the data: {listing(gone, 3)}"
        raise BadInput(Problem(what, key, f"paths from {images.root} on"))
    notes = [f"{os.path.basename(path)} names {many(len(gone), 'image')} that the data do not have: {listing(gone, 3)}"]
    return _Rows(labels, lines, there, tuple(notes * bool(gone)))


def _without(images: Images, rows: _Rows) -> Images:
    splits, gone = {}, []
    for name, split in images.splits.items():
        out = [os.path.normpath(path) in rows.there for path in split.paths]
        gone += [path for path, left in zip(split.paths, out, strict=True) if left]
        splits[name] = take(split, np.flatnonzero(~np.array(out, bool)))
    unused = left_out("image", "images", "data.exclude", gone)
    return replace(images, splits=splits, unused=(*images.unused, *unused), notes=(*images.notes, *rows.notes))


def _relabelled(images: Images, rows: _Rows, file: str) -> Images:
    if images.numbers:
        what = "data.relabel gives classes, and the labels are numbers"
        raise BadInput(Problem(what, "data.relabel", "null, and other numbers in their table"))
    number = {name: place for place, name in enumerate(images.classes)}
    given, problems = {}, []
    for path in sorted(rows.there, key=rows.lines.__getitem__):
        text = rows.labels[path]
        names = [class_name(from_csv(part)) for part in (text.split(BETWEEN) if images.multilabel else [text])]
        unknown = [name for name in names if name not in number]
        if unknown:
            where = f"{os.path.abspath(file)}:{rows.lines[path]}"
            what = f"{where} gives the label '{unknown[0]}', which is no class" if text else f"{where} gives no label"
            problems.append(Problem(what, "data.relabel", suggestion(unknown[0], images.classes)))
        given[path] = [number[name] for name in names if name in number]
    if problems:
        raise BadInput(problems)
    splits, changed = {}, 0
    for name, split in images.splits.items():
        labels = split.labels.copy()
        for place, path in enumerate(split.paths):
            if (new := given.get(os.path.normpath(path))) is not None:
                if labels.ndim == 2:
                    labels[place] = 0
                    labels[place, new] = 1
                else:
                    labels[place] = new[0]
        changed += int((labels != split.labels).reshape(len(labels), -1).any(axis=1).sum())
        splits[name] = replace(split, labels=labels)
    told = f"{many(changed, 'label')} {'is' if changed == 1 else 'are'} changed by {os.path.basename(file)}"
    return replace(images, splits=splits, notes=(*images.notes, told, *rows.notes))

"""Images without labels that a model has given some (pseudo-labels): they join what trains, and nothing else.

Source: Lee, 2013, Pseudo-Label, ICML's workshop on challenges in representation learning.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from framework.core.errors import BadInput, Problem, listing, many, suggestion
from framework.core.names import from_csv
from framework.data import containers
from framework.data.edits import BETWEEN, PATH, table_of
from framework.data.images import Images, Split
from framework.data.labels import class_name

WHERE = "data.pseudo"
# what a column of labels is called, and that of how sure the model is, where there is one
LABELS, CONFIDENCE = ("class", "labels", "label"), "probability"


def with_pseudo(images: Images, file: str | None) -> Images:
    """The images with those of a list among what trains; what the data have already, in any split, is left out.

    Args:
        images: the data, in the splits and classes that they are used with.
        file: a CSV file with the columns ``path`` and ``class``, or ``labels`` for several with ``|`` between them, as
            ``predict`` writes it; paths are seen from its folder. None for none.

    Raises:
        BadInput: it can't be read, names files that are not there or classes that are none, or adds nothing.
    """
    if file is None:
        return images
    if images.numbers:
        raise BadInput(Problem(f"{WHERE} gives classes, and the labels are numbers", WHERE, "null"))
    path = os.path.abspath(file)
    rows = _read(path, images)
    listed = {row.path for row in rows}
    every = (os.path.normpath(one) for split in images.splits.values() for one in split.paths)
    there = {one for one in every if one in listed}
    new = [row for row in rows if row.path not in there]
    if not new:
        what = f"{path} adds no image" + (
            f": the data have all {len(rows):,} already" if rows else ", for it lists none"
        )
        raise BadInput(Problem(what, WHERE, "predict with a lower min_confidence, or null"))
    train = images.splits["train"]
    labels = _labels(images, new, train.labels.dtype)
    joined = Split((*train.paths, *(row.path for row in new)), np.concatenate([train.labels, labels]))
    return replace(
        images,
        splits={**images.splits, "train": joined},
        notes=(*images.notes, _told(images, os.path.basename(path), new, len(rows) - len(new))),
    )


@dataclass(frozen=True)
class _Row:
    """An image in full, its classes, and how sure the model is of them, as the list says it."""

    path: str
    names: tuple[str, ...]
    confidence: str


def _read(path: str, images: Images) -> list[_Row]:
    """The rows of a list, of an image that it names twice the later one."""
    table = table_of(path, WHERE)
    header = [cell.strip() for cell in table[0][1]] if table else []
    column = next((name for name in LABELS if name in header), None)
    if PATH not in header or column is None:
        right = f"a first line that names them: {PATH},{LABELS[0]}"
        raise BadInput(Problem(f"{path} has no columns {PATH} and {LABELS[0]}", WHERE, right))
    found, missing, unknown = {}, [], []
    for line, row in table[1:]:
        cells = dict(zip(header, row, strict=False))
        full = os.path.normpath(os.path.join(os.path.dirname(path), cells[PATH]))
        text = from_csv(cells.get(column, "").strip())
        parts = text.split(BETWEEN) if images.multilabel else [text]
        names = tuple(class_name(part) for part in parts if part or not images.multilabel)
        unknown += [(line, name) for name in names if name not in images.classes]
        if not containers.is_file(full):
            missing.append(cells[PATH])
        found[full] = _Row(full, names, cells.get(CONFIDENCE, ""))
    problems = [
        Problem(f"{path}:{line} gives the label '{name}', which is no class", WHERE, suggestion(name, images.classes))
        for line, name in unknown[:10]
    ]
    if missing:
        what = f"{path} names {many(len(missing), 'file')} that {'is' if len(missing) == 1 else 'are'} not there"
        right = f"paths from {os.path.dirname(path)} on, or in full"
        problems.append(Problem(f"{what}: {listing(missing, 3)}", WHERE, right))
    if problems:
        raise BadInput(problems)
    return list(found.values())


def _labels(images: Images, rows: Sequence[_Row], dtype: np.dtype) -> np.ndarray:
    """As in ``data.images.Split``."""
    number = {name: place for place, name in enumerate(images.classes)}
    if not images.multilabel:
        return np.asarray([number[row.names[0]] for row in rows], dtype)
    labels = np.zeros((len(rows), len(number)), dtype)
    for place, row in enumerate(rows):
        labels[place, [number[name] for name in row.names]] = 1
    return labels


def _told(images: Images, file: str, rows: Sequence[_Row], known: int) -> str:
    counts = Counter(name for row in rows for name in row.names)
    each = listing([f"{name} {counts[name]}" for name in images.classes], 20)
    try:
        least = f", none less sure than {min(float(row.confidence) for row in rows):.3g}"
    except ValueError:  # a list may leave it out
        least = ""
    left = f"; {many(known, 'image')} that the data have {'is' if known == 1 else 'are'} left out" if known else ""
    return f"{many(len(rows), 'image')} of {file} train with labels that a model gave{least}: {each}{left}"

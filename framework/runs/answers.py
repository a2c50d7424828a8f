"""What the finished model says of each validation image: ``answers.csv``, and counted by class ``confusion.csv``."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from framework.core.files import whole
from framework.core.names import in_csv, path_in_csv
from framework.core.runs import ANSWERS, RunFolder
from framework.evaluation.measures import Answers


def write(folder: RunFolder, answers: Answers, origin: str) -> None:
    """Write a row an image, and for one label an image the counts: a row a true class, a column a predicted one.

    Of several labels an image, an answer is right where all of them are, and as probable as its least sure label.

    Args:
        folder: where to.
        answers: on the validation images.
        origin: the data's folder, or the file in it that lists them; images below are named from there.
    """
    several = answers.task.several
    sure = answers.confidence.min(axis=1) if several else answers.confidence
    right = np.all(answers.right, axis=1) if several else answers.right
    names = [_below(path, origin) for path in answers.paths]
    labels, said = (_named(answers.task.classes, values) for values in (answers.labels, answers.predicted))
    shown = (f"{share:.6f}" for share in sure)
    rows = zip(map(path_in_csv, names), labels, said, shown, right.astype(int).tolist(), strict=True)
    _table(folder.answers, ANSWERS, rows)
    if not several:
        classes = [in_csv(name) for name in answers.task.classes]
        counts = ([name, *row] for name, row in zip(classes, answers.confusion.tolist(), strict=True))
        _table(folder.confusion, ["true \\ predicted", *classes], counts)


def _below(path: str, origin: str) -> str:
    """A path from the data's origin, so that it is the same where the data lie elsewhere; in full if it is not below."""
    root = origin if os.path.isdir(origin) else os.path.dirname(origin)
    return os.path.relpath(path, root) if root and path.startswith(os.path.join(root, "")) else path


def _named(classes: Iterable[str], values: np.ndarray) -> Iterable[str]:
    """The class of each image, or its labels joined by ``|``."""
    names = list(classes)
    if values.ndim == 1:
        return (in_csv(names[value]) for value in values)
    return (in_csv("|".join(names[place] for place in np.flatnonzero(row))) for row in values)


def _table(path: Path, header: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    with whole(path) as beside, open(beside, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        table.writerows(rows)

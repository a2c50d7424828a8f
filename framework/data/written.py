"""A data set as a CSV file: who is in which split, with which label; ``data=csv`` reads it again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from framework.core.files import write_table
from framework.core.names import in_csv, path_in_csv
from framework.data.images import Images

PATH, LABEL, SPLIT = "path", "label", "split"
SEPARATORS = "|;,/+&"


def write(file: Path, images: Images) -> Path:
    """Write a row an image: its path, its label, or its numbers in a column each, and its split.

    Paths are seen from the file's folder where they lie below it, and in full elsewhere.
    """
    columns = list(images.classes) if images.numbers else [LABEL]
    write_table(file, [PATH, *map(in_csv, columns), SPLIT], _rows(file.absolute().parent, images))
    return file


def words(file: Path, images: Images) -> list[str]:
    """What names the data of a written file on a command line."""
    given = ["data=csv", f"data.file={file}", f"data.split_column={SPLIT}"]
    if images.numbers:
        return [*given, f"data.label_column=[{','.join(images.classes)}]"]
    return [*given, *[f"data.separator='{separator(images)}'"] * images.multilabel]


def separator(images: Images) -> str:
    """What stands between an image's labels: a sign that no class has."""
    return next((sign for sign in SEPARATORS if not any(sign in name for name in images.classes)), "\N{BROKEN BAR}")


def _rows(folder: Path, images: Images) -> Iterator[list[object]]:
    between, below = separator(images), os.path.join(folder, "")
    for name, split in images.splits.items():
        for path, label in zip(split.paths, split.labels, strict=True):
            if images.numbers:
                cells: list[object] = [repr(float(value)) for value in label]
            elif images.multilabel:
                cells = [in_csv(between.join(images.classes[number] for number in np.flatnonzero(label)))]
            else:
                cells = [in_csv(images.classes[int(label)])]
            yield [path_in_csv(_below(path, below)), *cells, name]


def _below(path: str, folder: str) -> str:
    """A path as seen from a folder, whose name ends with a separator, if it is below it; else in full."""
    full = os.path.abspath(path)
    return os.path.relpath(full, folder) if full.startswith(folder) else full

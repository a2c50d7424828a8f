"""An evaluation of numbers: how far they are off, as a plain record, files, a figure and a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from framework.core.digits import rounded
from framework.core.files import write_table, write_whole
from framework.core.names import cell, in_csv, path_in_csv, short, text, width
from framework.core.task import Regression
from framework.evaluation.given import Given
from framework.evaluation.results import MISTAKES, NAME, thumbnail
from framework.reports import agreement, contact_sheet


@dataclass(frozen=True)
class Numbers(Given):
    """What a network said of images whose numbers are known: labels and logits float (images, columns)."""

    task: Regression

    @cached_property
    def errors(self) -> np.ndarray:
        """What was said less what is true, float64 (images, columns)."""
        return self.logits.astype(np.float64) - self.labels

    def mistakes(self, most: int) -> np.ndarray:
        """Positions of the images that are furthest off, in deviations of the training images' numbers."""
        off = (np.abs(self.errors) / self.task.deviation).max(axis=1)
        order = np.argsort(-off, kind="stable")[:most]
        return order[off[order] > 0]


def measure(found: Numbers, loss: float, top: Sequence[int] = ()) -> dict[str, Any]:
    """Every score as plain values, ready for JSON; those that a run's history has too are the same numbers.

    Args:
        found: of at least one image.
        loss: mean over the images.
        top: of classes, of which there are none.
    """
    errors = found.errors
    rows: list[dict[str, Any]] = [
        {
            "column": name,
            "mae": float(np.abs(errors[:, place]).mean()),
            "rmse": float(np.sqrt(np.square(errors[:, place]).mean())),
            "r2": _explained(found.labels[:, place], errors[:, place]),
            "bias": float(errors[:, place].mean()),
        }
        for place, name in enumerate(found.task.classes)
    ]
    explained = [row["r2"] for row in rows]
    return {
        "images": len(found.paths),
        "task": found.task.kind,
        "columns": list(found.task.classes),
        "loss": loss,
        "mae": float(np.abs(errors).mean()),
        "rmse": float(np.sqrt(np.square(errors).mean())),
        "r2": None if None in explained else float(np.mean(explained)),
        "per_column": rows,
    }


def _explained(true: np.ndarray, errors: np.ndarray) -> float | None:
    """R²; None where all numbers are the same."""
    true = true.astype(np.float64)
    total = np.square(true - true.mean()).sum()
    return float(1 - np.square(errors).sum() / total) if total > 0 else None


def write(folder: Path, found: Numbers, measured: Mapping[str, Any], below: str) -> list[Path]:
    """Write every file of an evaluation into a folder; the files, in the order of their interest.

    Args:
        folder: made if it is not there; files of an earlier evaluation are replaced.
        found: what was said.
        measured: the record that ``measure`` made of it, with what else belongs into ``metrics.json``.
        below: the line under each figure's title.
    """
    files = [folder / "metrics.json"]
    write_whole(files[0], json.dumps(measured, indent=2, ensure_ascii=False) + "\n")
    names = found.task.classes
    title = f"Off by {rounded(measured['mae'])} on average"
    files.append(agreement.draw(folder / "agreement.png", names, found.labels, found.logits, title, below))
    mistakes = folder / "mistakes.png"
    if frames := [_frame(found, place) for place in found.mistakes(MISTAKES)]:
        files.append(contact_sheet.draw(mistakes, frames, "The largest errors", below))
    else:
        mistakes.unlink(missing_ok=True)
    files.append(_predictions(folder / "predictions.csv", found))
    return files


def _frame(found: Numbers, place: int) -> contact_sheet.Frame:
    """An image with the number that is furthest off."""
    column = int((np.abs(found.errors[place]) / found.task.deviation).argmax())
    said, true = rounded(float(found.logits[place, column])), rounded(float(found.labels[place, column]))
    name = short(found.task.classes[column], NAME)
    path = found.paths[place]
    return contact_sheet.Frame(thumbnail(path), f"{name} {said}", f"is {true}", Path(path).name)


def _predictions(path: Path, found: Numbers) -> Path:
    """A row an image: file, and of each column what is true, what was said, and the error."""
    header = [
        "path",
        *(in_csv(f"{name}{more}") for name in found.task.classes for more in ("", "_predicted", "_error")),
    ]
    rows = (
        [path_in_csv(name), *(f"{value:.7g}" for value in np.stack(numbers, axis=1).ravel())]
        for name, *numbers in zip(found.paths, found.labels, found.logits, found.errors, strict=True)
    )
    return write_table(path, header, rows)


def summary(measured: Mapping[str, Any], name: str, origin: str) -> str:
    """The evaluation as a table for the terminal."""
    wide = max(width([row["column"] for row in measured["per_column"]]), len("overall"), len("column"))
    lines = [
        f"images  {measured['images']:,} ({text(name)}, {text(origin)})",
        f"loss    {measured['loss']:.4f}, in deviations",
        "",
        f"{'column':<{wide}}  mean absolute error  root mean squared error       R²       bias",
    ]
    for row in [*measured["per_column"], {"column": "overall", "bias": None, **measured}]:
        numbers = f"{rounded(row['mae']):>19}  {rounded(row['rmse']):>23}  {rounded(row['r2']):>7}"
        lines.append(f"{cell(row['column'], wide)}  {numbers}  {rounded(row['bias']):>9}")
    return "\n".join(lines)

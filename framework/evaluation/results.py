"""An evaluation's files: the numbers as JSON and CSV, the pictures, and the table on the terminal."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from framework.core.files import write_whole
from framework.data.decode import pixels
from framework.evaluation.measures import HALF, Answers
from framework.reports import classes, confusion, contact_sheet, reliability, thresholds

MISTAKES = 24
THUMBNAIL = (240, 240)


def write(folder: Path, answers: Answers, measured: Mapping[str, Any], below: str) -> list[Path]:
    """Write every file of an evaluation into a folder.

    Args:
        folder: made if it is not there; files of an earlier evaluation are replaced.
        answers: what was said.
        measured: the record that ``measures.measure`` made of it, with what else belongs into ``metrics.json``.
        below: the line under each picture's title.

    Returns:
        the files, in the order of their interest.
    """
    task = answers.task
    files = [folder / "metrics.json"]
    write_whole(files[0], json.dumps(measured, indent=2, ensure_ascii=False) + "\n")
    if task.kind != "multilabel":
        title = f"{measured['accuracy']:.1%} of {measured['pictures']:,} pictures are right"
        files.append(confusion.draw(folder / "confusion.png", answers.confusion, task.classes, title, below))
        rows = [[name, *counts] for name, counts in zip(task.classes, answers.confusion.tolist(), strict=True)]
        files.append(_table(folder / "confusion.csv", ["true \\ predicted", *task.classes], rows))
    files.append(classes.draw(folder / "classes.png", answers.per_class, "Precision and recall of each class", below))
    if task.kind == "binary":
        files.append(_thresholds(folder / "thresholds.png", answers, measured["binary"], below))
    found = answers.calibration
    bins = found.counts, found.confidence, found.accuracy, found.error
    files.append(reliability.draw(folder / "reliability.png", *bins, "What confidence is worth", below))
    mistakes = folder / "mistakes.png"
    if frames := _frames(answers):
        files.append(contact_sheet.draw(mistakes, frames, "The most confident mistakes", below))
    else:
        mistakes.unlink(missing_ok=True)
    files.append(_predictions(folder / "predictions.csv", answers))
    return files


def _thresholds(path: Path, answers: Answers, measured: Mapping[str, Any], below: str) -> Path:
    curve = answers.threshold_curve()
    at_half = int((curve.threshold >= HALF).sum()) - 1
    marked = {"threshold": (HALF, at_half), "best F1 at": (measured["best_f1_threshold"], curve.best_f1)}
    values = {"recall": curve.recall, "false_alarm_rate": curve.false_alarm_rate, "precision": curve.precision}
    no, yes = answers.task.classes
    title = f"{yes[:1].upper()}{yes[1:]} or not, at every threshold"
    return thresholds.draw(
        path, answers.probabilities[:, 1], answers.labels, values, marked, measured, (no, yes), title, below
    )


def _frames(answers: Answers) -> list[contact_sheet.Frame]:
    frames = []
    for place in answers.mistakes(MISTAKES):
        path = answers.paths[place]
        if answers.task.kind == "multilabel":
            sure = np.where(answers.right[place], 0, answers.confidence[place])
            label = int(sure.argmax())
            name, there = answers.task.classes[label], answers.labels[place, label] > 0
            headline = f"{'no ' if there else ''}{name}  {sure[label]:.0%}"
            line = f"shows {_labels(answers, answers.labels[place])}"
        else:
            headline = f"{answers.task.classes[answers.predicted[place]]}  {answers.confidence[place]:.0%}"
            true = answers.labels[place]
            line = f"is {answers.task.classes[true]}  {answers.probabilities[place, true]:.0%}"
        frames.append(contact_sheet.Frame(_thumbnail(path), headline, line, Path(path).name))
    return frames


def _thumbnail(path: str) -> np.ndarray:
    from PIL import Image

    picture = Image.fromarray(pixels(path, THUMBNAIL))
    picture.thumbnail(THUMBNAIL)
    return np.asarray(picture)


def _predictions(path: Path, answers: Answers) -> Path:
    """A row a picture: file, label, answer, and the probability of each class."""
    header = ["path", "label", "predicted", "right", *answers.task.classes]
    rows = []
    for place, file in enumerate(answers.paths):
        label, predicted = (_labels(answers, values[place]) for values in (answers.labels, answers.predicted))
        right = int(np.all(answers.right[place]))
        rows.append([file, label, predicted, right, *(f"{share:.6f}" for share in answers.probabilities[place])])
    return _table(path, header, rows)


def _labels(answers: Answers, value: Any) -> str:
    names = answers.task.classes
    return names[int(value)] if np.ndim(value) == 0 else "|".join(names[place] for place in np.flatnonzero(value))


def _table(path: Path, header: list[str], rows: list[list[Any]]) -> Path:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    write_whole(path, text.getvalue().encode(errors="surrogateescape"))
    return path


def summary(measured: Mapping[str, Any], name: str, origin: str) -> str:
    """The evaluation as a table for the terminal."""
    low, high = measured["accuracy_interval"]
    lines = [
        ("pictures", f"{measured['pictures']:,} ({name}, {origin})"),
        ("loss", f"{measured['loss']:.4f}"),
        ("accuracy", f"{measured['accuracy']:.4f}  (95 % interval {low:.4f} to {high:.4f})"),
    ]
    lines += [(f"top {k}", f"{value:.4f}") for k, value in measured.get("top_k", {}).items()]
    if "exact_match" in measured:
        lines.append(("all labels right", f"{measured['exact_match']:.4f}"))
        lines.append(("mean average precision", _number(measured["mean_average_precision"])))
    if "binary" in measured:
        binary = measured["binary"]
        lines.append(("ROC area", _number(binary["roc_area"])))
        lines.append(("average precision", _number(binary["average_precision"])))
        lines.append(("best F1", f"{binary['best_f1']:.4f} at threshold {binary['best_f1_threshold']:.4f}"))
    lines.append(("calibration error", f"{measured['calibration']['error']:.4f}"))
    width = max(len(key) for key, _ in lines)
    text = [f"{key:<{width}}  {value}" for key, value in lines]

    rows = [*measured["per_class"], {"class": "mean", "support": measured["pictures"], **measured["macro"]}]
    width = max(len(row["class"]) for row in [*rows, {"class": "class"}])
    text += ["", f"{'class':<{width}}  precision  recall      F1  pictures"]
    for row in rows:
        scores = f"{row['precision']:9.4f}  {row['recall']:6.4f}  {row['f1']:6.4f}"
        text.append(f"{row['class']:<{width}}  {scores}  {row['support']:8,}")
    if measured.get("most_confused"):
        text += ["", "most confused"]
        for pair in measured["most_confused"][:5]:
            text.append(
                f"  {pair['true']} taken for {pair['predicted']}: {pair['count']:,} ({pair['share']:.0%} of it)"
            )
    return "\n".join(text)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"

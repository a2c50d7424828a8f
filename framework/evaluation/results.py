"""An evaluation's files: the numbers as JSON and CSV, the figures, and the table on the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from framework.core.errors import many
from framework.core.files import write_table, write_whole
from framework.core.names import cell, in_csv, path_in_csv, short, text, width
from framework.core.task import HALF
from framework.data.decode import pixels
from framework.evaluation.measures import Answers
from framework.reports import classes, confusion, contact_sheet, coverage, reliability, thresholds

MISTAKES, PAIRS = 24, 5
ROWS = 1024  # of predictions.csv that are made at once
LISTED, WORST = 60, 30  # so many classes are listed on the terminal; of more, the worst
THUMBNAIL, NAME = (240, 240), 15
SUREST = 0.8


def write(folder: Path, answers: Answers, measured: Mapping[str, Any], below: str) -> list[Path]:
    """Write every file of an evaluation into a folder.

    Args:
        folder: made if it is not there; files of an earlier evaluation are replaced.
        answers: what was said.
        measured: the record that ``measures.measure`` made of it, with what else belongs into ``metrics.json``.
        below: the line under each figure's title.

    Returns:
        the files, in the order of their interest.
    """
    task = answers.task
    files = [folder / "metrics.json"]
    write_whole(files[0], json.dumps(measured, indent=2, ensure_ascii=False) + "\n")
    if "confusion" in task.measures:
        title = f"{measured['accuracy']:.1%} right of {many(measured['images'], 'image')}"
        files.append(confusion.draw(folder / "confusion.png", answers.confusion, task.classes, title, below))
        names = [in_csv(name) for name in task.classes]
        rows = ([name, *counts.tolist()] for name, counts in zip(names, answers.confusion, strict=True))
        files.append(write_table(folder / "confusion.csv", ["true \\ predicted", *names], rows))
    files.append(classes.draw(folder / "classes.png", answers.per_class, "Precision and recall of each class", below))
    if "thresholds" in task.measures:
        files.append(_thresholds(folder / "thresholds.png", answers, measured["binary"], below))
    found = answers.calibration
    bins = found.counts, found.confidence, found.accuracy, found.error
    files.append(reliability.draw(folder / "reliability.png", *bins, "What confidence is worth", below))
    if "coverage" in measured:
        title, sure = "What answering only the surest comes to", answers.confidence
        drawn = folder / "coverage.png", answers.coverage, sure, answers.confidence_of_unknown, title, below
        files.append(coverage.draw(*drawn))
    mistakes = folder / "mistakes.png"
    if frames := _frames(answers):
        files.append(contact_sheet.draw(mistakes, frames, "The most confident mistakes", below))
    else:
        mistakes.unlink(missing_ok=True)
    files.append(_predictions(folder / "predictions.csv", answers))
    return files


def _thresholds(path: Path, answers: Answers, measured: Mapping[str, Any], below: str) -> Path:
    curve = answers.thresholds()
    at_half = int((curve.threshold > 0).sum()) - 1
    marked = {"threshold": (HALF, at_half), "best F1 at": (measured["best_f1_threshold"], curve.best_f1)}
    values = {"recall": curve.recall, "false_alarm_rate": curve.false_alarm_rate, "precision": curve.precision}
    no, yes = answers.task.classes
    title = f"{yes[:1].upper()}{yes[1:]} or not, at every threshold"
    shares = answers.probabilities(slice(None))[:, 1]
    return thresholds.draw(path, shares, answers.labels, values, marked, measured, (no, yes), title, below)


def _frames(answers: Answers) -> list[contact_sheet.Frame]:
    frames = []
    for place in answers.mistakes(MISTAKES):
        path = answers.paths[place]
        if answers.task.several:
            sure = np.where(answers.right[place], 0, answers.confidence[place])
            label = int(sure.argmax())
            name, there = short(answers.task.classes[label], NAME), answers.labels[place, label] > 0
            headline = f"{'no ' if there else ''}{name}  {sure[label]:.0%}"
            line = f"shows {answers.named(answers.labels[place])}"
        else:
            headline = f"{short(answers.task.classes[answers.predicted[place]], NAME)}  {answers.confidence[place]:.0%}"
            true = answers.labels[place]
            share = answers.probabilities(slice(place, place + 1))[0, true]
            line = f"is {short(answers.task.classes[true], NAME)}  {share:.0%}"
        frames.append(contact_sheet.Frame(thumbnail(path), headline, line, Path(path).name))
    return frames


def thumbnail(path: str) -> np.ndarray:
    """The image of a contact sheet, uint8 (height, width, 3)."""
    from PIL import Image

    image = Image.fromarray(pixels(path, THUMBNAIL))
    image.thumbnail(THUMBNAIL)
    return np.asarray(image)


def _predictions(path: Path, answers: Answers) -> Path:
    """A row an image: file, label, answer, and the probability of each class."""

    def rows() -> Iterator[list[Any]]:
        for start in range(0, len(answers.paths), ROWS):
            shares = answers.probabilities(slice(start, start + ROWS))
            for place, row in enumerate(shares, start=start):
                label, predicted = (answers.named(values[place]) for values in (answers.labels, answers.predicted))
                right = int(np.all(answers.right[place]))
                file = path_in_csv(answers.paths[place])
                yield [file, in_csv(label), in_csv(predicted), right, *(f"{share:.6f}" for share in row)]

    header = ["path", "label", "predicted", "right", *map(in_csv, answers.task.classes)]
    return write_table(path, header, rows())


def summary(measured: Mapping[str, Any], name: str, origin: str) -> str:
    """The evaluation as a table for the terminal."""
    low, high = measured["accuracy_interval"]
    lines = [
        ("images", f"{measured['images']:,} ({text(name)}, {text(origin)})"),
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
    found = measured["calibration"]
    told = f"{found['by_chance']:.4f} by chance alone, on so many images"
    told += f", at temperature {measured['temperature']:.3g}" if "temperature" in measured else ""
    lines.append(("calibration error", f"{found['error']:.4f}  ({told})"))
    if "coverage" in measured:
        surest = next(one for one in measured["coverage"] if one["coverage"] >= SUREST - 1e-9)
        lines.append((f"surest {SUREST:.0%}", f"{surest['accuracy']:.4f} of them right"))
    if "unknown" in measured:
        unknown = measured["unknown"]
        for by in ("confidence", "distance", "either"):
            one = unknown if by == "confidence" else unknown.get(by)
            if one is not None:
                found = ", ".join(f"{share:.1%} at reject={rate}" for rate, share in one["detected"].items())
                what = f"{unknown['images']:,}, by {by}: ROC area {_number(one['auroc'])}; found: {found}"
                lines.append(("unknown images" if by == "confidence" else "", what))
    wide = max(len(key) for key, _ in lines)
    said = [f"{key:<{wide}}  {value}" for key, value in lines]
    said += ["", *_class_table(measured)]
    if measured.get("most_confused"):
        said += ["", "most confused"]
        for pair in measured["most_confused"][:PAIRS]:
            names = f"{short(pair['true'], 40)} taken for {short(pair['predicted'], 40)}"
            said.append(f"  {names}: {pair['count']:,} ({pair['share']:.0%} of it)")
    return "\n".join(said)


def _class_table(measured: Mapping[str, Any]) -> list[str]:
    """A line for each class, of many for the worst, and the scores of all with what they are of."""
    rows, overall = measured["per_class"], measured["overall"]
    left_out = len(rows) - WORST if len(rows) > LISTED else 0
    if left_out:
        rows = sorted(rows, key=lambda row: (not row["support"], row["f1"]))[:WORST]
    wide = max(width([row["class"] for row in rows]), len("overall"))
    lines = [f"{'class':<{wide}}  precision  recall      F1  ROC area  images"]
    for row in [*rows, {"class": "overall", "support": measured["images"], **overall}]:
        numbers = f"{row['precision']:9.4f}  {row['recall']:6.4f}  {row['f1']:6.4f}  {_number(row['auc']):>8}"
        lines.append(f"{cell(row['class'], wide)}  {numbers}  {row['support']:8,}")
    if left_out:
        lines.insert(-1, f"{many(left_out, 'class', 'classes')} of higher F1 or without images in metrics.json")
    of = f"those of {short(overall['of'], 40)}" if "binary" in measured else overall["of"]
    return [*lines, f"(overall: {of})"]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"

"""Doctor: what is wrong with a folder of images, before anything is trained on it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

import framework.parts  # noqa: F401 - registers the shipped parts
from framework.cli.command import check, run_command
from framework.cli.help import overview
from framework.cli.options import read_options
from framework.cli.output import refuse_unwritable
from framework.config.kinds import usual_part
from framework.core.console import progress, say
from framework.core.errors import DONE, FAILED, BadInput, Problem
from framework.core.files import whole_folder, write_whole
from framework.core.names import short
from framework.core.schema import PathText
from framework.data import sources
from framework.data.images import Images

if TYPE_CHECKING:
    from framework.config.settings import Settings
    from framework.inspection.findings import Finding
    from framework.inspection.neighbours import Suspect

USAGE = """
python -m framework.doctor data.dir=PHOTOS [overrides] [output=FOLDER] [write=FOLDER] [format=json] [fail_on=error]

Looks at every image, without TensorFlow: files that can't be read, odd formats, copies and near copies, also between
training and validation images, labels that copies contradict, classes with few images. Prints a table, or JSON;
doctor.json, contact sheets of what was found, and doctor.html go to the folder output, doctor by default. The page opens
offline: tick what to leave out or to rename, and save the lists.

write=FOLDER writes two lists to look through and edit: exclude.csv of images that can't be read or have a copy in
another split, and relabel.csv of labels that look wrong, each with another. Every command takes them as
data.exclude=FOLDER/exclude.csv and data.relabel=FOLDER/relabel.csv; no image is moved or changed.

With a pretrained base on the command line it looks for wrong labels too: images whose neighbours in the base's
features have another one. The features stay in the cache, where a training finds them.

  python -m framework.doctor data.dir=PHOTOS
  python -m framework.doctor data.dir=PHOTOS model=mobilenet
  python -m framework.doctor data=csv data.file=photos.csv format=json fail_on=error | jq '.findings[].kind'

Exit code 0: done; 1: fail_on is set, and something as grave was found; 2: the command line is wrong.
"""
OWN = ("output", "format", "fail_on", "write")
SHEET = 24
NAMED = 3
SHOWN = 1000  # images on the page


@dataclass(frozen=True)
class Options:
    """What the command takes beside overrides."""

    output: Annotated[PathText, "folder of doctor.html, doctor.json and contact sheets"] = "doctor"
    format: Annotated[Literal["table", "json"], "of what is printed"] = "table"
    write: Annotated[PathText | None, "a folder for exclude.csv and relabel.csv, lists that data takes"] = None
    fail_on: Annotated[Literal["error", "warning"] | None, "exit code 1 if something as grave is found"] = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Look and tell; returns the exit code."""

    def work(given: list[str]) -> int:
        own = [argument for argument in given if argument.partition("=")[0] in OWN]
        overrides = _with_source([argument for argument in given if argument not in own])
        return examine(overrides, read_options(Options, own))

    return run_command(lambda: overview(USAGE), arguments, work)


def examine(overrides: Sequence[str], options: Options) -> int:
    """Look at the data that overrides name, print and write what was found; returns the exit code.

    Raises:
        BadInput: the overrides or the data can't be used.
    """
    settings = check(overrides, lambda _: [])
    if len(settings) > 1:
        raise BadInput(Problem("several values for one key", "command line", "one value"))
    folder = Path(options.output).resolve()
    refuse_unwritable(folder, "output")
    if folder.exists() and not (folder / "doctor.json").is_file() and any(folder.iterdir()):
        raise BadInput(Problem(f"{options.output} holds other files", "output", "output=<a new folder>"))
    lists = _lists(options.write)
    images = sources.read(settings[0].data, settings[0].task.asks)
    if images.prepare is not None:
        images.prepare()
    from framework.inspection.findings import SEVERITIES, findings
    from framework.inspection.look import look_at

    looks = look_at([path for split in images.splits.values() for path in split.paths])
    suspects = _suspects(overrides, images) if _names_a_base(overrides, settings[0]) else None
    found = findings(images, looks, suspects or ())
    told = {
        "data": images.origin,
        "images": {name: len(split) for name, split in images.splits.items()},
        "classes": images.counts(),
        "not_used": {one.kind.several: one.count for one in images.unused},
        "labels_examined": suspects is not None,
        "findings": [finding.record(images.origin) for finding in found],
    }
    with whole_folder(folder) as beside:
        write_whole(beside / "doctor.json", json.dumps(told, indent=2, ensure_ascii=False) + "\n")
        _draw(beside, found, images.origin)
        _write_page(beside / "doctor.html", images, found, suspects or ())
    if options.format == "json":
        print(json.dumps(told, indent=2))
    else:
        _show(told, found, images)
    say(f"doctor.html, doctor.json and contact sheets are in {options.output}")
    if lists:
        from framework.inspection import remedies

        remedies.write(lists, images, found, suspects or ())
        say(f"look through {' and '.join(map(str, lists.values()))}, then train with")
        say("  " + " ".join(f"data.{key}={file}" for key, file in lists.items()))
    if options.fail_on is None:
        return DONE
    grave = SEVERITIES[: SEVERITIES.index(options.fail_on) + 1]
    return FAILED if any(finding.severity in grave for finding in found) else DONE


def _lists(folder: str | None) -> dict[str, Path]:
    """The files of the lists, by the key of ``data`` that takes them; none if none are wanted.

    Raises:
        BadInput: they are there, and may have been edited, or can't be written.
    """
    if folder is None:
        return {}
    files = {key: Path(folder) / f"{key}.csv" for key in ("exclude", "relabel")}
    if there := [file for file in files.values() if file.exists()]:
        what = f"{there[0]} is there, and may have been edited"
        raise BadInput(Problem(what, "write", "write=<a new folder>"))
    refuse_unwritable(Path(folder).resolve(), "write")
    return files


def _with_source(overrides: list[str]) -> list[str]:
    """A folder or a table says by itself which source it needs."""
    names = {override.partition("=")[0] for override in overrides}
    if not names & {"data", "recipe", "from"}:
        for key in ("dir", "file"):
            if f"data.{key}" in names:
                return [f"data={usual_part('data', key).name}", *overrides]
    return overrides


def _names_a_base(overrides: Sequence[str], settings: Settings) -> bool:
    names = {override.partition("=")[0] for override in overrides}
    return bool(names & {"model", "recipe", "from"}) and settings.model.weights is not None


def _suspects(overrides: Sequence[str], images: Images) -> list[Suspect]:
    """Images whose label may be wrong, by their position among all.

    Raises:
        BadInput: the base can't be had, or images can't be read.
    """

    from framework.inspection.neighbours import suspects
    from framework.runs.preflight import preflight
    from framework.runs.prepare import trainer

    if images.multilabel or images.numbers:
        raise BadInput(Problem("labels are examined where an image has one class", "model", "leave model out"))
    # what can't be read is named anyway
    chosen = [*overrides, "data.on_error=skip", "stages=default", "augment=[]"]
    (settings,) = check(chosen, preflight)
    made = trainer(settings)
    inputs = made.inputs.build(made.stages[0])
    if not inputs.cached:
        raise BadInput(Problem("there is no frozen base whose features could tell", "model", "model.trainable=false"))
    read = made.experiment.images.splits
    blocks: list[Any] = []
    labels: list[int] = []
    paths: list[str] = []
    for name, rows in (("train", inputs.train), ("validation", inputs.validation)):
        if rows is None:
            continue
        with progress("Reading features", len(rows), "images") as advance:
            for start in range(0, len(rows), 256):
                part = rows.read(np.arange(start, min(start + 256, len(rows))))
                tensors = part if isinstance(part, list | tuple) else [part]
                pooled = [np.asarray(one).reshape(len(one), -1, one.shape[-1]).mean(axis=1) for one in tensors]
                blocks.append(np.concatenate(pooled, axis=1))
                advance(len(blocks[-1]))
        labels += read[name].labels.tolist()
        paths += read[name].paths
    everywhere = {path: place for place, path in enumerate(chain(*(one.paths for one in images.splits.values())))}
    found = suspects(np.concatenate(blocks), np.asarray(labels))
    return [one._replace(position=everywhere[paths[one.position]]) for one in found]


def _show(told: dict[str, Any], found: Sequence[Finding], images: Images) -> None:
    """Print classes and findings as tables."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from framework.inspection.findings import relative
    from framework.reports.table import results

    console = results()
    classes = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    classes.add_column(Text("images" if images.numbers else "class"))
    for name in told["classes"]:
        classes.add_column(name, justify="right")
    for name in () if images.numbers else images.classes:
        classes.add_row(Text(short(name, 40)), *(f"{split[name]:,}" for split in told["classes"].values()))
    classes.add_row("all", *(f"{count:,}" for count in told["images"].values()), style="bold")
    console.print(classes)
    for place, name in enumerate(images.classes if images.numbers else ()):
        values = np.concatenate([split.labels[:, place] for split in images.splits.values()])
        console.print(
            f"{short(name, 40)}: {values.min():.6g} to {values.max():.6g}, mean {values.mean():.6g}", markup=False
        )
    styles = {"error": "bold red", "warning": "yellow", "note": ""}
    for finding in found:
        console.print(f"{finding.severity:<8} {finding.what}", style=styles[finding.severity], markup=False)
        for group in islice(finding.groups, NAMED):
            line = " = ".join(f"{relative(path, images.origin)} ({says})" for path, says in group[:NAMED])
            console.print(f"           {line}" + (" = …" if len(group) > NAMED else ""), markup=False)
        if len(finding.groups) > NAMED:
            console.print(f"           and {len(finding.groups) - NAMED:,} more in doctor.json")
        console.print(f"         → {finding.advice}", markup=False)
    if not found:
        console.print("nothing to complain of")
    if not told["labels_examined"] and not images.multilabel and not images.numbers:
        console.print("Labels were not examined: model=mobilenet does it.", style="dim")


def _draw(folder: Path, found: Sequence[Finding], root: str) -> None:
    """A contact sheet for each finding about images that can be read; those of a group side by side."""
    from framework.data.decode import pixels
    from framework.inspection.findings import relative
    from framework.reports import contact_sheet

    shown = [finding for finding in found if finding.groups and finding.kind not in ("unreadable", "not used")]
    with progress("Drawing", len(shown), "contact sheets") as advance:
        for finding in shown:
            frames: list[contact_sheet.Frame] = []
            for number, group in enumerate(finding.groups, start=1):
                if len(frames) + len(group) > SHEET and frames:
                    break
                for path, says in group[:SHEET]:
                    headline = f"group {number}" if len(group) > 1 else finding.kind
                    image = pixels(path, (160, 160))
                    frames.append(contact_sheet.Frame(image, headline, says, relative(path, root)))
            told = f"{sum(len(group) for group in finding.groups):,} in all; {finding.advice}"
            contact_sheet.draw(folder / f"{finding.kind}.png", frames, finding.what, told)
            advance(1)


def _write_page(file: Path, images: Images, found: Sequence[Finding], suspects: Sequence[Suspect]) -> None:
    """``doctor.html``; of very many images the first are shown, and all can be ticked."""
    from framework.core.names import in_csv
    from framework.data.decode import pixels
    from framework.inspection import remedies
    from framework.reports import checklist

    drawn = 0

    def shown(path: str) -> str | None:
        nonlocal drawn
        try:
            image = pixels(path, (96, 96)) if drawn < SHOWN else None
        except ValueError:  # it can't be read, which is why it is here
            return None
        drawn += 1
        return None if image is None else checklist.thumbnail(image)

    out = [
        {"path": remedies.told(path, images), "why": why, "image": shown(path)}
        for path, why in remedies.to_leave_out(images, found).items()
    ]
    other = [
        {"path": remedies.told(path, images), "label": label, "was": was, "share": share, "image": shown(path)}
        for path, (label, was, share) in remedies.to_relabel(images, suspects).items()
    ]
    findings = [{"severity": one.severity, "what": one.what, "advice": one.advice} for one in found]
    checklist.write(file, images.origin, findings, out, other, [] if images.numbers else [*map(in_csv, images.classes)])


if __name__ == "__main__":
    sys.exit(main())

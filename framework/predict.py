"""Predict: the classes of images, any number of them, as they stream by."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np

from framework.cli.options import Words, run_with_options
from framework.core.backend import load_tensorflow
from framework.core.console import progress, say, warn
from framework.core.errors import DONE, FAILED, BadInput, Problem, many
from framework.core.schema import Count, PathText, PositiveShare
from framework.core.task import Classification, Task
from framework.data.decode import told_depth
from framework.data.folders import told
from framework.evaluation import inputs
from framework.evaluation.forward import forward
from framework.evaluation.kept import CacheOptions, ComputeOptions, refuse, spread
from framework.evaluation.predictions import Format, chosen, form_of, writer
from framework.evaluation.rejection import By, asked
from framework.evaluation.seeing import Tta, views
from framework.evaluation.surest import Surest
from framework.evaluation.uncertain import Order, draw_sheet, most_worth
from framework.model.saved import ModelOptions, open_trained

USAGE = """
python -m framework.predict FILE ... run=RUN [options]

Says what images show: files, folders, ZIPs, tars and tables with all in them, globs, addresses (s3://…), or - for a path
a line on standard input.
Predictions go to standard output as they come, messages to standard error. An image that can't be read is named at
the end, and the others are predicted.

  python -m framework.predict photo.jpg run=latest top=3
  python -m framework.predict photos/ run=RUN format=csv > classes.csv
  find . -name '*.jpg' | python -m framework.predict - run=RUN format=jsonl | jq -r .class
  python -m framework.predict photos/ run=RUN output=classes.parquet
  python -m framework.predict photos/ run=RUN calibrate=true reject=0.02     photos of none of the classes are unknown
  python -m framework.predict photos/ run=RUN reject=0.02 reject_by=either     also those unlike all that it was trained on

With cache.compute=ray a Ray cluster computes the answers, and they stay in the cache: the same command goes on.

  python -m framework.predict photos/ run=RUN cache.compute=ray cache.dir=SHARED output=classes.parquet

order=margin, or entropy, begins with the images that the model is least sure of, of each class in turn; order=distance with
those that differ most from what it was trained on. budget=N stops after so many, and takes such as differ from each other:
those to label next. The CSV file, its classes put right, is one that data=csv reads; sheet=FILE.png shows them:

  python -m framework.predict photos/ run=RUN order=margin budget=100 output=label.csv sheet=label.png
  python -m framework.train data=csv data.file=label.csv data.label_column=class

min_confidence=0.95 leaves out what the model is less sure of, of several labels of any one, and counts what is left by class. A
training takes that file beside its own data: these images train, and never validate:

  python -m framework.predict UNLABELLED run=RUN calibrate=true min_confidence=0.95 output=pseudo.csv
  python -m framework.train data=image_folder data.dir=PHOTOS data.pseudo=pseudo.csv

Exit code 0: done; 1: some images could not be read; 2: the command line or the run are wrong.
"""


@dataclass(frozen=True, kw_only=True)
class Options(ModelOptions):
    """What ``framework-predict`` takes."""

    inputs: Annotated[list[str], Words("FILE ..."), "images, folders, globs in quotes, or - for standard input"]
    top: Annotated[Count, "how many of the likeliest classes are shown"] = 1
    tta: Annotated[Tta, "see each image also mirrored, or as ten crops, and average: slower, mostly better"] = "none"
    reject: Annotated[
        PositiveShare | None, "answer 'unknown' where it is less sure than of all but this share of validation images"
    ] = None
    reject_by: Annotated[By, "how unsure it is, how far from the training images, or either of the two"] = "confidence"
    format: Annotated[Format | None, "null: what output's ending says, else table"] = None
    output: Annotated[PathText | None, "a file in place of standard output"] = None
    batch_size: Annotated[Count, "images at once"] = 32
    order: Annotated[
        Order,
        "given, or those most worth a label first: the least sure by margin or entropy, the least known by distance",
    ] = "given"
    budget: Annotated[Count | None, "so many of those, which differ from each other"] = None
    sheet: Annotated[PathText | None, "with order: a contact sheet of them, a PNG file"] = None
    min_confidence: Annotated[PositiveShare | None, "only images of whose answer the model is as sure as this"] = None
    cache: CacheOptions = field(default_factory=CacheOptions)
    compute: ComputeOptions = field(default_factory=ComputeOptions)


def main(arguments: Sequence[str] | None = None) -> int:
    """Predict what the command line says; returns the exit code."""
    return run_with_options(USAGE, Options, predict, arguments)


def predict(options: Options) -> int:
    """Predict and write.

    Raises:
        BadInput: the classifier can't be used, or there is no image.
    """
    trained = open_trained(options)
    _refuse_order(options, trained.task)
    _refuse_confidence(options, trained.task)
    words = inputs.here(options.inputs)
    inputs.check(words)
    chosen(options.format, options.output)
    far, unsure = asked(trained, options.reject, options.reject_by, options.order == "distance")
    if unsure is not None:
        say(unsure.told)
    seen = views(trained.task, options.tta)
    refuse(options.cache, options.compute, far is not None)
    form = form_of(trained.task, options.top, unsure)
    for heading, text in told(inputs.unused(words)):
        say(f"{heading}: {text}")
    load_tensorflow()
    model = trained.load()
    unreadable: list[tuple[str, str]] = []
    deep: list[str] = []
    waiting: list[tuple[list[str], np.ndarray]] = []
    surest = None
    if options.min_confidence is not None:
        assert isinstance(trained.task, Classification)
        surest = Surest(trained.task, options.min_confidence)
    with writer(options.format, options.output, form) as lines:
        files, geometry = inputs.files(words), trained.geometry
        answers = (
            spread(model, files, geometry, options.cache, options.compute, unreadable, deep, seen)
            if options.cache.compute == "ray"
            else forward(model, files, geometry, options.batch_size, unreadable, seen, deep, far)
        )
        with progress("Predicting", inputs.count(words), "images") as advance:
            for paths, rows in answers:
                advance(len(paths))
                if surest is not None:
                    paths, rows = surest.of(paths, rows)
                if options.order == "given":
                    lines.write(list(form.predictions(paths, rows)))
                else:
                    waiting.append((paths, rows))
        if waiting:
            names = [path for paths, _ in waiting for path in paths]
            found = np.concatenate([rows for _, rows in waiting])
            places = most_worth(trained, model, names, found, options.order, options.budget)
            first = list(form.predictions([names[place] for place in places], found[places]))
            lines.write(first)
            if options.sheet is not None:
                title = f"{many(len(first), 'image')} to label next, by {options.order}"
                say(f"written: {draw_sheet(Path(options.sheet), first, title, trained.name)}")
    if deep:
        say(f"note: {told_depth(len(deep))}")
    if surest is not None:
        say(surest.told)
    if not unreadable:
        return DONE
    listed = "".join(f"\n    {path}: {reason}" for path, reason in unreadable)
    warn(f"{many(len(unreadable), 'image')} can't be read:{listed}")
    return FAILED


def _refuse_order(options: Options, task: Task) -> None:
    if options.order == "given":
        what = "takes the images most worth a label, and order=given orders none"
        given = {"budget": options.budget, "sheet": options.sheet}
        if problems := [
            Problem(f"{key} {what}", key, "order=margin") for key, value in given.items() if value is not None
        ]:
            raise BadInput(problems)
    if options.order != "given" and not isinstance(task, Classification):
        what = f"order={options.order}: the model gives numbers, and does not say how sure it is"
        raise BadInput(Problem(what, "order", "order=given"))


def _refuse_confidence(options: Options, task: Task) -> None:
    if options.min_confidence is None:
        return
    where, given = "min_confidence", f"min_confidence={options.min_confidence:g}"
    if not isinstance(task, Classification):
        what = f"{given}: the model gives numbers, and does not say how sure it is"
        raise BadInput(Problem(what, where, "leave it out"))
    if options.order != "given" or options.reject is not None:
        other = f"reject={options.reject:g}" if options.order == "given" else f"order={options.order}"
        does = (
            "calls the least sure images unknown" if options.order == "given" else "begins with the least sure images"
        )
        raise BadInput(Problem(f"{given} leaves out the least sure images, and {other} {does}", where, "one of them"))


if __name__ == "__main__":
    sys.exit(main())

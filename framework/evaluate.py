"""Evaluate: how good a trained classifier is on a split of its data, a folder, or a CSV file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np

from framework.cli.options import run_with_options
from framework.core.backend import load_tensorflow
from framework.core.console import follow, progress, say, warn
from framework.core.errors import DONE, BadInput, Problem, RunFailed, listing, many
from framework.core.schema import Count, NonNegative, PathText, Share
from framework.data.selection import left_out
from framework.evaluation.forward import forward
from framework.evaluation.given import Given, mean_loss
from framework.evaluation.kinds import EVALUATIONS
from framework.evaluation.labelled import DataOptions, Labelled, SplitName, labelled
from framework.model.saved import ModelOptions, Trained, open_trained

USAGE = """
python -m framework.evaluate run=RUN [options]

Measures a trained classifier on labelled images: loss, accuracy with its 95 % interval, top-k, each class's
precision, recall, F1 and ROC area, confusions, calibration, the most confident mistakes; for a yes-or-no question every
threshold. Prints a table; files and figures go to evaluation/SPLIT in the run folder. Its last line are the scores
that a run's history has: of a yes-or-no question those of yes, else the mean over the classes that occur, as a label
or as an answer, each counting the same. Figures show the worst of many classes, metrics.json and the CSV files all.
Memory: the network's, and 4 bytes an image and class, of several labels 40. Of numbers it measures mean absolute
error, root mean squared error and R², and draws predicted against true ones.

  python -m framework.evaluate run=latest                              the latest run, or the best of the latest sweep
  python -m framework.evaluate run=RUN data.dir=PHOTOS split=test      PHOTOS/test, a folder a class
  python -m framework.evaluate run=RUN min_accuracy=0.8                a gate
  python -m framework.evaluate model=theirs.h5 classes=[hat,shoes] preprocess=tf data.dir=PHOTOS

Exit code 0: done; 1: below min_accuracy or above max_mae; 2: the command line, the run or the data are wrong.
"""


@dataclass(frozen=True, kw_only=True)
class Options(ModelOptions):
    """What ``framework-evaluate`` takes."""

    split: Annotated[SplitName | None, "which images; null: validation, or all of a folder without splits"] = None
    data: DataOptions
    top: Annotated[list[Count], "top-k accuracies to measure"] = field(default_factory=lambda: [3, 5])
    min_accuracy: Annotated[Share | None, "fail (exit code 1) below this accuracy"] = None
    max_mae: Annotated[NonNegative | None, "fail (exit code 1) above this mean absolute error of numbers"] = None
    batch_size: Annotated[Count, "images at once"] = 32
    output: Annotated[PathText | None, "where files go; null: evaluation/SPLIT in the run folder"] = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate what the command line says; returns the exit code."""
    return run_with_options(USAGE, Options, evaluate, arguments)


def evaluate(options: Options) -> int:
    """Evaluate, write the files, print the table.

    Raises:
        BadInput: the classifier or the images can't be used.
        RunFailed: the score misses the gate.
    """
    trained = open_trained(options)
    evaluation = EVALUATIONS[trained.task.asks]
    _check_gates(options, evaluation.score)
    images = labelled(trained, options.data, options.split)
    folder = Path(options.output) if options.output else trained.output("evaluation", images.name)
    for heading, text in images.told:
        say(f"{heading}: {text}")
    load_tensorflow()
    answers, unreadable = answer(trained, images, options.batch_size)
    measured = {
        "model": trained.name,
        "data": images.origin,
        "name": images.name,
        **evaluation.measure(answers, mean_loss(trained, answers), options.top),
        "unreadable": unreadable,
    }
    files = evaluation.write(folder, answers, measured, f"{trained.name}, {images.name} images")
    print(evaluation.summary(measured, images.name, images.origin))
    say(f"\nin {folder}: {'  '.join(file.name for file in files)}")
    if options.min_accuracy is not None and measured["accuracy"] < options.min_accuracy:
        raise RunFailed(f"accuracy {measured['accuracy']:.4f} is below min_accuracy={options.min_accuracy:g}")
    if options.max_mae is not None and measured["mae"] > options.max_mae:
        raise RunFailed(f"mean absolute error {measured['mae']:.6g} is above max_mae={options.max_mae:g}")
    split = [f"split={options.split}"] if options.split else []
    follow("python", "-m", "framework.export", *trained.words, *options.data.words, *split)
    return DONE


def _check_gates(options: Options, score: str) -> None:
    """Let only the gate pass that asks for the score there will be.

    Raises:
        BadInput: the other one is given.
    """
    gates = {"accuracy": ("min_accuracy", options.min_accuracy), "mae": ("max_mae", options.max_mae)}
    right = gates[score][0]
    for key, value in gates.values():
        if value is not None and key != right:
            what = f"{key} asks for what this model has not: it is measured by its {score}"
            raise BadInput(Problem(what, f"command line: {key}", f"{right}=NUMBER"))


def answer(trained: Trained, images: Labelled, batch_size: int) -> tuple[Given, dict[str, str]]:
    """The classifier's answers with progress, and the files that can't be read, each with the reason.

    Raises:
        BadInput: some can't be read and are not to be skipped, or none can be.
        RunFailed: the answers are no numbers.
    """
    model = trained.load()
    bad: list[tuple[str, str]] = []
    paths: list[str] = []
    logits: list[np.ndarray] = []
    with progress("Evaluating", len(images.split), "images") as advance:
        for names, batch in forward(model, images.split.paths, trained.geometry, batch_size, bad):
            paths += names
            logits.append(batch)
            advance(len(names))
    if bad and (not images.skip or not paths):
        lines = "".join(f"\n    {path}: {reason}" for path, reason in bad)
        what = f"{len(bad):,} of {many(len(images.split), 'image')} can't be read:{lines}"
        raise BadInput(Problem(what, images.origin, "data.on_error=skip leaves them out"))
    if bad:
        warn(f"{left_out(len(bad))}: {listing([path for path, _ in bad], 3)}")
    found = np.concatenate(logits)
    if strange := int((~np.isfinite(found)).any(axis=1).sum()):
        raise RunFailed(f"for {strange:,} of {many(len(paths), 'image')} the model's answer is no finite number")
    unread = dict(bad)
    kept = [place for place, path in enumerate(images.split.paths) if path not in unread]
    made = EVALUATIONS[trained.task.asks].answers(trained.task, paths, images.split.labels[kept], found)
    return made, unread


if __name__ == "__main__":
    sys.exit(main())

"""Evaluate: how good a trained classifier is on a split of its data, a folder, or a CSV file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from framework.cli.options import run_with_options
from framework.core.backend import load_tensorflow
from framework.core.console import follow, say
from framework.core.errors import DONE, BadInput, Problem, RunFailed
from framework.core.schema import Count, NonNegative, PathText, Share
from framework.evaluation import inputs
from framework.evaluation.asking import answer, measured, of_unknown
from framework.evaluation.familiar import Familiar, familiar
from framework.evaluation.kinds import EVALUATIONS
from framework.evaluation.labelled import DataOptions, SplitName, labelled
from framework.evaluation.measures import Answers
from framework.evaluation.rejection import check as check_unknown
from framework.evaluation.seeing import Tta, views
from framework.model.saved import ModelOptions, Trained, open_trained

USAGE = """
python -m framework.evaluate run=RUN [options]

Measures a trained classifier on labelled images: loss, accuracy with its 95 % interval, top-k, each class's
precision, recall, F1 and ROC area, confusions, calibration, accuracy against coverage, the most confident mistakes; for
a yes-or-no question every threshold. Prints a table; files and figures go to evaluation/SPLIT in the run folder. Its
last line are the scores that a run's history has: of a yes-or-no question those of yes, else the mean over the classes
that occur, as a label or as an answer, each counting the same. Figures show the worst of many classes, metrics.json and
the CSV files all. Memory: the network's, and 4 bytes an image and class, of several labels 40. Of numbers it measures
mean absolute error, root mean squared error and R², and draws predicted against true ones.

  python -m framework.evaluate run=latest                              the latest run, or the best of the latest sweep
  python -m framework.evaluate run=RUN data.dir=PHOTOS split=test      PHOTOS/test, a folder a class
  python -m framework.evaluate run=RUN min_accuracy=0.8                a gate
  python -m framework.evaluate run=RUN calibrate=true                  with the temperature that its validation images fit
  python -m framework.evaluate run=RUN tta=flip                        each image seen twice
  python -m framework.evaluate run=RUN data.unknown=OTHERS             are images of none of the classes known as that?
  python -m framework.evaluate model=theirs.h5 classes=[hat,shoes] preprocess=tf data.dir=PHOTOS

Exit code 0: done; 1: below min_accuracy or above max_mae; 2: the command line, the run or the data are wrong.
"""


@dataclass(frozen=True, kw_only=True)
class Data(DataOptions):
    """The labelled images, and images of none of the classes."""

    unknown: Annotated[PathText | None, "a folder of images that show none of the classes: are they known as that?"] = (
        None
    )


@dataclass(frozen=True, kw_only=True)
class Options(ModelOptions):
    """What ``framework-evaluate`` takes."""

    split: Annotated[SplitName | None, "which images; null: validation, or all of a folder without splits"] = None
    data: Data
    tta: Annotated[Tta, "see each image also mirrored, or as ten crops, and average: slower, mostly better"] = "none"
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
    unknown, seen = options.data.unknown, views(trained.task, options.tta)
    if unknown is not None:
        check_unknown(trained.task, "command line: data.unknown")
        inputs.check([unknown])
    folder = Path(options.output) if options.output else trained.output("evaluation", images.name)
    for heading, text in images.told:
        say(f"{heading}: {text}")
    far = _familiar(trained) if unknown is not None else None
    load_tensorflow()
    model = trained.load()
    answers, unreadable = answer(trained, model, images, options.batch_size, seen, far)
    if unknown is not None:
        assert isinstance(answers, Answers)
        answers = replace(answers, unknown=of_unknown(trained, model, unknown, options.batch_size, seen, far))
    found = measured(trained, images, answers, unreadable, options.top)
    found |= {"tta": options.tta} if seen is not None else {}
    files = evaluation.write(folder, answers, found, f"{trained.name}, {images.name} images")
    print(evaluation.summary(found, images.name, images.origin))
    say(f"\nin {folder}: {'  '.join(file.name for file in files)}")
    if options.min_accuracy is not None and found["accuracy"] < options.min_accuracy:
        raise RunFailed(f"accuracy {found['accuracy']:.4f} is below min_accuracy={options.min_accuracy:g}")
    if options.max_mae is not None and found["mae"] > options.max_mae:
        raise RunFailed(f"mean absolute error {found['mae']:.6g} is above max_mae={options.max_mae:g}")
    split = [f"split={options.split}"] if options.split else []
    follow("python", "-m", "framework.export", *trained.words, *options.data.words, *split)
    return DONE


def _familiar(trained: Trained) -> Familiar | None:
    """What distances are to; None where that can't be had, which is said."""
    try:
        return familiar(trained)
    except BadInput as error:
        say(f"note: by confidence alone: {error.problems[0].what}")
        return None


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


if __name__ == "__main__":
    sys.exit(main())

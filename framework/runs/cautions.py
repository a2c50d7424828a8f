"""What to be careful about in a finished run's numbers, a sentence each, with what to try."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from framework.config.settings import Settings
from framework.core.better import Yardstick
from framework.core.digits import is_number, rounded
from framework.core.errors import listing, many
from framework.core.task import Classification
from framework.reports.interval import wilson
from framework.training.experiment import Experiment

FEW, FEW_OF_A_CLASS = 100, 10  # validation images
FAR = 0.15  # of accuracy, between training and validation


def cautions(start: Experiment, history: Sequence[Mapping[str, Any]], best: Mapping[str, Any]) -> list[str]:
    """The sentences; none where all is well.

    Args:
        start: settings and data.
        history: a row an epoch.
        best: the row of the epoch that ``model.keras`` holds.
    """
    return [
        *_few_images(start, best),
        *_last_epoch(start.settings, start.settings.yardstick("validation" in start.images.splits), history),
        *_far_apart(start, best),
    ]


def _few_images(start: Experiment, best: Mapping[str, Any]) -> Iterator[str]:
    validation = start.images.splits.get("validation")
    if validation is None:
        return
    score: Any = best.get("val_accuracy")
    if len(validation) < FEW:
        what = f"there are only {many(len(validation), 'validation image')}"
        if is_number(score) and _one_answer(start):
            low, high = wilson(score, len(validation))
            what += f", on which {rounded(score)} can be {rounded(low)} to {rounded(high)} (95 %)"
        yield f"{what}: {_more(start)}"
    few = [
        f"{name} {count}" for name, count in start.images.counts()["validation"].items() if 0 < count < FEW_OF_A_CLASS
    ]
    if few:
        what = f"fewer than {FEW_OF_A_CLASS} validation images of a class say little of it ({listing(few)})"
        yield f"{what}: {_more(start)}"


def _more(start: Experiment) -> str:
    """How more images can validate."""
    if start.settings.data.folds:
        return "what counts is the mean over all folds"
    return "-m data.folds=5 data.fold=0,1,2,3,4 lets each image validate once"


def _last_epoch(settings: Settings, yardstick: Yardstick, history: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    best = yardstick.best(history)
    if best is None or best["epoch"] != history[-1]["epoch"]:
        return
    name = str(best["stage"])
    own = settings.stages[name].epochs if name in settings.stages else None
    key, epochs = (f"stages.{name}.epochs", own) if own else ("trainer.epochs", settings.trainer.epochs)
    yield f"the best epoch by {yardstick.column} is the last, so that more may be better still: {key}={2 * epochs}"


def _far_apart(start: Experiment, best: Mapping[str, Any]) -> Iterator[str]:
    settings = start.settings
    training: Any = best.get("accuracy")
    score: Any = best.get("val_accuracy")
    if not is_number(training) or not is_number(score) or not _one_answer(start):
        return
    if training - score < FAR or training <= wilson(score, len(start.images.splits["validation"]))[1]:
        return
    tries = ["augment=light"] * (not settings.augment.parts)
    tries += ["head.dropout=0.3"] * (settings.head.parameters.get("dropout") == 0)
    tries += [] if tries else ["more images, or a smaller network"]
    what = f"training accuracy is {rounded(training)} and validation's {rounded(score)}: the images are learnt by heart"
    yield f"{what}; {' or '.join(tries)}"


def _one_answer(start: Experiment) -> bool:
    """Whether ``accuracy`` is a share of the images, which is what an interval is for."""
    metric = start.settings.metrics.get("accuracy")
    return (
        isinstance(start.task, Classification)
        and not start.task.several
        and metric is not None
        and metric.name == "accuracy"
    )

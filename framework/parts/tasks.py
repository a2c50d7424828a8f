"""Tasks: what is asked of an image, as ``core.task`` knows it, from the data and what the head is for."""

from __future__ import annotations

import numpy as np

from framework.core.errors import BadInput, Problem
from framework.core.registry import task
from framework.core.task import Binary, Multiclass, Multilabel, Regression, Task, TaskKind
from framework.data.images import Images


@task("auto")
def auto(images: Images, asked: bool, heads: tuple[TaskKind, ...]) -> Task:
    """One of many classes, yes or no, or any number of labels: what data and head say."""
    if asked or (heads == (Binary.kind,) and len(images.classes) == 2):
        return Binary(images.classes)
    return Multilabel(images.classes) if images.multilabel else Multiclass(images.classes)


@task("regression", labels="numbers")
def regression(images: Images, asked: bool, heads: tuple[TaskKind, ...]) -> Task:
    """Numbers in place of classes, one or several an image, from columns of a CSV file.

    Raises:
        BadInput: a column has the same number for all training images.
    """
    numbers = images.splits["train"].labels.astype(np.float64)
    mean, deviation = numbers.mean(axis=0), numbers.std(axis=0)
    constant = np.flatnonzero(numbers.min(axis=0) == numbers.max(axis=0))
    if len(constant):
        raise BadInput(
            Problem(
                f"column '{images.classes[place]}' has one number only for all training images: {numbers[0, place]:g}",
                "data.label_column",
                "numbers that differ",
            )
            for place in constant
        )
    return Regression(images.classes, mean=tuple(mean.tolist()), deviation=tuple(deviation.tolist()))

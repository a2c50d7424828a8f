"""How an evaluation goes, by what was asked: for classes, or for numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from framework.core.task import Labels
from framework.evaluation import measures, regression, results


@dataclass(frozen=True)
class Evaluation:
    """What is made of a network's answers, one after the other.

    Attributes:
        answers: from task, paths, labels and logits to what is measured, a ``given.Given``.
        measure: from that, the loss and the sizes of top k to the record.
        write: the files.
        summary: the table for the terminal.
        score: the key of the record that a gate asks for.
    """

    answers: Callable[..., Any]
    measure: Callable[..., dict[str, Any]]
    write: Callable[..., Any]
    summary: Callable[..., str]
    score: str


EVALUATIONS: dict[Labels, Evaluation] = {
    "classes": Evaluation(measures.Answers, measures.measure, results.write, results.summary, "accuracy"),
    "numbers": Evaluation(regression.Numbers, regression.measure, regression.write, regression.summary, "mae"),
}

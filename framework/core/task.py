"""What a classifier is asked: one of many classes, yes or no, or any number of labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from framework.core.registry import TaskKind


@dataclass(frozen=True)
class Task:
    """The question, its classes in the order of the logits, and how labels reach the loss.

    ``labels`` is ``index`` (int32, shape (batch,)), ``one_hot`` (float32, (batch, classes)), ``binary`` (float32,
    (batch, 1)) or ``multi_hot`` (float32, (batch, classes)). A binary task has two class names and one logit: that of
    the second class.
    """

    kind: TaskKind
    classes: tuple[str, ...]
    labels: Literal["index", "one_hot", "binary", "multi_hot"]

    @property
    def units(self) -> int:
        """How many logits the head must end in."""
        return 1 if self.kind == "binary" else len(self.classes)

"""Which images a classifier can label itself: those of whose answer it is surest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from framework.core.errors import listing, many
from framework.core.task import Classification


@dataclass
class Surest:
    """Leaves out the answers that a classifier is less sure of, and counts the others by class.

    Attributes:
        task: of the classifier.
        least: probability of an answer, of several labels of each of them, that is enough.
        asked: images so far.
        kept: those of them that are not left out.
        counts: of these, by class.
    """

    task: Classification
    least: float
    asked: int = 0
    kept: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    def of(self, paths: Sequence[str], logits: np.ndarray) -> tuple[list[str], np.ndarray]:
        """What is left of a batch: files, and logits, float (files, units)."""
        sure = self.task.confidence(logits).reshape(len(logits), -1).min(axis=1)
        places = np.flatnonzero(sure >= self.least)
        found = logits[places]
        self.asked, self.kept = self.asked + len(paths), self.kept + len(places)
        self.counts.update(name for answer in self.task.answers(found) for name in self.task.named(answer))
        return [paths[place] for place in places.tolist()], found

    @property
    def told(self) -> str:
        """For people."""
        each = listing([f"{name} {self.counts[name]:,}" for name in self.task.classes], 20)
        return f"{self.kept:,} of {many(self.asked, 'image')} with a confidence of {self.least:g} or more: {each}"

"""What a training starts from: settings that fit their data."""

from __future__ import annotations

from dataclasses import dataclass

from framework.config.settings import Settings
from framework.core.task import Task
from framework.data.images import Images
from framework.model.saved import Trained


@dataclass(frozen=True)
class Experiment:
    """Settings that fit their data: what training starts from; ``teacher`` is the classifier that it learns from, if any."""

    settings: Settings
    images: Images
    task: Task
    demonstration: bool
    teacher: Trained | None = None

    @property
    def examples(self) -> int:
        """How many training images there are, augmented copies counted."""
        augment = self.settings.augment
        return len(self.images.splits["train"]) * (augment.copies or 1 if augment.parts else 1)

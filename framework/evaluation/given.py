"""What a network gave for labelled images, whatever it was asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from framework.config.kinds import usual_part
from framework.core import registry
from framework.core.backend import keras
from framework.core.task import Task
from framework.model.saved import Trained


@dataclass(frozen=True)
class Given:
    """Answers as they came.

    Attributes:
        task: the question.
        paths: files.
        labels: as in ``data.images.Split``.
        logits: float (images, units); of numbers the numbers.
    """

    task: Task
    paths: Sequence[str]
    labels: np.ndarray
    logits: np.ndarray


def mean_loss(trained: Trained, answers: Given) -> float:
    """The run's own loss on these answers; of a foreign model the usual one."""
    task = answers.task
    chosen = trained.loss() if trained.run is not None else usual_part("loss", "label_smoothing")
    part = registry.get("loss", chosen.name)
    asked = task.for_loss(part.details["labels"])
    value = part(asked, **chosen.parameters)(asked.targets(answers.labels), answers.logits.astype(np.float32))
    return float(keras.ops.convert_to_numpy(value))

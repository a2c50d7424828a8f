"""What a network gave for labelled images, whatever it was asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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
    if trained.run is not None:
        chosen = trained.loss()
        part, parameters = registry.get("loss", chosen.name), chosen.parameters
        asked = task.for_loss(part.details["labels"])
    else:
        part, parameters = registry.get("loss", "auto"), {"label_smoothing": 0.0}
        asked = task.for_loss("index")
    value = part(asked, **parameters)(asked.targets(answers.labels), answers.logits.astype(np.float32))
    return float(keras.ops.convert_to_numpy(value))

"""The temperature: one number that logits are divided by, so that confidence means what it says.

Source: Guo et al., 2017, https://arxiv.org/abs/1706.04599.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from framework.core.task import Classification
from framework.evaluation import scores

LOWEST, HIGHEST = 0.05, 20.0
MOST = 10_000  # images that it is fitted on, spread over all: it is one number


def fitted(task: Classification, logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature at which labels are likeliest.

    Labels are smoothed by one image's share, as Platt (1999) does, so that a few images that are all right don't make
    the classifier sure of everything.

    Args:
        task: what was asked.
        logits: float (images, units), finite.
        labels: as in ``data.images.Split``.
    """
    from scipy.optimize import minimize_scalar

    step = -(-len(labels) // MOST)
    logits, labels = logits[::step], labels[::step]

    def surprise(logarithm: float) -> float:
        return task.surprise(logits / math.exp(logarithm), labels, 1 / (len(labels) + 1))

    logits = np.asarray(logits, np.float64)
    found = minimize_scalar(surprise, bounds=(math.log(LOWEST), math.log(HIGHEST)), method="bounded")
    return float(math.exp(found.x))


def record(task: Classification, logits: np.ndarray, labels: np.ndarray) -> dict[str, Any] | None:
    """For ``run.json``: temperature, expected calibration error without and with it on these images, and their number."""
    if not np.isfinite(logits).all():
        return None
    temperature = float(f"{fitted(task, logits, labels):.6g}")
    right = (task.answers(logits) == labels).ravel()
    before, after = (
        scores.calibration(task.confidence(logits / divisor).ravel(), right).error for divisor in (1.0, temperature)
    )
    return {"temperature": temperature, "images": len(labels), "error": {"before": before, "after": after}}

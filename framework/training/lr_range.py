"""The learning rate range test: a few steps at rates from far too low to far too high, and what the loss makes of it.

L. N. Smith, Cyclical Learning Rates for Training Neural Networks, section 3.3 (https://arxiv.org/abs/1506.01186).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from framework.config.settings import PartSettings
from framework.core.backend import tf
from framework.core.console import progress
from framework.core.errors import RunFailed
from framework.data import labels, pipeline
from framework.training.fit import Fit, class_weights, make_loss, make_optimizer
from framework.training.material import Material
from framework.training.stages import freeze

LOWEST, HIGHEST, STEPS = 1e-6, 10.0, 120
# a loss above this many times the lowest so far has run away
RUNAWAY = 4.0
# steps on either side that a smoothed loss looks at, and steps at the start that are too few to tell
REACH, FIRST = 8, 10


@dataclass(frozen=True)
class RangeTest:
    """Rates that were tried, the loss of each step's batch, smoothed, and the rate to begin with."""

    stage: str
    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smooth: tuple[float, ...]
    suggestion: float


def range_test(fit: Fit) -> RangeTest:
    """Train the first stage for up to 120 steps, the rate rising from 1e-6 to 10, until the loss runs away.

    The network's weights are worth nothing afterwards.

    Raises:
        RunFailed: the loss falls at no rate.
    """
    stage = fit.stages[0]
    freeze(fit.network, stage)
    material = fit.supply.material(stage)
    settings = replace(fit.settings, optim=replace(fit.settings.optim, schedule=PartSettings("constant")))
    optimizer = make_optimizer(settings, stage, fit.network.model, STEPS)
    tail = material.tail
    tail.compile(optimizer=optimizer, loss=make_loss(settings, fit.experiment.task), auto_scale_loss=False)
    rates: list[float] = []
    losses: list[float] = []
    with progress("rates", STEPS, "steps") as advance:
        for rate, batch in zip(np.geomspace(LOWEST, HIGHEST, STEPS), _batches(fit, material), strict=False):
            optimizer.learning_rate = float(rate)
            tail.reset_metrics()
            loss = float(tail.train_on_batch(*batch))
            if not math.isfinite(loss):
                break
            rates.append(float(rate))
            losses.append(loss)
            advance(1)
            if len(losses) > FIRST and min(losses[-REACH:]) > RUNAWAY * min(smoothed(losses)):
                break
    smooth = smoothed(losses)
    return RangeTest(stage.name, tuple(rates), tuple(losses), tuple(smooth), suggest(rates, smooth))


def smoothed(losses: Sequence[float]) -> list[float]:
    """Mean over neighbouring steps, nearer ones counting more; centred, so that it does not lag behind the rate."""
    weights = np.hanning(2 * REACH + 3)[1:-1]
    total = np.convolve(losses, weights)[REACH : REACH + len(losses)]
    return list(total / np.convolve(np.ones(len(losses)), weights)[REACH : REACH + len(losses)])


def suggest(rates: Sequence[float], smooth: Sequence[float]) -> float:
    """A tenth of the rate at which the smoothed loss is lowest: it still falls there, and is far from running away.

    Raises:
        RunFailed: it falls nowhere.
    """
    lowest = int(np.argmin(smooth)) if len(smooth) else 0
    if lowest <= FIRST:
        raise RunFailed("the loss falls at no learning rate: look at data, loss and model first")
    return rates[lowest] / 10


def _batches(fit: Fit, material: Material) -> tf.data.Dataset:
    """Training batches, epoch after epoch."""
    return pipeline.training_dataset(
        material.train,
        labels.encode(fit.experiment.pictures.splits["train"].labels, fit.experiment.task),
        batch_size=fit.settings.trainer.batch_size,
        seed=fit.settings.trainer.seed,
        augmentations=material.augmentations,
        class_weights=class_weights(fit.experiment),
    )

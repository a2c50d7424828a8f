"""The learning rate range test: a few steps at rates from far too low to far too high, and what the loss makes of it.

L. N. Smith, Cyclical Learning Rates for Training Neural Networks, section 3.3 (https://arxiv.org/abs/1506.01186).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from framework.config.settings import PartSettings, Settings
from framework.core.backend import keras
from framework.core.console import progress
from framework.core.errors import Problem, RunFailed
from framework.training.compiling import make_loss, make_optimizer
from framework.training.distilling import teach
from framework.training.inputs import StageInputs
from framework.training.stages import freeze
from framework.training.trainer import Trainer

LOWEST, HIGHEST, STEPS = 1e-6, 10.0, 120
# a loss above this many times the lowest so far has run away
RUNAWAY = 4.0
# steps on either side that a smoothed loss looks at, and steps at the start that are too few to tell
REACH, FIRST = 8, 10
# of an epoch: where fewer batches come again and again, their loss says more of them than of the rate
FEWEST_BATCHES = 3
# times the noise of a smoothed loss that a fall or a rise must have to be one: of the many points of pure noise the lowest
# and highest lie up to three times as far apart
CLEAR = 4.0


@dataclass(frozen=True)
class RangeTest:
    """Rates that were tried, the loss of each step's batch, smoothed, and the rate to begin with."""

    stage: str
    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smooth: tuple[float, ...]
    suggestion: float


def range_test(trainer: Trainer) -> RangeTest:
    """Train the first stage for up to 120 steps, the rate rising from 1e-6 to 10, until the loss runs away.

    The network's weights are worth nothing afterwards.

    Only whole batches are taken: the loss of a last, smaller one is noise.

    Raises:
        RunFailed: the loss falls at no rate, or rises at none.
    """
    stage = trainer.stages[0]
    freeze(trainer.network, stage)
    inputs = trainer.inputs.build(stage)
    settings = replace(
        trainer.settings,
        optim=replace(trainer.settings.optim, schedule=PartSettings("constant")),
        # each rate moves the weights once
        trainer=replace(trainer.settings.trainer, gradient_accumulation_steps=1),
    )
    optimizer = make_optimizer(settings, stage, trainer.network.flat, STEPS)
    tail = inputs.tail
    tail.compile(optimizer=optimizer, loss=make_loss(settings, trainer.experiment.task, stage), auto_scale_loss=False)
    teach(tail, trainer.experiment)
    rates: list[float] = []
    losses: list[float] = []
    ran_away = False
    with progress("rates", STEPS, "steps") as advance:
        for rate, batch in zip(np.geomspace(LOWEST, HIGHEST, STEPS), _batches(trainer, inputs), strict=False):
            optimizer.learning_rate = float(rate)
            tail.reset_metrics()
            loss = float(tail.train_on_batch(*batch))
            ran_away = not math.isfinite(loss)
            if ran_away:
                break
            rates.append(float(rate))
            losses.append(loss)
            advance(1)
            ran_away = len(losses) > FIRST and min(losses[-REACH:]) > RUNAWAY * min(smoothed(losses))
            if ran_away:
                break
    smooth = smoothed(losses)
    return RangeTest(stage.name, tuple(rates), tuple(losses), tuple(smooth), suggest(rates, losses, ran_away))


def too_few(settings: Settings, images: int) -> list[Problem]:
    """A problem where so many training images are too few batches for a suggestion."""
    size = settings.trainer.batch_size
    if images // size >= FEWEST_BATCHES:
        return []
    what = f"{images} training images are {images // size} whole batches of {size}: too few for a suggestion"
    fitting = images // FEWEST_BATCHES
    right = f"trainer.batch_size={1 << (fitting.bit_length() - 1)}" if fitting else f"{FEWEST_BATCHES} images or more"
    return [Problem(what, "trainer.batch_size", right)]


def smoothed(losses: Sequence[float]) -> list[float]:
    """Mean over neighbouring steps, nearer ones counting more; centred, so that it does not lag behind the rate."""
    weights = np.hanning(2 * REACH + 3)[1:-1]
    total = np.convolve(losses, weights)[REACH : REACH + len(losses)]
    return list(total / np.convolve(np.ones(len(losses)), weights)[REACH : REACH + len(losses)])


def suggest(rates: Sequence[float], losses: Sequence[float], ran_away: bool) -> float:
    """A tenth of the rate at which the smoothed loss is lowest: it still falls there, and is far from running away.

    Args:
        rates: that were tried, rising.
        losses: of the batch at each.
        ran_away: whether the loss after the last of them was beyond all measure.

    Raises:
        RunFailed: it clearly falls nowhere, or rises nowhere.
    """
    smooth = np.asarray(smoothed(losses))
    lowest = int(np.argmin(smooth)) if len(smooth) else 0
    # by the median, for the last losses before a runaway are far from any mean
    noise = CLEAR * 1.48 * float(np.median(np.abs(smooth - losses))) / math.sqrt(REACH) if len(smooth) else 0.0
    if lowest <= FIRST or smooth[: FIRST + 1].mean() - smooth[lowest] <= noise:
        raise RunFailed("the loss falls at no learning rate: look at data, loss and model first")
    if not ran_away and smooth[lowest:].max() - smooth[lowest] <= noise:
        raise RunFailed(f"the loss rises at no learning rate up to {rates[-1]:.2g}: no rate can be said to be too high")
    return rates[lowest] / 10


def _batches(trainer: Trainer, inputs: StageInputs) -> Iterator[Any]:
    """Whole training batches, epoch after epoch."""
    size = trainer.settings.trainer.batch_size
    return (batch for batch in trainer.batches(inputs) if len(keras.tree.flatten(batch)[0]) == size)

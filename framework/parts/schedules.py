"""Schedules: how the learning rate moves within a stage, one step of the optimizer at a time.

A schedule counts from the stage's first step; ``epochs`` and ``steps_per_epoch`` are the stage's. All are Keras's own,
https://keras.io/api/optimizers/learning_rate_schedules/, told in epochs.
"""

from __future__ import annotations

from framework.core.backend import keras
from framework.core.registry import schedule
from framework.core.schema import Count, NonNegative, Positive, Share


@schedule("constant", constant=True)
def constant(learning_rate: float, epochs: int, steps_per_epoch: int) -> float:
    """The same rate throughout: the one that callbacks may lower."""
    return learning_rate


@schedule("exponential")
def exponential(
    learning_rate: float, epochs: int, steps_per_epoch: int, *, decay_rate: Positive, decay_epochs: Positive
) -> keras.optimizers.schedules.LearningRateSchedule:
    """The rate times ``decay_rate`` in every ``decay_epochs`` epochs, smoothly; parts of an epoch count."""
    return keras.optimizers.schedules.ExponentialDecay(
        learning_rate, decay_steps=decay_epochs * steps_per_epoch, decay_rate=decay_rate
    )


@schedule("cosine")
def cosine(
    learning_rate: float, epochs: int, steps_per_epoch: int, *, alpha: Share
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Half a cosine, from the rate down to its share ``alpha`` at the stage's end.

    Source: Loshchilov and Hutter, 2016, https://arxiv.org/abs/1608.03983.
    """
    return keras.optimizers.schedules.CosineDecay(learning_rate, decay_steps=epochs * steps_per_epoch, alpha=alpha)


@schedule("warmup_cosine")
def warmup_cosine(
    learning_rate: float, epochs: int, steps_per_epoch: int, *, warmup_epochs: NonNegative, alpha: Share
) -> keras.optimizers.schedules.LearningRateSchedule:
    """A straight line up for ``warmup_epochs``, then half a cosine down to the share ``alpha`` at the stage's end.

    Parts of an epoch count, also where they end between two steps.
    A stage that is not longer than its warm-up climbs to its last step.
    """
    total = epochs * steps_per_epoch
    warmup = min(warmup_epochs * steps_per_epoch, total - 1)
    if warmup == 0:
        return cosine(learning_rate, epochs, steps_per_epoch, alpha=alpha)
    return keras.optimizers.schedules.CosineDecay(
        # The first step already moves: a rate of zero would waste it.
        initial_learning_rate=learning_rate / (warmup + 1),
        warmup_target=learning_rate,
        warmup_steps=warmup,
        decay_steps=total - warmup,
        alpha=alpha,
    )


@schedule("step")
def step(
    learning_rate: float, epochs: int, steps_per_epoch: int, *, every: Count, factor: Positive
) -> keras.optimizers.schedules.LearningRateSchedule:
    """The rate times ``factor`` after ``every`` so many epochs, at once."""
    return keras.optimizers.schedules.ExponentialDecay(
        learning_rate, decay_steps=every * steps_per_epoch, decay_rate=factor, staircase=True
    )

"""Optimizers: how weights follow their gradients. Keras's own, with the parameters that people set.

``weight_decay`` None is no decay; ``clipnorm`` is the largest norm that the gradient of one weight tensor may have,
None for no limit. Everything else is described at https://keras.io/api/optimizers/.
"""

from __future__ import annotations

from typing import TypeAlias

from framework.core.backend import keras
from framework.core.registry import optimizer
from framework.core.schema import NonNegative, Positive, PositiveShare, Share

Rate: TypeAlias = "float | keras.optimizers.schedules.LearningRateSchedule"


@optimizer("adam")
def adam(
    learning_rate: Rate,
    *,
    beta_1: Share,
    beta_2: Share,
    epsilon: Positive,
    amsgrad: bool,
    weight_decay: NonNegative | None,
    clipnorm: Positive | None,
) -> keras.optimizers.Optimizer:
    """Adam: a step of its own for each weight, from running means of the gradient and its square.

    Source: Kingma and Ba, 2014, https://arxiv.org/abs/1412.6980.
    """
    return keras.optimizers.Adam(
        learning_rate,
        beta_1=beta_1,
        beta_2=beta_2,
        epsilon=epsilon,
        amsgrad=amsgrad,
        weight_decay=weight_decay,
        clipnorm=clipnorm,
    )


@optimizer("adamw")
def adamw(
    learning_rate: Rate,
    *,
    weight_decay: NonNegative,
    beta_1: Share,
    beta_2: Share,
    epsilon: Positive,
    amsgrad: bool,
    clipnorm: Positive | None,
) -> keras.optimizers.Optimizer:
    """AdamW: Adam with weight decay that the running means don't see.

    Source: Loshchilov and Hutter, 2017, https://arxiv.org/abs/1711.05101.
    """
    return keras.optimizers.AdamW(
        learning_rate,
        weight_decay=weight_decay,
        beta_1=beta_1,
        beta_2=beta_2,
        epsilon=epsilon,
        amsgrad=amsgrad,
        clipnorm=clipnorm,
    )


@optimizer("sgd")
def sgd(
    learning_rate: Rate,
    *,
    momentum: Share,
    nesterov: bool,
    weight_decay: NonNegative | None,
    clipnorm: Positive | None,
) -> keras.optimizers.Optimizer:
    """SGD: stochastic gradient descent, with momentum if wanted."""
    return keras.optimizers.SGD(
        learning_rate, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay, clipnorm=clipnorm
    )


@optimizer("rmsprop")
def rmsprop(
    learning_rate: Rate,
    *,
    rho: Share,
    momentum: Share,
    epsilon: Positive,
    centered: bool,
    weight_decay: NonNegative | None,
    clipnorm: Positive | None,
) -> keras.optimizers.Optimizer:
    """RMSprop: the gradient divided by the root of its running mean square.

    Source: Hinton, 2012, https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf.
    """
    return keras.optimizers.RMSprop(
        learning_rate,
        rho=rho,
        momentum=momentum,
        epsilon=epsilon,
        centered=centered,
        weight_decay=weight_decay,
        clipnorm=clipnorm,
    )


@optimizer("nadam")
def nadam(
    learning_rate: Rate,
    *,
    beta_1: Share,
    beta_2: Share,
    epsilon: Positive,
    weight_decay: NonNegative | None,
    clipnorm: Positive | None,
) -> keras.optimizers.Optimizer:
    """Nadam: Adam with Nesterov momentum.

    Source: Dozat, 2016, https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ.
    """
    return keras.optimizers.Nadam(
        learning_rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon, weight_decay=weight_decay, clipnorm=clipnorm
    )


@optimizer("adagrad")
def adagrad(
    learning_rate: Rate,
    *,
    initial_accumulator_value: NonNegative,
    epsilon: Positive,
    weight_decay: NonNegative | None,
    clipnorm: Positive | None,
) -> keras.optimizers.Optimizer:
    """Adagrad: steps that shrink for the weights that moved most.

    Source: Duchi et al., 2011, https://jmlr.org/papers/v12/duchi11a.html.
    """
    return keras.optimizers.Adagrad(
        learning_rate,
        initial_accumulator_value=initial_accumulator_value,
        epsilon=epsilon,
        weight_decay=weight_decay,
        clipnorm=clipnorm,
    )


@optimizer("lion")
def lion(
    learning_rate: Rate,
    *,
    beta_1: PositiveShare,
    beta_2: Share,
    weight_decay: NonNegative | None,
    clipnorm: Positive | None,
) -> keras.optimizers.Optimizer:
    """Lion: the sign of the momentum only; wants a rate 3 to 10 times below Adam's.

    Keras refuses a ``beta_1`` of 0, which would be the sign of the gradient alone.
    Source: Chen et al., 2023, https://arxiv.org/abs/2302.06675.
    """
    return keras.optimizers.Lion(
        learning_rate, beta_1=beta_1, beta_2=beta_2, weight_decay=weight_decay, clipnorm=clipnorm
    )

"""Heads: from one vector an image, float (batch, features), to float32 logits (batch, task.units).

Sigmoid and softmax come where people read numbers; losses and metrics read logits.
"""

from __future__ import annotations

from framework.core.backend import keras
from framework.core.errors import BadInput, Problem
from framework.core.registry import head
from framework.core.schema import Count, Positive, Share
from framework.core.task import CLASSIFYING, Task
from framework.parts.blocks import Activation, Normalization, drop, normalize


@head("dense")
def dense(
    vectors: keras.KerasTensor,
    task: Task,
    *,
    units: Count | None,
    hidden: list[Count],
    activation: Activation,
    normalization: Normalization,
    dropout: Share,
) -> keras.KerasTensor:
    """Dense layers up to the logits, for any task; ``units`` None gives as many logits as the task needs.

    Each of ``hidden`` is a layer of so many units with normalisation, activation and dropout, in this order. Without
    hidden layers the dropout is on the vector.

    Raises:
        BadInput: ``units`` is not what the task needs.
    """
    if units not in (None, task.units):
        raise BadInput(
            Problem(
                f"the head has {units} logits, the data needs {task.units} ({task.kind}, {task.counted})",
                "head.units",
                f"head.units={task.units}, or head.units=null to take what the data needs",
            )
        )
    x = vectors
    for index, width in enumerate(hidden, start=1):
        x = keras.layers.Dense(width, name=f"head_dense{index}")(x)
        x = normalize(x, normalization, f"head_norm{index}")
        x = keras.layers.Activation(activation, name=f"head_{activation}{index}")(x)
        x = drop(x, dropout, f"head_dropout{index}")
    if not hidden:
        x = drop(x, dropout, "head_dropout")
    return keras.layers.Dense(task.units, dtype="float32", name="logits")(x)


@head("binary", tasks=("binary",))
def binary(
    vectors: keras.KerasTensor,
    task: Task,
    *,
    hidden: list[Count],
    activation: Activation,
    normalization: Normalization,
    dropout: Share,
) -> keras.KerasTensor:
    """One logit: that of the second class, a sigmoid away from its probability."""
    return dense(
        vectors,
        task,
        units=1,
        hidden=hidden,
        activation=activation,
        normalization=normalization,
        dropout=dropout,
    )


@head("multilabel", tasks=("multilabel",))
def multilabel(
    vectors: keras.KerasTensor,
    task: Task,
    *,
    hidden: list[Count],
    activation: Activation,
    normalization: Normalization,
    dropout: Share,
) -> keras.KerasTensor:
    """A logit for each label, each a sigmoid away from its own probability."""
    return dense(
        vectors,
        task,
        units=None,
        hidden=hidden,
        activation=activation,
        normalization=normalization,
        dropout=dropout,
    )


@head("linear_probe", tasks=CLASSIFYING)
def linear_probe(vectors: keras.KerasTensor, task: Task) -> keras.KerasTensor:
    """Batch normalisation without scale and offset, then a dense layer: features of any size take the same rates.

    Source: the linear probes of MAE, He et al., 2021, https://arxiv.org/abs/2111.06377, appendix A.1.
    """
    x = keras.layers.BatchNormalization(momentum=0.9, scale=False, center=False, dtype="float32", name="head_norm")(
        vectors
    )
    return keras.layers.Dense(task.units, dtype="float32", name="logits")(x)


@head("cosine", tasks=("multiclass",))
def cosine(vectors: keras.KerasTensor, task: Task, *, scale: Positive) -> keras.KerasTensor:
    """Cosine of the angle to a learned direction for each class, times a factor that is learned from ``scale`` on.

    Source: Gidaris and Komodakis, 2018, https://arxiv.org/abs/1804.09458.
    """
    from framework.parts.layers import CosineLogits

    return CosineLogits(task.units, scale, dtype="float32", name="logits")(vectors)

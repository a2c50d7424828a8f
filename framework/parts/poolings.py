"""Poolings: from feature maps (batch, height, width, channels), or tokens, to one vector an image.

Of a base that gives tokens those for maps see its patches, laid out as (batch, rows, columns, channels); those for
tokens are given its class token (batch, channels), None where there is none, and its patches (batch, patches, channels).
"""

from __future__ import annotations

from framework.core.backend import keras
from framework.core.errors import BadInput, Problem
from framework.core.registry import pooling
from framework.core.schema import Count, Positive


@pooling("avg")
def avg(maps: keras.KerasTensor) -> keras.KerasTensor:
    """Average of each channel over height and width: (batch, channels)."""
    return keras.layers.GlobalAveragePooling2D(name="pooling")(_maps(maps))


@pooling("max")
def max_(maps: keras.KerasTensor) -> keras.KerasTensor:
    """Maximum of each channel over height and width: (batch, channels)."""
    return keras.layers.GlobalMaxPooling2D(name="pooling")(_maps(maps))


@pooling("avgmax")
def avgmax(maps: keras.KerasTensor) -> keras.KerasTensor:
    """Average and maximum of each channel, one after the other: (batch, 2 · channels)."""
    average = keras.layers.GlobalAveragePooling2D(name="pooling_avg")(_maps(maps))
    maximum = keras.layers.GlobalMaxPooling2D(name="pooling_max")(maps)
    return keras.layers.Concatenate(name="pooling")([average, maximum])


@pooling("gem")
def gem(maps: keras.KerasTensor, *, p: Positive) -> keras.KerasTensor:
    """Generalised mean of each channel, its exponent learned from ``p`` on: (batch, channels).

    Computed in float32 at any precision, since powers leave the range of half precision.
    Source: Radenović et al., 2018, https://arxiv.org/abs/1711.02512.
    """
    from framework.parts.layers import GeneralizedMean

    return GeneralizedMean(p, dtype="float32", name="pooling")(_maps(maps))


@pooling("flatten", any_size=False)
def flatten(maps: keras.KerasTensor) -> keras.KerasTensor:
    """Every place of every channel: (batch, height · width · channels)."""
    return keras.layers.Flatten(name="pooling")(_maps(maps))


@pooling("cls", takes="class")
def cls(class_token: keras.KerasTensor, patches: keras.KerasTensor) -> keras.KerasTensor:
    """The class token, which a vision transformer was trained to answer by: (batch, channels)."""
    return class_token


@pooling("tokens", takes="tokens")
def tokens(class_token: keras.KerasTensor | None, patches: keras.KerasTensor) -> keras.KerasTensor:
    """Mean over the patches, without class token and registers: (batch, channels)."""
    return keras.layers.GlobalAveragePooling1D(name="pooling")(patches)


@pooling("cls_tokens", takes="class")
def cls_tokens(class_token: keras.KerasTensor, patches: keras.KerasTensor) -> keras.KerasTensor:
    """The class token and the mean over the patches, one after the other: (batch, 2 · channels).

    Source: the linear probes of DINOv2, https://arxiv.org/abs/2304.07193.
    """
    mean = keras.layers.GlobalAveragePooling1D(name="pooling_mean")(patches)
    return keras.layers.Concatenate(name="pooling")([class_token, mean])


@pooling("attention", takes="tokens")
def attention(class_token: keras.KerasTensor | None, patches: keras.KerasTensor, *, heads: Count) -> keras.KerasTensor:
    """Mean over the patches, weighed by how each answers a learned question, in ``heads`` parts: (batch, channels).

    Source: pooling by multi-head attention with one seed and without its feed-forward layers, Lee et al., 2019,
    https://arxiv.org/abs/1810.00825.

    Raises:
        BadInput: the channels can't be shared out among so many heads.
    """
    from framework.parts.layers import AttentionPooling

    channels = patches.shape[-1]
    if channels % heads:
        fitting = ", ".join(str(number) for number in range(1, channels + 1) if channels % number == 0)
        what = f"{channels} channels can't be shared out among {heads} heads"
        raise BadInput(Problem(what, "pooling.heads", f"pooling.heads one of {fitting}"))
    return AttentionPooling(heads, name="pooling")(patches)


@pooling("none", takes="vector")
def none(maps: keras.KerasTensor) -> keras.KerasTensor:
    """What the base gives, as it is, for bases that end in one vector an image.

    Raises:
        BadInput: the base ends in feature maps.
    """
    if len(maps.shape) != 2:
        raise BadInput(
            Problem(
                f"pooling 'none' needs a base that ends in vectors; this one ends in feature maps {_shape(maps)}",
                "pooling",
                "pooling=avg, or pooling=flatten to keep every place",
            )
        )
    return maps


def _maps(tensor: keras.KerasTensor) -> keras.KerasTensor:
    """The tensor itself if it has height and width."""
    if len(tensor.shape) != 4:
        raise BadInput(
            Problem(f"the base ends in {_shape(tensor)}, not in feature maps to pool", "pooling", "pooling=none")
        )
    return tensor


def _shape(tensor: keras.KerasTensor) -> str:
    """``(4, 4, 1024)``: the shape without the batch."""
    return str(tuple(tensor.shape[1:]))

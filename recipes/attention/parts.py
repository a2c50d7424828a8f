"""Attention pooling: a part written for one recipe, in the way that the shipped ones are."""

from __future__ import annotations

from framework.core.backend import keras
from framework.core.registry import pooling
from framework.core.schema import Count


@pooling("looks")
def attention(maps: keras.KerasTensor, *, looks: Count, hidden: Count) -> keras.KerasTensor:
    """Weighted means of each channel over all places: (batch, looks · channels).

    Source: attention-based pooling without its gate, Ilse et al., 2018, https://arxiv.org/abs/1802.04712.
    """
    # a class of Keras needs Keras at import: this file is read by every check, that one only when a model is built
    from .layers import AttentionPooling

    return AttentionPooling(looks, hidden, name="pooling")(maps)

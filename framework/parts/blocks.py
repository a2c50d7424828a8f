"""What bases and heads share: the choice of activations and normalisations, and the layers for them."""

from __future__ import annotations

from typing import Literal

from framework.core.backend import keras

Activation = Literal["relu", "leaky_relu", "elu", "selu", "gelu", "silu", "tanh"]
Normalization = Literal["none", "batch", "layer"]


def normalize(tensor: keras.KerasTensor, kind: Normalization, name: str) -> keras.KerasTensor:
    """The tensor through batch or layer normalisation; as it is for ``none``."""
    if kind == "batch":
        # Keras's momentum of 0.99 follows too slowly where an epoch has some fifty steps: validation would lag behind
        return keras.layers.BatchNormalization(momentum=0.9, name=name)(tensor)
    return keras.layers.LayerNormalization(name=name)(tensor) if kind == "layer" else tensor


def drop(tensor: keras.KerasTensor, share: float, name: str) -> keras.KerasTensor:
    """The tensor through dropout; as it is for a share of 0, so that no random layer stands in the graph."""
    return keras.layers.Dropout(share, name=name)(tensor) if share else tensor

"""What a vision transformer's tokens attend to: the shares of each block's heads, and how they add up over the blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from framework.core.backend import keras
from framework.core.keras_hub_private import attentions_of, watched
from framework.core.keras_private import is_functional, nodes_of
from framework.model.opened import opened
from framework.parts.presets import LAYER


@dataclass(frozen=True)
class Tokens:
    """A model whose base is a vision transformer.

    Attributes:
        model: itself.
        flat: the same with the base's layers in its place.
        blocks: names of its blocks, in order.
        last: what the last block takes, a tensor of ``flat`` (batch, tokens, channels).
        grid: rows and columns of the patches, which are the last tokens; the first of those before them is the class token.
    """

    model: keras.Model
    flat: keras.Model
    blocks: tuple[str, ...]
    last: Any
    grid: tuple[int, int]

    def before(self, count: int) -> int:
        """How many of so many tokens come before the patches."""
        return count - self.grid[0] * self.grid[1]


def tokens_of(model: keras.Model) -> Tokens | None:
    """What a model says of its tokens; None for one whose base is no vision transformer with blocks."""
    base = next((layer for layer in model.layers if layer.name == LAYER), None) if is_functional(model) else None
    side = getattr(base, "patch_size", None)
    if base is None or side is None:
        return None
    flat, blocks = opened(model)
    if not blocks:
        return None
    last = next(node for node in nodes_of(flat) if node.operation.name == blocks[-1]).input_tensors[0]
    height, width = model.input_shape[1:3]
    side = side if isinstance(side, int) else side[0]
    return Tokens(model, flat, blocks, last, (height // side, width // side))


def attention(tokens: Tokens, image: np.ndarray) -> list[np.ndarray]:
    """What each token attends to in each block: float32 (heads, tokens, tokens) of each, rows add up to 1.

    Args:
        tokens: of a model.
        image: 0-255, (height, width, channels), of the size that the model takes.
    """
    with watched(attentions_of(tokens.model.get_layer(LAYER))) as seen:
        tokens.model(image[None].astype(np.float32), training=False)
    # the attention pooling at the end of a SigLIP has one query
    return [shares[0] for shares in seen if shares.shape[2] == shares.shape[3]]


def rollout(shares: Sequence[np.ndarray]) -> list[np.ndarray]:
    """How much of each token after each block comes from each token before the first: float32 (tokens, tokens) of each.

    The mean over heads, half of it and half the token itself, which the residual connection hands on, multiplied block by
    block.

    Source: Abnar and Zuidema, 2020, https://arxiv.org/abs/2005.00928.
    """
    found: list[np.ndarray] = []
    for block in shares:
        mixed = 0.5 * block.mean(axis=0) + 0.5 * np.eye(block.shape[-1], dtype=np.float32)
        mixed /= mixed.sum(axis=-1, keepdims=True)
        found.append(mixed @ found[-1] if found else mixed)
    return found


def on_patches(tokens: Tokens, shares: np.ndarray) -> np.ndarray:
    """What the class token, or where there is none the mean token, has of each patch: (…, rows, columns) of 0 to 1.

    Args:
        tokens: of a model.
        shares: float (…, tokens, tokens).
    """
    before = tokens.before(shares.shape[-1])
    asking = shares[..., 0, :] if before else shares.mean(axis=-2)
    patches = asking[..., before:].reshape(*shares.shape[:-2], *tokens.grid)
    low, high = (edge(axis=(-2, -1), keepdims=True) for edge in (patches.min, patches.max))
    return (patches - low) / np.maximum(high - low, 1e-12)

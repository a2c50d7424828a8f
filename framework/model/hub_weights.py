"""Weights of a preset read into a backbone of Keras Hub; positions that were learned at another size are interpolated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from framework.core.backend import keras
from framework.core.errors import BadInput, Problem
from framework.core.registry import Part
from framework.parts import hub_presets, presets

# the positions of a DINOv2: as they were learned, and as they are for the size of its images
_LEARNED, _OWN = "position_embeddings", "interpolated_position_embeddings"


def load(backbone: keras.Model, part: Part, parameters: Mapping[str, Any]) -> None:
    """Read the weights of the preset that the parameters name into a backbone that was built with them.

    Raises:
        BadInput: the preset can't be had or read, or is of another network or size.
    """
    preset, kind = parameters["preset"], part.details["backbone"]
    folder = hub_presets.fetched(preset, part.name, kind, weights=True)
    said = presets.stated(folder, part.name, kind, parameters)
    source = hub_presets.network(folder, said, part.name)
    tower = getattr(source, "vision_encoder", None) if kind.whole else source
    if tower is None or type(tower) is not type(backbone):
        what = f"preset {folder} is of another network ({type(source).__name__}) than base '{part.name}'"
        raise BadInput(Problem(what, presets.WHERE))
    ours, theirs = backbone.get_config(), tower.get_config()
    differing = presets.differences(theirs, ours)
    if differing:
        raise BadInput(presets.of_another_size(str(folder), part.name, differing, ours))
    if said.own:
        read_file(source, folder)
    _copy(tower, backbone, folder)


def read_file(network: keras.Model, folder: Path) -> None:
    """Read the file of weights in Keras Hub's own format, in one piece or in several."""
    file = presets.weights_of(folder)
    assert file is not None
    try:
        presets.parts_of(file)
        network.load_weights(file)
    except (OSError, ValueError, KeyError) as error:
        first = str(error).strip().partition("\n")[0]
        what = (
            f"the weights in {folder} can't be read: they are truncated, or not those of its {presets.CONFIG} ({first})"
        )
        raise BadInput(Problem(what, presets.WHERE, "the preset, downloaded anew")) from error


def _copy(source: keras.Model, target: keras.Model, folder: Path) -> None:
    """Give a backbone the weights of another of the same network, positions fitted to its size."""
    by_name = {weight.path.rpartition("/")[2]: weight for weight in source.weights}
    for theirs, ours in zip(source.weights, target.weights, strict=True):
        if ours.path.endswith(_OWN):
            theirs = by_name[_LEARNED]
        if tuple(theirs.shape) == tuple(ours.shape):
            ours.assign(theirs)
        elif "position" in ours.path and ours.dtype.startswith("float"):
            ours.assign(fitted(np.asarray(theirs), _grid(source), _grid(target), _antialias(target)))
        elif ours.dtype.startswith("float"):  # whole numbers count the positions, and are there already
            what = f"the weights in {folder} don't fit: expected {ours.path} {ours.shape}, found {theirs.shape}"
            raise BadInput(Problem(what, presets.WHERE))


def fitted(
    positions: np.ndarray, before: tuple[int, int], after: tuple[int, int], antialias: bool = False
) -> np.ndarray:
    """Learned positions of patches, bicubically interpolated from one grid to another; other tokens' are kept.

    Args:
        positions: float (tokens, channels) or (1, tokens, channels), the patches last, row by row.
        before: rows and columns of the patches that they were learned for.
        after: rows and columns that they are wanted for.
        antialias: whether a smaller grid is made of means.

    Source: DINOv2's ``interpolate_pos_encoding``, https://arxiv.org/abs/2304.07193.
    """
    count, channels = math.prod(before), positions.shape[-1]
    others, patches = positions[..., :-count, :], positions[..., -count:, :]
    resized = keras.ops.image.resize(
        patches.reshape(1, *before, channels), after, interpolation="bicubic", antialias=antialias
    )
    return np.concatenate([others, np.asarray(resized).reshape(*others.shape[:-2], -1, channels)], axis=-2)


def _grid(network: Any) -> tuple[int, int]:
    """Rows and columns of the patches that a backbone's positions were learned for."""
    height, width = getattr(network, "position_embedding_shape", network.image_shape)[:2]
    side = network.patch_size if isinstance(network.patch_size, int) else network.patch_size[0]
    return height // side, width // side


def _antialias(network: Any) -> bool:
    return bool(getattr(network, "antialias_in_interpolation", False))

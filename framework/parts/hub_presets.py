"""Presets of Keras Hub made into networks: what is still to be downloaded comes through Keras Hub, to its own caches."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from framework.core import keras_hub_private as hub
from framework.core.backend import keras
from framework.core.errors import BadInput, Problem
from framework.parts import presets
from framework.parts.presets import Backbone, Remote, Stated


def fetched(preset: str, base: str, backbone: Backbone, weights: bool = False) -> Path:
    """The folder of a preset, downloaded if it is not on this machine; with its weights, if they are wanted.

    Raises:
        BadInput: there is no such preset, it can't be downloaded, or it has no weights.
    """
    found = presets.find(preset, base, backbone)
    if isinstance(found, Remote):
        try:
            # the clients report progress on standard output, which is for results
            with contextlib.redirect_stdout(sys.stderr):
                return _download(found, weights)
        # each client has errors of its own
        except Exception as error:
            raise BadInput(missing(preset, found, str(error).strip().partition("\n")[0])) from error
    if weights and presets.weights_of(found) is None:
        names = ", ".join((presets.WEIGHTS, presets.SHARDS, *presets.SAFETENSORS))
        what = f"preset {found} has no weights"
        raise BadInput(Problem(what, presets.WHERE, f"one of {names} in it, or model.weights=null for random weights"))
    return found


def _download(preset: Remote, weights: bool) -> Path:
    folder = hub.downloaded(preset.handle, presets.CONFIG).parent
    with contextlib.suppress(FileNotFoundError):
        hub.downloaded(preset.handle, "image_converter.json")
    if weights:
        for name in (presets.WEIGHTS, presets.SHARDS, *presets.SAFETENSORS):
            with contextlib.suppress(FileNotFoundError):
                file = hub.downloaded(preset.handle, name)
                for part in presets.parts_of(file):
                    hub.downloaded(preset.handle, part)
                break
    return folder


def missing(preset: str, remote: Remote, why: str, described: bool = True) -> Problem:
    """That a preset can't be had here, with what to put where; without it only what is ``described`` can be built."""
    cache = f", or put its files into {presets.cache_of(remote.handle)}" if remote.handle.startswith("kaggle") else ""
    random = "; or model.weights=null for random weights" if described else ""
    right = f"{presets.WHERE}=FOLDER of its files, from {remote.page}{cache}{random}"
    return Problem(f"preset '{preset}' is not on this machine and can't be downloaded: {why}", presets.WHERE, right)


def network(folder: Path, said: Stated, base: str, image_shape: tuple[int, ...] | None = None) -> keras.Model:
    """The network that a preset describes, for images of this shape, or of its own; of another format with its weights.

    What ``config.json`` names has been seen to be of Keras and Keras Hub alone (``presets.stated``); it is read in
    Keras's safe mode.

    Raises:
        BadInput: it can't be made.
    """
    hub.load_hub()
    try:
        if not said.own:
            return hub.converted(folder, image_shape)
        given: Mapping[str, Any] = said.config["config"]
        shape = {key: image_shape for key in ("image_shape", "input_shape") if key in given and image_shape}
        config = {**said.config, "config": {**given, **shape, "name": presets.LAYER}}
        return keras.saving.deserialize_keras_object(config, safe_mode=True)
    except ImportError as error:
        what = f"preset {folder} is in a format that Keras Hub converts with the package {error.name or 'safetensors'}"
        raise BadInput(Problem(what, presets.WHERE, "pip install safetensors")) from error
    except (ValueError, TypeError, KeyError, OSError) as error:
        what = f"base '{base}' can't be made of preset {folder}: {str(error).strip().partition(chr(10))[0]}"
        raise BadInput(Problem(what, presets.WHERE)) from error

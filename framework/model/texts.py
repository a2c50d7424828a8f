"""Names of classes as texts, and these as vectors, by the text tower of a preset that has images and texts: SigLIP, CLIP."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from framework.config.settings import ModelSettings, Settings
from framework.core import registry
from framework.core.backend import keras
from framework.core.errors import BadInput, Problem
from framework.core.keras_hub_private import load_hub
from framework.core.task import Task
from framework.model import hub_weights
from framework.parts import hub_presets, presets

PROJECTS = "CLIPBackbone"


def projection(model: ModelSettings) -> int | None:
    """The width that a preset projects images and texts to; None where the image tower's vectors are compared as they are."""
    backbone = registry.get("base", model.name).details["backbone"]
    if backbone is None or backbone.whole != PROJECTS:
        return None
    preset = model.parameters["preset"]
    found = presets.find(preset, model.name, backbone) if preset else None
    if isinstance(found, Path):
        config = json.loads((found / presets.CONFIG).read_text(encoding="utf-8"))
        width = config.get("config", config).get("projection_dim")
        if isinstance(width, int):
            return width
    return int(model.parameters["hidden_dim"])


def texts_of(prompts: str | Sequence[str], classes: Sequence[str]) -> list[list[str]]:
    """The texts of each class: each prompt with its name, in small letters, in the place of ``{}``."""
    prompts = [prompts] if isinstance(prompts, str) else prompts
    return [[prompt.replace("{}", name.replace("_", " ")).lower() for prompt in prompts] for name in classes]


def write(model: keras.Model, settings: Settings, task: Task) -> None:
    """Give the layers of head ``text`` their weights, where those of the base come from a preset; else leave them.

    Raises:
        BadInput: the preset has no text tower or no tokenizer.
    """
    chosen = settings.model
    if chosen.weights != "preset":
        return
    part = registry.get("base", chosen.name)
    backbone = part.details["backbone"]
    folder = hub_presets.fetched(chosen.parameters["preset"], part.name, backbone, weights=True)
    said = presets.stated(folder, part.name, backbone, chosen.parameters)
    whole = hub_presets.network(folder, said, part.name)
    if not hasattr(whole, "text_encoder"):
        what = f"preset {folder} has no text tower, which head 'text' needs"
        raise BadInput(Problem(what, presets.WHERE, f"a preset of a whole {backbone.whole}"))
    if said.own:
        hub_weights.read_file(whole, folder)
    vectors = _vectors(whole, folder, backbone.family, texts_of(settings.data.prompts, task.classes))
    head = whole.clip_head if backbone.whole == PROJECTS else whole.siglip_head
    scale = float(np.exp(np.asarray(head.logit_scale)))
    kernel, bias = scale * vectors.T, np.zeros(len(vectors), np.float32)
    if backbone.whole == PROJECTS:
        model.get_layer("head_projection").set_weights(whole.vision_projection.get_weights())
    else:
        bias += np.asarray(head.logit_bias)
    if task.units == 1:
        kernel, bias = kernel[:, 1:] - kernel[:, :1], bias[1:] - bias[:1]
    model.get_layer("logits").set_weights([kernel, bias])


def _vectors(whole: Any, folder: Path, family: str, texts: Sequence[Sequence[str]]) -> np.ndarray:
    """A vector of length 1 for each class, float32: the mean of those of its texts."""
    hub = load_hub()
    presets.refuse_foreign(folder, "tokenizer.json")
    kind = {"clip": "CLIPTokenizer", "siglip": "SigLIPTokenizer"}[family]
    try:
        tokenizer = getattr(hub.models, kind).from_preset(str(folder))
    except (OSError, ValueError, KeyError) as error:
        what = f"preset {folder} has no tokenizer that can be read, which head 'text' needs: {error}"
        raise BadInput(Problem(what.partition("\n")[0], presets.WHERE, "all files of the preset")) from error
    packer = hub.layers.StartEndPacker(
        sequence_length=whole.text_encoder.max_sequence_length,
        start_value=tokenizer.start_token_id if family == "clip" else None,
        end_value=tokenizer.end_token_id,
        pad_value=tokenizer.pad_token_id,
    )
    flat = [text for of_class in texts for text in of_class]
    found = np.asarray(whole.get_text_embeddings(packer(tokenizer(flat))), np.float32)
    found = found / np.linalg.norm(found, axis=-1, keepdims=True)
    means = found.reshape(len(texts), -1, found.shape[-1]).mean(axis=1)
    return means / np.linalg.norm(means, axis=-1, keepdims=True)

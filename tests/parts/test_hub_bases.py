"""The contract of every base of Keras Hub: it builds, saves, loads elsewhere with the same answers, trains; its presets."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from framework.config.documents import read_option
from framework.config.folders import groups
from framework.core import keras_hub_private as hub
from framework.core import registry, schema
from framework.core.backend import keras
from framework.core.errors import BadInput
from framework.model import hub_weights, weights
from framework.model.build import build
from framework.parts import bases, hub_bases, presets
from tests.options.counted import effect
from tests.options.made import TASKS, settings
from tests.options.made import trained as train
from tests.parts.hub_made import CONVOLUTIONAL, DESCRIBED, overrides

CONF = Path(__file__).parents[2] / "conf" / "model"
PARTS = {part.name: part for part in registry.parts("base") if part.details["backbone"]}
OWN = {"name", "weights", "trainable", "image_size"}


def option(name):
    return read_option(CONF / f"{name}.yaml").content


OPTIONS = [name for name in groups()["model"] if option(name)["name"] in PARTS]
# families of networks for images that are no bases, and why
LEFT_OUT = {
    "basnet": "segments objects",
    "d_fine": "detects objects",
    "deeplab_v3": "segments scenes",
    "depth_anything": "estimates depth, with a DINOv2 inside",
    "gemma3": "writes of images",
    "gemma3n": "writes of images",
    "gemma4": "writes of images",
    "blip2": "writes of images",
    "metaclip_2": "answers by texts of many languages, and its licence forbids trade",
    "pali_gemma": "writes of images",
    "parseq": "reads texts",
    "qwen3_5": "writes of images",
    "retinanet": "detects objects",
    "sam": "segments by hints, at 1,024 pixels",
    "sam3": "segments by hints",
    "segformer": "segments scenes, with a MiT inside",
    "video_prism": "takes videos",
    "vit_det": "the image tower of SAM",
}


def test_every_family_of_images_that_keras_hub_has_is_a_base_or_left_out_with_a_reason():
    models = hub._models()
    images = {family for family in hub.families() if list((models / family).glob("*_image_converter.py"))}
    ours = {part.details["backbone"].family for part in PARTS.values()}
    assert ours <= set(hub.families())
    assert images - ours - set(LEFT_OUT) == set()


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_has_its_parts_keys_and_a_preset_that_there_is(name):
    values = option(name)
    part = PARTS[values["name"]]
    given = {key: value for key, value in values.items() if key not in OWN}
    assert set(given) == set(part.parameters)
    assert schema.check(given, part.parameters, "model", name)[1] == []
    size = (values["image_size"], values["image_size"])
    assert part.details["gives"](size, given).kind in ("maps", "tokens", "vector")
    if values["preset"] is None:
        assert values["weights"] is None
        return
    assert values["weights"] == "preset"
    assert values["preset"] in hub.presets(part.details["backbone"].family)
    said = (CONF / f"{name}.yaml").read_text()
    assert re.search(r"# a preset's name.* by default \S+, (Apache-2.0|MIT|DINOv3 License|Gemma|licence as)", said)
    assert "not run here" in said or "no accuracy of it that is certain" in said


def numbers(kind, p, side):
    """How many numbers a described network's weights hold, by hand."""
    if kind == "swin":
        return swin_numbers(p)
    d, inner, patch = p["hidden_dim"], p.get("mlp_dim") or p["intermediate_dim"], p["patch_size"]
    grid = (side // patch) ** 2
    dense = 3 * d * inner + 2 * inner + d if p.get("use_swiglu_ffn") or p.get("use_gated_mlp") else None
    if p.get("use_swiglu_ffn"):  # two thirds of the inner width, in eights
        gated = (int(inner * 2 / 3) + 7) // 8 * 8
        dense = d * 2 * gated + 2 * gated + gated * d + d
    dense = dense or 2 * d * inner + inner + d
    attention = 4 * d * d + d * (1 + sum(p.get(f"use_{name}_bias", True) for name in ("query", "key", "value")))
    block = attention + dense + 4 * d
    scale, registers = 2 * d if kind.startswith("dino") else 0, d * p.get("num_register_tokens", 0)
    patches = patch * patch * 3 * d + d
    around = {
        "vit": d + (1 + grid) * d + 2 * d,
        "deit": 2 * d + (2 + grid) * d + 2 * d,
        "dinov2": d + d + 2 * (1 + grid) * d + registers + 2 * d,
        "dinov3": d + d + registers + 2 * d,
        "clip": d + (1 + grid) * d + 4 * d - d,
        "siglip": grid * d + 2 * d + d + 4 * (d * d + d) + 2 * d + 2 * d * inner + inner + d,
    }[kind]
    return patches + around + p["num_layers"] * (block + scale)


def swin_numbers(p):
    d, window = p["embed_dim"], p["window_size"]
    total = p["patch_size"] ** 2 * 3 * d + d + 2 * d
    for stage, (depth, heads) in enumerate(zip(p["depths"], p["num_heads"], strict=True)):
        width = d * 2**stage
        block = 12 * width**2 + 13 * width + (2 * window - 1) ** 2 * heads
        total += depth * block
        if stage < len(p["depths"]) - 1:
            total += 8 * width**2 + 8 * width
    return total + 2 * width


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Each network built once, with random weights, its positions and all others shaken, and saved; by option."""
    folder, rng, found = tmp_path_factory.mktemp("hub"), np.random.default_rng(0), {}
    for name in [*DESCRIBED, *CONVOLUTIONAL]:
        network = build(settings("data=image_folder", "data.dir=x", *overrides(name, folder / name)), TASKS["one_hot"])
        for weight in network.model.weights:
            if weight.dtype == "float32":
                weight.assign(np.asarray(weight) + rng.uniform(0, 0.1, weight.shape))
        images = rng.uniform(0, 255, (2, *network.model.input_shape[1:])).astype("float32")
        np.savez(folder / f"{name}.npz", images=images, answers=network.model(images, training=False))
        network.model.save(folder / f"{name}.keras")
        found[name] = network
    return folder, found


@effect(*(f"model={name}" for name in OPTIONS))
def test_the_first_line_says_how_many_numbers_a_networks_weights_hold(made):
    for name, tiny in made[1].items():
        if name in DESCRIBED:
            chosen = settings("data=image_folder", "data.dir=x", *overrides(name, Path())).model
            backbone = tiny.model.get_layer(hub_bases.LAYER)
            kinds = [weight for weight in backbone.weights if weight.dtype == "float32"]
            assert chosen.size[0] == chosen.size[1] or "positions" not in str([weight.path for weight in kinds])
            if chosen.size[0] == chosen.size[1]:
                assert sum(math.prod(weight.shape) for weight in kinds) == numbers(
                    chosen.name, chosen.parameters, chosen.size[0]
                )
    for name in OPTIONS:
        values = option(name)
        if not PARTS[values["name"]].details["backbone"].described:
            continue
        line = (CONF / f"{name}.yaml").read_text().splitlines()[0]
        about, said = re.search(r"(about )?([\d,.]+) million parameters", line).groups()
        side = 518 if "at 518 pixels" in line else values["image_size"]
        count = numbers(values["name"], values, side)
        if values["name"] == "dinov2":  # published with one set of positions, of 518 pixels
            count -= (1 + (518 // 14) ** 2) * values["hidden_dim"]
        assert float(said.replace(",", "")) == pytest.approx(count / 1e6, rel=0.04 if about else 1e-3), name


@effect(*(f"model.{name}.preset" for name in PARTS))
def test_each_answers_the_same_in_another_process(made):
    folder, networks = made
    code = f"""
        import sys, numpy as np
        from pathlib import Path
        from framework.model.saving import load_model
        for name in {list(networks)!r}:
            kept = np.load(Path({str(folder)!r}, name + ".npz"))
            model = load_model(Path({str(folder)!r}, name + ".keras"))
            print(name, float(np.abs(np.asarray(model(kept["images"], training=False)) - kept["answers"]).max()))
        """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert ended.stdout.split() == [word for name in networks for word in (name, "0.0")], ended.stderr[-2000:]


def test_each_is_one_layer_and_gives_what_it_declares(made):
    for name, network in made[1].items():
        chosen = settings("data=image_folder", "data.dir=x", *overrides(name, made[0] / name))
        assert network.base_layers == (hub_bases.LAYER,)
        shape = network.model.get_layer(hub_bases.LAYER).output
        shape = tuple((list(shape.values())[-1] if isinstance(shape, dict) else shape).shape[1:])
        output = PARTS[chosen.model.name].details["gives"](chosen.data.size, chosen.model.parameters)
        if output.kind == "tokens":
            assert shape[:-1] == (output.before + math.prod(output.grid),)
        assert len(shape) == {"maps": 3, "tokens": 2, "vector": 1}[output.kind]
        first = network.model.layers[1]
        assert first.name.startswith(bases.PREPROCESS)

"""Parameters and operations of every base, computed and written into the table of facts, framework/parts/bases.yaml.

    python -m benchmarks.bases
    python -m benchmarks.bases --only mobilenet xception

Each base is built as its option in conf/model says, without head; operations are those of ``evaluation.layers`` for one
image of that size, a multiplication and an addition counted as one each. Those of a vision transformer, which is one layer
there, follow from its matrices and its tokens; of its blocks, which are all alike, only two are built. What is published
stays as it is, and of a network that is what its preset says nothing is computed.
"""

from __future__ import annotations

import argparse
import re
from math import prod
from typing import TYPE_CHECKING, Any

import framework.parts  # noqa: F401 - registers the shipped parts
from framework.api.composing import settings_of
from framework.config.folders import groups
from framework.core import registry
from framework.core.backend import keras
from framework.parts.facts import FILE

if TYPE_CHECKING:
    from framework.config.settings import ModelSettings


def main() -> None:
    """Build each base, and write what is computed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", default=groups()["model"])
    for name in parser.parse_args().only:
        found = computed(name)
        if found is not None:
            print(f"{name:<28} {found[0]:>14,} parameters {found[1]:>8} GFLOPs", flush=True)
            note(name, parameters=found[0], gflops=found[1])


def computed(option: str) -> tuple[int, float] | None:
    """Numbers in the weights of a base, and 10⁹ operations for an image of its default size, to three digits.

    None for one that is built of what its preset says.
    """
    settings = settings_of([f"model={option}", "model.weights=null"]).model
    backbone = registry.get("base", settings.name).details.get("backbone")
    if backbone is not None and not backbone.described:
        return None
    if "num_layers" in settings.parameters:
        numbers, operations = _transformer(settings)
    else:
        base = _built(settings)
        numbers, operations = base.count_params(), _swin(settings) if backbone else _steps(base)
    return numbers, float(f"{operations / 1e9:.3g}")


def _built(settings: ModelSettings, **parameters: Any) -> keras.Model:
    keras.backend.clear_session()
    images = keras.Input((*settings.size, 3))
    return keras.Model(images, registry.get("base", settings.name)(images, **{**settings.parameters, **parameters}))


def _steps(base: keras.Model) -> int:
    from framework.evaluation.layers import flat_steps

    return sum(step.flops for step in flat_steps(base))


def _transformer(settings: ModelSettings) -> tuple[int, int]:
    """Numbers and operations of one of ``num_layers`` blocks that are all alike."""
    one, two = (_built(settings, num_layers=count) for count in (1, 2))
    given, width = settings.parameters, settings.parameters["hidden_dim"]
    blocks, patches = given["num_layers"], prod(side // given["patch_size"] for side in settings.size)
    gives = registry.get("base", settings.name).details["gives"](settings.size, given)
    tokens = patches + (gives.before if gives.kind == "tokens" else 0)
    matrices = _matrices(two) - _matrices(one)
    operations = 2 * patches * 3 * given["patch_size"] ** 2 * width
    operations += blocks * (2 * tokens * matrices + 4 * tokens**2 * width)
    if gives.kind == "vector":  # one query attends to all patches, and goes through a block's two dense layers
        operations += 4 * (patches * width * (width + 1) + width * (width + given["intermediate_dim"]))
    return one.count_params() + (blocks - 1) * (two.count_params() - one.count_params()), operations


def _matrices(base: keras.Model) -> int:
    return sum(prod(weight.shape) for weight in base.weights if "kernel" in weight.path)


def _swin(settings: ModelSettings) -> int:
    """Operations of a Swin Transformer, by stages (Liu et al., 2021, section 3.2, biases and norms left out)."""
    given = settings.parameters
    width, window = given["embed_dim"], given["window_size"]
    tokens = prod(side // given["patch_size"] for side in settings.size)
    operations = 2 * tokens * 3 * given["patch_size"] ** 2 * width
    for stage, depth in enumerate(given["depths"]):
        if stage:  # four neighbours are made one of twice the width
            operations += 2 * (tokens // 4) * (4 * width) * (2 * width)
            tokens, width = tokens // 4, 2 * width
        operations += depth * (24 * tokens * width**2 + 4 * tokens * window**2 * width)
    return operations


def note(name: str, **facts: Any) -> None:
    """Set the facts of a base in the file, its other lines as they are."""
    text = FILE.read_text(encoding="utf-8")
    entry = re.search(rf"^{name}: \{{(.*)\}}$", text, re.MULTILINE)
    if entry is None:
        text += f"{name}: {{{', '.join(f'{key}: {value}' for key, value in facts.items())}}}\n"
    else:
        kept = [one for one in entry[1].split(", ") if one and one.split(":")[0] not in facts]
        kept += [f"{key}: {value}" for key, value in facts.items()]
        text = text.replace(entry[0], f"{name}: {{{', '.join(kept)}}}")
    FILE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

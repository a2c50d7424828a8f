"""Parameters and operations of every base, computed and written into the table of facts, framework/parts/bases.yaml.

    python -m benchmarks.bases
    python -m benchmarks.bases --only mobilenet xception

Each base is built as its option in conf/model says, without head; operations are those of ``evaluation.layers`` for one
image of that size, a multiplication and an addition counted as one each. What is published stays as it is.
"""

from __future__ import annotations

import argparse
import re
from typing import Any

import framework.parts  # noqa: F401 - registers the shipped parts
from framework.api.composing import settings_of
from framework.config.folders import groups
from framework.core import registry
from framework.parts.facts import FILE


def main() -> None:
    """Build each base, and write what is computed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", default=groups()["model"])
    for name in parser.parse_args().only:
        parameters, gflops = computed(name)
        print(f"{name:<20} {parameters:>12,} parameters {gflops:>8} GFLOPs", flush=True)
        note(name, parameters=parameters, gflops=gflops)


def computed(option: str) -> tuple[int, float]:
    """Numbers in the weights of a base, and 10⁹ operations for an image of its default size, to three digits."""
    from framework.core.backend import keras
    from framework.evaluation.layers import flat_steps

    settings = settings_of([f"model={option}", "model.weights=null"])
    keras.backend.clear_session()
    images = keras.Input((*settings.model.size, 3))
    base = keras.Model(images, registry.get("base", settings.model.name)(images, **settings.model.parameters))
    operations = sum(step.flops for step in flat_steps(base))
    return base.count_params(), float(f"{operations / 1e9:.3g}")


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

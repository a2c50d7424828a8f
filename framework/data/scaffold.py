"""Writes a recipe for images that are there: its config, its README and its test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from framework.core.errors import BadInput, Problem, listing
from framework.core.files import write_whole
from framework.data.containers import openable
from framework.data.images import Images
from framework.data.upright import opened

SIDES = (32, 64, 96, 128)
LOOKED_AT = 200
FEW = 200
UNEVEN = 3


@dataclass(frozen=True)
class Found:
    """What was seen of some images: how many a split and a class, and the median of their shorter sides."""

    images: Images
    counts: dict[str, int]
    side: int


def look(images: Images) -> Found:
    """Count the training images of each class, and measure some of them.

    Raises:
        BadInput: none of those looked at can be opened.
    """
    train = images.splits["train"]
    counts = np.bincount(train.labels, minlength=len(images.classes))
    sides = []
    for path in train.paths[:: max(1, len(train) // LOOKED_AT)]:
        try:
            with opened(openable(path)) as image:
                sides.append(min(image.size))
        except (OSError, ValueError, Image.DecompressionBombError):
            continue
    if not sides:
        raise BadInput(Problem(f"no image in {images.origin} can be opened", "data.dir"))
    names = dict(zip(images.classes, map(int, counts), strict=True))
    return Found(images, names, int(np.median(sides)))


def write_recipe(folder: Path, name: str, data: Path, found: Found) -> list[Path]:
    """Write the recipe's files into a new folder, and name them."""
    files = {
        "recipe.yaml": _config(name, data, found),
        "README.md": _readme(name, data, found),
        _test_file(name): _TEST.format(name=name),
    }
    for file, text in files.items():
        write_whole(folder / file, text)
    return [folder / file for file in files]


def side_for(found: Found) -> int:
    """The largest of the usual sides for a small network that enlarges few images."""
    return max([side for side in SIDES if side <= found.side], default=SIDES[0])


def _config(name: str, data: Path, found: Found) -> str:
    counts = found.counts.values()
    few = min(counts) < FEW
    lines = [
        f"# {name}: {len(found.counts)} classes from {data.name}/, a small network trained from scratch.",
        "# Expected: not measured yet",
        "defaults:",
        "  - override /data: image_folder",
        *(["  - override /augment: light # few images: vary them"] if few else []),
        "",
        "data:",
        f"  dir: {_quoted(str(data))}",
        f"  image_size: {side_for(found)} # the images' median side is {found.side}",
        *(["  class_weights: balanced # classes are uneven"] if max(counts) > UNEVEN * min(counts) else []),
        "",
        "trainer:",
        f"  epochs: {30 if few else 15}",
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _readme(name: str, data: Path, found: Found) -> str:
    splits = ", ".join(f"{len(split):,} {split_name}" for split_name, split in found.images.splits.items())
    rows = "\n".join(f"| {label} | {count:,} |" for label, count in found.counts.items())
    return _README.format(
        name=name,
        data=data,
        classes=len(found.counts),
        listed=listing(list(found.counts)),
        splits=splits,
        rows=rows,
        test=_test_file(name),
    )


def _test_file(name: str) -> str:
    return f"test_{name.replace('-', '_')}.py"


_README = """# {name}

    python -m framework.train recipe={name}

Expected score: not measured yet. Run the line above, then write the best validation accuracy here and behind
`Expected:` in `recipe.yaml`, where `python -m framework.recipe list` reads it.

{classes} classes ({listed}) from `{data}`: {splits} images.

| class | training images |
|---|---|
{rows}

## File structure

- `recipe.yaml`: what differs from `conf/train.yaml`, and nothing else
- `{test}`: the recipe's contract as a test; `python -m framework.recipe check {name}` is the same
"""

_TEST = '''"""The recipe keeps the contract: it composes, builds, trains, and is the same once saved and loaded."""

from pathlib import Path

from framework.recipe import main


def test_the_recipe_keeps_its_contract():
    assert main(["check", "{name}", f"recipes={{Path(__file__).parents[1]}}"]) == 0
'''

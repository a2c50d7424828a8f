"""Draw what augmentation makes of training images: a sheet to look at before a training."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import framework.parts  # noqa: F401 - registers the shipped parts
from framework.cli.command import check
from framework.cli.one_file import run_for_a_file
from framework.config.settings import Settings
from framework.core.console import say
from framework.core.errors import DONE, BadInput, Problem, many
from framework.runs.preflight import experiment

USAGE = """
python -m framework.augment [overrides] [preview=FILE]

Draws some training images, a row each: as it is, then as the first epochs of a training of the same command line would see
it (preview, augment.png by default). The same seed draws the same. Trains nothing.

  python -m framework.augment data=image_folder data.dir=PHOTOS augment=strong
  python -m framework.augment data=image_folder data.dir=PHOTOS augment=crop augment.crop.cut=0.7 trainer.seed=2

Exit code 0: done; 2: the command line or the data are wrong, or nothing is varied.
"""
IMAGES, EPOCHS = 6, 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the sheet; returns the exit code."""
    return run_for_a_file(USAGE, "preview", "augment.png", draw, arguments)


def draw(overrides: Sequence[str], preview: Path) -> int:
    """Vary the images as the pipeline does, and write the sheet."""
    (settings,) = check(overrides, _preflight)
    from framework.data.pipeline import augmented_dataset
    from framework.data.rows import FileImages
    from framework.reports import contact_sheet
    from framework.runs.prepare import look
    from framework.training.inputs import augmentations

    start = look(settings).experiment
    images = start.images
    train = images.splits["train"]
    shown = _spread(len(train), IMAGES)
    first = next(iter(settings.stages.values()))
    augment = settings.augment_of(first)
    rows = FileImages(train.paths, settings.geometry_of(first))

    def seen(epoch: int, varied: bool) -> np.ndarray:
        """uint8 (images, height, width, 3)."""
        (batch,) = augmented_dataset(
            rows,
            np.zeros((len(rows), 1), np.float32),
            batch_size=len(shown),
            seed=settings.trainer.seed,
            epoch=epoch,
            augmentations=augmentations(augment) if varied else {},
            positions=shown,
        ).map(lambda x, _: x)
        pixels = np.clip(np.rint(np.asarray(batch)), 0, 255).astype(np.uint8)
        return np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels

    columns = [seen(0, False), *(seen(epoch, True) for epoch in range(EPOCHS))]
    frames = [
        contact_sheet.Frame(
            column[row], f"epoch {epoch}" if epoch else "as it is", "", "" if epoch else Path(path).name
        )
        for row, path in enumerate(train.paths[place] for place in shown)
        for epoch, column in enumerate(columns)
    ]
    names = ", ".join(augment.parts)
    below = f"{len(shown)} of {many(len(train), 'training image')}, seed {settings.trainer.seed}, {names}"
    contact_sheet.draw(preview, frames, "What training sees", below)
    say(f"drawn in {preview}")
    return DONE


def _spread(count: int, wanted: int) -> np.ndarray:
    """Positions over all images, so that every class has a chance to be seen: int64."""
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).round().astype(np.int64))


def _preflight(settings: Settings) -> list[Problem]:
    try:
        experiment(settings)
    except BadInput as error:
        return list(error.problems)
    if not settings.augment_of(next(iter(settings.stages.values()))).parts:
        return [Problem("augment=none varies nothing: there is nothing to draw", "augment", "augment=light")]
    return []


if __name__ == "__main__":
    sys.exit(main())

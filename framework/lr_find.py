"""Find a learning rate: a range test on what a training of the same command line would train."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import framework.parts  # noqa: F401 - registers the shipped parts
from framework.cli.command import check
from framework.cli.one_file import run_for_a_file
from framework.config.settings import Settings
from framework.core.console import say
from framework.core.errors import DONE, BadInput, Problem
from framework.runs.preflight import experiment

USAGE = """
python -m framework.lr_find [overrides] [plot=FILE]

Trains the first stage for a few steps while the learning rate rises from 1e-6 to 10, prints a tenth of the rate at
which the loss is lowest, as an override, and draws the loss against the rate (plot, lr_find.png by default). No run is
left; features that were computed stay in the cache, where a training finds them.

  python -m framework.lr_find recipe=clothing_mobilenet data.dir=PHOTOS
  python -m framework.train model=cnn $(python -m framework.lr_find model=cnn)

Exit code 0: done; 1: the loss falls at no rate, or rises at none; 2: the command line or the data are wrong, or the
images too few.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do the range test; returns the exit code."""
    return run_for_a_file(USAGE, "plot", "lr_find.png", find, arguments)


def find(overrides: Sequence[str], plot: Path) -> int:
    """Do the test, draw it, print the suggestion."""
    (settings,) = check(overrides, _preflight)
    from framework.reports import lr_range
    from framework.runs.prepare import trainer
    from framework.training.lr_range import range_test

    test = range_test(trainer(settings))
    stage = settings.stages[test.stage]
    if stage.lr is not None:
        override = f"stages.{test.stage}.lr={test.suggestion:.2g}"
    else:
        override = f"optim.lr={test.suggestion / stage.lr_factor:.2g}"
    batch_size, optimizer = settings.trainer.batch_size, settings.optim.name
    title = f"{settings.model.name}, {optimizer}, stage {test.stage}, batches of {batch_size}"
    lr_range.draw(plot, title, test.rates, test.losses, test.smooth, test.suggestion)
    say(f"{len(test.rates)} steps from {test.rates[0]:.0e} to {test.rates[-1]:.2g}; drawn in {plot}")
    print(override)
    return DONE


def _preflight(settings: Settings) -> list[Problem]:
    from framework.training.lr_range import too_few

    try:
        start = experiment(settings)
    except BadInput as error:
        return list(error.problems)
    first, stage = next(iter(settings.stages.items()))
    if settings.fits(stage):
        what = f"stage {first} fits head '{settings.head.name}' without a learning rate"
        return [Problem(what, "head.name", "head=linear_probe, or another that is trained")]
    return too_few(settings, len(start.images.splits["train"]))


if __name__ == "__main__":
    sys.exit(main())

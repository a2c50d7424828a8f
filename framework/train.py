"""Train: one run from one command line, or with -m a sweep of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import framework.parts  # noqa: F401 - registers the shipped parts
from framework.cli.command import launch, run_command
from framework.cli.help import overview
from framework.config.settings import Settings
from framework.core.backend import load_tensorflow
from framework.core.console import say
from framework.core.garbage import keep
from framework.runs.cluster import several
from framework.runs.job import Job, train
from framework.runs.preflight import Data, preflight
from framework.sweeps.ready import ready

if TYPE_CHECKING:
    from framework.sweeps.request import SweepRequest

USAGE = """
python -m framework.train [overrides]

Trains an image classifier as the config says; every value of the config can be given here.

  python -m framework.train                                             a small network on drawn garments
  python -m framework.train model=xception head=dense10 optim.lr=0.001  a frozen Xception, ten logits
  python -m framework.train data=image_folder data.dir=PHOTOS           your own photos, a folder a class
  python -m framework.train -m optim.lr=0.01,0.001,0.0001               a sweep; again, and it does what is left
  python -m framework.train -m optim.lr=0.01,0.001 sweep.seeds=5        each with five seeds
  python -m framework.train recipe=NAME recipes=FOLDER                  a recipe, from a folder of one's own
  python -m framework.train from=RUN_FOLDER optim.lr=0.01               a run again, with one change
  python -m framework.train trainer.workers=2                           two processes that train one network together
  python -m framework.train trainer.workers=2 compute=ray               on a cluster

Exit code 0: done; 1: a run failed; 2: the command line or the data are wrong, nothing was started;
3: stopped, can be resumed; 130: interrupted.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what the command line says; returns the exit code."""

    def work(given: list[str]) -> int:
        data = Data()
        work = partial(train, data=data)
        one, many = partial(single, work), partial(sweep, work, data)
        return launch(given, one, partial(preflight, data=data), begin=begin, sweep=many)

    return run_command(lambda: overview(USAGE), arguments, work)


def begin(settings: Settings) -> None:
    """Load TensorFlow, where this process is the one that trains; nothing of it is ever garbage."""
    if not several(settings):
        load_tensorflow()
        keep()


def single(work: Callable[[Job], None], job: Job) -> None:
    """One run, in this process or by workers that it starts here or on a cluster."""
    if job.settings.compute.engine == "ray":
        from framework.sweeps.placed import train_placed

        return train_placed(job)
    work(job)


def sweep(work: Callable[[Job], None], data: Data, request: SweepRequest, first: Settings, runs: int) -> int:
    """Many runs, each in a process of its own; returns the worst exit code."""
    from framework.cli import multirun
    from framework.reports.comparison import MANY
    from framework.sweeps.held_out import advice
    from framework.sweeps.sweep import Sweep

    variants = runs // (first.sweep.seeds or 1)
    if variants > MANY and "test" not in data.images(first).splits:
        say(f"note: {advice(variants, 'test' in first.data.parameters)}")
    return Sweep(request, work, begin=ready).start(partial(multirun.launch_sweep, request))


if __name__ == "__main__":
    sys.exit(main())

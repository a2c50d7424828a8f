"""Plan: what a training would do, without doing it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import framework.parts  # noqa: F401 - registers the shipped parts
from framework.cli.command import check, looking
from framework.cli.compose import normalise
from framework.cli.space import runs_of
from framework.config.folders import shown
from framework.core.console import amount
from framework.core.errors import DONE, listing
from framework.core.task import Classification
from framework.runs.preflight import experiment, preflight

if TYPE_CHECKING:
    from framework.config.settings import Settings
    from framework.runs.plan import RunPlan, StagePlan

USAGE = """
python -m framework.plan [overrides]

Tells what python -m framework.train would do, given the same: data, every layer, what trains, what is kept, steps, time,
memory, disk and files. Downloads nothing and trains nothing; times are estimates from a short measurement.

  python -m framework.plan model=mobilenet stages=head_then_all
  python -m framework.plan -m optim.lr=0.01,0.001,0.0001     a sweep: the number of its jobs, and the first of them
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the plan; returns the exit code."""

    def work(overrides: list[str]) -> int:
        settings = check(overrides, preflight)[0]
        jobs = runs_of(normalise(overrides), settings)
        from framework.runs.plan import plan

        for line in texts(plan(experiment(settings)), jobs, _folder(overrides, settings, jobs)):
            print(line)
        return DONE

    return looking(USAGE, arguments, work)


def _folder(overrides: Sequence[str], settings: Settings, jobs: int) -> str:
    """Where the results would go, as a person reads it."""
    if jobs > 1:
        from framework.cli.multirun import requested

        return f"{shown(requested(overrides, normalise(overrides), settings).folder)}/<what is varied>"
    named = [override.partition("=")[2] for override in overrides if override.startswith("hydra.run.dir=")]
    return named[-1] if named else "runs/<date>_<time>"


def texts(plan: RunPlan, jobs: int, folder: str) -> Iterator[str]:
    """Lines of a plan."""
    from framework.runs.plan import layers

    images, task, settings = plan.start.images, plan.start.task, plan.start.settings
    yield f"data       {images.origin}: " + ", ".join(f"{len(one):,} {name}" for name, one in images.splits.items())
    heading, text = task.told
    yield f"{heading:<10} {text}: {listing(task.classes, 60)}"
    yield f"images     {settings.data.geometry.told}, batches of {settings.trainer.batch_size}, {settings.trainer.precision}"
    yield ""
    table = [("layer", "type", "output", "parameters", ""), *layers(plan.network, plan.stages[-1].stage)]
    widths = [max(len(row[column]) for row in table) for column in range(4)]
    for name, kind, shape, count, trains in table:
        row = f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {shape:<{widths[2]}}  {count:>{widths[3]}}  {trains}"
        yield row.rstrip()
    yield f"{plan.network.model.count_params():,} parameters"
    if plan.note:
        yield f"! {plan.note}"
    for stage in plan.stages:
        yield ""
        yield from _stage(stage)
    yield ""
    yield f"time       about {_time(plan.seconds)} (an estimate)" + _times(plan.seconds, jobs)
    yield f"memory     about {amount(plan.memory)} for weights, optimizer and data, beside TensorFlow's own 600 MB"
    checkpoints = sum(1 for part in settings.callbacks.values() if part.name == "checkpoint")
    files = ["config.yaml", "run.json", "history.csv", "curves.png", "model.keras"]
    files += ["answers.csv", "logits.npz"] * isinstance(task, Classification) + ["confusion.csv"] * (
        "confusion" in task.measures
    )
    files += ["checkpoints/"] * bool(checkpoints)
    features = max((stage.bytes for stage in plan.stages), default=0)
    disk = plan.model_bytes * (1 + checkpoints)
    yield f"disk       about {amount(disk)} a run; {amount(features)} of features in the cache"
    yield f"jobs       {jobs}"
    yield f"files      {folder}/: {' '.join(files)}"


def _stage(stage: StagePlan) -> Iterator[str]:
    yield f"stage {stage.stage.name}"
    yield f"  trains   {stage.trained:,} parameters; {stage.frozen:,} are frozen"
    if stage.why:
        yield f"  cut      none: {stage.why}"
    else:
        shapes = ", ".join("×".join(map(str, shape)) for shape in stage.cut.shapes)
        yield f"  cut      after {', '.join(stage.cut.names)}: {shapes} an image, {amount(stage.bytes)} in all"
        known = "hits are unknown until the weights are here"
        if stage.known is not None:
            known = f"{stage.known:,} of {stage.images:,} kept already"
        yield f"  cache    {known}"
    epochs = stage.stage.epochs
    yield f"  steps    {epochs} epochs of {stage.steps} steps, learning rate {stage.stage.lr:g}"
    yield f"  time     about {_time(stage.seconds)} (an estimate)"


def _times(seconds: float, jobs: int) -> str:
    return f"; {jobs} jobs one after the other at most {_time(jobs * seconds)}" if jobs > 1 else ""


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


if __name__ == "__main__":
    sys.exit(main())

"""Auto: the best classifier of a folder of photos in the time there is."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import framework.parts  # noqa: F401 - registers the shipped parts
from framework.cli.command import check, check_one, job_in, run_command
from framework.cli.compose import normalise, refuse_sweep
from framework.cli.help import overview
from framework.cli.options import read_options
from framework.cli.output import refuse_unwritable
from framework.cli.primary import take_primary_config
from framework.config.folders import shown
from framework.config.kinds import usual_part
from framework.core import registry
from framework.core.console import clock, program, say, warn
from framework.core.digits import seconds
from framework.core.errors import DONE, BadInput, Problem, RunFailed, suggestion
from framework.core.schema import PathText
from framework.runs.job import train
from framework.runs.preflight import Data, missing_weights, preflight

if TYPE_CHECKING:
    from framework.budget.asked import Asked, Base
    from framework.budget.steps import Steps
    from framework.config.settings import Settings
    from framework.runs.job import Job
    from framework.sweeps.request import SweepRequest
    from framework.sweeps.sweep import Sweep

USAGE = """
python -m framework.auto data.dir=PHOTOS [budget=10m] [quality=good] [bases=[A,B]] [metric=COLUMN] [output=FOLDER] [overrides]

Looks at data and machine, plans what fits the budget, says the plan and carries it out as ordinary runs of one sweep:
heads on frozen bases, whose features are computed once; the best base's last layers; with three minutes or more all of
it, for as many epochs as fit by its speed, which is measured; and at the end several runs as one model, where that is
better on the validation images. Leaves one run folder that every other command takes (FOLDER/best), the sweep's report,
and recipe.yaml. Ctrl-C keeps the best so far; the same command goes on, with what is left of the budget. Any other
override holds for all runs, and is not varied.

  python -m framework.auto data.dir=PHOTOS
  python -m framework.auto data.dir=PHOTOS budget=1h bases=[mobilenet,efficientnetv2b0]
  python -m framework.auto data.dir=PHOTOS budget=60s model=mobilenet model.alpha=0.25 model.weights=FILE
  python -m framework.auto data.dir=PHOTOS quality=quick metric=val_f1 data.class_weights=balanced

  budget=TIME           90s, 10m, 2h, of all commands that go on with it together; null: 1m, 10m or 1h, by quality
  quality=good          quick, good, best: how long, and how many bases there are to choose from
  bases=[A,B]           bases to choose from; null: by quality, those whose weights are to be had; model=A is one
  metric=COLUMN         what runs are judged by; null: val_accuracy
  output=FOLDER         where everything goes; null: sweeps/auto-<the data's folder>

Exit code 0: done; 1: no run came to anything; 2: the command line or the data are wrong, nothing was started;
130: interrupted.
"""
OWN = ("budget", "quality", "bases", "metric", "output")


@dataclass(frozen=True)
class Options:
    """What the command takes beside overrides."""

    budget: Annotated[str | None, "90s, 10m, 2h; null: by quality"] = None
    quality: Annotated[Literal["quick", "good", "best"], "1m, 10m or 1h, and how many bases"] = "good"
    bases: Annotated[list[str] | None, "bases to choose from; null: by quality"] = None
    metric: Annotated[str | None, "column that runs are judged by; null: val_accuracy"] = None
    output: Annotated[PathText | None, "folder; null: sweeps/auto-<the data's folder>"] = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns the exit code."""

    def work(given: list[str]) -> int:
        own = [argument for argument in given if argument.partition("=")[0] in OWN]
        overrides = [argument for argument in take_primary_config(given) if argument not in own]
        return auto(overrides, read_options(Options, own), given)

    return run_command(lambda: overview(USAGE), arguments, work)


def auto(overrides: list[str], options: Options, typed: Sequence[str]) -> int:
    """Look, plan, carry out, conclude; returns the exit code.

    Raises:
        BadInput: the budget, the overrides or the data can't be used.
        RunFailed: no run was finished.
    """
    from framework.budget.journal import Journal
    from framework.budget.steps import Steps
    from framework.sweeps.ready import ready
    from framework.sweeps.sweep import Sweep

    data = Data()
    asked, first = _asked(overrides, options, typed, data)
    refuse_unwritable(asked.folder, "output")
    journal = Journal(asked.folder, asked.given)
    if "result" in journal.told and journal.told["budget"] >= asked.budget:
        say(f"{shown(asked.folder)} is done: {journal.told['result']}; a larger budget goes on from there")
        return DONE
    if journal.spent >= asked.budget:
        journal.before = 0.0  # nothing came of it: what is done counts, and the time anew
    steps = Steps(asked, partial(_job, data=data), journal, first.sweep_yardstick())
    for line in steps.plan():
        say(f"plan       {line}")
    return Sweep(_request(asked, first), partial(train, data=data), ready).start(partial(_carry_out, steps))


def _carry_out(steps: Steps, sweep: Sweep) -> None:
    """The steps, then the result; after Ctrl-C that of what is finished."""
    from framework.budget.result import BEST, conclude
    from framework.sweeps.held_out import held_out

    folder, journal = steps.asked.folder, steps.journal
    try:
        steps.run(sweep)
    except KeyboardInterrupt:
        with suppress(RunFailed):  # none is finished
            result = conclude(folder, combines=False)
            sweep.note(result=BEST)
            say(f"the best so far is {result.said}, in {shown(result.folder)}")
        raise
    finally:
        journal.write()
    result = conclude(folder, combines=steps.asked.budget - journal.spent > 0.4 * steps.ending)
    sweep.note(result=BEST)
    journal.write(result=result.said, why=steps.why, budget=steps.asked.budget)
    say()
    say(f"result     {result.said}, in {shown(result.folder)}")
    say(f"recipe     {shown(result.recipe)}")
    say(f"stopped    {steps.why}; {clock(journal.spent)} of {clock(steps.asked.budget)}")
    if (test := held_out(result.folder)) is not None:
        journal.write(test=asdict(test))
        say(f"test       {test.told}")
    else:
        what = (
            "what was chosen by validation images is flattered by that; with data.test=0.2 test images say by how much"
        )
        say(f"test       none: {what}")


def _asked(overrides: list[str], options: Options, typed: Sequence[str], data: Data) -> tuple[Asked, Settings]:
    """What is asked for, and the settings of a run of it; nothing heavy is loaded.

    Raises:
        BadInput: with every problem of budget, overrides and data.
    """
    from framework.budget.asked import QUALITIES, Asked, refuse_short

    refuse_sweep(normalise(overrides), "one value; what is varied is auto's to choose")
    where = f"command line: budget={options.budget}" if options.budget else f"quality={options.quality}"
    budget = _seconds(options.budget or QUALITIES[options.quality][0], where)
    given = _given(overrides, options)
    bases = _bases(given, options)
    first = bases[0]
    settings = check([*given, *first.lines], partial(preflight, data=data))[0]
    if settings.task.asks != "classes":
        raise BadInput(
            Problem("numbers are not what auto is for: it chooses among classifiers", "task", "data of classes")
        )
    if settings.compute.engine != "local":
        what = "auto measures this machine, and its runs stay here"
        raise BadInput(Problem(what, f"compute={settings.compute.engine}", "compute=local"))
    images = data.images(settings)
    count = sum(len(split) for name, split in images.splits.items() if name != "test")
    refuse_short(budget, count, where)
    counts = ", ".join(f"{len(split):,} {name}" for name, split in images.splits.items())
    say(f"data       {images.origin}: {counts} images, {settings.data.geometry.told}, {len(images.classes)} classes")
    for heading, text in images.told():
        say(f"{heading:<10} {text}")
    if not first.pretrained:
        warn("no ImageNet weights are to be had here: a small network is trained from scratch, which takes many images")
    name = Path(images.origin).stem.replace(" ", "-") or "data"
    folder = Path(options.output or Path("sweeps", f"auto-{name}")).resolve()
    seed = settings.trainer.seed
    return Asked(tuple(given), bases, budget, folder, (*program(), *typed), count, seed), settings


def _seconds(text: str, where: str) -> float:
    try:
        found = seconds(text)
    except (ValueError, OverflowError):
        found = None
    if found is None:
        raise BadInput(Problem(f"budget={text} is no time to train in", where, "90s, 10m or 2h"))
    return float(found)


def _given(overrides: list[str], options: Options) -> list[str]:
    """The overrides that hold for all runs."""
    names = {override.partition("=")[0].lstrip("+") for override in overrides}
    added = []
    if not names & {"data", "recipe", "from"}:
        added += [f"data={usual_part('data', key).name}" for key in ("dir", "file") if f"data.{key}" in names][:1]
    if options.metric is not None:
        name = options.metric.removeprefix("val_")
        added.append(f"task.monitor={options.metric}")
        if name not in ("accuracy", "loss") and "metrics" not in names:
            added.append(f"metrics=[accuracy,{name}]")
    return [*added, *overrides]


def _bases(given: Sequence[str], options: Options) -> tuple[Base, ...]:
    """The bases to choose from, the cheapest first; the small network from scratch where no weights are to be had.

    Raises:
        BadInput: one that is named is none, or its weights can't be had.
    """
    from framework.budget.asked import QUALITIES, SCRATCH, Base

    chosen = next((line.partition("=")[2] for line in given if line.startswith("model=")), None)
    weights = next((line.partition("=")[2] for line in given if line.startswith("model.weights=")), None)
    if chosen is not None and options.bases is not None:
        raise BadInput(Problem("model and bases are both given", "command line: bases", "one of them"))
    if chosen is not None or {"recipe", "from"} & {line.partition("=")[0] for line in given}:
        settings, _ = check_one(normalise(given), lambda _: [])
        name = settings.model.name if settings is not None else chosen or ""
        pretrained = settings is None or settings.model.weights is not None
        return (Base(name, (), pretrained, settings is not None and _has_blocks(settings)),)
    names = options.bases or QUALITIES[options.quality][1]
    known = registry.names("base")
    if unknown := [name for name in names if name not in known]:
        what = f"there is no base '{unknown[0]}'"
        raise BadInput(Problem(what, "command line: bases", suggestion(unknown[0], known)))
    found: list[Base] = []
    missing: list[Base] = []
    for name in names:
        settings, problems = check_one(normalise([*given, f"model={name}"]), lambda _: [])
        if settings is None:
            raise BadInput(problems)
        problem = missing_weights(settings)
        if problem is not None and options.bases is not None:
            raise BadInput(problem)
        (found if problem is None and settings.model.weights is not None else missing).append(
            Base(name, (f"model={name}",), weights != "null", _has_blocks(settings))
        )
    if missing and found:
        say(f"bases      without weights here, left out: {', '.join(base.name for base in missing)}")
    if not found:
        return (Base(SCRATCH, (f"model={SCRATCH}",), False),)
    # of one size, so that their runs can be one model
    sized = any(line.startswith("data.image_size=") for line in given)
    size = () if sized or len(found) == 1 else ("data.image_size=224",)
    ordered = sorted(found, key=lambda base: base.gflops)
    return tuple(replace(base, lines=(*base.lines, *size)) for base in ordered)


def _has_blocks(settings: Settings) -> bool:
    """Whether the base is a transformer."""
    gives = registry.get("base", settings.model.name).details["gives"]
    try:
        return gives is not None and gives(settings.data.size, settings.model.parameters).kind == "tokens"
    except BadInput:  # it can't take images of this size, which is told elsewhere
        return False


def _request(asked: Asked, first: Settings) -> SweepRequest:
    from framework.sweeps.request import SweepRequest

    varied = ("model", "head", "optim.lr", "stages", "augment", "trainer.seed")
    settings = replace(first.sweep, name=asked.folder.name)
    return SweepRequest(asked.folder.name, asked.folder, asked.command, varied, asked.given, settings, ())


def _job(lines: Sequence[str], folder: Path, data: Data) -> Job:
    return job_in(lines, folder, partial(preflight, data=data))


if __name__ == "__main__":
    sys.exit(main())

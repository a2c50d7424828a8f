"""One run that is asked for, in plain values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from framework.config.folders import groups
from framework.config.recipe_parts import load_parts
from framework.config.recipes import Recipe, bring
from framework.config.settings import Settings

if TYPE_CHECKING:
    from framework.runs.preflight import Data


def nothing() -> None:
    """What is to be done where nothing is; unlike a lambda it can be sent to another process."""


@dataclass(frozen=True)
class Job:
    """One run: its settings, its resolved config as YAML, where it goes, what was typed, all paths in full.

    Where there are such, its recipe and the folder of the run that it repeats. ``begin`` is called when the run is not
    refused: until then nothing in its folder may change.
    """

    settings: Settings
    config: str
    folder: Path
    overrides: tuple[str, ...]
    recipe: Recipe | None = None
    repeats: Path | None = None
    begin: Callable[[], None] = field(default=nothing, compare=False)

    @property
    def epochs(self) -> int:
        """How many it is to have in the end."""
        return self.settings.epochs


def load_recipe(job: Job) -> None:
    """Register the parts of a job's recipe, in a process that was begun anew."""
    if job.recipe:
        load_parts(bring([job.recipe.name], groups()).recipes)


def train(job: Job, data: Data | None = None) -> None:
    """Do a run, on data that have been looked at already, by several workers in processes of theirs where it has such.

    Unlike a function of a command's it can be sent elsewhere.
    """
    from framework.runs.cluster import several
    from framework.runs.run import Run

    if several(job.settings):
        from framework.runs.workers import train_together

        return train_together(job, data)

    Run(job, data).train()

"""One run as Hydra hands it over, in plain values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from framework.config.checks import read_settings
from framework.config.folders import groups
from framework.config.recipe_parts import load_parts
from framework.config.recipes import Recipe, bring
from framework.config.settings import Settings
from framework.config.start import starting_point
from framework.core.errors import BadInput

if TYPE_CHECKING:
    from omegaconf import DictConfig


@dataclass(frozen=True)
class Job:
    """One run: its settings, its resolved config as YAML, where it goes, what was typed.

    Where there are such, its recipe and the folder of the run that it repeats.
    """

    settings: Settings
    config: str
    folder: Path
    overrides: tuple[str, ...]
    recipe: Recipe | None = None
    repeats: Path | None = None


def job_of(config: DictConfig, folder: str, overrides: list[str]) -> Job:
    """The job of a config that Hydra composed, its own node left out; its recipe's parts are registered, if need be.

    Raises:
        BadInput: the config does not fit the schema, or its recipe can't be used.
    """
    from omegaconf import OmegaConf

    name = config.get("recipe")
    recipes = bring([name], groups()).recipes if name else ()
    load_parts(recipes)
    settings, problems = read_settings(OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]
    if settings is None:
        raise BadInput(problems)
    text = OmegaConf.to_yaml(config, resolve=True)
    recipe = recipes[-1] if recipes else None
    return Job(settings, text, Path(folder).resolve(), tuple(overrides), recipe, starting_point().run)

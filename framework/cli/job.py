"""One run as Hydra hands it over, in plain values."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from framework.cli.primary import primary_config
from framework.cli.typed import in_full
from framework.config.checks import read_settings
from framework.config.folders import groups
from framework.config.kinds import paths
from framework.config.recipe_parts import load_parts
from framework.config.recipes import bring
from framework.core.errors import BadInput
from framework.runs.job import Job, nothing

if TYPE_CHECKING:
    from omegaconf import DictConfig


def job_of(
    config: DictConfig, folder: str, overrides: Sequence[str], home: str, begin: Callable[[], None] = nothing
) -> Job:
    """The job of a config that Hydra composed, its own node left out; its recipe's parts are registered, if need be.

    Args:
        config: of the run.
        folder: of the run.
        overrides: what was typed for it.
        home: the folder that the command was given in: paths are seen from there, also where Hydra has gone to the
            run's folder (``hydra.job.chdir``).
        begin: of the job.

    Raises:
        BadInput: the config does not fit the schema, or its recipe can't be used.
    """
    from omegaconf import OmegaConf, open_dict

    name = config.get("recipe")
    with _seen_from(home):
        recipes = bring([name], groups()).recipes if name else ()
        load_parts(recipes)
        found = paths(OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]
        typed = tuple(map(in_full, overrides))
        folder = os.path.abspath(folder)
    with open_dict(config):
        for key, path in found.items():
            OmegaConf.update(config, key, path)
    settings, problems = read_settings(OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]
    if settings is None:
        raise BadInput(problems)
    text = OmegaConf.to_yaml(config, resolve=True)
    recipe = recipes[-1] if recipes else None
    return Job(settings, text, Path(folder).resolve(), typed, recipe, primary_config().run, begin)


@contextlib.contextmanager
def _seen_from(folder: str) -> Iterator[None]:
    """While entered, this is the current folder."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)

"""What a composed config starts from: conf/train.yaml, or with ``from=RUN_FOLDER`` the config that a run has left."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framework.config.data_only import config_of_run
from framework.config.documents import read
from framework.config.earlier import as_now, here
from framework.config.folders import conf_folder, groups, take_shelves
from framework.config.recipe_parts import load_parts
from framework.config.recipes import Recipe, recorded_recipes
from framework.core.errors import BadInput, Problem
from framework.core.runs import RunFolder, refuse_made
from framework.core.schema import whole_path

OPTION = "from="
USUAL = "train"
REPEAT = "repeat"


@dataclass(frozen=True)
class PrimaryConfig:
    """The primary config's name and file; for a repeated run its folder, and its recipe if it had one."""

    name: str
    file: Path
    run: Path | None = None
    recipe: Recipe | None = None


_current: list[PrimaryConfig] = []


def primary_config() -> PrimaryConfig:
    """What this process composes from."""
    return _current[-1] if _current else PrimaryConfig(USUAL, conf_folder() / f"{USUAL}.yaml")


def take_primary_config(arguments: Sequence[str]) -> list[str]:
    """Arguments without ``from=RUN_FOLDER`` and ``recipes=FOLDER``, which hold for this process from now on.

    Raises:
        BadInput: they name no such folder, or the run's recipe is missing.
    """
    _current.clear()
    arguments = take_shelves(arguments)
    rest = [argument for argument in arguments if not argument.startswith(OPTION)]
    named = [argument for argument in arguments if argument.startswith(OPTION)]
    if named:
        _current.append(_repeat(named[-1], rest))
    return rest


def _repeat(argument: str, overrides: Sequence[str]) -> PrimaryConfig:
    from hydra.core.config_store import ConfigStore

    run = RunFolder(Path(whole_path(argument.removeprefix(OPTION).strip("'\""))).resolve())
    refuse_made(run, argument)
    if not run.config.is_file():
        raise BadInput(Problem(f"{run.path} has no config.yaml to train again", f"command line: {argument}"))
    recipes = recorded_recipes(run)
    load_parts(recipes)
    keys = {re.split(r"[=@]", override.lstrip("+~"))[0].replace(".", "/") for override in overrides}
    if "recipe" in keys:
        what = "from= repeats a config as it was; a recipe can't be laid over it"
        raise BadInput(Problem(what, f"command line: {argument}", "recipe=NAME without from=, or single overrides"))
    saved = config_of_run(read(run.config).content, run.config)
    node = _primary(_alone(as_now(saved)), sorted(keys & set(groups())))
    ConfigStore.instance().store(name=REPEAT, node=node)
    return PrimaryConfig(REPEAT, run.config, run.path, recipes[-1] if recipes else None)


def _alone(saved: dict[str, Any]) -> dict[str, Any]:
    """The config of one run here, also of one that was a seed of several, was on a cluster, or had a copy elsewhere."""
    changed: dict[str, dict[str, Any]] = {"sweep": {"seeds": None, "detach": False}, "cache": {"compute": "local"}}
    nodes = {key: {**saved[key], **more} for key, more in changed.items() if isinstance(saved.get(key), Mapping)}
    return {**saved, **nodes, "compute": here(), "mirror": None}


def _primary(saved: dict[str, Any], chosen: Sequence[str]) -> dict[str, Any]:
    """A primary config that says what the saved one does, in which these groups can be chosen anew.

    Of a group that is chosen anew only what conf/train.yaml says of it is kept. A saved value that is what an
    interpolation of conf/train.yaml gives is written as that again, so that it follows an override.
    """
    usual = dict(read(conf_folder() / f"{USUAL}.yaml").content)
    entries = [entry for entry in usual.pop("defaults") if isinstance(entry, dict)]
    logging = [entry for entry in entries if next(iter(entry)).startswith("override ")]
    kept = {key: value for key, value in saved.items() if key not in chosen}
    for group in chosen:
        own, _, inner = group.partition("/")
        if inner and own in kept:
            kept[own] = {key: value for key, value in kept[own].items() if key != inner}
        elif group in usual:
            kept[group] = {key: value for key, value in saved.get(group, {}).items() if key in usual[group]}
    # which option stands here is all the same: the command line names another
    anew = [{group: groups()[group][0]} for group in chosen if group.rpartition("/")[0] not in chosen]
    return {"defaults": ["_self_", *anew, *logging], **_laid_over(usual, kept, saved)}


def _laid_over(usual: Mapping[str, Any], saved: Mapping[str, Any], whole: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(usual)
    for key, value in saved.items():
        before = usual.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            merged[key] = _laid_over(before, value, whole)
        elif not (isinstance(before, str) and before.startswith("${") and _value(before, whole) == value):
            merged[key] = value
    return merged


def _value(interpolation: str, whole: Mapping[str, Any]) -> Any:
    found: Any = whole
    for name in interpolation.removeprefix("${").removesuffix("}").split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found

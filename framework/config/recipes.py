"""Recipes: named sets of overrides, each a YAML file in a folder of its own, offered to Hydra as the group ``recipe``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from framework.config.folders import recipe_folders, shown
from framework.core.errors import BadInput, Problem

RECIPE_FILE = "recipe.yaml"


def recipes() -> dict[str, Path]:
    """Each recipe's name and file: ``recipe.yaml`` is named by its folder, any other file by its own name.

    Raises:
        BadInput: two files claim one name.
    """
    found: dict[str, Path] = {}
    problems = []
    for folder in recipe_folders():
        for file in sorted(folder.glob("*/*.yaml")):
            name = file.parent.name if file.name == RECIPE_FILE else file.stem
            if name in found:
                problems.append(
                    Problem(f"two recipes are called '{name}'", f"{shown(found[name])} and {shown(file)}", "rename one")
                )
            else:
                found[name] = file
    if problems:
        raise BadInput(problems)
    return found


def read_recipe(file: Path) -> dict[str, Any]:
    """A recipe file's content.

    Raises:
        BadInput: it is no readable YAML mapping.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(Problem(f"the recipe can't be read: {error}", shown(file))) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{shown(file)}:{mark.line + 1}" if mark else shown(file)
        raise BadInput(Problem(f"the recipe is no valid YAML: {getattr(error, 'problem', error)}", where)) from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise BadInput(Problem("the recipe is no mapping of keys to values", shown(file), "optim:\n            lr: 0.01"))
    return content


def offer_recipes(chosen: set[str]) -> dict[str, Path]:
    """Put the recipes into Hydra's store; only the chosen ones, and those that they build on, are read.

    Returns:
        each recipe's name and file.
    """
    from hydra.core.config_store import ConfigStore

    known = recipes()
    store = ConfigStore.instance()
    waiting, read = list(chosen), {name: {} for name in known}  # type: dict[str, Any]
    done: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in done or name not in known:
            continue
        done.add(name)
        read[name] = read_recipe(known[name])
        for entry in read[name].get("defaults") or []:
            if isinstance(entry, str):
                waiting.append(entry)
            elif isinstance(entry, dict):
                waiting += [str(value) for key, value in entry.items() if str(key).split("/")[-1] == "recipe"]
    for name, node in read.items():
        store.store(group="recipe", name=name, node=node, package="_global_")
    return known

"""Recipes: folders with named sets of overrides, and if needed options and parts of their own.

A recipe is ``recipe.yaml``, named by its folder, or any other YAML file of the folder, named by itself. What else the
folder holds is brought by each of them: ``conf/<group>/<option>.yaml`` and ``parts.py``. Nothing of a recipe but its
name is looked at before it is chosen, so one that is broken harms nobody else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from framework.config import data_only
from framework.config.documents import Document, read
from framework.config.folders import Shelf, conf_folder, groups, shelves, shown
from framework.core.errors import BadInput, Problem, suggestion
from framework.core.runs import RunFolder

RECIPE_FILE = "recipe.yaml"
PARTS_FILE = "parts.py"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
NAME_RULE = "letters, digits, _ and -"

Groups = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Recipe:
    """Where a recipe lies; ``folder`` is what its options and parts are in, ``shelf`` where that was found."""

    name: str
    file: Path
    folder: Path
    shelf: Shelf


@dataclass(frozen=True)
class Bundle:
    """What chosen recipes bring: those that they build on first, the options of each group, what each file says."""

    recipes: tuple[Recipe, ...] = ()
    options: dict[str, dict[str, Path]] = field(default_factory=dict)
    documents: dict[str, Document] = field(default_factory=dict)


def catalogue() -> dict[str, list[Recipe]]:
    """All recipes by name; one that several files claim has several entries, and can't be chosen."""
    found: dict[str, list[Recipe]] = {}
    for shelf in shelves():
        for folder in _folders(shelf.path):
            for file in _files(folder):
                name = folder.name if file.name == RECIPE_FILE else file.stem
                found.setdefault(name, []).append(Recipe(name, file, folder, shelf))
    return {name: found[name] for name in sorted(found)}


def names() -> list[str]:
    """Sorted names of all recipes."""
    return list(catalogue())


def find(name: str, among: Mapping[str, list[Recipe]] | None = None) -> Recipe:
    """The recipe of this name.

    Raises:
        BadInput: there is none, several files claim the name, or it lies where no recipe may lie.
    """
    among = catalogue() if among is None else among
    if name not in among:
        gone = [shelf for shelf in shelves() if shelf.origin != "shipped" and not shelf.path.is_dir()]
        what = f"there is no recipe '{name}'"
        what += "".join(f"; {shelf.path}, named by {shelf.origin}, is not there" for shelf in gone)
        raise BadInput(Problem(what, right=f"recipe={suggestion(name, list(among))}"))
    recipe, *others = among[name]
    if others:
        files = " and ".join(shown(one.file) for one in among[name])
        raise BadInput(Problem(f"{len(others) + 1} recipes are called '{name}'", files, "rename one"))
    if not NAME.fullmatch(name):
        raise BadInput(Problem(f"'{name}' can't be a recipe's name", shown(recipe.file), f"a name of {NAME_RULE}"))
    inside(recipe.folder, recipe.shelf.path)
    inside(recipe.file, recipe.folder)
    return recipe


def inside(path: Path, folder: Path) -> None:
    """Raise BadInput where a link leads out of the folder."""
    if not path.resolve().is_relative_to(folder.resolve()):
        what = f"a link that leads out of its folder, to {path.resolve()}"
        raise BadInput(Problem(what, shown(path), "a copy, or name the other folder by FRAMEWORK_RECIPES"))


def bring(chosen: Iterable[str], groups: Groups) -> Bundle:
    """What these recipes and those that they build on bring; reads them and no others, and runs nothing.

    Args:
        chosen: names.
        groups: the shipped groups and their options.

    Raises:
        BadInput: with everything wrong with them.
    """
    bundle, problems = Bundle(), []  # type: Bundle, list[Problem]
    known: dict[str, list[Recipe]] = {}
    ordered: dict[str, Recipe] = {}

    def add(name: str, above: tuple[str, ...], where: str) -> None:
        if name in above:
            files = " and ".join(dict.fromkeys(shown(bundle.documents[one].file) for one in (*above, name)))
            problems.append(Problem(f"recipes that build on each other: {' → '.join((*above, name))}", files))
            return
        if name in bundle.documents:
            return
        try:
            recipe = find(name, known)
            bundle.documents[name] = document = read(recipe.file)
        except BadInput as error:
            problems.extend(_in_recipe(name, where, problem) for problem in error.problems)
            return
        problems.extend(_in_recipe(name, "", problem) for problem in data_only.faults(document))
        if "recipe" in document.content:
            what = f"recipe '{name}' sets the key 'recipe'"
            problems.append(Problem(what, document.place("recipe"), "defaults:\n            - the_recipe_it_builds_on"))
        for base in _bases(document):
            add(base, (*above, name), document.place("defaults"))
        ordered[name] = recipe

    wanted = list(dict.fromkeys(chosen))
    if wanted:
        known.update(catalogue())
    for name in wanted:
        add(name, (), "")
    folders = {recipe.folder: recipe for recipe in ordered.values()}
    for recipe in folders.values():
        problems += _collect_options(recipe, groups, bundle)
    if not problems:
        everything = {group: [*options, *bundle.options.get(group, {})] for group, options in groups.items()}
        for name in ordered:
            problems += _check_defaults(name, bundle.documents[name], everything, known)
    if problems:
        raise BadInput(problems)
    return Bundle(tuple(ordered.values()), bundle.options, bundle.documents)


def offer(bundle: Bundle) -> None:
    """Put what was brought into Hydra's store, where ``recipe=NAME`` and the options are found."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    for name, document in bundle.documents.items():
        store.store(group="recipe", name=name, node={**document.content, "recipe": name}, package="_global_")
    for group, options in bundle.options.items():
        for name, file in options.items():
            store.store(group=group, name=name, node=read(file).content)


def offer_names() -> None:
    """Let the shell complete every recipe's name, without reading one."""
    from hydra.core.config_store import ConfigStore

    for name in names():
        ConfigStore.instance().store(group="recipe", name=name, node={}, package="_global_")


def _in_recipe(name: str, where: str, problem: Problem) -> Problem:
    """A problem of reading, told as one of the recipe; ``where`` is the place that names it."""
    what = problem.what if f"'{name}'" in problem.what else f"recipe '{name}': {problem.what}"
    return Problem(what, problem.where or where, problem.right)


def _folders(shelf: Path) -> list[Path]:
    """The folders of a shelf that may be recipes; the shelf itself where it is one."""
    try:
        below = [path for path in sorted(shelf.iterdir()) if path.name[0] not in "._" and path.is_dir()]
    except OSError:
        return []
    return [shelf, *below] if (shelf / RECIPE_FILE).is_file() else below


def _files(folder: Path) -> list[Path]:
    try:
        files = [path for path in sorted(folder.iterdir()) if path.suffix == ".yaml" and not path.name.startswith(".")]
    except OSError:
        return []
    own = folder / RECIPE_FILE
    return [own, *(file for file in files if file != own)] if own in files else files


def _bases(document: Document) -> list[str]:
    """Names of the recipes that a recipe builds on."""
    entries = document.content.get("defaults")
    return [entry for entry in entries if _names_recipe(entry)] if isinstance(entries, list) else []


def _names_recipe(entry: Any) -> bool:
    return isinstance(entry, str) and entry != "_self_"


def _collect_options(recipe: Recipe, groups: Groups, bundle: Bundle) -> list[Problem]:
    """Take up the options of a recipe's folder; a problem for each that can't be one."""
    problems = []
    conf = recipe.folder / "conf"
    for file in sorted(conf.rglob("*.yaml")) if conf.is_dir() else []:
        group, name = file.parent.relative_to(conf).as_posix(), file.stem
        try:
            inside(file, recipe.folder)
            if group not in groups:
                right = f"conf/{suggestion(group, list(groups))}"
                raise BadInput(Problem(f"there is no group '{group}'", shown(file), right))
            if not NAME.fullmatch(name):
                raise BadInput(Problem(f"'{name}' can't be an option's name", shown(file), f"a name of {NAME_RULE}"))
            taken = conf_folder() / group / f"{name}.yaml" if name in groups[group] else None
            taken = taken or bundle.options.get(group, {}).get(name)
            if taken is not None:
                files = f"{shown(taken)} and {shown(file)}"
                raise BadInput(Problem(f"two options are called {group}={name}", files, "rename the recipe's"))
            if wrong := list(data_only.faults(read(file))):
                raise BadInput(wrong)
            bundle.options.setdefault(group, {})[name] = file
        except BadInput as error:
            problems += [_in_recipe(recipe.name, "", problem) for problem in error.problems]
    return problems


def _check_defaults(
    name: str, document: Document, groups: Groups, known: Mapping[str, list[Recipe]]
) -> Iterable[Problem]:
    """A problem for each entry of a recipe's defaults that chooses nothing there is."""
    entries = document.content.get("defaults") or []
    where = document.place("defaults")
    if not isinstance(entries, list):
        right = "defaults:\n            - override /model: xception"
        yield Problem(f"recipe '{name}': defaults is no list", where, right)
        return
    for entry in entries:
        if isinstance(entry, str):
            continue
        key, value = next(iter(entry.items())) if isinstance(entry, dict) and len(entry) == 1 else (str(entry), None)
        word, _, group = str(key).rpartition(" ")
        plain = group.strip("/")
        if plain.startswith("hydra/"):
            continue
        if plain not in groups:
            yield Problem(f"recipe '{name}': there is no group '{plain}'", where, suggestion(plain, list(groups)))
        elif word != "override" or not group.startswith("/"):
            right = f"override /{plain}: {value}"
            yield Problem(f"recipe '{name}': '{key}' chooses nothing", where, right)
        else:
            for option in value if isinstance(value, list) else [value]:
                if option is not None and option not in groups[plain]:
                    what = f"recipe '{name}': there is no {plain} '{option}'"
                    yield Problem(what, where, f"override /{plain}: {suggestion(option, groups[plain])}")


def recorded_recipes(run: RunFolder) -> tuple[Recipe, ...]:
    """The recipe that a run was trained with, behind those that it builds on, if the recipes here have it.

    Where ``run.json`` says that it lay is not looked at: a run from someone else would name code of its own there.

    Raises:
        BadInput: there is no such recipe here.
    """
    recorded = run.read_run().get("recipe")
    if not isinstance(recorded, dict) or not isinstance(recorded.get("name"), str):
        return ()
    name = recorded["name"]
    if name not in names():
        what = f"{run.path} needs recipe '{name}', which is missing: it was in {recorded.get('folder')}"
        raise BadInput(Problem(what, str(run.run_json), "FRAMEWORK_RECIPES=FOLDER that holds it, if you trust it"))
    return bring([name], groups()).recipes

"""Recipe: start one from your photos or from another, list all, and check that each keeps its contract."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import framework.parts  # noqa: F401 - registers the shipped parts
from framework.cli.command import check_one, run_command
from framework.cli.compose import compose
from framework.cli.options import Words, read_options
from framework.config import documents
from framework.config.folders import shown, take_shelves
from framework.config.kinds import usual_part
from framework.config.recipes import NAME, NAME_RULE, RECIPE_FILE, Recipe, catalogue, find
from framework.core.console import messages, say
from framework.core.errors import BAD_INPUT, DONE, BadInput, Problem, suggestion
from framework.core.schema import PathText
from framework.data import scaffold, sources
from framework.runs import contract

USAGE = """
python -m framework.recipe new | list | check | copy  [recipes=FOLDER]

  python -m framework.recipe new name=birds data.dir=PHOTOS
                        look at photos, a folder a class, and write a recipe for them: recipes/birds/
  python -m framework.recipe list
                        every recipe: its name, what it is, the score to expect, where it comes from
  python -m framework.recipe check birds
                        compose, check, build, train two steps on images made for it, save, load and compare;
                        all for every recipe, several names for several
  python -m framework.recipe copy clothing_v1 name=mine
                        start one from another: recipes/mine/

Options:
  into=recipes          new, copy: the folder that the recipe's folder is written in
  recipes=FOLDER        look for recipes in this folder too, as FRAMEWORK_RECIPES does
  --help                this text

Exit code 0: done, all right; 2: something is wrong with what was typed or with a recipe.
"""
EXPECTED = "Expected:"


@dataclass(frozen=True)
class _Data:
    dir: Annotated[PathText, "photos: a folder a class"]


@dataclass(frozen=True)
class _New:
    name: Annotated[str, "of the recipe"]
    data: _Data
    into: Annotated[PathText, "folder of recipes"] = "recipes"


@dataclass(frozen=True)
class _List:
    pass


@dataclass(frozen=True)
class _Check:
    names: Annotated[list[str], Words("NAME ..."), "recipes, or all"]


@dataclass(frozen=True)
class _Copy:
    names: Annotated[list[str], Words("NAME"), "the recipe to start from"]
    name: Annotated[str, "of the new one"]
    into: Annotated[PathText, "folder of recipes"] = "recipes"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the first word says; returns the exit code."""

    def work(given: list[str]) -> int:
        verb, *rest = take_shelves(given) or [""]
        if verb not in _VERBS:
            what = f"there is nothing to do called '{verb}'" if verb else "nothing to do is named"
            raise BadInput(Problem(what, f"command line: {verb}".rstrip(": "), suggestion(verb, _VERBS)))
        record, do = _VERBS[verb]
        return do(read_options(record, rest))

    return run_command(USAGE.strip, arguments, work)


def new(options: _New) -> int:
    """Write a recipe for some photos."""
    folder = _new_folder(options.into, options.name)
    data, usual = Path(options.data.dir).resolve(), usual_part("data", "dir")
    found = scaffold.look(sources.read_all(usual.name, 1, **{**usual.parameters, "dir": str(data)}))
    files = scaffold.write_recipe(folder, options.name, data, found)
    for split, images in found.images.splits.items():
        say(f"{len(images):,} {split} images")
    say(f"{len(found.counts)} classes: " + ", ".join(f"{name} {count:,}" for name, count in found.counts.items()))
    say(f"median side {found.side} px")
    for heading, text in found.images.told():
        say(f"{heading}: {text}")
    for file in files:
        print(shown(file))
    say(f"train it:  python -m framework.train recipe={options.name}{_shelf_hint(options.into)}")
    return DONE


def list_all(options: _List) -> int:
    """Print every recipe with its purpose, expected score and place, or why it can't be chosen."""
    known = catalogue()
    width = max(map(len, known), default=0)
    for name, (first, *_) in known.items():
        try:
            find(name, known)
            header = documents.header(first.file)
            purpose = next((line for line in header if not line.startswith(EXPECTED)), "")
            expected = next((line.removeprefix(EXPECTED).strip() for line in header if line.startswith(EXPECTED)), "")
        except BadInput as error:
            purpose, expected = f"! {error.problems[0].what}: {error.problems[0].where}", ""
        indent = " " * (width + 2)
        print(textwrap.fill(purpose, 110, initial_indent=f"{name:<{width}}  ", subsequent_indent=indent) or name)
        print(f"{indent}expected {expected or 'score not told'}; {first.shelf.origin}: {shown(first.file)}")
    return DONE


def check(options: _Check) -> int:
    """Hold recipes against the contract, each by itself."""
    if not options.names:
        raise BadInput(Problem("no recipe is named", "command line", "check NAME, or check all"))
    known = catalogue()
    names = list(known) if options.names == ["all"] else options.names
    wrong = 0
    for name in names:
        found = faults(name)
        said = f"{len(found)} fault" + "s" * (len(found) > 1) if found else "all right"
        if (
            options.names == ["all"]
            and found
            and all(problem.what.endswith(contract.NOT_INSTALLED) for problem in found)
        ):
            said = "left out"
        wrong += said.endswith(("fault", "faults"))
        print(f"{name}: {said}", flush=True)
        for problem in found:
            messages().print(textwrap.indent(str(problem), "  "), markup=False)
    return BAD_INPUT if wrong else DONE


def copy(options: _Copy) -> int:
    """Start a recipe from another: its file under the new name, and what else its folder holds but other recipes."""
    if len(options.names) != 1:
        raise BadInput(Problem("the recipe to start from is not named", "command line", "copy clothing_v1 name=mine"))
    recipe = find(options.names[0])
    folder = _new_folder(options.into, options.name)
    folder.mkdir(parents=True)
    for file in _to_copy(recipe):
        target = folder / file.relative_to(recipe.folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        print(shown(target))
    text = recipe.file.read_text(encoding="utf-8")
    (folder / RECIPE_FILE).write_text(text, encoding="utf-8")
    print(shown(folder / RECIPE_FILE))
    say(f"train it:  python -m framework.train recipe={options.name}{_shelf_hint(options.into)}")
    return DONE


def _to_copy(recipe: Recipe) -> list[Path]:
    """The modules and options of a recipe's folder; its README, tests and other recipes stay where they are."""
    modules = [file for file in recipe.folder.glob("*.py") if not file.name.startswith("test_")]
    files = sorted([*modules, *recipe.folder.glob("conf/**/*.yaml")])
    return [file for file in files if file.is_file() and not file.is_symlink()]


def _new_folder(into: str, name: str) -> Path:
    """Where a new recipe goes.

    Raises:
        BadInput: the name can't be one, or is taken.
    """
    if not NAME.fullmatch(name):
        what = f"'{name}' can't be a recipe's name"
        raise BadInput(Problem(what, f"command line: name={name}", f"a name of {NAME_RULE}"))
    folder = Path(into).resolve() / name
    taken = catalogue().get(name, [])
    if taken or folder.exists():
        where = shown(taken[0].file) if taken else shown(folder)
        raise BadInput(Problem(f"there is a recipe '{name}' already", where, "another name"))
    return folder


def _shelf_hint(into: str) -> str:
    return "" if into == "recipes" else f" recipes={into}"


_VERBS: dict[str, tuple[type, Callable[..., int]]] = {
    "new": (_New, new),
    "list": (_List, list_all),
    "check": (_Check, check),
    "copy": (_Copy, copy),
}


def faults(name: str) -> list[Problem]:
    """Everything wrong with a recipe."""
    return contract.faults(name, lambda overrides: compose(overrides).config, check_one)


if __name__ == "__main__":
    sys.exit(main())

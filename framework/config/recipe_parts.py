"""Runs the ``parts.py`` of a chosen recipe, so that its parts are registered; of no other."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Iterable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from framework.config.folders import shown
from framework.config.recipes import PARTS_FILE, Recipe, inside
from framework.core import registry
from framework.core.errors import BadInput, Problem

PACKAGE = "framework_recipes"
CLASSES_FILE = "layers.py"

_registered: dict[Path, list[registry.Part]] = {}
_packages: dict[Path, str] = {}


def load_parts(recipes: Iterable[Recipe]) -> None:
    """Register the parts of these recipes.

    A recipe's folder is a package, ``framework_recipes.<folder>``: its modules import each other by ``from .layers
    import …``.

    Raises:
        BadInput: a ``parts.py`` raises, or a part of its kind and name is there already; nothing of it is registered.
    """
    for folder, recipe in {recipe.folder: recipe for recipe in recipes}.items():
        file = folder / PARTS_FILE
        if file.is_symlink() or file.is_file():
            inside(file, folder)
            for part in _registered.get(folder, ()):
                registry.register(part.kind, part.name, **part.details)(part.function)
            if folder not in _registered:
                with registry.gathered() as parts:
                    _import(recipe, file)
                _registered[folder] = parts


def load_classes(recipes: Iterable[Recipe]) -> None:
    """Import the Keras classes of these recipes, their ``layers.py``, so that saved models find them.

    Raises:
        BadInput: it raises.
    """
    for folder, recipe in {recipe.folder: recipe for recipe in recipes}.items():
        file = folder / CLASSES_FILE
        if file.is_file():
            inside(file, folder)
            _import(recipe, file)


def _import(recipe: Recipe, file: Path) -> ModuleType:
    """The module of a recipe's file.

    Raises:
        BadInput: running it raises; told with the line of the recipe's own file that it came from.
    """
    name = f"{_package(recipe.folder)}.{file.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BadInput:
        del sys.modules[name]
        raise
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise BadInput(fault(recipe, error, f"{shown(file)} can't be run")) from error
    return module


def _package(folder: Path) -> str:
    """Name of the package that a recipe's folder is entered as; one that another folder has gets an underscore."""
    if folder not in _packages:
        name = f"{PACKAGE}.{folder.name}"
        while name in _packages.values():
            name += "_"
        _packages[folder] = name
        _enter(PACKAGE, [])
        _enter(name, [str(folder)])
    return _packages[folder]


def _enter(package: str, places: list[str]) -> None:
    spec = ModuleSpec(package, None, is_package=True)
    spec.submodule_search_locations = places
    sys.modules.setdefault(package, importlib.util.module_from_spec(spec))


def fault(recipe: Recipe, error: BaseException, what: str) -> Problem:
    """An error as a problem of a recipe, with the line of its own files that it came from, if it came from there."""
    line = ""
    if isinstance(error, SyntaxError) and error.filename:
        where, line = Path(error.filename), f":{error.lineno}"
    else:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _of(frame.filename, recipe.folder)]
        where, line = (Path(frames[-1].filename), f":{frames[-1].lineno}") if frames else (recipe.file, "")
    text = str(error).strip().splitlines()
    said = f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
    return Problem(f"recipe '{recipe.name}': {what}: {said}", f"{shown(where)}{line}")


def _of(file: str, folder: Path) -> bool:
    return Path(file).is_relative_to(folder)

"""Where configs and recipes lie: in the clone if there is one, else in the installed package."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import framework
from framework.core.errors import BadInput, Problem
from framework.core.schema import whole_path

VARIABLE = "FRAMEWORK_RECIPES"
OPTION = "recipes="
ENTRY_POINTS = "framework.recipes"


def _shipped(name: str) -> Path:
    package = Path(framework.__file__).resolve().parent
    clone = package.parent
    in_clone = (clone / "pyproject.toml").is_file() and (clone / name).is_dir()
    return clone / name if in_clone else package / name


def conf_folder() -> Path:
    """The folder of config groups."""
    return _shipped("conf")


def groups() -> dict[str, list[str]]:
    """Config groups and their options, recipes apart: ``{"model": ["cnn", …], "optim/schedule": […]}``.

    A file whose name begins with ``_`` is no option: it holds what several options have in common.
    """
    return {group: list(options) for group, options in _groups(conf_folder()).items()}


@functools.cache
def _groups(conf: Path) -> dict[str, list[str]]:
    """What ``groups`` says of a folder. What is shipped does not change while a command is at work."""
    found: dict[str, list[str]] = {}
    for file in sorted(conf.rglob("*.yaml")):
        if file.parent != conf and not file.name.startswith("_"):
            found.setdefault(file.parent.relative_to(conf).as_posix(), []).append(file.stem)
    return found


@dataclass(frozen=True)
class Shelf:
    """A folder that holds recipe folders, and how it came to be looked at."""

    path: Path
    origin: str


def shelves() -> list[Shelf]:
    """Where recipes are looked for, each folder once.

    The shipped ones, ``recipes`` here, those that FRAMEWORK_RECIPES lists, and those of installed packages, which name
    the package that holds the recipe folders by an entry point of the group ``framework.recipes``. A folder that is
    not there is in the list too, for whoever wants to tell.
    """
    found = [Shelf(_shipped("recipes"), "shipped")]
    if Path("recipes").is_dir():
        found.append(Shelf(Path("recipes").resolve(), "./recipes"))
    named = os.environ.get(VARIABLE, "")
    found += [Shelf(Path(part).expanduser().resolve(), VARIABLE) for part in named.split(os.pathsep) if part]
    once: dict[Path, Shelf] = {}
    for shelf in [*found, *_installed()]:
        once.setdefault(shelf.path, shelf)
    return list(once.values())


def _installed() -> list[Shelf]:
    from importlib.metadata import entry_points
    from importlib.util import find_spec

    found = []
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            spec = find_spec(entry.module)
        except (ImportError, ValueError):
            spec = None
        places = list(spec.submodule_search_locations or []) if spec is not None else []
        found += [Shelf(Path(place).resolve(), f"package {entry.module}") for place in places or [entry.module]]
    return found


def take_shelves(arguments: Sequence[str]) -> list[str]:
    """Arguments without ``recipes=FOLDER``, which is added to FRAMEWORK_RECIPES, so that every job sees it.

    Raises:
        BadInput: the folder is not there.
    """
    for argument in arguments:
        if argument.startswith(OPTION):
            folder = whole_path(argument.removeprefix(OPTION).strip("'\""))
            if not folder or not Path(folder).is_dir():
                what = f"there is no folder '{folder}' of recipes"
                raise BadInput(Problem(what, f"command line: {argument}", "recipes=FOLDER, which holds recipe folders"))
            add_shelf(Path(folder))
    return [argument for argument in arguments if not argument.startswith(OPTION)]


def add_shelf(folder: Path) -> None:
    """Have recipes looked for in this folder too, by this process and those that it starts."""
    path = str(folder.expanduser().resolve())
    named = [part for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    if path not in named:
        os.environ[VARIABLE] = os.pathsep.join([*named, path])


def shown(path: Path) -> str:
    """A file as messages name it: short where it lies in a folder that everyone knows."""
    for root, prefix in ((conf_folder(), "conf"), (_shipped("recipes"), "recipes"), (Path.cwd(), "")):
        if path.is_relative_to(root) and path != Path.cwd():  # which would be called "."
            return str(Path(prefix) / path.relative_to(root))
    return str(path)


def unwritable(folder: Path) -> str:
    """Why nothing can be written in a folder, or the folder can't be made; empty if it can. Makes nothing."""
    try:
        there = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    except (StopIteration, OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error) or "there is no such disk"
    if not there.is_dir():
        return f"{shown(there)} is no folder"
    if not os.access(there, os.W_OK | os.X_OK):
        read_only = hasattr(os, "statvfs") and os.statvfs(there).f_flag & os.ST_RDONLY
        return f"{shown(there)} is on a read-only disk" if read_only else f"no permission to write in {shown(there)}"
    longest = os.pathconf(there, "PC_NAME_MAX") if hasattr(os, "pathconf") else 255
    if any(len(os.fsencode(part)) > longest for part in folder.parts):
        return "a folder's name is too long"
    return ""

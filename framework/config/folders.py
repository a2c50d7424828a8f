"""Where configs and recipes lie: in the clone if there is one, else in the installed package."""

from __future__ import annotations

import os
from pathlib import Path

import framework


def _shipped(name: str) -> Path:
    package = Path(framework.__file__).resolve().parent
    clone = package.parent
    in_clone = (clone / "pyproject.toml").is_file() and (clone / name).is_dir()
    return clone / name if in_clone else package / name


def conf_folder() -> Path:
    """The folder of config groups."""
    return _shipped("conf")


def recipe_folders() -> list[Path]:
    """Folders that hold recipe folders: the shipped ones, ``recipes`` here, and those that FRAMEWORK_RECIPES lists."""
    named = os.environ.get("FRAMEWORK_RECIPES", "")
    candidates = [_shipped("recipes"), Path("recipes").resolve()]
    candidates += [Path(part).expanduser().resolve() for part in named.split(os.pathsep) if part]
    return [folder for folder in dict.fromkeys(candidates) if folder.is_dir()]


def shown(path: Path) -> str:
    """A file as messages name it: short where it lies in a folder that everyone knows."""
    for root, prefix in ((conf_folder(), "conf"), (_shipped("recipes"), "recipes"), (Path.cwd(), "")):
        if path.is_relative_to(root):
            return str(Path(prefix) / path.relative_to(root))
    return str(path)

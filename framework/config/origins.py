"""Where a value of the composed config comes from: which file and line, or which override."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from framework.config.folders import shown

Places = dict[str, list[str]]


class Origins:
    """For each key of the config, all places that set it, the one that holds last; found out when first asked."""

    def __init__(self, find: Callable[[], Places]):
        self._find = find

    @functools.cached_property
    def places(self) -> Places:
        """Places by key, in the order of merging."""
        return self._find()

    def of(self, path: str) -> str:
        """Where the key, or else the nearest key around it, was set last; empty if nothing is known."""
        while path:
            if path in self.places:
                return self.places[path][-1]
            for key in self.places:
                if key.startswith(f"{path}."):
                    return self.places[key][-1]
            path = path.rpartition(".")[0]
        return ""


def trace(defaults: Iterable[Any], conf: Path, recipes: Mapping[str, Path], overrides: Iterable[Any]) -> Places:
    """Places from Hydra's own list of merged files, in merging order, and the parsed overrides.

    Args:
        defaults: Hydra's ``ResultDefault`` entries.
        conf: the folder of config groups.
        recipes: each recipe's name and file.
        overrides: parsed Hydra overrides of values, not of groups.
    """
    places: Places = {}
    for entry in defaults:
        if not entry.config_path or entry.config_path.startswith("hydra"):
            continue
        group, _, name = entry.config_path.rpartition("/")
        file = recipes.get(name, conf) if group == "recipe" else conf / f"{entry.config_path}.yaml"
        _add_file(places, file, "" if entry.package in (None, "_global_") else entry.package)
    for override in overrides:
        places.setdefault(override.key_or_group, []).append(f"command line: {override.input_line}")
    return places


def _add_file(places: Places, file: Path, package: str) -> None:
    """Note every key of a YAML file that is merged at ``package``."""
    try:
        tree = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, ValueError, yaml.YAMLError):
        return
    if isinstance(tree, yaml.MappingNode):
        keys = [(key, value) for key, value in tree.value if key.value not in ("defaults", "hydra")]
        _add_keys(places, keys, package, file)


def _add_keys(places: Places, keys: Iterable[tuple[Any, Any]], prefix: str, file: Path) -> None:
    for key, value in keys:
        path = f"{prefix}.{key.value}" if prefix else str(key.value)
        places.setdefault(path, []).append(f"{shown(file)}:{key.start_mark.line + 1}")
        if isinstance(value, yaml.MappingNode):
            _add_keys(places, value.value, path, file)

"""Where a value of the composed config comes from: which file and line, or which override."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from framework.config.folders import shown


@dataclass
class Origins:
    """For each key of the config, all places that set it, the one that holds last."""

    places: dict[str, list[str]] = field(default_factory=dict)

    def add_file(self, file: Path, package: str) -> None:
        """Note every key of a YAML file that is merged at ``package``."""
        try:
            tree = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        except (OSError, ValueError, yaml.YAMLError):
            return
        if isinstance(tree, yaml.MappingNode):
            self._add_node(tree, package, file)

    def _add_node(self, node: yaml.MappingNode, prefix: str, file: Path) -> None:
        for key, value in node.value:
            if prefix == "" and key.value in ("defaults", "hydra"):
                continue
            path = f"{prefix}.{key.value}" if prefix else str(key.value)
            self.places.setdefault(path, []).append(f"{shown(file)}:{key.start_mark.line + 1}")
            if isinstance(value, yaml.MappingNode):
                self._add_node(value, path, file)

    def add_override(self, key: str, text: str) -> None:
        """Note an override from the command line."""
        self.places.setdefault(key, []).append(f"command line: {text}")

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


def trace(defaults: Iterable[Any], conf: Path, recipes: Mapping[str, Path], overrides: Iterable[Any]) -> Origins:
    """Origins of a config from Hydra's own list of merged files, in merging order, and the parsed overrides.

    Args:
        defaults: Hydra's ``ResultDefault`` entries.
        conf: the folder of config groups.
        recipes: each recipe's name and file.
        overrides: parsed Hydra overrides of values, not of groups.
    """
    origins = Origins()
    for entry in defaults:
        if not entry.config_path or entry.config_path.startswith("hydra"):
            continue
        group, _, name = entry.config_path.rpartition("/")
        file = recipes.get(name, conf) if group == "recipe" else conf / f"{entry.config_path}.yaml"
        origins.add_file(file, "" if entry.package in (None, "_global_") else entry.package)
    for override in overrides:
        origins.add_override(override.key_or_group, override.input_line or "")
    return origins

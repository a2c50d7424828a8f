"""Where a value of the composed config comes from: which file and line, or which override."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framework.config.documents import Document, read
from framework.config.folders import conf_folder, shown
from framework.config.recipes import Bundle
from framework.core.errors import BadInput


@dataclass(frozen=True)
class Place:
    """One place that sets a key: where, to what, and what chose the file if the user or a recipe did."""

    where: str
    value: Any
    chosen: str = ""


Places = dict[str, list[Place]]


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
                return self.places[path][-1].where
            for key in self.places:
                if key.startswith(f"{path}."):
                    return self.places[key][-1].where
            path = path.rpartition(".")[0]
        return ""


def trace(
    defaults: Iterable[Any], primary: Path, bundle: Bundle, choices: Sequence[str], overrides: Iterable[Any]
) -> Places:
    """Places from Hydra's own list of merged files, in merging order, and the parsed overrides.

    Args:
        defaults: Hydra's ``ResultDefault`` entries.
        primary: the file that all starts from.
        bundle: what the chosen recipes bring.
        choices: overrides of groups, as they were typed.
        overrides: parsed Hydra overrides of values.
    """
    places: Places = {}
    for entry in defaults:
        if not entry.config_path or entry.config_path.startswith("hydra"):
            continue
        group, _, name = entry.config_path.rpartition("/")
        document = bundle.documents.get(name) if group == "recipe" else None
        if document is None:
            shipped = conf_folder() / f"{entry.config_path}.yaml" if group else primary
            document = _document(bundle.options.get(group, {}).get(name, shipped))
        chosen = _chosen_by(group, choices, bundle)
        prefix = "" if entry.package in (None, "_global_") else entry.package
        for path, key in document.keys.items():
            if path.split(".")[0] not in ("defaults", "hydra"):
                place = Place(f"{shown(document.file)}:{key.line}", key.value, chosen)
                places.setdefault(f"{prefix}.{path}" if prefix else path, []).append(place)
    for override in overrides:
        value = None if override.is_delete() else override.value()
        _add_override(places, override.key_or_group, value, f"command line: {override.input_line}")
    return places


def _add_override(places: Places, key: str, value: Any, where: str) -> None:
    places.setdefault(key, []).append(Place(where, value))
    if isinstance(value, dict):
        for name, inner in value.items():
            _add_override(places, f"{key}.{name}", inner, where)


def _document(file: Path) -> Document:
    try:
        return read(file)
    except BadInput:
        return Document(file)


def _chosen_by(group: str, choices: Sequence[str], bundle: Bundle) -> str:
    """What made this group's option the one: the override, or the recipe's line; empty for the default one."""
    for line in choices:
        if line.lstrip("+").partition("=")[0] == group:
            return f"command line: {line}"
    for document in reversed(bundle.documents.values()):
        for entry in document.content.get("defaults") or []:
            if isinstance(entry, dict) and f"override /{group}" in entry:
                return f"{document.place('defaults')}: override /{group}: {entry[f'override /{group}']}"
    return ""

"""The declared types of config keys, by name: what a key may be before a config is composed, and which are paths."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Mapping
from typing import Any

from framework.config.checks import ALONE, INNER, NAMED, PLAIN, SINGLE
from framework.config.documents import read_option
from framework.config.folders import conf_folder
from framework.config.settings import PartSettings, StageSettings
from framework.core import registry, schema

# Hydra's own keys that lead somewhere; its schema calls them texts
OF_HYDRA: dict[str, Any] = {
    "hydra.run.dir": schema.PathText,
    "hydra.sweep.dir": schema.PathText,
    "hydra.sweep.subdir": str,
}


def kinds(key: str) -> list[Any]:
    """The types that a key may have, by the schema and the signatures of all parts registered; none if it is unknown."""
    if key in OF_HYDRA:
        return [OF_HYDRA[key]]
    if key in ALONE:
        return [ALONE[key]]
    group, *names = key.split(".")
    if group in PLAIN and len(names) == 1:
        return _of(schema.fields(PLAIN[group]), names[0])
    if group == "stages" and len(names) == 2:
        return _of(schema.fields(StageSettings), names[1])
    if group in SINGLE and len(names) == 2 and names[0] == INNER.get(SINGLE[group][1]):
        return _of_parts(names[0], names[1])
    if group in SINGLE and len(names) == 1:
        kind, record = SINGLE[group]
        return [*_of(_own(record), names[0]), *_of_parts(kind, names[0])]
    if key == "augment.copies":
        return [schema.Whole]
    kind = NAMED.get(group) or ("augmentation" if group == "augment" else "")
    return _of_parts(kind, names[1]) if kind and len(names) == 2 else []


def usual_part(group: str, taking: str) -> PartSettings:
    """The shipped part of a group that takes a key, with the values of its option in ``conf``: whoever needs a part that
    reads ``dir`` names no source.

    Raises:
        LookupError: no shipped part takes it.
    """
    kind = SINGLE[group][0]
    for part in registry.parts(kind):
        option = conf_folder() / group / f"{part.name}.yaml"
        if taking in part.parameters and option.is_file():
            values = read_option(option).content
            return PartSettings(part.name, parameters={key: values[key] for key in part.parameters if key in values})
    raise LookupError(f"no part of {group} takes {taking}")


def paths(config: Mapping[str, Any]) -> dict[str, str]:
    """The paths in a composed config that are not in full, by their keys, each as it is in full."""
    return {
        key: schema.absolute(value, kind)
        for key, value, kind in _typed(config)
        if isinstance(value, str) and schema.absolute(value, kind) != value
    }


def with_full_paths(config: Mapping[str, Any]) -> dict[str, Any]:
    """The composed config with every path in full."""
    full = copy.deepcopy(dict(config))
    for key, path in paths(config).items():
        *nodes, last = key.split(".")
        functools.reduce(lambda node, name: node[name], nodes, full)[last] = path
    return full


def _typed(config: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Key, value and type of each value of a composed config that fits the schema."""
    for group, record in PLAIN.items():
        yield from _values(config.get(group), group, schema.fields(record))
    for group, (kind, single) in SINGLE.items():
        yield from _values(config.get(group), group, {**_own(single), **_parameters(config.get(group), kind)})
    for group, kind in (*NAMED.items(), ("augment", "augmentation")):
        node = config.get(group)
        for name, inner in node.items() if isinstance(node, Mapping) else ():
            yield from _values(inner, f"{group}.{name}", _parameters(inner, kind))


def _values(node: Any, path: str, types: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name, value in node.items() if isinstance(node, Mapping) else ():
        if name in types:
            yield f"{path}.{name}", value, types[name]


def _own(record: type[PartSettings]) -> dict[str, Any]:
    """Types of the framework's own keys of a node that names a part."""
    return {key: kind for key, kind in schema.fields(record).items() if key not in ("parameters", INNER.get(record))}


def _parameters(node: Any, kind: str) -> dict[str, Any]:
    name = node.get("name") if isinstance(node, Mapping) else None
    return registry.get(kind, name).parameters if name in registry.names(kind) else {}


def _of_parts(kind: str, name: str) -> list[Any]:
    return [one for part in registry.parts(kind) for one in _of(part.parameters, name)]


def _of(types: Mapping[str, Any], name: str) -> list[Any]:
    return [types[name]] if name in types else []

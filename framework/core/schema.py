"""Checks plain values against the types that a signature or a dataclass declares, and gathers every mismatch."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Annotated, Any

from annotated_types import Ge, Gt, Lt

from framework.core.errors import Problem, nearest, suggestion

MISSING = "???"

Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Count = Annotated[int, Gt(0)]
Whole = Annotated[int, Ge(0)]
Share = Annotated[float, Ge(0), Lt(1)]
PositiveShare = Annotated[float, Gt(0), Lt(1)]


def check(
    values: Mapping[str, Any], types: Mapping[str, Any], path: str, owner: str
) -> tuple[dict[str, Any], list[Problem]]:
    """Values that fit their declared types, and a problem for each unknown, missing or unfit one.

    Args:
        values: what the config gives.
        types: name to annotation; every name is required.
        path: config path of the node; a problem's ``where`` is the key's full path, for ``config`` to say which file
            or override set it.
        owner: what the node describes, for the message: "base 'mobilenet'".
    """
    from pydantic import ConfigDict, ValidationError, create_model

    problems: list[Problem] = []
    given: dict[str, Any] = {}
    for key, value in values.items():
        where = f"{path}.{key}" if path else str(key)
        if key not in types:
            left = [name for name in types if name not in values] or list(types)
            right = suggestion(key, left if nearest(key, left) else types) if types else "leave it out: it takes none"
            problems.append(Problem(f"{where}: {owner} has no parameter '{key}'", where, right))
        elif value == MISSING:
            problems.append(Problem(f"{where} must be given", where, f"{where}=<{describe(types[key])}>"))
        else:
            given[key] = value
    for key in types:
        if key not in values:
            where = f"{path}.{key}" if path else str(key)
            problems.append(Problem(f"{where} is missing: {owner} needs it", path, f"{where}=<{describe(types[key])}>"))
    fields: dict[str, Any] = {f"field_{key}": (types[key], ...) for key in given}
    model = create_model("Node", __config__=ConfigDict(strict=True, arbitrary_types_allowed=True), **fields)
    try:
        node = model(**{f"field_{key}": value for key, value in given.items()})
        # as read: a whole number given for a number becomes one
        given = {key: getattr(node, f"field_{key}") for key in given}
    except ValidationError as error:
        wrong: dict[str, str] = {}
        for entry in error.errors(include_url=False):
            key = str(entry["loc"][0]).removeprefix("field_")
            wrong.setdefault(key, entry["msg"])
        for key in wrong:
            where = f"{path}.{key}" if path else key
            problems.append(
                Problem(
                    f"{where}={show(given[key])} is not {describe(types[key])}", where, _example(given[key], types[key])
                )
            )
            del given[key]
    return given, problems


def fields(record: type) -> dict[str, Any]:
    """Name and type of each field of a dataclass."""
    hints = typing.get_type_hints(record, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(record)}


def show(value: Any) -> str:
    """A value as one would write it in YAML or on the command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ",".join(show(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{show(item)}" for key, item in value.items()) + "}"
    return f"'{value}'" if isinstance(value, str) and (value == "" or " " in value) else str(value)


def describe(kind: Any) -> str:
    """A type in words: ``a number above 0``, ``one of avg, max``, ``a whole number or null``."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        limits = []
        for limit in arguments[1:]:
            if isinstance(limit, Gt):
                limits.append(f"above {limit.gt:g}")  # type: ignore[str-format]
            elif isinstance(limit, Ge):
                limits.append(f"of at least {limit.ge:g}")  # type: ignore[str-format]
            elif isinstance(limit, Lt):
                limits.append(f"below {limit.lt:g}")  # type: ignore[str-format]
        return " ".join([describe(arguments[0]), " and ".join(limits)]).strip()
    if origin is typing.Literal:
        return "one of " + ", ".join(show(choice) for choice in arguments)
    if origin is list:
        return f"a list, each {describe(arguments[0])}"
    if origin is dict:
        return f"a mapping, each {describe(arguments[1])}"
    if (
        (origin is not None and type(None) in arguments)
        or str(origin) == "typing.Union"
        or type(kind).__name__ == "UnionType"
    ):
        return " or ".join(describe(choice) for choice in arguments)
    words = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "a text",
        type(None): "null",
        Any: "anything",
    }
    return words.get(kind, getattr(kind, "__name__", str(kind)))


def _example(value: Any, kind: Any) -> str:
    """What to write instead: for a choice the nearest one, else the type in words."""
    choices = _choices(kind)
    if isinstance(value, str) and choices:
        return suggestion(value, choices)
    return describe(kind)


def _choices(kind: Any) -> list[str]:
    if typing.get_origin(kind) is typing.Literal:
        return [str(choice) for choice in typing.get_args(kind)]
    return [choice for argument in typing.get_args(kind) for choice in _choices(argument)]

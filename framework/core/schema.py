"""Checks plain values against the types that a signature or a dataclass declares, and gathers every mismatch."""

from __future__ import annotations

import dataclasses
import functools
import os
import types
import typing
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Gt, Le, Lt

from framework.core.errors import Problem, nearest, suggestion

if TYPE_CHECKING:
    from pydantic import TypeAdapter

MISSING = "???"

Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Count = Annotated[int, Gt(0)]
Whole = Annotated[int, Ge(0)]
Seed = Annotated[int, Ge(0), Lt(2**32)]  # what NumPy takes
# layers one after the other: beyond this a network is built for hours and trains never
Depth = Annotated[int, Gt(0), Le(1000)]
Share = Annotated[float, Ge(0), Lt(1)]
PositiveShare = Annotated[float, Gt(0), Lt(1)]
Portion = Annotated[float, Gt(0), Le(1)]


@dataclasses.dataclass(frozen=True)
class _Path:
    """Marks a text that names a file or a folder, or it may be a name of something else."""

    or_name: bool = False


class _Endless:
    """Marks a number that may be infinite: ``Annotated[Positive, ENDLESS]``; no other may."""


ENDLESS = _Endless()
# ~ and $VAR are filled in, and what a run records of it is absolute
PathText = Annotated[str, _Path()]
# the same where there is such a path; else a name that the part knows what to do with
PathOrName = Annotated[str, _Path(or_name=True)]


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
    from pydantic import ValidationError

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
            given[key] = as_meant(value, types[key])
    for key in types:
        if key not in values:
            where = f"{path}.{key}" if path else str(key)
            problems.append(Problem(f"{where} is missing: {owner} needs it", path, f"{where}=<{describe(types[key])}>"))
    for key, value in list(given.items()):
        reader = _known_reader if _is_hashable(types[key]) else _reader
        try:
            # as read: a whole number given for a number becomes one
            given[key] = reader(types[key]).validate_python(value)
        except ValidationError:
            where = f"{path}.{key}" if path else key
            what = f"{where}={show(value)} is not {describe(types[key])}"
            problems.append(Problem(what, where, _example(value, types[key])))
            del given[key]
    return given, problems


def _reader(kind: Any) -> TypeAdapter[Any]:
    from pydantic import ConfigDict, TypeAdapter

    endless = ENDLESS in typing.get_args(kind)
    return TypeAdapter(kind, config=ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=endless))


# to make one takes a hundred times as long as to read a value with it, and a sweep asks for the same ones in each run
_known_reader = functools.lru_cache(maxsize=1024)(_reader)


def _is_hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:  # a type of a team's own may be marked with anything
        return False
    return True


def as_meant(value: Any, kind: Any) -> Any:
    """A value as its type means it: a number for a text, as YAML reads a class called 1, is that text, a path is whole.

    The same in lists, and for the keys of mappings. What fits no better is given back as it is.
    """
    choices = list(members(kind))
    if isinstance(value, bool) and value in choices and not any(choice is value for choice in choices):
        return str(value).lower()  # true is equal to a Literal's 1, and not what is meant by it
    if isinstance(value, list):
        inner = next((typing.get_args(choice)[0] for choice in choices if typing.get_origin(choice) is list), Any)
        return [as_meant(item, inner) for item in value]
    if isinstance(value, Mapping):
        named = any(typing.get_origin(choice) is dict and typing.get_args(choice)[0] is str for choice in choices)
        return {as_meant(key, str) if named else key: item for key, item in value.items()}
    if isinstance(value, int | float) and not isinstance(value, bool) and str in choices:
        return value if {int, float} & set(choices) else str(value)
    return whole_path(value) if isinstance(value, str) and is_path(kind) else value


def whole_path(text: str) -> str:
    """A path as a shell would read it: with the home folder for ``~``, and the values of variables that there are."""
    return os.path.expanduser(os.path.expandvars(text))


def members(kind: Any) -> Iterator[Any]:
    """The types that a union is made of, without their marks and limits, and the values of a ``Literal``."""
    origin = typing.get_origin(kind)
    if origin is Annotated:
        yield from members(typing.get_args(kind)[0])
    elif origin is typing.Literal:
        yield from typing.get_args(kind)
    elif origin in (typing.Union, types.UnionType):
        for member in typing.get_args(kind):
            yield from members(member)
    else:
        yield kind


def is_path(kind: Any) -> bool:
    """Whether a text of this type is a path."""
    return bool(_path_marks(kind))


def absolute(text: str, kind: Any) -> str:
    """A value of this type as it holds from anywhere: a path in full, seen from the current folder.

    An address (``https://…``), a choice (``imagenet``), a name and what is no path at all stay as they are.
    """
    marks = _path_marks(kind)
    if not marks or "://" in text or text in ("", MISSING, *members(kind)):
        return text
    path = os.path.abspath(whole_path(text))
    return path if os.path.exists(path) or not any(mark.or_name for mark in marks) else text


def _path_marks(kind: Any) -> list[_Path]:
    arguments = typing.get_args(kind) if typing.get_origin(kind) is not typing.Literal else ()
    return [mark for one in arguments for mark in ([one] if isinstance(one, _Path) else _path_marks(one))]


def fields(record: type) -> dict[str, Any]:
    """Name and type of each field of a dataclass, in order; a word of Python is a field with a ``_`` behind it."""
    return _fields(record)


@functools.cache  # which takes away the types of who calls it
def _fields(record: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(record, include_extras=True)
    return {field.name.removesuffix("_"): hints[field.name] for field in dataclasses.fields(record)}


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
    if origin is Annotated and isinstance(arguments[1], _Path):
        return "a path or a name" if arguments[1].or_name else "a path"
    if origin is Annotated:
        limits = []
        for limit in arguments[1:]:
            if isinstance(limit, Gt):
                limits.append(f"above {limit.gt:g}")  # type: ignore[str-format]
            elif isinstance(limit, Ge):
                limits.append(f"of at least {limit.ge:g}")  # type: ignore[str-format]
            elif isinstance(limit, Le):
                limits.append(f"at most {limit.le:g}")  # type: ignore[str-format]
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
    inner = [one for choice in members(kind) for one in (choice, *typing.get_args(choice))]
    values = [value, *value] if isinstance(value, list | dict) else [value]
    if str in inner and any(isinstance(one, bool) for one in values):
        return "quotes: YAML reads yes, no, on and off without them as true and false, and 'yes', \"yes\" as texts"
    return describe(kind)


def _choices(kind: Any) -> list[str]:
    if typing.get_origin(kind) is typing.Literal:
        return [str(choice) for choice in typing.get_args(kind)]
    return [choice for argument in typing.get_args(kind) for choice in _choices(argument)]

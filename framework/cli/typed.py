"""What was typed, made fit for Hydra's grammar: the shell takes quotes away, and a text may hold whatever it likes.

Where the type of a key is a text, a value that Hydra's grammar refuses, or reads as something that the key can't be, is
taken as it stands. Commas make a sweep there as everywhere; where a value could be one text with a comma in it as well,
nothing is guessed, and ``either`` says how to write each.
"""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args, get_origin

from framework.config.folders import conf_folder
from framework.config.hydra_private import is_quoted
from framework.config.kinds import OF_HYDRA, kinds
from framework.core import schema
from framework.core.console import in_bash
from framework.core.errors import Problem

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

_ASSIGNMENT = re.compile(r"\+{0,2}([\w.]+)=(.*)", re.DOTALL)
# what is between braces or brackets, as the format of a number in a template, holds no comma of a sweep
_INSIDE = re.compile(r"\{[^{}]*\}|\[[^][]*\]")


def fit_for_hydra(argument: str) -> str:
    """An override of a text as Hydra reads it, in quotes where that is needed; any other argument as it is."""
    found = _assignment(argument)
    if found is None:
        return argument
    key, text, start = found[1], found[2], argument[: found.start(2)]
    types = _types(key)
    override = hydra_reads(argument)
    if override is None:
        values = _of_refused(text, types)
    elif override.is_sweep_override():
        values = []
    else:
        values = _of_misread(text, override, types)
    if schema.is_path(OF_HYDRA.get(key)) and isinstance(values, list):
        # Hydra makes these folders itself
        own = values or ([str(override.value())] if override and not override.is_sweep_override() else [])
        whole = [schema.whole_path(value) for value in own]
        values = whole if whole != own else values
    if isinstance(values, tuple):
        return f"{start}[{','.join(map(quoted, values))}]"
    return start + ",".join(map(quoted, values)) if values else argument


@functools.lru_cache(maxsize=1000)
def hydra_reads(argument: str) -> Override | None:
    """The override that Hydra's grammar makes of an argument; None where it refuses it."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(argument)
    except (HydraException, ValueError, RecursionError):  # a number of thousands of digits; thousands of brackets
        return None


def either(argument: str) -> Problem | None:
    """The question what is meant by commas in a text's value; None where the value can't be one text."""
    found = _assignment(argument)
    if found is None or not _commas(found[2]):
        return None
    override, types = hydra_reads(argument), _types(found[1])
    if str not in types and (types or override is not None):
        return None
    if override is not None and (not getattr(override.value(), "simple_form", False) or re.search("['\"]", found[2])):
        # written as a sweep and nothing else
        return None
    start = argument[: found.start(2)]
    one = in_bash(start + quoted(found[2]))
    each = in_bash(start + ",".join(map(quoted, _split(found[2]))))
    right = f"{one} for one text with a comma in it; -m {each} to try each"
    return Problem(f"'{argument}' can be one text, or several to try", f"command line: {argument}", right)


def in_full(argument: str) -> str:
    """An override as it holds in any folder: a path that it gives is absolute, seen from the current one."""
    found, override = _assignment(argument), hydra_reads(argument)
    if found is None or override is None or override.is_sweep_override():
        return argument
    value = override.value()
    if not isinstance(value, str) or "${" in value:
        return argument
    full = next((path for kind in kinds(found[1]) if (path := schema.absolute(value, kind)) != value), value)
    return argument if full == value else f"{argument[: found.start(2)]}{quoted(full)}"


def _assignment(argument: str) -> re.Match[str] | None:
    """Key and value of an override of a value; None for any other argument, as the choice of a group's option."""
    found = _ASSIGNMENT.fullmatch(argument)
    if found is None or found[1] == "recipe" or (conf_folder() / found[1].replace(".", "/")).is_dir():
        return None
    return found


def _types(key: str) -> list[Any]:
    """What a key may be, alternatives one by one."""
    return [member for kind in kinds(key) for member in schema.members(kind)]


def _of_refused(text: str, types: Sequence[Any]) -> list[str] | tuple[str, ...]:
    """What a value means that Hydra refuses: one text, several to try, a tuple for a list; empty if that is unclear."""
    if _list_of_texts(types) and re.fullmatch(r"\[[^][]*\]", text):
        return _items(text)
    if types and str not in types and not _list_of_texts(types):
        return []
    if not _commas(text):
        return [text]
    # of a sweep over paths, Hydra may mind nothing but the home folder's sign
    return _split(text) if hydra_reads(f"key={text.replace('~', '_')}") else []


def _of_misread(text: str, override: Override, types: Sequence[Any]) -> list[str] | tuple[str, ...]:
    """What a value means that Hydra reads as what the key can't be; empty if it reads it well."""
    value = override.value()
    if value is None or is_quoted(override):
        return []
    if isinstance(value, str):
        # blanks around a text, or nothing but blanks
        return [text] if str in types and value == text.strip() != text else []
    if str in types and not any(isinstance(value, get_origin(kind) or kind) for kind in types if _is_type(kind)):
        return [text]
    unlike = isinstance(value, list) and not all(isinstance(item, str) for item in value)
    return _items(text) if unlike and _list_of_texts(types) and not re.search(r"['\"\[{]", text[1:]) else []


def _is_type(kind: Any) -> bool:
    return isinstance(get_origin(kind) or kind, type)


def _list_of_texts(types: Sequence[Any]) -> bool:
    return any(get_origin(kind) is list and str in schema.members(get_args(kind)[0]) for kind in types)


def _items(text: str) -> tuple[str, ...]:
    return tuple(next(csv.reader([text[1:-1]], skipinitialspace=True), []))


def _commas(text: str) -> bool:
    """Whether commas part a text into several."""
    return "," in _INSIDE.sub("", text) and all(part.strip() for part in _split(text))


def _split(text: str) -> list[str]:
    """The parts between commas that are not inside of braces or brackets."""
    hidden = _INSIDE.sub(lambda found: "\0" * len(found[0]), text)
    ends = [place for place, character in enumerate(hidden) if character == ","]
    return [text[start:end] for start, end in zip([0, *(end + 1 for end in ends)], [*ends, len(text)], strict=True)]


def quoted(text: str) -> str:
    """A text as a value that Hydra reads as it stands."""
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(text, Quote.single).with_quotes()

"""Options of the commands that are not a training: ``key=value`` words held against a dataclass.

A command declares a dataclass whose fields are its options, each with its line in the help::

    @dataclass(frozen=True)
    class Options:
        inputs: Annotated[list[str], Words("FILE ..."), "images"]
        run: Annotated[str, "run folder, or latest"] = "latest"
        top: Annotated[Count, "classes to show"] = 1

and hands it to ``run_with_options``, which reads the command line, answers ``--help``, and turns errors into messages. A field
without a default must be given. One whose type is itself a dataclass holds dotted keys: ``data.dir=PHOTOS``.
"""

from __future__ import annotations

import csv
import dataclasses
import re
import textwrap
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from framework.cli.command import run_command
from framework.core import schema
from framework.core.errors import BadInput, Problem, suggestion

Record = TypeVar("Record")
WIDTH = 110
KEY_WIDTH = 30


@dataclasses.dataclass(frozen=True)
class Words:
    """Marks the field that takes every argument that is no ``key=value``; help calls them ``shown``."""

    shown: str


def run_with_options(
    usage: str, record: type[Record], work: Callable[[Record], int], arguments: Sequence[str] | None = None
) -> int:
    """Do a command: read its options, answer ``--help`` and ``--version``, report errors.

    Args:
        usage: the help's own part; it begins with ``python -m framework.NAME``.
        record: dataclass of options.
        work: takes the options, returns the exit code.
        arguments: in place of ``sys.argv``.
    """

    name = re.match(r"\s*python -m framework\.(\w+)", usage)

    def run(given: list[str]) -> int:
        return work(read_options(record, given, name[1] if name else ""))

    return run_command(lambda: help_text(usage, record), arguments, run)


def read_options(record: type[Record], arguments: Sequence[str], command: str = "") -> Record:
    """The options that the arguments set.

    An argument is an option where a known or plain dotted name stands before its first ``=``; ``command.key`` is the
    same as ``key``. A word that looks like one, a file called ``a=b.jpg``, is given as ``./a=b.jpg``.

    Raises:
        BadInput: with every problem: unknown, repeated, missing or unfit options, each with what would be right.
    """
    known, taker = _fields(record), _words(record)
    given: dict[str, str] = {}
    loose: list[str] = []
    problems: list[Problem] = []
    right = "key=value; --help shows the keys"
    for argument in arguments:
        key, equals, text = argument.partition("=")
        key = key.removeprefix(f"{command}.") if command else key
        if argument.startswith("-") and argument != "-":
            problems.append(Problem(f"there is no flag '{argument}'", _where(argument), right))
        elif equals and all(part.isidentifier() for part in key.split(".")):
            if key in given:
                problems.append(Problem(f"{key} is given twice", _where(argument), "once"))
            given[key] = text
        elif not taker:
            problems.append(Problem(f"'{argument}' is not an option", _where(argument), right))
        else:
            loose.append(argument)
    values = {name: found.default for name, found in known.items()}
    for key, text in given.items():
        values[key] = _value(text, known[key].kind) if key in known else text
    fit, wrong = schema.check(values, {name: found.kind for name, found in known.items()}, "", "this command")
    problems += [_located(problem, given, known) for problem in wrong]
    if problems:
        raise BadInput(problems)
    return _build(record, fit, loose, "")


def known_options(record: type) -> dict[str, Any]:
    """The options of a command, dotted name to type."""
    return {name: found.kind for name, found in _fields(record).items()}


def help_text(usage: str, record: type) -> str:
    """The command's own text, then every option with its default and its line."""
    lines = [usage.strip(), "", "Options:"]
    for says, words in _words(record):
        lines += _entry(words.shown, says)
    for name, found in _fields(record).items():
        value = f"<{schema.describe(found.kind)}>" if found.default == schema.MISSING else schema.show(found.default)
        lines += _entry(f"{name}={value}", found.says)
    return "\n".join([*lines, *_entry("--help", "this text")])


@dataclasses.dataclass(frozen=True)
class _Field:
    """One option: its type, default and line in the help."""

    kind: Any
    default: Any
    says: str


def _fields(record: type, prefix: str = "") -> dict[str, _Field]:
    """Options by dotted name, in order."""
    found: dict[str, _Field] = {}
    for name, kind, default in _typed(record):
        if dataclasses.is_dataclass(kind):
            found |= _fields(typing.cast(type, kind), f"{prefix}{name}.")
        elif not _marks(kind, Words):
            found[f"{prefix}{name}"] = _Field(kind, default, " ".join(_marks(kind, str)))
    return found


def _words(record: type) -> list[tuple[str, Words]]:
    """Line in the help and mark of the field that takes words; empty if there is none."""
    return [(" ".join(_marks(kind, str)), mark) for _, kind, _ in _typed(record) for mark in _marks(kind, Words)]


def _typed(record: type) -> Iterator[tuple[str, Any, Any]]:
    """Name, type and default of each field."""
    kinds = schema.fields(record)
    for field in dataclasses.fields(record):
        made = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
        yield field.name, kinds[field.name], schema.MISSING if made is dataclasses.MISSING else made


def _marks(kind: Any, of: type) -> list[Any]:
    """What of this type a field's annotation carries."""
    return [mark for mark in getattr(kind, "__metadata__", ()) if isinstance(mark, of)]


def _build(record: type, values: Mapping[str, Any], loose: list[str], prefix: str) -> Any:
    made: dict[str, Any] = {}
    for name, kind, _ in _typed(record):
        if dataclasses.is_dataclass(kind):
            made[name] = _build(typing.cast(type, kind), values, loose, f"{prefix}{name}.")
        else:
            made[name] = loose if _marks(kind, Words) else values[f"{prefix}{name}"]
    return record(**made)


def _value(text: str, kind: Any) -> Any:
    """A text as the value of this type that it spells, or the text itself where it spells none."""
    choices = list(schema.members(kind))
    plain = [choice for choice in choices if isinstance(choice, type)]
    literals = {schema.show(choice): choice for choice in choices if isinstance(choice, str | int | bool)}
    if text == "null" and type(None) in plain:
        return None
    if text in literals:
        return literals[text]
    if bool in plain and text in ("true", "false"):
        return text == "true"
    for number in (int, float):
        if number in plain:
            try:
                return number(text)
            except ValueError:
                continue
    inner = [typing.get_args(choice)[0] for choice in choices if typing.get_origin(choice) is list]
    if inner and (text.startswith("[") or str not in plain):
        items = text[1:-1] if text.startswith("[") and text.endswith("]") else text
        try:
            return [_value(item, inner[0]) for item in next(csv.reader([items], skipinitialspace=True), [])]
        except csv.Error:  # a line's end outside quotes
            return text
    return text


def _where(argument: str) -> str:
    return f"command line: {argument}"


def _located(problem: Problem, given: Mapping[str, str], known: Mapping[str, _Field]) -> Problem:
    """The problem with the argument that caused it for its place."""
    key = problem.where
    if key not in given:
        return dataclasses.replace(problem, where="command line")
    if key not in known:
        return Problem(f"there is no option '{key}'", _where(f"{key}={given[key]}"), suggestion(key, known))
    return dataclasses.replace(problem, where=_where(f"{key}={given[key]}"))


def _entry(key: str, says: str) -> list[str]:
    first = f"  {key:<{KEY_WIDTH}} "
    later = " " * (KEY_WIDTH + 3)
    if len(key) > KEY_WIDTH:
        return [f"  {key}", *textwrap.wrap(says, WIDTH, initial_indent=later, subsequent_indent=later)]
    return textwrap.wrap(f"{first}{says}", WIDTH, subsequent_indent=later, drop_whitespace=True)

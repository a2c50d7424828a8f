"""YAML that somebody else may have written is data: it names no code, no variable of the environment, nothing of Hydra's own.

Hydra and OmegaConf would run what ``_target_`` names in Hydra's node, and fill in what ``${oc.env:NAME}`` asks for; a
path's ``$NAME`` is filled in by the schema. All of that belongs to who types a command line, and to ``conf/``. A recipe
may say where runs go and repeat the value of a key; a run's own config is resolved, and says neither.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from framework.config.documents import Document
from framework.core.errors import BadInput, Problem
from framework.core.names import short

# the value of another key, or the time
_OF_A_KEY = re.compile(r"\$\{(?:[\w.\[\]-]+|now:[^${}]*)\}")
# of Hydra's node what a recipe may say: no more than where runs and sweeps go
_OF_HYDRA = ("run", "sweep")
_RESERVED = re.compile(r"[+~]*(hydra\b|recipes=|from=|resume=)")
_LENGTH = 60


def config_of_run(config: dict[str, Any], file: Path) -> dict[str, Any]:
    """The config that a run left, given back.

    Raises:
        BadInput: it holds what no run writes: an interpolation, a variable, a node of Hydra's.
    """
    problems = [
        Problem(f"{name} is {what}, which no run writes", str(file), "the config as the run left it")
        for name, what in [*_reserved(config), *_more(config, repeats=False)]
    ]
    if problems:
        raise BadInput(problems)
    return config


def overrides_of_run(overrides: object, file: Path) -> list[str]:
    """The overrides that a run was begun with, without where it went.

    Raises:
        BadInput: they are no list of texts, or one is none that a run records.
    """
    if not isinstance(overrides, list) or not all(isinstance(one, str) for one in overrides):
        raise BadInput(Problem(f"{file} names no overrides that the run was begun with", str(file)))
    kept = [one for one in overrides if not one.startswith("hydra.")]
    wrong = [one for one in kept if _RESERVED.match(one)] or [text for text, _ in _more(kept, repeats=True)]
    if wrong:
        what = f"{file} names the override {short(wrong[0], _LENGTH)}, which no run records"
        raise BadInput(Problem(what, str(file), "from=RUN_FOLDER, or a command line of your own"))
    return kept


def faults(document: Document) -> Iterator[Problem]:
    """A problem for each value of a recipe or of an option of its own that is more than data."""
    hydra = document.content.get("hydra")
    for key in sorted(set(hydra) - set(_OF_HYDRA)) if isinstance(hydra, Mapping) else ():
        what = f"hydra.{key} is set: a recipe says of Hydra only where runs and sweeps go"
        yield Problem(what, document.place("hydra"), "it on the command line")
    for path, what in _more(document.content, repeats=True):
        yield Problem(
            f"{path} is {what}: a recipe is data", document.place(path), "the value, or ${KEY} for another key's"
        )


def _reserved(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from ((name, "a key of Hydra's") for name in ("hydra", "defaults") if name in config)


def _more(value: Any, repeats: bool, path: str = "") -> Iterator[tuple[str, str]]:
    """The path of each value that is more than data, in a list of texts the text, and what it is.

    Args:
        value: a mapping, a list, or a value; not deeper than a document may be.
        repeats: whether it may repeat the value of another key.
        path: of it.
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            name = f"{path}.{key}" if path else str(key)
            if str(key) in ("_target_", "()"):
                yield short(name, _LENGTH), "the name of code"
            elif str(key) == "defaults":
                yield from _more_in_defaults(inner, name)
            yield from _more(inner, repeats, name)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for inner in value:
            yield from _more(inner, repeats, path or (short(inner, _LENGTH) if isinstance(inner, str) else ""))
    elif isinstance(value, str) and "$" in value:
        rest = _OF_A_KEY.sub("", value) if repeats else value
        if "${" in rest:
            yield path, f"an interpolation ({short(value, _LENGTH)})"
        elif not repeats and os.path.expandvars(value) != value:
            yield path, f"a variable of the environment ({short(value, _LENGTH)})"


def _more_in_defaults(entries: Any, path: str) -> Iterator[tuple[str, str]]:
    """Entries that lay an option over Hydra's node."""
    for entry in entries if isinstance(entries, list) else ():
        name = next(iter(entry), "") if isinstance(entry, Mapping) else entry
        if "hydra" in str(name).partition("@")[2]:
            yield path, f"an option for Hydra's node ({short(name, _LENGTH)})"

"""Every option that a user can set in ``conf/``, and which of them a test of its effect stands for.

The list is read from ``conf/`` itself. Counted is, once each,

- a choice: every option file of a group, ``optim=lion``, ``optim/schedule=cosine``;
- a key of the framework's own, however many files have it: ``trainer.epochs``, ``model.weights``, ``optim.lr``;
- a key that goes to a part, once for each part that takes it, however many files name that part:
  ``optim.adam.beta_1``, ``head.dense.hidden``, ``augment.geometric.flip``.

A stage's keys are those of ``stage``, whichever stage is given them. ``name`` is no key of its own: it is what the
choice chooses. A test says with ``effect`` or ``effects`` what it changes and sees the effect of, wherever in ``tests/``
it stands.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

from framework.config.checks import SINGLE
from framework.config.documents import read_option
from framework.config.folders import conf_folder, groups
from framework.config.settings import PartSettings
from framework.core import schema
from framework.reports.entries import flat

TESTS = Path(__file__).parents[1]
Test = TypeVar("Test", bound=Callable[..., Any])
_declared: dict[str, list[str]] = {}


def effect(*options: str) -> Callable[[Test], Test]:
    """Decorator of a test that sees the effect of these options."""

    def declare(test: Test) -> Test:
        for option in options:
            _declared.setdefault(option, []).append(f"{test.__module__}.{test.__qualname__}")
        return test

    return declare


def effects(names: str, cases: Mapping[str, Any]) -> Callable[[Test], Test]:
    """Decorator of a test that runs once for each of these options, with arguments of these names."""

    def declare(test: Test) -> Test:
        return pytest.mark.parametrize(names, list(cases.values()), ids=list(cases))(effect(*cases)(test))

    return declare


def declared() -> dict[str, list[str]]:
    """Options that tests say they see the effect of, each with these tests."""
    for file in sorted(TESTS.rglob("test_*.py")):
        if "tests.options.counted import" in file.read_text(encoding="utf-8"):
            importlib.import_module(".".join(["tests", *file.relative_to(TESTS).with_suffix("").parts]))
    return _declared


def existing() -> list[str]:
    """Every option there is, once, in the order of ``conf/``."""
    whole = _read("train.yaml")
    found = [*flat({key: value for key, value in whole.items() if key != "defaults"}), "recipe"]
    for group, names in groups().items():
        own = set(schema.fields(SINGLE.get(group, ("", PartSettings))[1]))
        for name in names:
            found.append(f"{group}={name}")
            found += _keys(group.replace("/", "."), content(group, name), own)
    return list(dict.fromkeys(found))


def content(group: str, option: str) -> dict[str, Any]:
    """What an option sets in its group."""
    return read_option(conf_folder() / group / f"{option}.yaml").content


def _read(file: str) -> dict[str, Any]:
    return yaml.safe_load((conf_folder() / file).read_text(encoding="utf-8"))


def _keys(group: str, node: Mapping[str, Any], own: set[str]) -> Iterator[str]:
    """Keys of an option: of one part, of parts or stages by name, or of the framework's own."""
    if "name" in node:
        for key in node:
            if key != "name":
                yield f"{group}.{key}" if key in own else f"{group}.{node['name']}.{key}"
        return
    for name, value in node.items():
        if group == "stages":
            yield from flat(value, "stage.")
        elif isinstance(value, Mapping):
            yield from _keys(group, value, own)
        else:
            yield f"{group}.{name}"

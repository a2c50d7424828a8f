"""The table of facts: an entry for every base, computed numbers that are those of the networks, none made up."""

from __future__ import annotations

import pytest

from benchmarks.bases import computed
from framework.core import registry
from framework.parts import bases
from framework.parts.facts import Facts, facts, known


def test_every_base_has_an_entry_and_every_entry_a_base():
    """But for those of Keras Hub, of which a base has many sizes."""
    own = {part.name for part in registry.parts("base") if part.function.__module__ == bases.__name__}
    assert own == set(known())


def test_what_is_known_makes_sense():
    for name, found in known().items():
        if name == "cnn":
            assert (found.top1, found.year) == (None, None)
            continue
        outline = registry.get("base", name).details["outline"]
        if found.top1 is not None:
            assert 0.6 < found.top1 < 0.9, name
        if found.year is not None:
            assert str(found.year) in registry.get("base", name).summary, name
        if outline is not None and (numbers := _numbers(outline)):
            assert numbers == found.parameters, name
    assert facts("none such") == Facts()


def _numbers(outline):
    try:
        return outline({}).numbers
    except KeyError:  # it depends on parameters
        return None


@pytest.mark.parametrize("option", ["cnn", "mobilenet", "mobilenetv3small"])
def test_computed_facts_are_those_of_the_network(option):
    found = facts(option)
    assert computed(option) == (found.parameters, found.gflops)

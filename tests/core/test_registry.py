"""Registering parts: the signature is the schema, duplicates and unusable signatures are refused."""

import pytest

from framework.core import registry
from framework.core.errors import BadInput


@pytest.fixture(autouse=True)
def isolated():
    with registry.isolated():
        yield


def test_a_part_knows_its_types_place_and_sentence():
    @registry.pooling("middle")
    def middle(feature_maps, *, share: float, rounds: int | None):
        """Takes the middle.

        More.
        """

    part = registry.get("pooling", "middle")
    assert part.parameters == {"share": float, "rounds": int | None}
    assert part.summary == "Takes the middle."
    assert part.location[0] == __file__


def test_a_second_part_of_the_name_is_refused_naming_both_places():
    def first(feature_maps): ...
    def second(feature_maps): ...

    registry.pooling("middle")(first)
    registry.pooling("middle")(first)
    with pytest.raises(BadInput, match="registered twice") as error:
        registry.pooling("middle")(second)
    assert f"{__file__}:{first.__code__.co_firstlineno}" in str(error.value)
    assert f"{__file__}:{second.__code__.co_firstlineno}" in str(error.value)


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (lambda maps, **options: maps, "takes \\*options"),
        (lambda *maps: maps, "takes \\*maps"),
        (lambda maps, *, share: maps, "share has no type"),
    ],
)
def test_a_signature_that_is_no_schema_is_refused(function, what):
    with pytest.raises(BadInput, match=what):
        registry.pooling("bad")(function)


def test_a_default_in_code_is_refused():
    def hidden(maps, *, share: float = 0.5): ...

    with pytest.raises(BadInput, match="give the default in YAML"):
        registry.pooling("hidden")(hidden)


def test_an_unknown_name_lists_what_there_is():
    registry.pooling("middle")(lambda maps: maps)
    registry.pooling("corner")(lambda maps: maps)
    for part in registry.parts("pooling"):
        if part.name not in ("middle", "corner"):
            registry._parts.pop(("pooling", part.name))
    with pytest.raises(BadInput, match="there is no pooling 'midle'") as error:
        registry.get("pooling", "midle")
    assert error.value.problems[0].right == "middle (one of: corner, middle)"


def test_isolation_forgets():
    with registry.isolated():
        registry.pooling("passing")(lambda maps: maps)
        assert "passing" in registry.names("pooling")
    assert "passing" not in registry.names("pooling")

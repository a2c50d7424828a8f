"""Values against declared types: every mismatch in words, with the nearest right one."""

from typing import Annotated, Literal

import pytest
from annotated_types import Gt

from framework.core import schema


@pytest.mark.parametrize(
    ("value", "kind", "what"),
    [
        ("x", float, "node.key=x is not a number"),
        (True, float, "node.key=true is not a number"),
        (0, schema.Positive, "node.key=0 is not a number above 0"),
        (1.0, schema.Share, "node.key=1.0 is not a number of at least 0 and below 1"),
        (2.5, int, "node.key=2.5 is not a whole number"),
        (None, schema.Count, "node.key=null is not a whole number above 0"),
        ("a", int | None, "node.key=a is not a whole number or null"),
        ([1, "a"], list[int], "node.key=[1,a] is not a list, each a whole number"),
        ("avgg", Literal["avg", "max"], "node.key=avgg is not one of avg, max"),
        ({"a": 1}, str, "node.key={a:1} is not a text"),
        (float("nan"), schema.Positive, "node.key=nan is not a number above 0"),
        (float("inf"), schema.Positive, "node.key=inf is not a number above 0"),
        (float("inf"), float | None, "node.key=inf is not a number or null"),
        (float("nan"), Annotated[float, schema.ENDLESS, Gt(0)], "node.key=nan is not a number above 0"),
    ],
)
def test_an_unfit_value_is_named_with_what_would_fit(value, kind, what):
    given, problems = schema.check({"key": value}, {"key": kind}, "node", "pooling 'avg'")
    assert given == {}
    assert [problem.what for problem in problems] == [what]
    assert problems[0].where == "node.key"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1, float),
        (0.0, schema.Share),
        (None, int | None),
        ("avg", Literal["avg", "max"]),
        ([1, 2], list[int]),
        ({}, dict[str, int]),
        (float("inf"), Annotated[schema.NonNegative, schema.ENDLESS]),
    ],
)
def test_a_fit_value_passes_unchanged(value, kind):
    assert schema.check({"key": value}, {"key": kind}, "node", "x") == ({"key": value}, [])


def test_a_type_may_be_marked_with_anything():
    kind = Annotated[int, {"unit": "pixels"}]
    assert schema.check({"key": 1}, {"key": kind}, "node", "x") == ({"key": 1}, [])
    assert schema.check({"key": "a"}, {"key": kind}, "node", "x")[1]


def test_unknown_missing_and_not_given_keys_are_all_told_at_once():
    types = {"alpha": float, "depth": int, "dir": str}
    given, problems = schema.check({"alfa": 1.0, "dir": "???"}, types, "model", "base 'mobilenet'")
    assert given == {}
    assert [(problem.what, problem.right) for problem in problems] == [
        ("model.alfa: base 'mobilenet' has no parameter 'alfa'", "alpha (one of: alpha, depth)"),
        ("model.dir must be given", "model.dir=<a text>"),
        ("model.alpha is missing: base 'mobilenet' needs it", "model.alpha=<a number>"),
        ("model.depth is missing: base 'mobilenet' needs it", "model.depth=<a whole number>"),
    ]

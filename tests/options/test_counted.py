"""Every option in ``conf/`` has a test that sees its effect."""

from __future__ import annotations

from tests.options.counted import declared, existing


def test_every_option_has_a_test_of_its_effect(record_property):
    options, tests = existing(), declared()
    without = [option for option in options if option not in tests]
    seen = len(options) - len(without)
    record_property("summary", f"{len(options)} options, {seen} with a test of their effect, {len(without)} without")
    assert without == []
    assert [option for option in tests if option not in options] == []

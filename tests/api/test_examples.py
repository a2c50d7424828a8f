"""Every public name has an example in its docstring, and each is run as it stands, one after the other."""

from __future__ import annotations

import doctest
import inspect

import pytest

import framework

# in this order: some look at the run that others leave
ORDER = ["Error", "compose", "build", "fit", "load", "Run", "Prediction", "Explanation", "Comparison", "sweep"]
METHODS = ["predict", "evaluate", "explain", "dataset", "export"]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.slow
def test_the_examples_do_what_they_say(here, monkeypatch):
    assert set(ORDER) == set(framework.__all__)
    monkeypatch.setenv("COLUMNS", "100")
    objects = {name: getattr(framework, name) for name in ORDER}
    objects |= {f"Run.{name}": getattr(framework.Run, name) for name in METHODS}
    order = [*ORDER[:8], *(f"Run.{name}" for name in METHODS), *ORDER[8:]]
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    for name in order:
        text = inspect.getdoc(objects[name]) or ""
        test = doctest.DocTestParser().get_doctest(text, {}, name, None, 0)
        assert test.examples, f"{name} has no example"
        runner.run(test, out=said.append)
    assert not runner.failures, "".join(said)

"""Inside a notebook: seen by its kernel, and a bar that is drawn in place and leaves nothing."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from framework.core import console, notebook


@pytest.fixture
def page(monkeypatch):
    """What a kernel is told to show, one thing after the other."""
    shown = []

    def display(data, raw, display_id):
        shown.append(data)
        return SimpleNamespace(update=lambda data, raw: shown.append(data))

    ipython, place = ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=object())
    place.display = display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", place)
    return shown


def test_a_terminal_is_no_notebook(page, monkeypatch):
    assert notebook.in_notebook()
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: SimpleNamespace())
    assert not notebook.in_notebook()
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: None)
    assert not notebook.in_notebook()
    monkeypatch.delitem(sys.modules, "IPython")
    assert not notebook.in_notebook()


def test_a_bar_is_drawn_in_place_and_leaves_nothing(page, monkeypatch):
    now = iter(range(100))
    monkeypatch.setattr(notebook.time, "monotonic", lambda: next(now))
    with console.progress("Reading <b>", 40, "images") as advance:
        advance(10)
        advance(10)
    first, second, last = page
    assert '<progress value="10" max="40"></progress>' in first["text/html"]
    assert "Reading &lt;b&gt;" in first["text/html"]
    assert "left" in second["text/plain"]
    assert last == {"text/plain": ""}


def test_what_is_done_at_once_draws_nothing(page):
    with console.progress("Reading", 3, "images") as advance:
        advance(3)
    assert page == []


def test_messages_go_where_no_fault_is_seen_in_them(page, capsys):
    console.say("a word")
    assert capsys.readouterr() == ("a word\n", "")

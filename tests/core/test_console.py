"""Messages: whole in a log, broken at words on a terminal, and a word now and then about long work."""

import io
import os
import pty
import subprocess

import pytest
from rich.cells import cell_len
from rich.console import Console

from framework.core import console

NUMBERS = [f"val_metric_{number} 0.{number}234" for number in range(9)]


def said(head, text, width, terminal=True):
    file = io.StringIO()
    console.say_under(head, text, Console(file=file, width=width, force_terminal=terminal, color_system=None))
    return file.getvalue().rstrip("\n").split("\n")


@pytest.mark.parametrize("width", [80, 120])
def test_a_long_message_is_broken_at_words_under_its_first(width):
    text = "dress, Übergangsjacke, ワンピース, " * 8
    lines = said("classes    ", text.strip(), width)
    assert len(lines) > 1
    assert all(cell_len(line) <= width for line in lines)
    assert all(line.startswith(" " * 11) and line[11] != " " for line in lines[1:])
    assert " ".join(line[11:].strip() for line in lines) == text.strip()


@pytest.mark.parametrize("width", [80, 120])
def test_a_name_stays_with_its_number(width):
    lines = said("epoch  1/10  ", NUMBERS, width)
    assert len(lines) > 1
    assert all(cell_len(line) <= width for line in lines)
    assert [piece for line in lines for piece in line[13:].split("  ") if piece] == NUMBERS


def test_a_path_is_not_broken():
    assert said("in         ", ["a b/" * 40], 80) == ["in         " + "a b/" * 40]


def test_a_log_has_one_line_for_a_message():
    assert said("epoch  1/10  ", NUMBERS, 80, terminal=False) == ["epoch  1/10  " + "  ".join(NUMBERS)]


def test_a_message_is_taken_as_it_is(capsys):
    console.say(":heart: [bold]a[/bold]")
    assert capsys.readouterr().err == ":heart: [bold]a[/bold]\n"


def test_long_work_says_a_word_now_and_then_in_a_log(capsys, monkeypatch):
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    with console.progress("Looking", 1200, "files") as advance:
        for _ in range(3):
            advance(400)
    assert capsys.readouterr().err == "Looking: 800 of 1,200 files\n"


def test_short_work_says_nothing_in_a_log(capsys):
    with console.progress("Looking", 3, "files") as advance:
        advance(3)
    with console.passing("loading …"):
        pass
    assert capsys.readouterr().err == ""


def test_what_lasts_goes_where_standard_error_went(monkeypatch, tmp_path):
    """A run in this very process has standard error redirected to its log meanwhile."""
    own, other = pty.openpty()
    kept = os.dup(2)
    monkeypatch.setattr("sys.stderr", open(2, "w", closefd=False))  # noqa: SIM115
    try:
        os.dup2(other, 2)
        lasting = console.lasting()
        log = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 2)
        assert lasting.is_terminal
        lasting.print("on the terminal")
    finally:
        os.dup2(kept, 2)
    assert os.read(own, 100).startswith(b"on the terminal")
    assert (tmp_path / "log").read_text() == ""


@pytest.mark.parametrize(
    "word",
    [
        "plain",
        "data.dir='my photos'",
        "a b",
        "it's $HOME",
        'say "yes"',
        "x='`!\\'",
        "",
        "head.hidden=[100,10]",
        "новый\nline",
    ],
)
def test_a_shown_line_comes_back_from_a_shell_as_it_was(word):
    line = console.in_bash("printf", "%s|", word, "end")
    assert subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout == f"{word}|end|"


def test_quotes_of_hydras_are_shown_in_double_ones():
    assert console.in_bash("python", "data.dir='my photos'") == "python \"data.dir='my photos'\""

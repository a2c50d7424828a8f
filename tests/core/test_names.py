"""Names that somebody else chose are shown as text, wherever they are shown."""

from __future__ import annotations

import contextlib
import io

import pytest

from benchmarks.hostile.names import HOSTILE, is_plain
from framework.core import names
from framework.core.console import say, warn
from framework.core.errors import BadInput, Problem, listing
from framework.core.terminal import PlainConsole


@pytest.mark.parametrize("name", HOSTILE)
def test_every_way_to_show_a_name_gives_a_short_line_of_text(name):
    assert is_plain(names.text(name))
    assert is_plain(names.short(name))
    assert len(names.short(name)) <= names.LONGEST
    assert is_plain(names.cell(name, 12))
    file = names.in_file_name(name)
    assert is_plain(file)
    assert 0 < len(file.encode()) <= 100
    assert "/" not in file
    assert not file.startswith(".")


def test_what_can_be_read_stays_as_it_is():
    for name in ("dress", "T-shirt (new), 100 %", "größe", "日本", "می‌خواهم", "$0_$9", "[red]", ":dress:", "<b>"):
        assert names.text(name) == name
    assert names.text("a\u00a0b") == "a b"
    assert names.text("a\x1b[31mb\nc\u202ed\udcff") == "a\\x1b[31mb\\nc\\u202ed\\udcff"
    assert names.lines("two\nlines\x07") == "two\nlines\\x07"


def test_a_long_name_keeps_both_of_its_ends():
    long = [f"n02085620-Chihuahua-of-the-mountains-{number:03d}" for number in (1, 2)]
    assert [names.short(name) for name in long] == ["n02085620-Chihua…ins-001", "n02085620-Chihua…ins-002"]


def test_a_cell_has_its_width_whatever_its_letters_take():
    from rich.cells import cell_len

    for name in HOSTILE:
        assert cell_len(names.cell(name, 12)) == 12
    assert names.width(("ab", "日本語", "x" * 99)) == 40
    assert names.width(("ab", "日本語")) == 6


def test_a_spreadsheet_works_nothing_out_and_numbers_stay_numbers():
    given = ["=1+1", "+cmd", "-cmd", "@sum", "\tx", "-1", "+0.5", "dress", "-1e3"]
    assert [names.in_csv(name) for name in given] == ["'=1+1", "'+cmd", "'-cmd", "'@sum", "'\tx", *given[5:]]
    assert [names.from_csv(names.in_csv(name)) for name in given] == given
    assert [names.path_in_csv(path) for path in ("=a.jpg", "/=a.jpg", "b.jpg")] == ["./=a.jpg", "/=a.jpg", "b.jpg"]


def test_messages_read_no_markup_no_emoji_and_hold_no_commands(capsys):
    for tell in (say, warn):
        tell("classes [red]x[/red] :dress: \x1b[31m\u202e\nnext")
        assert "classes [red]x[/red] :dress: \\x1b[31m\\u202e\nnext" in capsys.readouterr().err
    error = BadInput(Problem(f"no class {listing(HOSTILE)}", "a\x1b[2Jb"))
    from framework.core.reporting import report

    report(error.problems)
    said = capsys.readouterr().err
    assert is_plain(said.replace("\n", ""))


def test_results_are_plain_too():
    with contextlib.redirect_stdout(io.StringIO()) as out:
        PlainConsole(width=400).print("[bold]a[/bold] :hat: \x1b[0m")
    assert out.getvalue() == "[bold]a[/bold] :hat: \\x1b[0m\n"

"""The shared reader of ``key=value`` options: values by type, every mistake at once, and the help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import pytest

from framework.cli.options import Words, help_text, read_options, run_with_options
from framework.core.errors import BadInput
from framework.core.schema import Count, Share


@dataclass(frozen=True)
class DataOptions:
    dir: Annotated[str | None, "folder of images"] = None
    seed: Annotated[int, "seed"] = 1


@dataclass(frozen=True)
class Options:
    data: DataOptions
    inputs: Annotated[list[str], Words("FILE ..."), "images"]
    model: Annotated[str, "a file"]
    run: Annotated[str, "run folder, or latest"] = "latest"
    top: Annotated[Count, "classes to show"] = 1
    least: Annotated[Share | None, "least accuracy"] = None
    classes: Annotated[list[str] | None, "class names"] = None
    size: Annotated[Count | list[Count] | None, "side, or height and width"] = None
    format: Annotated[Literal["table", "csv"], "how to print"] = "table"
    loud: Annotated[bool, "say more"] = False


def read(*arguments: str) -> Options:
    return read_options(Options, ["model=m", *arguments], "predict")


def problems(*arguments: str) -> list[str]:
    with pytest.raises(BadInput) as error:
        read_options(Options, arguments, "predict")
    return [str(problem) for problem in error.value.problems]


def test_defaults_hold_where_nothing_is_given():
    options = read()
    assert (options.run, options.top, options.inputs, options.data.dir) == ("latest", 1, [], None)


@pytest.mark.parametrize(
    ("argument", "name", "value"),
    [
        ("top=3", "top", 3),
        ("least=0.8", "least", 0.8),
        ("least=null", "least", None),
        ("classes=[a, 'b',\"c,d\"]", "classes", ["a", "'b'", "c,d"]),
        ("classes=[]", "classes", []),
        ("classes=hat", "classes", ["hat"]),
        ("size=224", "size", 224),
        ("size=[96,128]", "size", [96, 128]),
        ("format=csv", "format", "csv"),
        ("loud=true", "loud", True),
        ("run=2026-11-22", "run", "2026-11-22"),
        ("run=a=b", "run", "a=b"),
        ("predict.top=2", "top", 2),
    ],
)
def test_a_text_becomes_the_value_of_its_type(argument, name, value):
    assert getattr(read(argument), name) == value


def test_dotted_keys_reach_the_nested_record():
    assert read("data.dir=/photos", "data.seed=7").data == DataOptions("/photos", 7)


def test_words_are_what_is_no_option():
    assert read("a.jpg", "-", "./x=y.jpg", "top=2").inputs == ["a.jpg", "-", "./x=y.jpg"]


def test_every_mistake_is_told_with_the_nearest_name():
    found = problems("tpo=3", "least=1.5", "format=cvs", "top=2", "top=3", "--fast")
    text = "\n".join(found)
    assert len(found) == 6
    assert "there is no option 'tpo'\n  set in: command line: tpo=3\n  try:    top (one of:" in text
    assert "least=1.5 is not a number of at least 0 and below 1 or null\n  set in: command line: least=1.5" in text
    assert "try:    csv (one of: table, csv)" in text
    assert "top is given twice" in text
    assert "there is no flag '--fast'" in text
    assert "model must be given\n  set in: command line\n  try:    model=<a text>" in text


def test_a_command_without_words_takes_options_only():
    with pytest.raises(BadInput, match=r"'photo\.jpg' is not an option"):
        read_options(DataOptions, ["photo.jpg"])


def test_the_help_shows_every_option_with_its_default():
    text = help_text("framework-predict\n\nPredicts.", Options)
    for expected in ("FILE ...", "run=latest", "model=<a text>", "data.dir=null", "format=table", "class names"):
        assert expected in text


def test_start_answers_help_and_turns_errors_into_exit_codes(capsys):
    usage = "framework-look\n\nLooks."
    assert run_with_options(usage, DataOptions, lambda options: options.seed, ["seed=5"]) == 5
    assert run_with_options(usage, DataOptions, lambda options: 9, ["--help"]) == 0
    assert "seed=1" in capsys.readouterr().out
    assert run_with_options(usage, DataOptions, lambda options: 9, ["sed=1"]) == 2
    assert "there is no option 'sed'" in capsys.readouterr().err

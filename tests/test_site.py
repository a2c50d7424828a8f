"""The documentation's site: what is made of the code is whole, all of it can be found, and its figures are small."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest

import framework
from docs import reference
from framework.cli import explain
from framework.config.folders import conf_folder, groups

CLONE = Path(framework.__file__).parents[1]
DOCS = CLONE / "docs"
NAV = re.findall(r'"([\w./-]+\.md)"', (CLONE / "zensical.toml").read_text(encoding="utf-8"))


@functools.cache
def generated():
    return reference.pages()


def test_every_key_of_conf_is_told_with_its_type_and_its_meaning():
    files = {"": [conf_folder() / "train.yaml"]}
    files |= {group: [conf_folder() / group / f"{one}.yaml" for one in options] for group, options in groups().items()}
    seen = 0
    for group, options in files.items():
        for file in options:
            for entry in explain.keys_of(file, group):
                seen += 1
                assert entry.takes, f"{file}: {entry.path}"
                assert entry.says, f"{file}: {entry.path} has no comment"
    assert seen > 500


def test_a_key_stands_with_default_type_and_comment():
    page = generated()["settings.md"]
    assert "| `sweep.fail_fast` | `false` | true or false | stop everything at the first run that fails |" in page
    page = generated()["options/model.md"]
    assert "## mobilenet\n\nMobileNet: depthwise" in page
    assert "| `model.alpha` | `1.0` | " in page
    assert "<https://arxiv.org/abs/1704.04861>" in page


def test_every_page_is_in_the_navigation():
    own = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    own = {page for page in own if not page.startswith("reference/")}
    assert sorted(NAV) == sorted(own | {f"reference/{name}" for name in generated()})


def test_every_public_name_and_every_command_has_its_place():
    python, commands = generated()["python.md"], generated()["commands.md"]
    assert [f"heading: framework.{name}" in python for name in framework.__all__] == [True] * len(framework.__all__)
    assert "python -m framework.evaluate run=latest" in commands
    assert "min_accuracy=null" in commands


def test_the_table_of_bases_is_that_of_show():
    table = reference.bases()
    assert "| [xception](reference/options/model.md#xception) | 79.0% | 20.9M | 3.87 | 150 | 71 | 2017 | 83 |" in table
    assert table.count("\n") == len(groups()["model"]) + 1


@pytest.mark.parametrize("figure", sorted((DOCS / "figures").iterdir()), ids=lambda path: path.name)
def test_a_figure_is_small_shown_and_names_no_machine(figure):
    data = figure.read_bytes()
    assert len(data) < 150_000
    assert b"/work" not in data
    pages = [CLONE / "README.md", *DOCS.rglob("*.md")]
    assert any(f"figures/{figure.name})" in page.read_text(encoding="utf-8") for page in pages)


def test_messages_of_troubleshooting_are_those_of_the_code():
    source = " ".join(path.read_text(encoding="utf-8") for path in (CLONE / "framework").rglob("*.py"))
    # what is filled in stands in braces there, in capitals here
    plain = re.sub(r"\{[^{}]*\}", "_", source).replace('" f"', "").replace("\\'", "'")
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    headings = re.findall(r"^### `(.+)`$", text, re.M)
    assert len(headings) > 20
    for heading in headings:
        for piece in re.split(r"[A-Z]{3,}|\b[NM]\b|…|'[A-Z]+'", heading):
            piece = piece.strip(" '")
            assert not piece or piece in plain, heading

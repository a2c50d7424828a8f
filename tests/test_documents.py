"""Every command in recipes/README.md and CONTRIBUTING.md runs, in order, in an empty folder with some photos."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import framework
from tests.conftest import make_pictures

CLONE = Path(framework.__file__).parents[1]
DOCUMENTS = ("recipes/README.md", "CONTRIBUTING.md")
QUICK = ["data.limit=12", "trainer.epochs=1", "model.filters=[4]", "data.image_size=16", "augment=none"]


def commands(document: str) -> list[str]:
    text = (CLONE / document).read_text(encoding="utf-8")
    return [line.strip() for line in re.findall(r"^ {4,}(python -m framework\S* ?.*)$", text, re.MULTILINE)]


def test_there_are_commands_in_both():
    assert [len(commands(document)) > 1 for document in DOCUMENTS] == [True, True]


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_of_a_document_runs(document, tmp_path):
    make_pictures(tmp_path / "PHOTOS" / "train", count=8)
    make_pictures(tmp_path / "PHOTOS" / "validation", count=4, seed=1)
    for line in commands(document):
        arguments = shlex.split(line)[1:]
        if "framework.train" in arguments:
            arguments += QUICK
        ended = subprocess.run([sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert ended.returncode == 0, f"{line}\n{ended.stdout}\n{ended.stderr}"


@pytest.mark.parametrize("document", [*DOCUMENTS, "recipes/attention/README.md", "recipes/shoes/README.md"])
def test_links_lead_somewhere(document):
    text = (CLONE / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (CLONE / document).parent.joinpath(target).exists(), target

"""Every command in the documents runs, in order, in an empty folder with some photos; set-up lines stand as CI runs them."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import framework
from tests.conftest import make_images

CLONE = Path(framework.__file__).parents[1]
DOCUMENTS = ("README.md", "recipes/README.md", "CONTRIBUTING.md")
QUICK = ["data.limit=12", "trainer.epochs=1", "augment=none"]
# What makes a line quick, and possible without a network, by the model that it names.
SMALL = {
    None: ["model.filters=[4]", "data.image_size=16"],
    "mobilenet": ["model.weights=null", "data.image_size=32"],
    "xception": ["data.image_size=71"],
}


def made_quick(arguments: list[str]) -> list[str]:
    if "framework.train" not in arguments and "model=mobilenet" not in arguments:
        return arguments
    model = next((argument.partition("=")[2] for argument in arguments if argument.startswith("model=")), None)
    return [*arguments, *QUICK, *SMALL[model]]


def commands(document: str) -> list[str]:
    text = (CLONE / document).read_text(encoding="utf-8")
    return [line.strip() for line in re.findall(r"^ {4,}(python -m framework\S* ?.*)$", text, re.MULTILINE)]


def test_there_are_commands_in_all():
    assert [len(commands(document)) > 1 for document in DOCUMENTS] == [True] * len(DOCUMENTS)


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_of_a_document_runs(document, tmp_path):
    make_images(tmp_path / "PHOTOS" / "train", count=8)
    make_images(tmp_path / "PHOTOS" / "validation", count=4, seed=1)
    for line in commands(document):
        arguments = made_quick(shlex.split(line)[1:])
        if "runs=[RUN,OTHER]" in arguments:
            for name, run in zip(("RUN", "OTHER"), sorted(tmp_path.glob("runs/*")), strict=False):
                (tmp_path / name).symlink_to(run)
        if "framework.serve" in arguments:
            serve(arguments, tmp_path)
            continue
        ended = subprocess.run([sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert ended.returncode == 0, f"{line}\n{ended.stdout}\n{ended.stderr}"


def serve(arguments: list[str], folder: Path) -> None:
    """The one command that does not end by itself."""
    command = [sys.executable, *arguments, "port=0"]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as server:
        assert any("is served at" in line for line in server.stderr)
        server.terminate()
        assert server.stderr.read().strip() == "stopped"
    assert server.returncode == 0


@pytest.mark.parametrize("document", [*DOCUMENTS, "recipes/attention/README.md", "recipes/shoes/README.md"])
def test_links_lead_somewhere(document):
    text = (CLONE / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (CLONE / document).parent.joinpath(target).exists(), target


def test_ci_calls_the_line_that_the_readme_gives():
    lines = [line.strip() for line in (CLONE / "README.md").read_text(encoding="utf-8").splitlines()]
    script = (CLONE / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    first, second = (line for line in lines if line.startswith("python3 -m venv"))
    assert first.endswith("-m framework.train")
    assert second.endswith("-m pytest")
    assert second in script

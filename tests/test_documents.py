"""Every command in the documents runs, in order, in an empty folder with some photos; set-up lines stand as CI runs them."""

import functools
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import framework
from docs import reference
from framework.__main__ import COMMANDS
from framework.core import keras_hub_private
from tests.conftest import bash, make_images

CLONE = Path(framework.__file__).parents[1]
# what a reader goes through from its beginning; the site's pages are one, in the order of a reader who starts with README
SITE = sorted(
    (str(path.relative_to(CLONE)) for path in (CLONE / "docs").rglob("*.md") if path.parts[-2] != "options"),
    key=lambda page: (not page.startswith("docs/tutorials"), page),
)
SITE = [page for page in SITE if not page.startswith("docs/reference/")]
DOCUMENTS = {
    "the site": ("README.md", *SITE),
    "recipes": ("recipes/README.md",),
    "CONTRIBUTING": ("CONTRIBUTING.md",),
}
QUICK = ["data.limit=12", "trainer.epochs=1", "augment=none"]
# What makes a line quick, and possible without a network, by the model that it names.
SMALL = {
    None: ["model.filters=[4]", "data.image_size=16"],
    "mobilenet": ["model.weights=null", "data.image_size=32"],
    "xception": ["data.image_size=71"],
    "vit_tiny": ["data.image_size=32", "model.num_layers=1"],
    "dinov2_small": ["model.weights=null", "data.image_size=28", "model.num_layers=2"],
}
# what a line says, by its key, and what is said in its place
CHEAPER = {
    "search.trials": "search.trials=2",
    "min_accuracy": "min_accuracy=0",
    "reject": "reject=0.2",
    "min_confidence": "min_confidence=0.01",
}

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(CLONE)}


def made_quick(arguments: list[str]) -> list[str]:
    if "framework.benchmark" in arguments:
        return [*arguments, "data.image_size=32", "trainer.epochs=1"]
    if "framework.auto" in arguments:
        return [*arguments, "model=cnn", *SMALL[None], "trainer.epochs=1"]
    if "framework.lr_find" in arguments:
        return [*arguments, *SMALL[None], "trainer.batch_size=2"]
    arguments = [CHEAPER.get(one.partition("=")[0], one) for one in arguments]
    if "framework.train" not in arguments and "model=mobilenet" not in arguments:
        return arguments
    if weights := next((one for one in arguments if one.startswith("model.weights=")), ""):
        arguments.remove(weights)  # a file that the reader has
    model = next((argument.partition("=")[2] for argument in arguments if argument.startswith("model=")), None)
    return [*arguments, *QUICK, *SMALL[model]]


@functools.cache
def generated() -> dict[str, str]:
    return reference.pages()


def text_of(document: str) -> str:
    return (CLONE / document).read_text(encoding="utf-8")


def commands(documents: Sequence[str]) -> list[str]:
    """Every line once, in the order in which they are read."""
    found = [re.findall(r"^ {4,}(python -m framework\S* ?.*)$", text_of(one), re.MULTILINE) for one in documents]
    return list(dict.fromkeys(line.strip() for lines in found for line in lines))


def test_there_are_commands_in_all():
    assert [len(commands(documents)) > 1 for documents in DOCUMENTS.values()] == [True] * len(DOCUMENTS)
    pages = [page for page in SITE if page.startswith("docs/how-to/")]
    named = {Path(page).stem for page in pages}
    assert {*COMMANDS, "data", "weights", "python", "sweep"} - {"complete"} <= named  # a page for each command


def words_of(line: str) -> list[str]:
    """What follows ``python`` once bash has read the line."""
    read = ["bash", "-c", f"python() {{ printf '%s\\0' \"$@\"; }}; {line}"]
    return subprocess.run(read, capture_output=True, text=True, check=True).stdout.split("\0")[:-1]


@pytest.mark.slow
@pytest.mark.parametrize("documents", DOCUMENTS)
def test_every_command_of_the_documents_runs(documents, tmp_path):
    make_images(tmp_path / "PHOTOS" / "train", count=8)
    make_images(tmp_path / "PHOTOS" / "validation", count=4, seed=1)
    shutil.make_archive(tmp_path / "PHOTOS", "zip", tmp_path / "PHOTOS")
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.jpg"))
    rows = [f"{file},{20 + number},{150 + number % 7}" for number, file in enumerate(files)]
    make_images(tmp_path / "OTHERS", ("none",), count=6, seed=2)
    (tmp_path / "PEOPLE.csv").write_text("\n".join(["path,age,height", *rows]))
    for line in commands(DOCUMENTS[documents]):
        if re.search("model=(vit|dino)", line) and not keras_hub_private.installed():
            continue  # for Python 3.10 there is none
        if "framework.benchmark" in line:
            continue  # tests/test_benchmark.py types the like, which takes a process for each network
        arguments = made_quick(words_of(line))
        if "runs=[RUN,OTHER]" in arguments:
            for name, run in zip(("RUN", "OTHER"), sorted(tmp_path.glob("runs/*")), strict=False):
                (tmp_path / name).symlink_to(run)
        if "framework.serve" in arguments:
            serve(arguments, tmp_path)
            continue
        done = bash(shlex.join(["python", *arguments]), tmp_path)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


def serve(arguments: list[str], folder: Path) -> None:
    """The one command that does not end by itself."""
    command = [sys.executable, *arguments, "port=0"]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as server:
        assert any("is served at" in line for line in server.stderr)
        server.terminate()
        assert server.stderr.read().strip() == "stopped"
    assert server.returncode == 0


@pytest.mark.slow
def test_the_python_of_the_readme_runs(tmp_path):
    """As it stands, made quick, and without weights that may be nowhere."""
    make_images(tmp_path / "PHOTOS", count=8, size=40)
    (tmp_path / "photo.jpg").symlink_to(next((tmp_path / "PHOTOS" / "red").iterdir()))
    (code,) = re.findall(r"^```python\n(.*?)^```$", text_of("README.md"), re.M | re.S)
    quick = ", ".join(map(repr, ["data.dir=PHOTOS", "trainer.epochs=1", "data.image_size=32"]))
    code = code.replace('"data.dir=PHOTOS"', quick).replace(
        '"model=mobilenet"', '"model=mobilenet", "model.weights=null"'
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "sweeps").rglob("model.tflite"))


@pytest.mark.parametrize(
    "document",
    ["README.md", *SITE, "CONTRIBUTING.md", *(f"recipes/{one}README.md" for one in ("", "attention/", "shoes/"))],
)
def test_links_lead_somewhere(document):
    """Those within the site are followed by its builder too, with their anchors."""
    for target in re.findall(r"\]\(([^)#:]+)[)#]", text_of(document)):
        path = (CLONE / document).parent.joinpath(target).resolve()
        if path.is_relative_to(reference.FOLDER):
            assert path.relative_to(reference.FOLDER).as_posix() in generated(), target
        else:
            assert path.exists(), target


def test_ci_calls_the_line_that_the_readme_gives():
    lines = [line.strip() for line in text_of("README.md").splitlines()]
    script = (CLONE / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    first, second = (line for line in lines if line.startswith("python3 -m venv"))
    assert first.endswith("-m framework.train")
    assert second.endswith("-m pytest")
    assert second in script

"""Every command in the documents runs, in order, in an empty folder with some photos; set-up lines stand as CI runs them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import framework
from framework.core import keras_hub_private
from tests.conftest import make_images

CLONE = Path(framework.__file__).parents[1]
DOCUMENTS = ("README.md", "recipes/README.md", "CONTRIBUTING.md")
QUICK = ["data.limit=12", "trainer.epochs=1", "augment=none"]
# What makes a line quick, and possible without a network, by the model that it names.
SMALL = {
    None: ["model.filters=[4]", "data.image_size=16"],
    "mobilenet": ["model.weights=null", "data.image_size=32"],
    "xception": ["data.image_size=71"],
    "vit_tiny": ["data.image_size=32", "model.num_layers=1"],
}


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(CLONE)}
# Runs ``-m MODULE ARGUMENT…`` of each line of JSON in a fork, what it says goes to a file; prints the exit code.
FORKS = """
import json, os, runpy, sys
from framework.train import ready
ready()
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        _, module, *arguments = json.loads(line)
        said = os.open("said.txt", os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        os.dup2(said, 1), os.dup2(said, 2)
        sys.argv = [module, *arguments]
        code = 0
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            code = end.code or 0
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code if isinstance(code, int) else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def made_quick(arguments: list[str]) -> list[str]:
    if "framework.benchmark" in arguments:
        return [*arguments, "data.image_size=32", "trainer.epochs=1"]
    if "framework.train" not in arguments and "model=mobilenet" not in arguments:
        return arguments
    arguments = ["search.trials=2" if one.startswith("search.trials=") else one for one in arguments]
    model = next((argument.partition("=")[2] for argument in arguments if argument.startswith("model=")), None)
    return [*arguments, *QUICK, *SMALL[model]]


def commands(document: str) -> list[str]:
    text = (CLONE / document).read_text(encoding="utf-8")
    return [line.strip() for line in re.findall(r"^ {4,}(python -m framework\S* ?.*)$", text, re.MULTILINE)]


def test_there_are_commands_in_all():
    assert [len(commands(document)) > 1 for document in DOCUMENTS] == [True] * len(DOCUMENTS)


@pytest.fixture
def type_in(tmp_path):
    """Runs a line as bash reads it, in the test's folder, by a process that has loaded TensorFlow once for all lines."""
    command = [sys.executable, "-c", FORKS]
    with subprocess.Popen(
        command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as forks:

        def run(words: list[str]) -> tuple[int, str]:
            forks.stdin.write(json.dumps(words) + "\n")
            forks.stdin.flush()
            code = int(forks.stdout.readline())
            return code, (tmp_path / "said.txt").read_text()

        yield run
        forks.stdin.close()


def words_of(line: str) -> list[str]:
    """What follows ``python`` once bash has read the line."""
    read = ["bash", "-c", f"python() {{ printf '%s\\0' \"$@\"; }}; {line}"]
    return subprocess.run(read, capture_output=True, text=True, check=True).stdout.split("\0")[:-1]


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_of_a_document_runs(document, tmp_path, type_in):
    make_images(tmp_path / "PHOTOS" / "train", count=8)
    make_images(tmp_path / "PHOTOS" / "validation", count=4, seed=1)
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.jpg"))
    rows = [f"{file},{20 + number},{150 + number % 7}" for number, file in enumerate(files)]
    (tmp_path / "PEOPLE.csv").write_text("\n".join(["path,age,height", *rows]))
    for line in commands(document):
        if "model=vit" in line and not keras_hub_private.installed():
            continue  # for Python 3.10 there is none
        arguments = made_quick(words_of(line))
        if "runs=[RUN,OTHER]" in arguments:
            for name, run in zip(("RUN", "OTHER"), sorted(tmp_path.glob("runs/*")), strict=False):
                (tmp_path / name).symlink_to(run)
        if "framework.serve" in arguments:
            serve(arguments, tmp_path)
            continue
        code, said = type_in(arguments)
        assert code == 0, f"{line}\n{said}"


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
    (code,) = re.findall(r"^```python\n(.*?)^```$", (CLONE / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    quick = ", ".join(map(repr, ["data.dir=PHOTOS", "trainer.epochs=1", "data.image_size=32"]))
    code = code.replace('"data.dir=PHOTOS"', quick).replace(
        '"model=mobilenet"', '"model=mobilenet", "model.weights=null"'
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "sweeps").rglob("model.tflite"))


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

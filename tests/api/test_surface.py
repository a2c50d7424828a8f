"""What ``import framework`` costs and offers."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import framework
from framework.__main__ import COMMANDS
from tests.conftest import CLONE

HEAVY = ("tensorflow", "keras", "hydra", "omegaconf", "numpy", "pydantic", "rich", "matplotlib", "PIL", "typing")


def test_importing_loads_nothing_heavy():
    code = "import sys; before = set(sys.modules); import framework; dir(framework); print(*set(sys.modules) - before)"
    # -S: without what other packages have read at the start of Python
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=CLONE, capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "framework" in loaded
    assert not loaded & set(HEAVY)
    assert {name for name in done.stdout.split() if name.startswith("framework.")} == {
        "framework.core",
        "framework.core.environment",
    }


def test_composing_needs_no_tensorflow_and_no_name_hides_a_command():
    code = "import sys, framework; framework.compose('model=xception'); framework.load; framework.fit; "
    code += "sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert not set(framework.__all__) & set(COMMANDS)


def test_all_that_is_public_is_listed_once_and_can_be_had():
    assert sorted(framework.__all__) == sorted(name for names in framework._MODULES.values() for name in names)
    assert {*framework.__all__, "__version__"} == set(dir(framework))
    for name in framework.__all__:
        assert inspect.getdoc(getattr(framework, name))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        framework.nonsense  # noqa: B018


def test_nothing_of_the_room_ends_the_process():
    for file in (Path(framework.__file__).parent / "api").glob("*.py"):
        words = {ast.unparse(node) for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))}
        assert not words & {"sys.exit", "SystemExit", "os._exit"}, file


@pytest.mark.parametrize(
    "line", ["optim.lrr=1 head=mpl", "data=image_folder data.dir=nowhere", "optim.lr=0.1,0.2", "model.weights=x.h5"]
)
def test_a_mistake_is_one_exception_with_the_words_of_the_command_line(line, here, capsys):
    from framework.train import main

    with pytest.raises(framework.Error) as error:
        framework.fit(*line.split())
    capsys.readouterr()
    assert main(line.split()) == error.value.exit_code == 2
    said = capsys.readouterr().err.strip()
    if "optim.lr=0.1" in line:  # what is to be tried instead is another thing there
        assert said.splitlines()[:-1] == str(error.value).splitlines()[:-1]
    else:
        assert str(error.value) == said
    assert error.value.problems
    assert error.value._render_traceback_() == [str(error.value)]


def test_of_several_names_the_right_one_is_told(here):
    with pytest.raises(framework.Error, match="there is no folder runs/none"):
        framework.load("runs/none")
    with pytest.raises(framework.Error, match="there is no run with a model"):
        framework.load("latest")

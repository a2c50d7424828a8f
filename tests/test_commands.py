"""The commands as a group: the door that lists them, what each calls itself, and a Python without their packages."""

from __future__ import annotations

import re
import sys

import pytest

from framework.__main__ import COMMANDS, GROUPS
from framework.core.environment import NEEDED
from tests.conftest import CLONE, bash

PROJECT = (CLONE / "pyproject.toml").read_text(encoding="utf-8")


def test_every_command_is_listed_once_and_has_a_script():
    files = {file.stem for file in (CLONE / "framework").glob("*.py")} - {"__init__", "__main__"}
    assert sorted(COMMANDS) == sorted(files)
    for name in COMMANDS:
        assert f'framework-{name.replace("_", "-")} = "framework.{name}:main"' in PROJECT


def test_the_door_lists_all_and_opens_any(tmp_path):
    listed = bash("python -m framework")
    assert listed.returncode == 0
    for group, commands in GROUPS.items():
        assert f"\n{group}:\n" in listed.stdout
        for name, says in commands.items():
            assert re.search(rf"^  {name} +{re.escape(says)}$", listed.stdout, re.MULTILINE)
    assert max(map(len, listed.stdout.splitlines())) <= 90
    wrong = bash("python -m framework trian")
    assert wrong.returncode == 2
    assert "there is no command 'trian'" in wrong.stderr
    assert "try:    train (" in wrong.stderr
    refused = bash("python -m framework check optim.lrr=1")
    assert (refused.returncode, "no parameter 'lrr'" in refused.stderr) == (2, True)
    assert bash("python -m framework lr-find --help").stdout.startswith("python -m framework.lr_find [overrides]")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_the_command_as_it_is_called(name, tmp_path):
    module, script = f"python -m framework.{name}", f"framework-{name.replace('_', '-')}"
    assert bash(f"{module} --help").stdout.startswith(f"{module} ")
    # as an installed script calls it
    file = tmp_path / script
    file.write_text(f"#!{sys.executable}\nimport sys\nfrom framework.{name} import main\nsys.exit(main())\n")
    file.chmod(0o755)
    text = bash(f"{file} --help").stdout
    assert text.startswith(f"{script} ")
    assert "python -m framework" not in text
    assert "lr_find [" not in text


def test_the_needed_packages_are_those_of_the_project():
    required = re.search(r"^dependencies = \[\n(.*?)^\]", PROJECT, re.DOTALL | re.MULTILINE)
    assert list(NEEDED) == re.findall(r'^  "([\w-]+)', required[1], re.MULTILINE)


@pytest.mark.parametrize("name", ["", *(f".{name}" for name in COMMANDS)])
def test_a_python_without_the_packages_says_so_in_a_line(name, tmp_path):
    # -I -S: nothing but the standard library, from whichever folder
    code = "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); name = sys.argv.pop(1); sys.argv[0] = '-m'; "
    code += "runpy.run_module(name, run_name='__main__', alter_sys=True)"
    done = bash(f"python -I -S -c \"{code}\" '{CLONE}' framework{name} optim.lr=0.1", tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert re.match(r"framework needs tensorflow, keras, hydra-core, .*, pillow, .* has not: .*\.venv/bin/", line)


def test_one_missing_package_is_named_alone(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n\n\nclass Blocker:\n    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'PIL':\n            raise ModuleNotFoundError(name)\n\n\nsys.meta_path.insert(0, Blocker())\n"
    )
    done = bash("python -m framework.predict a.jpg run=latest", tmp_path, PYTHONPATH=f"{tmp_path}:{CLONE}")
    assert done.returncode == 2
    assert re.match(r"framework needs pillow, which .* has not: ", done.stderr)
    assert len(done.stderr.splitlines()) == 1

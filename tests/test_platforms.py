"""What a system without POSIX lacks is not needed: its modules blocked, its functions taken away, all on this one.

It shows that nothing asks for what is not there. How Windows behaves otherwise, with files that are open for one, no
test here can tell.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from framework.core import files
from framework.core.runs import RunFolder
from tests.conftest import CLONE, bash, write
from tests.test_architecture import imports, modules

POSIX_ONLY = {"fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"}
WITHOUT_POSIX = f"""
import os, signal, sys
for name in {sorted(POSIX_ONLY)}:
    sys.modules[name] = None
for name in "fork forkpty getgid getpgid getuid killpg mkfifo pathconf sched_getaffinity setpgid setsid".split():
    delattr(os, name)
for name in "SIGALRM SIGHUP SIGKILL alarm pthread_sigmask setitimer".split():
    delattr(signal, name)
"""


@pytest.fixture
def typed(tmp_path):
    """Runs a command line in a folder of its own, in a Python without POSIX."""
    write(tmp_path, {"site/sitecustomize.py": WITHOUT_POSIX})
    return lambda line, **more: bash(
        line, tmp_path, PYTHONPATH=os.pathsep.join([f"{tmp_path}/site", str(CLONE)]), **more
    )


@pytest.mark.parametrize("file", modules(), ids=lambda file: file.stem)
def test_no_module_imports_what_only_posix_has(file):
    assert not imports(file) & POSIX_ONLY


@pytest.mark.slow
def test_every_module_can_be_imported(typed, tmp_path):
    names = [".".join(file.relative_to(CLONE).with_suffix("").parts) for file in modules()]
    write(tmp_path, {"all.py": "import " + ", ".join(name.removesuffix(".__init__") for name in names) + "\n"})
    done = typed("python all.py")
    assert done.returncode == 0, done.stderr


def test_a_command_line_is_checked(typed):
    done = typed("python -m framework.check")
    assert (done.returncode, "all right" in done.stderr) == (0, True), done.stderr


@pytest.mark.slow
def test_a_sweep_trains_in_new_interpreters_with_the_parts_of_a_recipe_and_kept_features(typed, photos, tmp_path):
    part = """
        from framework.core.backend import keras
        from framework.core.registry import pooling

        @pooling("largest")
        def largest(maps):
            \"\"\"The largest value of each map.\"\"\"
            return keras.layers.GlobalMaxPooling2D(name="pooling")(maps)
    """
    recipe = "# The largest value.\ndefaults:\n  - override /pooling: largest\n"
    write(tmp_path / "recipes/large", {"recipe.yaml": recipe, "parts.py": part})
    write(tmp_path / "recipes/large", {"conf/pooling/largest.yaml": "# The largest value.\nname: largest\n"})
    done = typed(
        f"python -m framework.train -m recipe=large data=image_folder data.dir={photos} data.image_size=32 "
        "model.filters=[4,8] model.trainable=false trainer.epochs=1 optim.lr=0.1,0.2 sweep.jobs=2 hydra.sweep.dir=rates"
    )
    assert done.returncode == 0, done.stderr
    runs = [RunFolder(file.parent).read_run() for file in sorted((tmp_path / "rates").glob("*/run.json"))]
    assert [run["status"] for run in runs] == ["finished"] * 2
    assert sorted((run["features"]["computed"], run["features"]["from_cache"]) for run in runs) == [(0, 36), (36, 0)]


def test_what_a_pipe_has_no_letters_for_is_written_out(tmp_path):
    line = "python -c 'import framework.cli.command as c; "
    line += 'c.run_command(str, [], lambda _: print("0.1 \\u2248 0.1") or 0)\''
    done = bash(line, tmp_path, PYTHONIOENCODING="cp1252")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, r"0.1 \u2248 0.1")


def test_a_file_that_is_being_read_is_replaced_as_soon_as_that_is_allowed(tmp_path, monkeypatch):
    replace, refusals = os.replace, [1, 2, 3]

    def refusing(source, target):
        if refusals:
            refusals.pop()
            raise PermissionError(13, "being used by another process", str(target))
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", refusing)
    with pytest.raises(PermissionError):
        files.write_whole(tmp_path / "run.json", "new")
    monkeypatch.setattr(files, "WINDOWS", True)
    files.write_whole(tmp_path / "run.json", "new")
    assert [path.name for path in Path(tmp_path).iterdir()] == ["run.json"]
    assert not refusals

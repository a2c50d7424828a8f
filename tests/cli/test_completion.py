"""Tab completion: what can follow, of every command; asked through bash as bash asks."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import framework
from framework.__main__ import COMMANDS
from framework.cli import completion
from framework.config.folders import groups
from tests.conftest import bash, write

CLONE = Path(framework.__file__).parents[1]


def after(line, breaks="="):
    return completion.answers(line, completion.commands(), breaks)


@pytest.fixture
def runs(here):
    files = {f"{run}/run.json": "{}" for run in ("runs/one", "runs/other", "sweeps/rates/lr=0.1", "mine/run")}
    write(here, files)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("framework-train model=xce", ["model=xception"]),
        ("framework-train head=m", ["head=mlp", "head=multilabel"]),
        ("framework-train optim.l", ["optim.lr="]),
        ("framework-train optim.schedule=cos", ["optim.schedule=cosine"]),
        ("framework-train recipe=clothing_v1", ["recipe=clothing_v1"]),
        (
            "framework-train trainer.precision=mixed",
            ["trainer.precision=mixed_bfloat16", "trainer.precision=mixed_float16"],
        ),
        ("framework-train model.trainable=", ["model.trainable=false", "model.trainable=true"]),
        ("framework-train callbacks=[default,early", ["callbacks=[default,early_stopping"]),
        ("framework-train -m optim=adam,sg", ["optim=adam,sgd"]),
        ("framework-train --mul", ["--multirun"]),
        ("framework-train from=runs/", ["from=runs/one", "from=runs/other"]),
        ("framework-lr-find data=im", ["data=image_folder"]),
        ("framework-evaluate run=", ["run=latest", "run=null", "run=runs/one", "run=runs/other", "run=sweeps/rates"]),
        ("framework-evaluate split=t", ["split=test", "split=train"]),
        ("framework-compare sweep=", ["sweep=null", "sweep=sweeps/rates"]),
        ("framework-compare runs=[runs/one,runs/o", ["runs=[runs/one,runs/other"]),
        ("framework-export format=s", ["format=saved_model"]),
        ("framework-show model sort=to", ["sort=top1", "sort=top1_by"]),
        ("framework-show opt", ["optim", "optim.schedule"]),
        ("framework-recipe ch", ["check"]),
        ("framework-recipe check clothing_v", [f"clothing_v{number}" for number in range(1, 5)]),
        ("framework tr", ["train"]),
        ("framework train head=ml", ["head=mlp"]),
        ("framework nonsense he", []),
        ("/a/b/framework-predict top", ["top="]),
    ],
)
def test_what_can_follow(line, wanted, runs):
    found = after(line, breaks="")
    if "run=" in line and not line.endswith("o"):
        found = [one for one in found if "lr=" not in one]
    assert (found if line != "framework-show opt" else [one for one in found if "=" not in one]) == wanted


def test_every_command_has_something_to_complete(here):
    for name in COMMANDS:
        script = f"framework-{name.replace('_', '-')}"
        assert after(f"{script} "), name
    for group, options in groups().items():
        assert [one for one in after(f"framework-train {group.replace('/', '.')}=") if one in options] == sorted(
            options
        )


@pytest.fixture
def scripts(tmp_path):
    """A folder with the script that answers, which notes what it has imported."""
    folder = tmp_path / "bin"
    folder.mkdir()
    code = "import sys\nfrom framework.complete import main\ncode = main()\n"
    code += f"print(*sys.modules, file=open({str(tmp_path / 'modules')!r}, 'w'))\nsys.exit(code)\n"
    (folder / "framework-complete").write_text(f"#!{sys.executable}\n{code}")
    (folder / "framework-complete").chmod(0o755)
    return folder


@pytest.mark.slow
def test_bash_completes_and_a_second_tab_imports_nothing_heavy(runs, scripts, tmp_path):
    folder = scripts
    line = f'eval "$({folder}/framework-complete bash)"; COMP_LINE="{folder}/framework-train optim=ada"; '
    line += f'COMP_POINT=${{#COMP_LINE}}; _framework_complete {folder}/framework-train; echo "${{COMPREPLY[@]}}"; '
    line += "complete -p framework framework-lr-find"
    for _ in "12":
        done = bash(line, tmp_path)
        assert done.stdout.splitlines()[0] == "adagrad adam adamw", done.stderr
        assert done.stdout.count("-F _framework_complete") == 2
    loaded = {name.partition(".")[0] for name in (tmp_path / "modules").read_text().split()}
    assert not loaded & {"numpy", "hydra", "omegaconf", "pydantic", "tensorflow", "rich", "PIL"}


def test_without_a_shell_it_says_which_there_is(tmp_path):
    done = subprocess.run([sys.executable, "-m", "framework.complete"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "one of: bash, zsh, fish" in done.stderr


def environment(home):
    """Of a shell that finds no settings of the user's, and this package."""
    return {**os.environ, "HOME": str(home), "ZDOTDIR": str(home), "PYTHONPATH": str(CLONE), "TERM": "dumb"}


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("fish"), reason="needs fish: apt-get install fish")
def test_fish_completes(runs, scripts, tmp_path):
    asked = ["optim=ada", "from=runs/", "trainer.precision=mixed_b"]
    lines = "; ".join(f'complete -C "{scripts}/framework-train {one}"' for one in asked)
    # fish knows a command by its file
    (scripts / "framework-train").symlink_to("framework-complete")
    done = subprocess.run(
        ["fish", "-c", f"{scripts}/framework-complete fish | source; {lines}"],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
    )
    wanted = ["optim=adagrad", "optim=adam", "optim=adamw", "from=runs/one", "from=runs/other"]
    assert done.stdout.split() == [*wanted, "trainer.precision=mixed_bfloat16"], done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("zsh"), reason="needs zsh: apt-get install zsh")
def test_zsh_completes(runs, scripts, tmp_path):
    """As typed on a terminal: Tab where one answer is right, then the line is printed in place of being run."""
    (scripts / "framework-train").write_text('#!/bin/sh\nprintf "<%s>" "$@"\necho ENDED\n')
    (scripts / "framework-train").chmod(0o755)
    main, other = pty.openpty()
    with subprocess.Popen(
        ["zsh", "-f", "-i"],
        cwd=tmp_path,
        env={**environment(tmp_path), "PATH": f"{scripts}:{os.environ['PATH']}"},
        stdin=other,
        stdout=other,
        stderr=other,
        start_new_session=True,
    ) as shell:
        os.close(other)
        os.write(main, b'autoload -Uz compinit && compinit -u; eval "$(framework-complete zsh)"; echo READY$((1))\n')
        read_until(main, "READY1")
        said = ""
        # brackets mean something to zsh, so that a list is typed in quotes
        for typed, answer in (
            (b"framework-train optim=adag\t", "optim=adagrad "),
            (b"trainer.precision=mixed_b\t", "bfloat16 "),
            (b"'callbacks=[default,early\t\n", "ENDED"),
        ):
            os.write(main, typed)
            said = read_until(main, answer)
        os.write(main, b"exit\n")
        shell.wait(60)
    os.close(main)
    assert "<optim=adagrad><trainer.precision=mixed_bfloat16><callbacks=[default,early_stopping>" in said


def read_until(terminal, word):
    said, until = "", time.monotonic() + 60
    while word not in said:
        assert time.monotonic() < until, said
        if select.select([terminal], [], [], 1)[0]:
            said += os.read(terminal, 4096).decode(errors="replace")
    return said

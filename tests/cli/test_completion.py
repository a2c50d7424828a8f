"""Tab completion: what can follow, of every command; asked through bash as bash asks."""

from __future__ import annotations

import subprocess
import sys

import pytest

from framework.__main__ import COMMANDS
from framework.cli import completion
from framework.config.folders import groups
from tests.conftest import bash, write


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
        ("framework-show model sort=to", ["sort=top1"]),
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


@pytest.mark.slow
def test_bash_completes_and_a_second_tab_imports_nothing_heavy(runs, tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    code = "import sys\nfrom framework.complete import main\ncode = main()\n"
    code += "print(*sys.modules, file=open('modules', 'w'))\nsys.exit(code)\n"
    (folder / "framework-complete").write_text(f"#!{sys.executable}\n{code}")
    (folder / "framework-complete").chmod(0o755)
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
    assert "try:    bash" in done.stderr

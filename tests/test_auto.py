"""The command: what is wrong is told at once, and it leaves a run that every command takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from framework.core.runs import RunFolder
from tests.conftest import CLONE, bash, make_images

SMALL = "model=cnn model.filters=[4] data.image_size=16 trainer.epochs=2 trainer.batch_size=8"


def test_what_is_wrong_is_told_before_tensorflow(tmp_path, photos):
    (tmp_path / "empty").mkdir()
    make_images(tmp_path / "one", classes=("red",))
    lines = [
        *(f"data.dir={photos} budget={budget}" for budget in ("0", "-1m", "ten", "1e400s")),
        f"data.dir={photos} budget=3s",
        f"data.dir={tmp_path}/empty",
        f"data.dir={tmp_path}/one",
        f"data.dir={tmp_path}/nowhere",
        f"data.dir={photos} bases=[mobilnet]",
        f"data.dir={photos} bases=[cnn] model=cnn",
        f"data.dir={photos} quality=fine",
        f"data.dir={photos} metric=val_fun {SMALL}",
        f"data.dir={photos} optim.lr=0.1,0.2 {SMALL}",
    ]
    code = (
        "import sys; from framework.auto import main\n"
        f"codes = [main(line.split()) for line in {lines!r}]\n"
        "assert set(codes) == {2}, codes\n"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    env = {**os.environ, "PYTHONPATH": str(CLONE)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    for said in (
        "budget=ten is no time to train in",
        "3 s are too short for one run on 36 images",
        "has no class folders",
        "has one class only: red",
        "there is no base 'mobilnet'",
        "model and bases are both given",
        "several values for one key",
    ):
        assert said in done.stderr, said
    assert not (tmp_path / "sweeps").exists()


@pytest.mark.slow
def test_it_leaves_one_run_and_a_second_time_nothing_is_done(tmp_path, photos):
    line = f"python -m framework.auto data.dir={photos} budget=10m {SMALL}"
    done = bash(line, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "plan       10:00 in all" in done.stderr
    assert "cnn from scratch" in done.stderr
    folder = tmp_path / "sweeps" / "auto-photos"
    best = RunFolder(folder / "best").read_run()
    assert best["status"] == "finished"
    assert {path.name for path in folder.iterdir()} >= {
        "best",
        "recipe.yaml",
        "report.html",
        "comparison.csv",
        "auto.json",
    }
    assert set(json.loads((folder / "auto.json").read_text())["steps"]) == {"scratch"}
    assert "next: python -m framework.evaluate run=sweeps/auto-photos" in done.stderr
    evaluated = bash("python -m framework.evaluate run=latest", tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr
    assert "auto-photos/best (what the latest sweep came to)" in evaluated.stderr
    again = bash(line, tmp_path)
    assert (again.returncode, "is done: " in again.stderr) == (0, True)

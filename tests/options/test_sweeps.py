"""Sweeps, and where runs go: what the keys do to folders, and to how many run at once."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from framework.cli.command import launch
from framework.cli.compose import compose
from framework.sweeps import summary
from tests.conftest import write
from tests.options.counted import effect
from tests.sweeps.common import sweep, work


@pytest.fixture(autouse=True)
def alone(here, monkeypatch):
    """In an empty folder, and without the comparison at a sweep's end."""
    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.setattr(summary, "_compare", lambda *_: None)


def folders(parent):
    return {folder.parent.name for folder in Path(parent).rglob("run.json")}


@pytest.mark.slow
@effect("sweep.name", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.job.config.override_dirname.item_sep")
@pytest.mark.parametrize(
    ("overrides", "parent", "names"),
    [
        (
            ["sweep.name=mine", "hydra.job.config.override_dirname.item_sep=+"],
            "sweeps/mine",
            {"head.dropout=0.3+optim.lr=0.1", "head.dropout=0.3+optim.lr=0.2"},
        ),
        (["hydra.sweep.dir=elsewhere", "hydra.sweep.subdir=run-${hydra.job.num}"], "elsewhere", {"run-0", "run-1"}),
    ],
)
def test_runs_of_a_sweep_go_where_they_are_told(overrides, parent, names):
    assert sweep("optim.lr=0.1,0.2", "head.dropout=choice(0.3)", *overrides) == 0
    assert folders(parent) == names


def told(*overrides):
    """Where a single run goes, and in which folder it is at work."""
    found = []
    code = launch(
        list(overrides),
        lambda job: found.append((job.folder, Path.cwd())),
        preflight=lambda _: [],
        begin=lambda _: None,
        sweep=lambda *_: 0,
    )
    assert code == 0
    return found[0]


@effect("hydra.run.dir")
def test_a_run_goes_where_it_is_told():
    here = Path.cwd()
    folder, cwd = told("hydra.run.dir=mine")
    assert (folder, cwd) == (here / "mine", here)
    assert told()[0].parent == here / "runs"


@effect("hydra.job.chdir")
def test_a_run_may_be_at_work_in_its_own_folder():
    folder, cwd = told("hydra.job.chdir=true", "hydra.run.dir=mine")
    assert folder == cwd == Path.cwd() / "mine"


@pytest.mark.slow
@effect("sweep.jobs")
@pytest.mark.parametrize(("jobs", "patience"), [(1, 0.3), (2, 60.0)])
def test_so_many_runs_are_at_work_at_once(jobs, patience):
    def meet(job):
        """Stay until another run is at work too, or patience is over."""
        job.folder.mkdir(parents=True, exist_ok=True)
        here = job.folder / "here"
        here.touch()
        deadline, met = time.monotonic() + patience, False
        while not met and time.monotonic() < deadline:
            time.sleep(0.02)
            met = len(list(job.folder.parent.glob("*/here"))) == 2
        (job.folder / "met").write_text(str(met))
        if jobs == 1:
            here.unlink()
        work(job)

    assert sweep("optim.lr=0.1,0.2", f"sweep.jobs={jobs}", work=meet) == 0
    assert [file.read_text() for file in Path().rglob("met")] == [str(jobs == 2)] * 2


@effect("recipe")
def test_a_recipe_sets_what_it_differs_in():
    write(Path("recipes/mine"), {"recipe.yaml": "# Mine.\noptim:\n  lr: 0.125\n", "README.md": "# Mine\n"})
    assert compose(["recipe=mine"]).config["optim"]["lr"] == 0.125
    assert compose([]).config["optim"]["lr"] == 0.001

"""What auto leaves: the best run or several as one, the recipe, and the same after Ctrl-C."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from framework.auto import _carry_out
from framework.budget import result
from framework.budget.asked import Asked
from framework.budget.journal import Journal
from framework.budget.result import conclude, recipe_text
from framework.core.errors import RunFailed
from framework.core.runs import RunFolder
from framework.model.chosen import find_run
from framework.reports.entries import read_entry
from framework.sweeps.folder import IndexedRun, write_index
from tests.conftest import make_images, write
from tests.evaluation.common import answered, make_run, weighed
from tests.test_ensemble import NO_BLUE, NO_RED

OVERRIDES = (
    "data=image_folder",
    "data.dir=/photos",
    "head=dense",
    "optim/schedule=cosine",
    "stages=head_then_all",
    "stages.all.lr=1e-3",
    "callbacks=[default,weight_averaging,time_limit]",
    "callbacks.time_limit.seconds=90",
    "trainer.seed=2",
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("result")
    make_images(folder / "train", count=2)
    return make_images(folder / "validation", count=4, seed=1).parent


@pytest.fixture
def folder(tmp_path, photos):
    """Of three runs, two of which make up for each other."""
    folder = tmp_path / "sweep"
    for name, weights in (("a-1", NO_RED), ("b-1", NO_BLUE), ("c-1", np.zeros((3, 3)))):
        run = RunFolder(answered(make_run(folder / name, photos, weighed(weights))))
        run.write_run({**run.read_run(), "overrides": list(OVERRIDES)})
        (run.path / "checkpoints").mkdir()
    index = [IndexedRun(name, list(OVERRIDES), "finished") for name in ("a-1", "b-1", "c-1")]
    write_index(folder, {"name": "sweep", "command": "auto"}, index)
    return folder


def test_several_runs_as_one_where_that_is_better(folder):
    found = conclude(folder, combines=True)
    assert found.said == "the ensemble of 2 runs: val_accuracy 1.0000"
    assert RunFolder(found.folder).read_run()["made"]["method"] == "ensemble"
    text = found.recipe.read_text()
    assert text.startswith("# The best single run of framework.auto: ")
    assert "python -m framework.ensemble 'runs=[" in text or "python -m framework.ensemble runs=[" in text


def test_the_best_run_alone_where_there_is_no_time(folder):
    found = conclude(folder, combines=False)
    assert found.said.endswith("-1: val_accuracy 0.6667")
    assert not (found.folder / "checkpoints").exists()
    assert find_run(str(found.folder)).folder.path == found.folder
    assert "framework.ensemble" not in found.recipe.read_text()
    for run in "abc":
        (folder / f"{run}-1" / "model.keras").unlink()
    with pytest.raises(RunFailed, match="no run is finished"):
        conclude(folder, combines=True)


def test_the_recipe_composes_to_the_run(folder, here):
    from framework.cli.compose import compose

    text = recipe_text(read_entry(folder / "a-1", "a-1"), ())
    assert "time_limit" not in text
    assert yaml.safe_load(text)["stages"]["all"]["lr"] == 0.001
    write(here / "recipes" / "mine", {"recipe.yaml": text, "README.md": "# mine\n"})
    config = compose(["recipe=mine"]).config
    assert config["stages"]["all"]["lr"] == 0.001
    assert list(config["callbacks"]) == ["checkpoint", "stop_on_nan", "weight_averaging"]
    assert (config["optim"]["schedule"]["name"], config["trainer"]["seed"]) == ("cosine", 2)
    assert config["data"]["dir"] == "/photos"


@pytest.mark.parametrize("stopped", [False, True])
def test_the_sweep_means_its_result_also_after_ctrl_c(folder, monkeypatch, capsys, stopped):
    def run(sweep):
        if stopped:
            raise KeyboardInterrupt

    def note(**about):
        write_index(folder, {"name": "sweep", "command": "auto", **about}, [IndexedRun("a-1", [], "finished")])

    asked = Asked(("x=1",), (), 600.0, folder, ("auto",), 12, 1)
    steps = SimpleNamespace(asked=asked, journal=Journal(folder, asked.given), run=run, ending=10.0, why="done")
    if stopped:
        with pytest.raises(KeyboardInterrupt):
            _carry_out(steps, SimpleNamespace(note=note))
        assert "the best so far is " in capsys.readouterr().err
    else:
        _carry_out(steps, SimpleNamespace(note=note))
        said = capsys.readouterr().err
        assert "result     the ensemble of 2 runs: val_accuracy 1.0000" in said
        assert "stopped    done; 0:" in said
    found = find_run(str(folder))
    assert found.folder.path == (folder / result.BEST).resolve()
    assert found.why == "what the sweep came to"

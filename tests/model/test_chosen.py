"""Which run a command means by a folder, a sweep or latest, and what it says of it."""

from __future__ import annotations

import json

import pytest

from framework.core.errors import BadInput
from framework.model.chosen import find_run
from framework.reports.comparison import compare
from tests.reports.made import make_run


def trained(folder, *overrides, **more):
    """A run folder with a model's file, which nobody opens."""
    run = make_run(folder, overrides, **more)
    run.model.touch()
    return run


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rates(folder, scores=(0.7, 0.833, 0.333), **more):
    for number, score in enumerate(scores, start=1):
        trained(folder / f"optim.lr={number}", f"optim.lr={number}", score=score, started=f"2026-01-0{number}", **more)
    return folder


def test_latest_is_the_best_of_the_latest_sweep_not_its_last_run(here):
    trained(here / "runs" / "a", started="2026-01-02")
    rates(here / "sweeps" / "s")
    found = find_run("latest")
    assert found.folder.path == here / "sweeps" / "s" / "optim.lr=2"
    assert found.told() == " (the latest sweep's best of 3): val_accuracy 0.833 at epoch 5"


def test_latest_is_a_single_run_that_is_newer(here):
    rates(here / "sweeps" / "s")
    trained(here / "runs" / "a", score=0.5, started="2026-01-04")
    trained(here / "runs" / "group" / "b", score=0.6, started="2026-01-05")
    found = find_run("latest")
    assert found.folder.path == here / "runs" / "group" / "b"
    assert found.told() == " (the latest run): val_accuracy 0.600 at epoch 5"


def test_a_sweep_somewhere_else_in_runs_is_known_by_its_index(here):
    folder = rates(here / "runs" / "s")
    (folder / "sweep.json").write_text(json.dumps({"runs": [{"folder": f"optim.lr={number}"} for number in (1, 2, 3)]}))
    assert find_run("latest").folder.path.name == "optim.lr=2"


def test_latest_without_a_score_is_the_latest_run(here):
    for number in (1, 2):
        trained(here / "sweeps" / "s" / str(number), epochs=0, status="running", started=f"2026-01-0{number}")
    assert find_run("latest").folder.path.name == "2"
    with pytest.raises(BadInput, match="is finished"):
        find_run(str(here / "sweeps" / "s"))


def test_a_named_run_tells_its_score(here):
    trained(here / "a", score=0.75)
    assert find_run("a").told() == ": val_accuracy 0.750 at epoch 5"


def test_the_way_that_the_checkpoint_says_is_better(here):
    for number, error in enumerate((0.9, 0.1, 0.4)):
        best = {"epoch": 1, "monitor": "val_error", "mode": "min", "metrics": {"val_error": error}}
        trained(here / "s" / str(number), f"optim.lr=0.{number + 1}", best=best)
    assert find_run("s").folder.path.name == "1"


def test_the_metric_of_the_sweep(here):
    for number, (accuracy, loss) in enumerate([(0.8, 1.26), (0.9, 37.4)]):
        best = {"epoch": 1, "monitor": "val_accuracy", "metrics": {"val_accuracy": accuracy, "val_loss": loss}}
        trained(here / "s" / str(number), f"optim.lr=0.{number + 1}", best=best)
    told = {"metric": "val_loss", "direction": "auto", "runs": [{"folder": "0"}, {"folder": "1"}]}
    (here / "s" / "sweep.json").write_text(json.dumps(told))
    found = find_run("s")
    assert found.folder.path.name == "0"
    assert found.told() == " (the sweep's best of 2): val_loss 1.260 at epoch 1"


def test_of_seeds_the_one_that_stands_for_the_best_variant_as_in_the_report(here):
    for rate, scores in ((0.1, (0.80, 0.86, 0.84)), (0.2, (0.79, 0.95, 0.40))):
        for seed, score in enumerate(scores, start=1):
            overrides = [f"optim.lr={rate}", f"trainer.seed={seed}"]
            trained(here / "s" / f"{rate}-{seed}", *overrides, score=score, seed=seed, images=100_000)
    found = find_run("s")
    assert found.folder.path.name == "0.1-3" == compare(here / "s").best_run.name
    why = "the sweep's best of 2 variants, 0.833 ± 0.031 over 3 seeds, of which it is nearest the mean"
    assert found.why.startswith(why)


def test_ties_are_told(here):
    rates(here / "s", (0.83, 0.82, 0.5))
    assert find_run("s").why == "the sweep's best of 3, tied with 1 more"


def test_failed_runs_and_those_outside_the_folder_are_not_taken(here):
    rates(here / "s", (0.6, 0.7))
    trained(here / "s" / "failed", "optim.lr=9", score=0.99, status="failed")
    trained(here / "elsewhere", "optim.lr=8", score=0.99)
    names = ["optim.lr=1", "optim.lr=2", "failed"]
    (here / "s" / "sweep.json").write_text(json.dumps({"runs": [{"folder": name} for name in names]}))
    assert find_run("s").folder.path.name == "optim.lr=2"
    (here / "s" / "sweep.json").write_text(
        json.dumps({"runs": [{"folder": name} for name in [*names, "../elsewhere"]]})
    )
    with pytest.raises(BadInput, match=r"names \.\./elsewhere, which lies outside of the sweep's folder"):
        find_run("s")


@pytest.mark.parametrize("name", ["nowhere", "x" * 100_000, "a.keras/x"])
def test_a_run_that_is_nowhere_is_told_whatever_it_is_called(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.keras").touch()
    with pytest.raises(BadInput) as caught:
        find_run(name)
    assert caught.value.problems[0].what == f"there is no folder {name}"

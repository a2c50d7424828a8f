"""Searches: what the keys of samplers do to the trials that are drawn, and those of pruners to when one is ended."""

from __future__ import annotations

import sys
import warnings

import optuna
import pytest

import framework.parts  # noqa: F401 - registers the shipped parts
from framework.core import registry
from tests.options.counted import content, effect, effects

EPOCHS = 9


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def drawn(option, count=12, seed=1, **changed):
    """The first trials of a sampler, each as its two numbers; the nearer to 0.3 and 0.3 the better."""
    parameters = {
        key: value for key, value in content("search", option).items() if key not in ("name", "trials", "pruner")
    }
    study = optuna.create_study(sampler=registry.get("sampler", option)(seed, **{**parameters, **changed}))
    found = []
    for _ in range(count):
        trial = study.ask()
        found.append((trial.suggest_float("a", 0, 1), trial.suggest_float("b", 0, 1)))
        study.tell(trial, sum((number - 0.3) ** 2 for number in found[-1]))
    return found


@effect("search.seed", "search=random")
def test_the_same_seed_draws_the_same():
    assert drawn("random", seed=1) == drawn("random", seed=1) != drawn("random", seed=2)


@effects(
    ("option", "key"),
    {
        "search.tpe.startup_trials": ("tpe", "startup_trials"),
        "search.cmaes.startup_trials": ("cmaes", "startup_trials"),
        "search.nsgaii.population": ("nsgaii", "population"),
    },
)
def test_so_many_trials_are_drawn_before_others_count(option, key):
    few, many = drawn(option, **{key: 5}), drawn(option, **{key: 8})
    assert few[:5] == many[:5]
    assert few[5:] != many[5:]


@effect("search=tpe", "search=cmaes", "search=nsgaii")
@pytest.mark.parametrize(("option", "changed"), [("tpe", {}), ("cmaes", {}), ("nsgaii", {"population": 10})])
def test_later_trials_are_nearer_to_the_best(option, changed):
    distances = [sum((number - 0.3) ** 2 for number in trial) for trial in drawn(option, count=120, **changed)]
    assert sum(distances[-40:]) < 0.9 * sum(distances[:40])


@effect("search=gp", "search.gp.startup_trials")
def test_a_gaussian_process_needs_torch_once_it_has_begun(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert len(drawn("gp", count=4, startup_trials=4)) == 4
    with pytest.raises(ImportError, match="torch"):
        drawn("gp", count=5, startup_trials=4)


@effect("search=qmc", "search.qmc.sequence")
def test_a_sequence_is_spread_evenly():
    for sequence in ("sobol", "halton"):
        quarters = {(a < 0.5, b < 0.5) for a, b in drawn("qmc", count=4, sequence=sequence)}
        assert len(quarters) >= 3, sequence
    assert drawn("qmc", sequence="sobol") != drawn("qmc", sequence="halton")


def ended(option, earlier, value=0.1, **changed):
    """The epoch at which a trial is ended that has this value throughout; None if it is not. Earlier ones had theirs."""
    parameters = {key: part for key, part in content("search/pruner", option).items() if key != "name"}
    pruner = registry.get("pruner", option)(EPOCHS, **{**parameters, **changed})
    study = optuna.create_study(direction="maximize", pruner=pruner)
    for good in earlier:
        trial = study.ask()
        for epoch in range(1, EPOCHS + 1):
            trial.report(good, epoch)
        study.tell(trial, good)
    trial = study.ask()
    for epoch in range(1, EPOCHS + 1):
        trial.report(value, epoch)
        if trial.should_prune():
            return epoch
    return None


@effect("search/pruner=none")
def test_none_is_ended_by_no_pruner():
    assert ended("none", [0.9] * 9) is None


@effects(
    ("option", "key"),
    {
        "search.pruner.median.startup_trials": ("median", "startup_trials"),
        "search.pruner.percentile.startup_trials": ("percentile", "startup_trials"),
    },
)
def test_the_first_trials_are_ended_by_nothing(option, key):
    assert ended(option, [0.9] * 4) is None
    assert ended(option, [0.9] * 5) == 3
    assert ended(option, [0.9] * 4, **{key: 4}) == 3


@effects(
    "option",
    {"search.pruner.median.warmup_epochs": "median", "search.pruner.percentile.warmup_epochs": "percentile"},
)
@pytest.mark.parametrize(("after", "epoch"), [(2, 3), (4, 5)])
def test_each_trial_is_given_so_many_epochs(option, after, epoch):
    assert ended(option, [0.9] * 5, warmup_epochs=after) == epoch


@effect("search/pruner=percentile", "search.pruner.percentile.percentile", "search/pruner=median")
def test_so_many_of_a_hundred_go_on():
    earlier = [number / 10 for number in range(1, 10)]
    assert ended("percentile", earlier, 0.6) == 3
    assert ended("percentile", earlier, 0.6, percentile=75.0) is None
    assert ended("median", earlier, 0.6) is None
    assert ended("median", earlier, 0.4) == 3


@effects(
    ("changed", "rungs"),
    {
        "search/pruner=hyperband": ({}, {1, 3, 9}),
        "search.pruner.hyperband.min_epochs": ({"min_epochs": 3}, {3, 9}),
        "search.pruner.hyperband.factor": ({"factor": 2}, {1, 2, 4, 8}),
    },
)
def test_hyperband_ends_trials_at_its_rungs(changed, rungs):
    parameters = {key: part for key, part in content("search/pruner", "hyperband").items() if key != "name"}
    pruner = registry.get("pruner", "hyperband")(EPOCHS, **{**parameters, **changed})
    study = optuna.create_study(direction="maximize", pruner=pruner, study_name="rungs")
    at = set()
    for number in range(60):
        trial, value = study.ask(), 1 / (number + 1)
        for epoch in range(1, EPOCHS + 1):
            trial.report(value, epoch)
            if trial.should_prune():
                at.add(epoch)
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, value)
    assert at == rungs

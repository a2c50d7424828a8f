"""A search as its user sees it: what is drawn, pruned, told, handed on, and how it ends."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest

from framework.core.errors import BadInput
from framework.core.runs import RunFolder
from framework.sweeps.folder import outcome
from tests.options.counted import effect
from tests.sweeps.common import calls, learn, sweep

TRIED = Path("sweeps/tried")
LR = "optim.lr=interval(0.001,0.9)"
TWO = ["sweep.jobs=2", "model.weights=null", "callbacks.checkpoint.filename='{epoch:02d}'"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.setattr("framework.sweeps.summary._compare", lambda comparison, folder: None)
    monkeypatch.setattr("framework.sweeps.engines.LOOK_EVERY", 0.05)


def rates(folders):
    return {RunFolder(TRIED / name).read_config()["optim"]["lr"] for name in folders}


def index():
    return json.loads((TRIED / "sweep.json").read_text())


def study(name="tried"):
    storage = optuna.storages.journal.JournalFileBackend(str(TRIED / "study.journal"))
    return optuna.load_study(study_name=name, storage=optuna.storages.JournalStorage(storage))


def states(of=None):
    return [trial.state.name for trial in (of or study()).trials]


@pytest.mark.slow
@effect("search.trials", "search=tpe")
def test_a_search_keeps_its_study_and_goes_on_with_it(capsys):
    search = ("search=tpe", "optim.lr=tag(log,interval(0.001,0.9))", *TWO)
    assert sweep(*search, "search.trials=3") == 0
    first = calls(TRIED)
    assert len(first) == 3
    best = max(rates(first))
    said = capsys.readouterr().err
    assert "a search of 3 trials, tpe on val_accuracy, ended early by median\n" in said
    assert f"best: val_accuracy {best:.4f}\nagain: python -m framework.train model.weights=null " in said
    assert f" optim.lr={best}\n" in said
    assert "importance for val_accuracy: not known: it takes 10 finished trials\n" in said
    assert sweep(*search, "search.trials=4") == 0
    assert len(calls(TRIED)) == 1
    assert states() == ["COMPLETE"] * 4
    capsys.readouterr()
    assert sweep(*search, "search.trials=4") == 0
    said = capsys.readouterr().err
    assert calls(TRIED) == []
    assert "nothing is left to do\nbest: val_accuracy" in said


def test_numbers_have_the_digits_that_matter_and_the_run_has_the_same():
    assert sweep("search=random", LR, "search.trials=3", "search.seed=1") == 0
    for entry in index()["runs"]:
        text = entry["folder"].removeprefix("optim.lr=")
        assert len(text) <= len("0.1234")
        assert [text] == [line.partition("=")[2] for line in entry["overrides"] if line.startswith("optim.lr=")]
        assert {float(text)} == rates([entry["folder"]])


def test_what_a_search_is_told_is_no_part_of_its_runs():
    assert sweep("search=random", "search.trials=1", LR, "search.storage=here.journal") == 0
    (folder,) = calls(TRIED)
    assert RunFolder(TRIED / folder).read_config()["search"]["name"] == "none"
    assert "here.journal" not in (TRIED / folder / "config.yaml").read_text()
    assert not any(line.startswith("search.") for line in index()["runs"][0]["overrides"])


@pytest.mark.slow
@effect("search/pruner=median")
def test_a_search_prunes_what_lags_behind_and_leaves_it_so(capsys):
    search = ["search=grid", "optim.lr=0.9,0.8,0.7,0.6,0.5,0.4,0.1,0.05", "trainer.epochs=20", *TWO]
    assert sweep(*search, work=learn) == 0
    said = capsys.readouterr().err
    runs = {run["folder"]: run for run in index()["runs"]}
    pruned = {name for name, run in runs.items() if run["status"] == "pruned"}
    assert pruned
    assert pruned <= {"optim.lr=0.4", "optim.lr=0.1", "optim.lr=0.05"}
    assert f"{8 - len(pruned)} finished" in said
    assert f"{len(pruned)} pruned" in said
    for name in pruned:
        run, rows = RunFolder(TRIED / name).read_run(), RunFolder(TRIED / name).read_history()
        assert 3 <= len(rows) < 20
        assert run["pruned"] == {"metric": "val_accuracy", "value": rows[-1]["val_accuracy"], "epoch": len(rows)}
        assert "is not above the median of earlier trials" in run["reason"]
        assert outcome(RunFolder(TRIED / name), None).value == rows[-1]["val_accuracy"]
    assert sorted(states()) == ["COMPLETE"] * (8 - len(pruned)) + ["PRUNED"] * len(pruned)
    assert all(len(trial.intermediate_values) >= 3 for trial in study().trials)
    assert "best: val_accuracy 1.8000" in said
    # the same trials again, as variants of a plain sweep: none is begun anew
    assert sweep(*search[1:], work=learn) == 0
    assert f"{len(pruned)} pruned before, skipped" in capsys.readouterr().err


@pytest.mark.slow
@effect("search/pruner=none")
def test_a_search_prunes_nothing_if_told_so(capsys):
    search = ["search=grid", "optim.lr=0.9,0.8,0.7,0.6,0.5,0.1", "search.pruner=none", "trainer.epochs=4", *TWO]
    assert sweep(*search, work=learn) == 0
    said = capsys.readouterr().err
    assert "none ended early" in said
    assert "6 runs: 6 finished" in said


@pytest.mark.slow
def test_failed_trials_do_not_end_a_search_and_are_run_again(capsys):
    search = ("search=tpe", "search.seed=1", "search.trials=6", "sweep.jobs=2", "optim.lr=13,0.5")
    assert sweep(*search) == 1
    assert sorted(calls(TRIED)) == ["optim.lr=0.5", "optim.lr=13"]
    failed = states().count("FAIL")
    assert failed
    capsys.readouterr()
    assert sweep(*search) == 1
    assert calls(TRIED) == ["optim.lr=13"]
    assert f"{failed} failed before, run again\n" in capsys.readouterr().err


def test_a_search_whose_trials_all_fail_says_so(capsys):
    assert sweep("search=tpe", "optim.lr=13,9", "search.trials=3", "sweep.jobs=2") == 1
    said = capsys.readouterr().err
    assert "! optim.lr=" in said
    assert "best:" not in said


def nowhere(job):
    """A run whose best epoch has no number."""
    folder = RunFolder(job.folder)
    folder.config.write_text(job.config)
    best = {"epoch": 1, "monitor": "val_accuracy", "metrics": {"val_accuracy": float("nan")}}
    folder.write_run({"overrides": list(job.overrides), "status": "finished", "best": best})


def test_a_metric_that_is_no_number_is_told(capsys):
    assert sweep("search=random", LR, "search.trials=2", work=nowhere) == 1
    assert capsys.readouterr().err.count(": val_accuracy is no number\n") == 2
    assert states() == ["FAIL"] * 2


@pytest.mark.slow
@effect("search=grid")
def test_a_grid_is_every_combination_once_and_goes_on(capsys):
    search = ["search=grid", "optim.lr=0.1,0.2,0.3", "head.dropout=range(0,0.5,0.25)", "sweep.jobs=2"]
    assert sweep(*search, "search.trials=4") == 0
    assert len(calls(TRIED)) == 4
    assert sweep(*search) == 0
    assert "a search of 6 trials, grid on val_accuracy" in capsys.readouterr().err
    assert len(calls(TRIED)) == 2
    assert {run["folder"] for run in index()["runs"]} == {
        f"head.dropout={dropout}__optim.lr={lr}" for lr in (0.1, 0.2, 0.3) for dropout in ("0.0", 0.25)
    }
    assert sweep(*search) == 0
    assert calls(TRIED) == []


@pytest.mark.slow
def test_keys_of_an_option_that_is_not_chosen_are_left_out():
    keys = ["optim=adam,sgd", "optim.momentum=0.0,0.9", "optim.nesterov=true"]
    assert sweep("search=grid", *keys, "optim.lr=0.5", "sweep.jobs=2") == 0
    folders = {run["folder"]: run["overrides"] for run in index()["runs"]}
    assert set(folders) == {"optim=adam", "optim.momentum=0.0__optim=sgd", "optim.momentum=0.9__optim=sgd"}
    assert "optim.nesterov=true" not in folders["optim=adam"]
    assert "optim.nesterov=true" in folders["optim.momentum=0.9__optim=sgd"]
    told = json.loads((TRIED / "search.json").read_text())["trials"]
    assert {"optim": "adam"} in [trial["values"] for trial in told]


@pytest.mark.slow
def test_runs_that_finished_before_are_told_to_the_search(capsys):
    assert sweep("optim.lr=0.25,0.5,13", "trainer.epochs=3", "sweep.jobs=1") == 1
    calls(TRIED)
    search = ["search=random", "optim.lr=interval(0.1,0.9)", "search.trials=3", "trainer.epochs=3"]
    assert sweep(*search) == 0
    assert "; 2 of before, 2 of them runs that the search did not draw\n" in capsys.readouterr().err
    assert len(calls(TRIED)) == 1
    assert {trial.params["optim.lr"] for trial in study().trials} > {0.25, 0.5}
    assert states() == ["COMPLETE"] * 3
    with pytest.raises(BadInput, match=r"was made with other values: trainer.epochs=3 → trainer.epochs=4"):
        sweep(*search[:3], "trainer.epochs=4")


@pytest.mark.slow
def test_what_the_plugin_has_found_is_told_from_its_runs_folders(capsys):
    assert sweep("optim.lr=0.31622776601683794,0.5") == 0
    (TRIED / "study.db").touch()
    calls(TRIED)
    assert sweep("search=tpe", "optim.lr=tag(log,interval(0.001,0.9))", "search.trials=2") == 0
    said = capsys.readouterr().err
    assert "study.db, of Optuna's plugin, is not read: what its runs came to is told from their folders\n" in said
    assert "; 2 of before, 2 of them runs that the search did not draw\n" in said
    assert calls(TRIED) == []


@pytest.mark.slow
def test_a_launcher_is_given_as_many_trials_as_run_at_once(capfd):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    launcher = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=1", "sweep.jobs=2")
    assert sweep("search=random", LR, "search.trials=3", *launcher) == 0
    said = capfd.readouterr().err
    assert "3 runs: 3 finished" in said
    assert len(calls(TRIED)) == 3
    assert states() == ["COMPLETE"] * 3


@pytest.mark.slow
def test_another_space_is_another_study_that_knows_the_runs_of_the_first():
    assert sweep("search=random", "optim.lr=0.1,0.2", "search.trials=1", "search.seed=1") == 0
    assert sweep("search=grid", "optim.lr=0.1,0.2,0.3") == 0
    assert len(calls(TRIED)) == 3
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(TRIED / "study.journal")))
    names = [one.study_name for one in optuna.get_all_study_summaries(storage)]
    assert names[0] == "tried"
    assert names[1].startswith("tried-")
    assert [len(study(name).trials) for name in names] == [1, 3]


@effect("search.objectives")
def test_several_objectives_end_in_a_front(capsys):
    search = ["search=nsgaii", LR, "search.trials=4", "search.objectives=[val_accuracy,val_loss]"]
    assert sweep(*search) == 0
    said = capsys.readouterr().err
    assert "a search of 4 trials, nsgaii on val_accuracy and val_loss, none ended early\n" in said
    # val_loss falls as val_accuracy rises: one run has both
    assert "1 on the Pareto front of val_accuracy and val_loss:\n  val_accuracy 0." in said
    assert [one.name for one in study().directions] == ["MAXIMIZE", "MINIMIZE"]


def test_a_search_goes_where_the_checkpoint_says():
    assert sweep("search=tpe", LR, "search.trials=1", "callbacks.checkpoint.mode=min") == 0
    assert study().direction == optuna.study.StudyDirection.MINIMIZE


@effect("search.timeout")
def test_no_trial_begins_after_the_time_is_over():
    assert sweep("search=random", LR, "search.trials=999", "search.timeout=1s", "sweep.jobs=1") == 0
    assert 0 < len(calls(TRIED)) < 100


@pytest.mark.slow
@effect("search.storage")
@pytest.mark.parametrize("storage", ["mine/study.journal", "sqlite:///study.db"])
def test_the_study_is_where_it_is_to_be(storage):
    search = ["search=random", LR, f"search.storage={storage}"]
    assert sweep(*search, "search.trials=2") == 0
    assert sweep(*search, "search.trials=3") == 0
    assert len(calls(TRIED)) == 3
    assert Path(storage.rpartition("///")[2]).is_file()
    assert not (TRIED / "study.journal").exists()


def test_a_storage_that_can_not_be_had_is_told_and_nothing_is_started():
    with pytest.raises(BadInput, match=r"the study can't be kept where search.storage says"):
        sweep("search=tpe", LR, "search.storage=nothing://here")
    assert calls(TRIED) == []


@pytest.mark.slow
@effect("search.space")
def test_a_recipe_keeps_a_space_and_what_is_typed_counts_more():
    Path("recipes/mine").mkdir(parents=True)
    Path("recipes/mine/README.md").write_text("# Mine\n")
    text = "# Mine.\ndefaults:\n  - override /search: random\nsearch:\n  trials: 2\n  space:\n"
    text += "    optim.lr: tag(log, interval(0.01, 0.1))\n    head.dropout: choice(0.1, 0.2)\n"
    Path("recipes/mine/recipe.yaml").write_text(text)
    assert sweep("recipe=mine", "head.dropout=0.3") == 0
    folders = calls(TRIED)
    assert len(folders) == 2
    assert all(0.01 <= rate <= 0.1 for rate in rates(folders))
    assert {RunFolder(TRIED / name).read_config()["head"]["dropout"] for name in folders} == {0.3}
    assert {RunFolder(TRIED / name).read_config()["search"]["name"] for name in folders} == {"none"}
    assert index()["varied"] == ["optim.lr"]


@effect("search=none", "search.name", "search.pruner.name")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["search=tpe"], "a search draws values of keys, and no key has several"),
        (["search=tpe", "optim.lr=tag(log,interval(0,1))"], "a logarithmic one begins above 0, not at 0"),
        (["search=tpe", "optim.lr=interval(2,1)"], "1 is not above 2"),
        (["search=grid", LR], "search=grid tries every value, and optim.lr has endlessly many"),
        (["search=cmaes", LR], "search=cmaes draws numbers, of 2 keys at least, and 1 has such"),
        (["search=tpe", LR, "search.trials=null"], "search=tpe could go on for ever"),
        (["search=tpe", LR, "search.timeout=soon"], "search.timeout=soon is no time"),
        (["search=tpe", LR, "sweep.seeds=2"], "sweep.seeds=2 repeats variants, and a search has none to repeat"),
        (["search=tpe", LR, "search.trails=2"], "sampler 'tpe' has no parameter 'trails'"),
        (["search=tpe,random", LR], "search is how the search goes about it: it has one value"),
        (["search=tpee", LR], "there is no search 'tpee'"),
        (["hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", LR], "a search is no plugin of Hydra's any more"),
        (["search=none", LR], "optim.lr: an interval is drawn from, it can't be tried value by value"),
        (["search.trials=4", "optim.lr=0.1,0.2"], "search.trials is set, and no search is chosen"),
        (["search.pruner=none", "optim.lr=0.1,0.2"], "search.pruner is set, and no search is chosen"),
        (["search=tpe", "optim=adam,sgd", "optim.momentm=0.1,0.2"], "has no parameter 'momentm'"),
        (["search=tpe", "optim.lr=interval(-1,0.5)"], "optim.lr=-1.0 is not a number above 0"),
    ],
)
def test_what_can_not_be_searched_is_told_before_anything_starts(arguments, said):
    with pytest.raises(BadInput, match=said.replace(".", r"\.")):
        sweep(*arguments)
    assert not TRIED.exists()


WORKER = """
import sys
sys.path.insert(0, {root!r})
sys.argv = ['train.py']
from framework.core.errors import BadInput
import framework.sweeps.study as study
study.BEAT_EVERY, study.SILENT = 1, 2
from framework.sweeps.sweep import Sweep
Sweep._compare = lambda self, comparison: None
from tests.sweeps.common import hang_twice, sweep
sys.exit(sweep(*{arguments!r}, work=hang_twice))
"""


def worker(*arguments):
    code = WORKER.format(root=str(Path(__file__).parents[2]), arguments=arguments)
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)


def wait(until):
    deadline = time.monotonic() + 90
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["null", "sqlite:///study.db"])
def test_a_trial_that_was_interrupted_or_killed_is_handed_out_again(storage):
    search = ["search=grid", "optim.lr=0.6,0.1,0.2,0.3,0.4", "sweep.jobs=1", f"search.storage={storage}"]
    done = lambda: (TRIED / "calls.txt").read_text().split() if (TRIED / "calls.txt").exists() else []  # noqa: E731
    first = worker(*search)
    wait(lambda: done() == ["optim.lr=0.6"])
    first.send_signal(signal.SIGINT)
    said = first.communicate(timeout=90)[1]
    assert "stopping 1 run under way; each saves its state\nthe same command goes on from here:\n" in said
    second = worker(*search)
    wait(lambda: done() == ["optim.lr=0.6"] * 2)
    third = worker(*search)
    wait(lambda: len(done()) == 3)
    second.kill()
    second.communicate(timeout=60)
    said = third.communicate(timeout=90)[1]
    assert third.returncode == 0
    assert sorted(done()) == [f"optim.lr=0.{number}" for number in (1, 2, 3, 4, 6, 6, 6)]
    assert "best: val_accuracy 0.6000" in said
    assert {run["status"] for run in index()["runs"]} == {"finished"}
    at = f"sqlite:///{Path('study.db').absolute()}" if storage != "null" else None
    found = optuna.load_study(study_name="tried", storage=at) if at else study()
    assert sorted(states(found)) == ["COMPLETE"] * 5 + ["FAIL"] * 2

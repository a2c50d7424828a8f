"""A sweep as its user sees it: folders, what is skipped, what fails, what changed, and how it ends."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from framework.core.errors import BadInput, RunFailed
from framework.core.runs import RunFolder
from tests.options.counted import effect
from tests.sweeps.common import calls, sweep

TRIED = Path("sweeps/tried")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.setattr("framework.sweeps.summary._compare", lambda comparison, folder: None)


def status(name):
    return RunFolder(TRIED / name).read_run()["status"]


def index():
    return json.loads((TRIED / "sweep.json").read_text())


@pytest.mark.slow
def test_folders_are_named_by_what_was_varied():
    assert sweep("optim.lr=0.1,0.2", "head.hidden=[],[8,4]", "trainer.epochs=3") == 0
    names = {"head.hidden=none__optim.lr=0.1", "head.hidden=8-4__optim.lr=0.2"}
    assert names < {path.name for path in TRIED.iterdir()}
    assert (TRIED / "head.hidden=8-4__optim.lr=0.2" / ".hydra" / "overrides.yaml").exists()
    assert index()["varied"] == ["optim.lr", "head.hidden"]
    assert index()["command"].startswith("python -m framework.train -m sweep.name=tried")
    assert [run["status"] for run in index()["runs"]] == ["finished"] * 4


@pytest.mark.slow
def test_finished_runs_are_skipped_and_new_ones_added(capsys):
    begun = []
    assert sweep("optim.lr=0.1,0.2") == 0
    assert sorted(calls(TRIED)) == ["optim.lr=0.1", "optim.lr=0.2"]
    assert sweep("optim.lr=0.1,0.2", begin=lambda: begun.append(1)) == 0
    assert (calls(TRIED), begun) == ([], [])
    assert "2 runs: 2 finished before, skipped\n" in capsys.readouterr().err
    assert sweep("optim.lr=0.1,0.3", begin=lambda: begun.append(1)) == 0
    assert (calls(TRIED), begun) == (["optim.lr=0.3"], [1])
    assert [run["folder"] for run in index()["runs"]] == ["optim.lr=0.1", "optim.lr=0.2", "optim.lr=0.3"]


@pytest.mark.slow
def test_a_failed_run_stops_no_other_and_is_run_again(capsys):
    assert sweep("optim.lr=13,0.2,9,0.3", "sweep.jobs=1") == 1
    assert calls(TRIED) == ["optim.lr=13", "optim.lr=0.2", "optim.lr=9", "optim.lr=0.3"]
    said = capsys.readouterr().err
    assert "optim.lr=13  FAILED: the loss is not finite  " in said
    assert "4 runs: 2 failed, 2 finished\n" in said
    assert "! optim.lr=13: the loss is not finite\n  sweeps/tried/optim.lr=13/log.txt\n" in said
    assert "! optim.lr=9: killed by SIGKILL (out of memory?)\n  sweeps/tried/optim.lr=9/log.txt\n" in said
    assert "best: val_accuracy 0.3000\nagain: python -m framework.train optim.lr=0.3\n" in said
    assert (status("optim.lr=9"), status("optim.lr=0.3")) == ("failed", "finished")
    assert {run["folder"]: run["reason"] for run in index()["runs"]}["optim.lr=9"].startswith("killed by SIGKILL")
    assert sweep("optim.lr=13,0.2,9,0.3", "sweep.jobs=1") == 1
    assert calls(TRIED) == ["optim.lr=13", "optim.lr=9"]


@pytest.mark.slow
def test_an_unfinished_run_is_run_again_from_an_empty_folder():
    sweep("optim.lr=0.1,0.2")
    calls(TRIED)
    folder = RunFolder(TRIED / "optim.lr=0.1")
    folder.write_run({**folder.read_run(), "status": "running"})
    folder.checkpoints.mkdir()
    (TRIED / "optim.lr=0.2" / "run.json").unlink()
    assert sweep("optim.lr=0.1,0.2") == 0
    assert sorted(calls(TRIED)) == ["optim.lr=0.1", "optim.lr=0.2"]
    assert not folder.checkpoints.exists()


def test_an_interrupted_run_that_left_its_state_is_resumed(capsys):
    sweep("optim.lr=0.1")
    folder = RunFolder(TRIED / "run")
    folder.write_run({**folder.read_run(), "status": "stopped"})
    folder.state.touch()
    assert sweep("optim.lr=0.1") == 0
    assert "1 run: 1 interrupted before, resumed\n" in capsys.readouterr().err
    assert folder.state.exists()


@pytest.mark.slow
def test_more_epochs_may_be_allowed():
    sweep("optim.lr=0.1,0.2", "trainer.epochs=3")
    calls(TRIED)
    assert sweep("optim.lr=0.1,0.2", "trainer.epochs=5", "resume.allow=[trainer.epochs]") == 0
    assert sorted(calls(TRIED)) == ["optim.lr=0.1", "optim.lr=0.2"]


@pytest.mark.slow
def test_a_run_whose_config_changed_is_not_mixed_in():
    sweep("optim.lr=0.1,0.2", "trainer.epochs=3")
    calls(TRIED)
    before = {path: path.stat().st_mtime_ns for path in TRIED.rglob("*") if path.parent != TRIED and path.is_file()}
    with pytest.raises(BadInput) as error:
        sweep("optim.lr=0.1,0.2,0.3", "trainer.epochs=5")
    assert [problem.what for problem in error.value.problems] == [
        f"the run sweeps/tried/optim.lr={lr} was another experiment:\n  trainer.epochs: 3 → 5" for lr in (0.1, 0.2)
    ]
    assert error.value.problems[0].right == "sweep.name=ANOTHER_NAME, which keeps both"
    assert calls(TRIED) == []
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert not (TRIED / "optim.lr=0.3").exists()
    assert sweep("optim.lr=0.1,0.2", "trainer.epochs=3", "sweep.jobs=1", "sweep.metric=val_loss") == 0


@pytest.mark.slow
@effect("sweep.fail_fast")
def test_the_first_failure_stops_all_if_told_to(capsys):
    with pytest.raises(RunFailed, match="first failure"):
        sweep("optim.lr=60,13,0.2", "sweep.jobs=2", "sweep.fail_fast=true")
    assert sorted(calls(TRIED)) == ["optim.lr=13", "optim.lr=60"]
    assert [run["status"] for run in index()["runs"]] == ["interrupted", "failed", "waiting"]


@pytest.mark.slow
@effect("sweep.seeds")
def test_seeds_repeat_each_variant():
    assert sweep("optim.lr=0.1,0.2", "sweep.seeds=2") == 0
    assert sorted(calls(TRIED)) == [f"optim.lr={lr}__trainer.seed={seed}" for lr in (0.1, 0.2) for seed in (1, 2)]
    assert RunFolder(TRIED / "optim.lr=0.1__trainer.seed=2").read_run()["seed"] == 2
    with pytest.raises(BadInput, match=r"sweep\.seeds=2 sets trainer.seed, and so does the command line"):
        sweep("optim.lr=0.1,0.2", "trainer.seed=3", "sweep.seeds=2")


def test_hydra_composes_runs_that_differ_in_values_alone_once(monkeypatch):
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    composes, composed = ConfigLoaderImpl.load_sweep_config, []

    def counted(self, *given, **named):
        composed.append(given)
        return composes(self, *given, **named)

    monkeypatch.setattr(ConfigLoaderImpl, "load_sweep_config", counted)
    assert sweep("optim.lr=0.1,0.2,0.3") == 0
    assert len(composed) == 1


def test_every_bad_variant_is_named_before_the_first_run():
    with pytest.raises(BadInput) as error:
        sweep("optim.lr=0.1,fast", "model=cnn,mobilnet", "trainer.epoch=1")
    assert [problem.what for problem in error.value.problems] == [
        "there is no key 'trainer.epoch'",
        "there is no model 'mobilnet'",
        "optim.lr=fast is not a number above 0",
    ]
    assert not TRIED.exists()


def test_the_folder_is_where_hydra_is_told(tmp_path):
    assert sweep("optim.lr=0.1", f"hydra.sweep.dir={tmp_path}/other") == 0
    assert calls(tmp_path / "other") == ["run"]


def test_what_a_run_says_goes_to_its_log(capfd):
    sweep("optim.lr=0.1,0.2")
    assert "working" not in capfd.readouterr().out
    assert (TRIED / "optim.lr=0.1" / "log.txt").read_text() == "working\n"


def test_the_command_is_kept_as_it_was_typed(tmp_path):
    (tmp_path / "a b").mkdir()
    typed = ["recipes='a b'", "optim.lr=0.1,0.2", "callbacks.checkpoint.filename='{epoch:02d}'"]
    assert sweep(*typed) == 0
    assert shlex.split(index()["command"]) == ["python", "-m", "framework.train", "-m", "sweep.name=tried", *typed]


def test_a_launcher_that_needs_no_other_process_leaves_the_terminal_to_the_sweep(capfd):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    assert sweep("optim.lr=0.1,0.2", "hydra/launcher=joblib", "hydra.launcher.n_jobs=1") == 0
    out, said = capfd.readouterr()
    assert "working" not in out + said
    assert "[2/2]  optim.lr=0.2  val_accuracy 0.2000" in said
    assert (TRIED / "optim.lr=0.2" / "log.txt").read_text() == "working\n"


@pytest.mark.slow
@effect("sweep.metric", "sweep.direction")
def test_the_best_run_follows_the_metric_and_its_direction(capsys):
    sweep("optim.lr=0.1,0.2", "sweep.metric=val_loss")
    assert "best: val_loss 0.8000" in capsys.readouterr().err
    sweep("optim.lr=0.1,0.2", "sweep.metric=val_accuracy", "sweep.direction=minimize")
    assert "best: val_accuracy 0.1000" in capsys.readouterr().err


@pytest.mark.slow
def test_less_is_better_where_the_checkpoint_says_so(capsys):
    sweep("optim.lr=0.1,0.2", "callbacks.checkpoint.mode=min")
    assert "best: val_accuracy 0.1000" in capsys.readouterr().err
    # sweep.direction has the last word
    sweep("optim.lr=0.1,0.2", "callbacks.checkpoint.mode=min", "sweep.direction=maximize")
    assert "best: val_accuracy 0.2000" in capsys.readouterr().err


def test_the_index_says_how_runs_are_judged_and_what_comes_next_is_told(capsys):
    sweep("optim.lr=0.1,0.2", "sweep.metric=val_loss", "sweep.direction=maximize")
    assert (index()["metric"], index()["direction"]) == ("val_loss", "maximize")
    assert capsys.readouterr().err.endswith("\nnext: python -m framework.evaluate run=sweeps/tried\n")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interruption_reaches_the_runs(number, tmp_path):
    code = "import sys; sys.argv = ['train.py']; from tests.sweeps.common import sweep; sweep('optim.lr=60,61')"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen([sys.executable, "-c", code], env=env, stderr=subprocess.PIPE, text=True)
    _wait(lambda: (TRIED / "optim.lr=60" / "log.txt").exists() and (TRIED / "calls.txt").exists())
    os.kill(process.pid, number)
    said = process.communicate(timeout=90)[1]
    _wait(lambda: not _alive(process.pid))
    if number == signal.SIGINT:
        command = "python -m framework.train -m sweep.name=tried optim.lr=60,61"
        assert re.search("^stopping [12] runs? under way; each saves its state$", said, re.MULTILINE)
        assert f"the same command goes on from here:\n  {command}\n" in said
        assert index()["runs"][0]["status"] == "interrupted"
    _wait(lambda: (TRIED / "optim.lr=60" / "log.txt").read_text().endswith("interrupted\n"))


def _wait(until):
    deadline = time.monotonic() + 60
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _alive(pid):
    return Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[-1][:3]


def test_multirun_yaml_is_hydras_own():
    sweep("optim.lr=0.1")
    assert yaml.safe_load((TRIED / "multirun.yaml").read_text())["hydra"]["mode"] == "MULTIRUN"


@pytest.mark.slow
def test_another_launcher_runs_what_is_not_done(capfd):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    launcher = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert sweep("optim.lr=0.1,0.2,13", *launcher) == 1
    assert sorted(calls(TRIED)) == ["optim.lr=0.1", "optim.lr=0.2", "optim.lr=13"]
    out, said = capfd.readouterr()
    assert "3 runs: 2 finished, 1 failed" in said
    assert "[3/3]  optim.lr=" in said
    assert "working" not in out + said
    assert {(TRIED / f"optim.lr={lr}" / "log.txt").read_text() for lr in (0.1, 0.2)} == {"working\n"}
    assert (TRIED / "optim.lr=13" / "log.txt").read_text() == "working\nthe loss is not finite\n"
    assert sweep("optim.lr=0.1,0.2,0.3", *launcher) == 0
    assert calls(TRIED) == ["optim.lr=0.3"]
    assert [run["status"] for run in index()["runs"]] == ["finished", "finished", "failed", "finished"]

"""Where the runs of a sweep are: cards and threads of this machine, jobs of Slurm's, and what can be known wrong before."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import logging
import os
import signal
import socket
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from framework.cli.command import launch
from framework.cli.compose import compose
from framework.cli.primary import take_primary_config
from framework.cli.unfinished import take_resume
from framework.core.errors import BadInput
from framework.core.runs import RunFolder
from framework.core.travelling import travelling
from framework.runs.preflight import preflight
from framework.sweeps import cards, on_slurm, summary
from framework.sweeps.attending import UNFIT, Attending
from framework.sweeps.cards import Cards
from framework.sweeps.engines import Call, Engine, all_ended, engine_of
from framework.sweeps.on_slurm import OnSlurm
from framework.sweeps.request import SweepRequest
from framework.sweeps.worker import driver, ordered
from tests.conftest import bash
from tests.options.counted import effect
from tests.options.made import settings
from tests.sweeps.common import calls, dies_once, sweep, work

TRIED = Path("sweeps/tried")


@pytest.fixture(autouse=True)
def alone(here, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.setattr(summary, "_compare", lambda *_: None)


@pytest.fixture
def four_cards(tmp_path, monkeypatch):
    """A stand-in for a machine with four cards."""
    devices = tmp_path / "dev"
    devices.mkdir()
    for name in ("nvidia0", "nvidia1", "nvidia2", "nvidia10", "nvidiactl", "nvidia-uvm"):
        (devices / name).touch()
    monkeypatch.setattr(cards, "DEVICES", devices)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


class Stub(Engine):
    """Calls that end when they are told to."""

    def __init__(self, *sizes):
        self.sizes, self.running, self.most = list(sizes), [], []

    @property
    def room(self):
        return self.sizes[0]

    def start(self, place, call):
        self.running.append(place)

    def ended(self, patience):
        self.most.append(len(self.running))
        self.sizes = self.sizes[1:] or self.sizes
        return [(self.running.pop(0), 0, "")]

    def stop(self, place):
        raise AssertionError("nobody is to be stopped")

    def interrupt(self):
        self.running.clear()


def test_what_becomes_free_is_filled_at_once_and_a_cluster_that_grows_is_used():
    stub = Stub(1, 1, 3)
    ended = [one.place for one in all_ended([Call(int)] * 7, stub, lambda: stub.room)]
    assert ended == list(range(7))
    assert stub.most == [1, 1, 3, 3, 3, 2, 1]


def made(calls, compute):
    """What calls may use that are made on this machine, a line each, and how many there is room for."""
    request = SweepRequest("tried", Path("tried"), (), (), (), None, (), compute=compute)
    with engine_of(request) as engine:
        room = engine.room
        assert all(one.code == 0 for one in all_ended(map(Call, calls), engine, lambda: room))
    return [json.loads(line) for line in Path("uses.txt").read_text().splitlines()], room


def note():
    names = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
    with open("uses.txt", "a") as file:
        file.write(json.dumps([os.environ.get(name) for name in names]) + "\n")
    time.sleep(0.3)
    return 0


def compute(**given):
    return dataclasses.replace(settings().compute, **given)


@effect("compute=local", "compute.engine", "compute.gpus")
def test_each_run_of_a_machine_with_cards_gets_its_own(four_cards):
    used, room = made([note] * 4, compute())
    assert (sorted(card for card, *_ in used), room) == (["0", "1", "10", "2"], 4)
    used, room = made([note] * 2, compute(gpus=2))
    assert ({card for card, *_ in used[4:]}, room) == ({"0,1", "2,10"}, 2)
    used, room = made([note], compute(gpus=0))
    assert used[-1][0] == "-1"
    assert room >= len(os.sched_getaffinity(0))


@effect("compute.cpus")
def test_a_run_computes_with_as_many_threads_as_it_has_cores():
    cores = len(os.sched_getaffinity(0))
    used, room = made([note], compute(cpus=cores))
    assert (used, room) == ([[None, str(cores), str(cores)]], 1)


def test_cards_are_dealt_out_evenly(four_cards, monkeypatch):
    halves = Cards(0.5)
    assert halves.room == 8
    dealt = [halves.take() for _ in range(6)]
    assert dealt == [("0",), ("1",), ("2",), ("10",), ("0",), ("1",)]
    halves.give_back(("2",))
    assert halves.take() == ("2",)
    assert (Cards(2).room, Cards(3).room, Cards(9).room, Cards(0).room) == (2, 1, 1, 0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-8a,GPU-9b")
    assert cards.cards() == ("GPU-8a", "GPU-9b")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert cards.cards() == ()


def test_what_says_something_of_the_work_travels_and_nothing_of_the_machine():
    mine = {"TF_CPP_MIN_LOG_LEVEL": "3", "AWS_PROFILE": "a", "https_proxy": "b", "FRAMEWORK_RECIPES": "c"}
    machines = {"PATH": "/bin", "HOME": "/root", "CUDA_VISIBLE_DEVICES": "0", "TF_CONFIG": "{}", "SLURM_JOB_ID": "1"}
    assert travelling({**mine, **machines}) == mine


def test_an_order_is_carried_out_as_if_it_were_here(tmp_path, monkeypatch):
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")  # as Ray Train sets it
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    code = "import os; print(os.environ.get('TF_USE_LEGACY_KERAS'), os.environ['OMP_NUM_THREADS'], os.getcwd())"
    order = ordered(Call(partial(exec, code), tmp_path / "run"), cpus=3)
    order = dataclasses.replace(order, environment={**order.environment, "TF_USE_LEGACY_KERAS": ""})
    assert Attending(dataclasses.replace(order, home="/nowhere"))() == (0, "")
    assert Attending(order)() == (0, "")
    assert (tmp_path / "run" / "log.txt").read_text() == f" 3 {tmp_path / 'run'}\n 3 {Path.cwd()}\n"


def test_a_folder_that_is_not_shared_is_told_and_a_killed_process_is_no_exit_code(tmp_path):
    order = ordered(Call(int, tmp_path / "run"))
    code, reason = Attending(dataclasses.replace(order, folder="/nowhere/run"))()
    assert (code, reason.startswith("/nowhere/run is not there on ")) == (UNFIT, True)
    killed = Attending(ordered(Call(partial(signal.raise_signal, signal.SIGKILL), tmp_path / "run")))
    with pytest.raises(ChildProcessError) as error:
        killed()
    assert error.value.args == (9,)


def test_another_version_is_not_worked_with(tmp_path):
    order = ordered(Call(int, tmp_path))
    assert Attending(dataclasses.replace(order, arguments=(*order.arguments[:-1], "0.0.1")))() == (UNFIT, "")
    assert "the command is of framework 0.0.1, and here is " in (tmp_path / "log.txt").read_text()


@pytest.fixture
def stand_in(monkeypatch):
    """Submitit's own stand-in for Slurm: jobs are processes of this machine."""
    monkeypatch.setattr(on_slurm, "CLUSTER", "local")


@pytest.mark.slow
@effect("compute=slurm", "compute.retries")
def test_a_sweep_of_jobs_is_as_one_of_processes(stand_in, capsys):
    given = ("optim.lr=0.1,13,0.6", "compute.retries=1")
    assert sweep(*given, "compute=slurm", work=dies_once) == 1
    said = capsys.readouterr().err
    assert "3 at once on Slurm; what a run says goes to log.txt in its folder\n" in said
    assert "optim.lr=13  FAILED: the loss is not finite  " in said
    assert "3 runs: " in said
    assert "1 failed" in said
    assert sorted(calls(TRIED)) == ["optim.lr=0.1", "optim.lr=0.6", "optim.lr=0.6", "optim.lr=13"]
    assert (TRIED / "optim.lr=0.1" / "log.txt").read_text() == "working\n"
    # and goes on here
    assert sweep("optim.lr=0.1,0.6", work=dies_once) == 0
    assert calls(TRIED) == []
    assert "2 runs: 2 finished before, skipped\n" in capsys.readouterr().err


def test_submitit_leaves_the_logging_of_others_alone(stand_in, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "submitit"]:
        monkeypatch.delitem(sys.modules, name)
    closed = []
    other = logging.NullHandler()
    other.close = lambda: closed.append(other)
    OnSlurm(compute(engine="slurm"), tmp_path)
    assert closed == []
    assert "SUBMITIT_LOG_LEVEL" not in os.environ


@effect("compute.partition", "compute.time", "compute.array")
def test_slurm_is_told_what_a_job_needs(tmp_path, monkeypatch):
    bin = tmp_path / "bin"
    bin.mkdir()
    for name, says in {"sbatch": "Submitted batch job 7", "srun": "", "squeue": ""}.items():
        (bin / name).write_text(f"#!/bin/sh\necho {says}\n")
        (bin / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(bin), prepend=os.pathsep)
    told = ("compute=slurm", "compute.partition=big", "compute.time=90m", "compute.cpus=4", "compute.gpus=1")
    engine = OnSlurm(settings(*told, "compute.array=5").compute, tmp_path / "sweep")
    assert engine.room == 5
    with engine.together():
        for place in range(2):
            engine.start(place, Call(int, tmp_path / "sweep" / str(place)))
    files = list((tmp_path / "sweep" / ".slurm").glob("*.sh"))
    lines = set(files[0].read_text().splitlines())
    assert {"#SBATCH --partition=big", "#SBATCH --time=90", "#SBATCH --cpus-per-task=4"} < lines
    assert {"#SBATCH --gpus-per-node=1", "#SBATCH --array=0-1%2", "#SBATCH --signal=USR2@90"} < lines


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"address": "host:1"}, "compute.address=host:1 changes nothing with compute=local"),
        ({"engine": "ray", "time": "2h"}, "compute.time=2h changes nothing with compute=ray"),
        ({"engine": "slurm", "time": "soon"}, "compute.time=soon is no time"),
        ({"engine": "slurm", "gpus": 0.5}, "compute.gpus=0.5: Slurm gives whole cards"),
    ],
)
def test_what_makes_no_sense_is_told(given, what):
    problems = preflight(dataclasses.replace(settings(), compute=compute(**given)))
    assert what in [problem.what for problem in problems]


def test_a_feature_pass_on_a_cluster_takes_an_address_and_no_place_of_a_run():
    spread = dataclasses.replace(settings(), cache=dataclasses.replace(settings().cache, compute="ray"))
    assert not preflight(dataclasses.replace(spread, compute=compute(address="host:1")))
    (problem,) = preflight(dataclasses.replace(spread, compute=compute(engine="ray")))
    assert problem.what == "cache.compute=ray with compute=ray: each run would hold a place while it waits for others"


def test_an_extra_that_is_missing_is_told(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "submitit" else found(name))
    problems = preflight(dataclasses.replace(settings(), compute=compute(engine="slurm")))
    (problem,) = [problem for problem in problems if "installed" in problem.what]
    assert problem.what == "compute=slurm needs submitit, which is not installed"
    assert problem.right == "pip install 'framework[slurm]'"


@pytest.mark.parametrize(
    ("overrides", "what"),
    [
        (["sweep.detach=true"], "sweep.detach hands a sweep over to a cluster, and compute=local is this machine"),
        (["compute=ray", "hydra/launcher=joblib"], "compute=ray and a launcher of Hydra's both say where runs go"),
        (["compute=local,ray"], "compute says where all runs go: it has one value"),
    ],
)
def test_a_sweep_goes_to_one_place(overrides, what):
    with pytest.raises(BadInput) as error:
        sweep("optim.lr=0.1,0.2", *overrides, preflight=preflight)
    assert what in [problem.what for problem in error.value.problems]
    assert not TRIED.exists()


@pytest.mark.parametrize(("words", "left"), [("-m optim.lr=0.1,0.2", "sweeps"), ("trainer.workers=2", "runs/*/*")])
def test_a_cluster_that_does_not_answer_is_told_in_seconds(tmp_path, words, left):
    """As it is typed."""
    done = bash(f"python -m framework.train {words} compute=ray compute.address=127.0.0.1:1", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("1 problem, nothing was started\n\nno Ray cluster answers at 127.0.0.1:1: ")
    assert not list(tmp_path.glob(left))


@pytest.mark.slow
def test_what_answers_and_is_no_cluster_is_told(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        began = time.monotonic()
        done = bash(f"python -m framework.train -m optim.lr=0.1,0.2 compute=ray compute.address={address}", tmp_path)
    assert time.monotonic() - began < 60
    assert done.returncode == 2
    assert (
        f"1 problem, nothing was started\n\nno Ray cluster answers at {address}: nothing of Ray's within 20 s\n"
        in done.stderr
    )


def test_a_single_run_goes_nowhere():
    with pytest.raises(BadInput, match="compute=ray is for the runs of a sweep, and this is a single run"):
        launch(["compute=ray"], work, lambda _: [], lambda: None, lambda *_: 0)


def test_slurm_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(BadInput, match="there is no sbatch here"):
        sweep("optim.lr=0.1,0.2", "compute=slurm")
    assert not RunFolder(TRIED / "optim.lr=0.1").path.exists()


def test_where_runs_are_makes_it_no_other_sweep():
    names = []
    for more in ([], ["compute.cpus=1", "sweep.jobs=1"]):
        given = ["-m", "optim.lr=0.1,0.2", "trainer.epochs=3", *more]
        launch(given, work, lambda _: [], lambda: None, lambda request, *_: names.append(request.name) or 0)
    assert names[0] == names[1]


def test_a_run_of_a_cluster_is_repeated_and_gone_on_with_here(tmp_path):
    run = RunFolder(tmp_path / "run")
    node = OmegaConf.to_container(compose(["compute=ray", "compute.cpus=2", "sweep.seeds=2"]).node, resolve=True)
    run.path.mkdir()
    run.config.write_text(yaml.safe_dump(node))
    run.write_run(
        {"status": "stopped", "overrides": ["optim.lr=0.1", "compute=ray", "compute.cpus=2", "sweep.seeds=2"]}
    )
    assert take_resume([f"resume={run.path}"]) == ["optim.lr=0.1", f"hydra.run.dir='{run.path}'"]
    again = compose(take_primary_config([f"from={run.path}"])).config
    assert (again["compute"]["engine"], again["compute"]["cpus"]) == ("local", None)


def test_a_command_that_is_handed_over_is_the_command(tmp_path):
    assert Attending(ordered(driver(["--version"], tmp_path), log="driver.txt"))() == (0, "")
    assert (tmp_path / "driver.txt").read_text().count(".") >= 2

"""Sweeps on a real Ray cluster of two nodes on this machine, whose processes, nodes and commands are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from framework.core.errors import BadInput
from framework.core.runs import RunFolder
from framework.sweeps import summary
from framework.sweeps.folder import read_index, rows_of
from tests.conftest import CLONE, bash
from tests.options.counted import effect
from tests.sweeps.common import calls, sweep

pytestmark = pytest.mark.slow
cluster_utils = pytest.importorskip("ray.cluster_utils")

SMALL = {"include_dashboard": False, "object_store_memory": 80_000_000}
CORES = len(os.sched_getaffinity(0))
TRIED = Path("sweeps/tried")
SWEEP = (
    "python -m framework.train -m optim.lr=0.1,0.01 sweep.name=tried trainer.epochs=60 trainer.steps_per_execution=1 "
    "model.filters=[4] model.image_size=8 data.train=40 data.validation=20 trainer.batch_size=20"
)
RUNS = ("optim.lr=0.1", "optim.lr=0.01")


class Nodes:
    """A cluster whose first node has no room for runs, so that any other can be lost; the others have room for one each."""

    def __init__(self):
        self.cluster = cluster_utils.Cluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "node_ip_address": "127.0.0.2", **SMALL}
        )
        self.words = f"compute=ray compute.address={self.cluster.address} compute.cpus={CORES}"
        self.others = [self.add("127.0.0.3"), self.add("127.0.0.4")]

    def add(self, host):
        return self.cluster.add_node(num_cpus=CORES, node_ip_address=host, **SMALL)

    def lose(self):
        """Kill a node, and have another one in its place."""
        self.cluster.remove_node(self.others.pop(0), allow_graceful=False)
        self.others.append(self.add("127.0.0.5"))


@pytest.fixture(scope="module")
def nodes():
    found = Nodes()
    yield found
    found.cluster.shutdown()


@pytest.fixture(autouse=True)
def alone(here, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.setattr(summary, "_compare", lambda *_: None)


def started(line, folder):
    """The line at work, as it is typed."""
    bin = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{bin}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(CLONE)}
    return subprocess.Popen(
        ["bash", "-c", f"exec {line}"], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
    )


def until(seen, patience=120):
    deadline = time.monotonic() + patience
    while not (found := seen()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def epochs(folder, run):
    return len(rows_of(RunFolder(folder / TRIED / run)))


def process_of(folder, run):
    return RunFolder(folder / TRIED / run).read_run()["process"]


def histories(folder):
    """All that a history says but how long it took."""
    return [
        [
            {key: value for key, value in row.items() if key != "seconds"}
            for row in rows_of(RunFolder(folder / TRIED / run))
        ]
        for run in RUNS
    ]


@effect("compute=ray", "compute.address")
def test_after_kills_of_a_process_a_node_and_the_command_the_histories_are_those_of_this_machine(nodes, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    done = bash(SWEEP, here)
    assert done.returncode == 0, done.stderr
    command = started(f"{SWEEP} {nodes.words}", there)
    first, second = RUNS
    until(lambda: epochs(there, first) >= 2 and epochs(there, second) >= 2)
    os.kill(process_of(there, first), signal.SIGKILL)
    nodes.lose()
    count = {run: epochs(there, run) for run in RUNS}
    until(lambda: all(epochs(there, run) > count[run] for run in RUNS))
    command.kill()
    command.wait()
    assert max(epochs(there, run) for run in RUNS) < 60  # else nothing was interrupted
    done = bash(f"{SWEEP} {nodes.words}", there)
    assert done.returncode == 0, done.stderr
    assert "2 at once on the Ray cluster at " in done.stderr
    assert "2 runs: 2 finished" in done.stderr
    assert histories(there) == histories(here)
    assert len(histories(here)[0]) == 60


def test_what_fails_stops_no_other_and_what_was_done_is_skipped(nodes, capsys):
    words = nodes.words.split()
    assert sweep("optim.lr=0.1,13", *words) == 1
    said = capsys.readouterr().err
    assert "optim.lr=13  FAILED: the loss is not finite  " in said
    assert "2 runs: " in said
    assert sorted(calls(TRIED)) == ["optim.lr=0.1", "optim.lr=13"]
    # killed as often as it is begun
    assert sweep("optim.lr=0.1,9", *words, "compute.retries=1") == 1
    said = capsys.readouterr().err
    assert "2 runs: 1 finished before, skipped; 1 new\n" in said
    assert "! optim.lr=9: killed by SIGKILL (out of memory?)\n" in said
    assert calls(TRIED) == ["optim.lr=9"] * 2


@effect("sweep.detach")
def test_a_sweep_that_is_handed_over_goes_on_by_itself_is_watched_and_called_back(nodes, tmp_path):
    line = f"{SWEEP} {nodes.words} sweep.detach=true"
    done = bash(line, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "is handed over to the Ray cluster at " in done.stderr
    assert "next: python -m framework.compare sweep=sweeps/tried follow=true\n" in done.stderr
    again = bash(line, tmp_path)
    assert (again.returncode, "is at work on the cluster already" in again.stderr) == (2, True)
    until(lambda: epochs(tmp_path, RUNS[0]) >= 2)
    back = bash(line.replace("detach=true", "detach=stop"), tmp_path)
    assert back.returncode == 0, back.stderr
    assert {entry["status"] for entry in read_index(tmp_path / TRIED)["runs"]} == {"interrupted"}
    # and by hand to its end
    done = bash(line, tmp_path)
    assert done.returncode == 0, done.stderr
    watched = bash("python -m framework.compare sweep=sweeps/tried follow=true", tmp_path)
    assert watched.returncode == 0, watched.stderr
    assert "[2/2]" in watched.stderr
    assert [len(rows) for rows in histories(tmp_path)] == [60, 60]


def test_a_run_that_no_machine_has_room_for_is_told(nodes):
    words = nodes.words.replace(f"compute.cpus={CORES}", "compute.cpus=64").split()
    with pytest.raises(
        BadInput, match=f"a run needs 64 cores, and no machine of the cluster has that: the largest has {CORES}"
    ):
        sweep("optim.lr=0.1,0.2", *words)


def test_trials_that_lag_behind_are_ended_there_too(nodes, capsys):
    from tests.sweeps.common import learn

    given = ("search=grid", "optim.lr=0.9,0.1", "trainer.epochs=40", "search.pruner.startup_trials=1", "sweep.jobs=1")
    assert sweep(*given, *nodes.words.split(), work=learn) == 0
    assert "2 runs: 1 finished, 1 pruned" in capsys.readouterr().err

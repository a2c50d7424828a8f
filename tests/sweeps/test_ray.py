"""Sweeps on a real Ray cluster of two nodes on this machine, whose processes, nodes and commands are killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from framework.core.errors import BadInput
from framework.core.runs import RunFolder
from framework.sweeps import summary
from framework.sweeps.folder import read_index, rows_of
from tests.conftest import CLONE, bash
from tests.options.counted import effect
from tests.sweeps.common import calls, dies_once, learn, sweep

pytestmark = pytest.mark.slow

SMALL = {"include_dashboard": False, "object_store_memory": 80_000_000}
TRIED = Path("sweeps/tried")
SWEEP = (
    "python -m framework.train -m optim.lr=0.1 sweep.name=tried trainer.epochs=40 trainer.steps_per_execution=1 "
    "model.filters=[4] model.image_size=8 data.train=40 data.validation=20 trainer.batch_size=20"
)


class Nodes:
    """A cluster of a node without room for runs, to which commands are joined, and one with room for one, which can be lost."""

    def __init__(self):
        self.cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "node_ip_address": "127.0.0.2", **SMALL}
        )
        self.words = f"compute=ray compute.address={self.cluster.address} compute.cpus=1"
        self.node = self.add("127.0.0.3")

    def add(self, host):
        return self.cluster.add_node(num_cpus=1, node_ip_address=host, **SMALL)

    def lose(self):
        """Kill the node, and have another one in its place."""
        self.cluster.remove_node(self.node, allow_graceful=False)
        self.node = self.add("127.0.0.4")


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


def history(folder):
    """All that a history says but how long it took."""
    rows = rows_of(RunFolder(folder / TRIED / "run"))
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@effect("compute=ray", "compute.address")
def test_after_a_node_is_lost_and_the_command_is_killed_the_history_is_that_of_this_machine(nodes, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    done = bash(f"{SWEEP} compute.cpus=1", here)
    assert done.returncode == 0, done.stderr
    command = started(f"{SWEEP} {nodes.words}", there)
    until(lambda: len(history(there)) >= 2)
    nodes.lose()
    count = len(history(there))
    until(lambda: len(history(there)) > count)
    command.kill()
    command.wait()
    assert count < len(history(there)) < 40  # else nothing was cut off
    done = bash(f"{SWEEP} {nodes.words}", there)
    assert done.returncode == 0, done.stderr
    assert "1 run: 1 interrupted before, resumed\n1 at once on the Ray cluster at " in done.stderr
    assert history(there) == history(here)
    assert len(history(here)) == 40


def test_a_killed_run_is_begun_again_and_one_that_fails_is_not_and_stops_no_other(nodes, capsys):
    words = nodes.words.split()
    assert sweep("optim.lr=0.6,13", *words, work=dies_once) == 1
    out, said = capsys.readouterr()
    assert "raylet" not in out + said
    assert "optim.lr=13  FAILED: the loss is not finite  " in said
    assert sorted(calls(TRIED)) == ["optim.lr=0.6", "optim.lr=0.6", "optim.lr=13"]
    assert sweep("optim.lr=0.6,9", *words, "compute.retries=0") == 1
    said = capsys.readouterr().err
    assert "2 runs: 1 finished before, skipped; 1 new\n" in said
    assert "! optim.lr=9: killed by SIGKILL (out of memory?)\n" in said
    assert calls(TRIED) == ["optim.lr=9"]


@effect("sweep.detach")
def test_a_sweep_that_is_handed_over_is_at_work_by_itself_and_can_be_called_back(nodes, tmp_path, capsys):
    given = [word for word in SWEEP.split()[4:] if not word.startswith("sweep.name")]
    given += nodes.words.split()
    assert sweep(*given, "sweep.detach=true") == 0
    said = capsys.readouterr().err
    assert "is handed over to the Ray cluster at " in said
    assert "next: python -m framework.compare sweep=sweeps/tried follow=true\n" in said
    with pytest.raises(BadInput, match="is handed over already"):
        sweep(*given, "sweep.detach=true")
    until(lambda: [run["status"] for run in read_index(TRIED).get("runs", ())] == ["running"])
    assert sweep(*given, "sweep.detach=stop") == 0
    with pytest.raises(BadInput, match="is not handed over to the Ray cluster"):
        sweep(*given, "sweep.detach=stop")
    index = read_index(TRIED)
    assert (index["at_work"], [run["status"] for run in index["runs"]]) == (False, ["interrupted"])
    said = (TRIED / "driver.txt").read_text()
    assert "stopping 1 run under way" in said
    assert "the same command goes on from here" in said


def test_a_run_that_no_machine_has_room_for_is_told(nodes):
    words = nodes.words.replace("compute.cpus=1", "compute.cpus=64").split()
    with pytest.raises(BadInput, match="needs 64 cores, and no machine of the cluster has that: the largest has"):
        sweep("optim.lr=0.1,0.2", *words)


def test_a_trial_that_lags_behind_is_ended_there_too(nodes, capsys):
    given = ("search=grid", "optim.lr=0.9,0.1", "trainer.epochs=40", "search.pruner.startup_trials=1", "sweep.jobs=1")
    assert sweep(*given, *nodes.words.split(), work=learn) == 0
    assert "2 runs: 1 finished, 1 pruned" in capsys.readouterr().err

"""Sweeps on a real Ray cluster of two nodes on this machine, whose processes, nodes and commands are killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.kills import fingerprint
from framework.core.runs import RunFolder
from framework.core.travelling import threads
from framework.sweeps.folder import read_index, rows_of
from tests.clusters import Nodes
from tests.conftest import CLONE, bash, until
from tests.options.counted import effect
from tests.sweeps.common import calls, swept

pytestmark = pytest.mark.slow

TRIED = Path("sweeps/tried")
SWEEP = (
    "python -m framework.train -m optim.lr=0.1 sweep.name=tried trainer.epochs=40 trainer.steps_per_execution=1 "
    "model.filters=[4] model.image_size=8 data.train=40 data.validation=20 trainer.batch_size=20"
)


@pytest.fixture(scope="module")
def nodes():
    # the head has no room for runs
    found = Nodes(head=0)
    yield found
    found.end()


def started(line, folder):
    """The line at work, as it is typed."""
    bin = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{bin}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(CLONE)}
    return subprocess.Popen(
        ["bash", "-c", f"exec {line}"], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
    )


def history(folder):
    """All that a history says but how long it took."""
    rows = rows_of(RunFolder(folder / TRIED / "run"))
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@effect("compute=ray", "compute.address")
@pytest.mark.slow
def test_after_a_node_is_lost_and_the_command_is_killed_the_history_is_that_of_this_machine(nodes, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    done = bash(f"{SWEEP} compute.cpus=1", here)
    assert done.returncode == 0, done.stderr
    command = started(f"{SWEEP} {nodes.words}", there)
    until(lambda: len(history(there)) >= 2)
    nodes.lose()
    nodes.add()
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


def test_a_killed_run_is_begun_again_and_one_that_fails_is_not_and_stops_no_other(nodes, tmp_path):
    done = swept(tmp_path, "optim.lr=0.6,13", nodes.words, work="dies_once")
    assert done.returncode == 1
    assert "raylet" not in done.stdout + done.stderr
    assert "optim.lr=13  FAILED: the loss is not finite  " in done.stderr
    assert sorted(calls(tmp_path / TRIED)) == ["optim.lr=0.6", "optim.lr=0.6", "optim.lr=13"]
    done = swept(tmp_path, "optim.lr=0.6,9", nodes.words, "compute.retries=0")
    assert done.returncode == 1
    assert "2 runs: 1 finished before, skipped; 1 new\n" in done.stderr
    assert "! optim.lr=9: killed by SIGKILL (out of memory?)\n" in done.stderr
    assert calls(tmp_path / TRIED) == ["optim.lr=9"]


@effect("sweep.detach")
def test_a_sweep_that_is_handed_over_is_at_work_by_itself_and_can_be_called_back(nodes, tmp_path):
    given = [word for word in SWEEP.split()[4:] if not word.startswith("sweep.name")]
    given += nodes.words.split()
    done = swept(tmp_path, *given, "sweep.detach=true")
    assert done.returncode == 0, done.stderr
    assert "is handed over to the Ray cluster at " in done.stderr
    assert "next: python -m framework.compare sweep=sweeps/tried follow=true\n" in done.stderr
    done = swept(tmp_path, *given, "sweep.detach=true")
    assert (done.returncode, "is handed over already" in done.stderr) == (2, True)
    until(lambda: [run["status"] for run in read_index(tmp_path / TRIED).get("runs", ())] == ["running"])
    assert swept(tmp_path, *given, "sweep.detach=stop").returncode == 0
    done = swept(tmp_path, *given, "sweep.detach=stop")
    assert (done.returncode, "is not handed over to the Ray cluster" in done.stderr) == (2, True)
    index = read_index(tmp_path / TRIED)
    assert (index["at_work"], [run["status"] for run in index["runs"]]) == (False, ["interrupted"])
    said = (tmp_path / TRIED / "driver.txt").read_text()
    assert "the same command goes on from here" in said


def test_a_run_that_no_machine_has_room_for_is_told(nodes, tmp_path):
    done = swept(tmp_path, "optim.lr=0.1,0.2", nodes.words.replace("compute.cpus=1", "compute.cpus=64"))
    assert done.returncode == 2
    assert "needs 64 cores, and no machine of the cluster has that: the largest has" in done.stderr


def test_a_trial_that_lags_behind_is_ended_there_too(nodes, tmp_path):
    given = ("search=grid", "optim.lr=0.9,0.1", "trainer.epochs=40", "search.pruner.startup_trials=1", "sweep.jobs=1")
    done = swept(tmp_path, *given, nodes.words, work="learn")
    assert done.returncode == 0, done.stderr
    assert "2 runs: 1 finished, 1 pruned" in done.stderr


def test_a_process_that_has_spoken_to_ray_begins_others_anew(nodes, tmp_path):
    code = (
        "import ray, sys, time; from functools import partial; from framework.sweeps.processes import in_processes; "
        "ray.init(sys.argv[1], log_to_driver=False); calls = [partial(int, '7'), partial(time.sleep, 300)]; "
        "print(sorted(one.code for one in in_processes(calls, 2, unwanted=lambda place: place == 1)))"
    )
    done = bash(f'python -c "{code}" {nodes.address}', tmp_path)
    # a copy would heed SIGTERM in Ray's way
    assert done.stdout == "[-15, 7]\n", done.stderr


@effect("compute=ray")
def test_workers_of_one_training_are_placed_on_machines_and_go_on_elsewhere(nodes, tmp_path):
    """After the tests above: it adds a machine."""
    line = (
        "python -m framework.train trainer.workers=2 hydra.run.dir=run trainer.epochs=30 trainer.steps_per_execution=1 "
        "trainer.save_steps=1 model.filters=[4] model.image_size=8 data.train=40 data.validation=20 trainer.batch_size=20"
    )
    few = bash(f"{line} {nodes.words}", tmp_path)
    assert few.returncode == 2
    assert (
        "trainer.workers=2 need 2 cores, 1 core each on one machine, and the cluster has room for 1 of them\n"
        in few.stderr
    )
    assert not (tmp_path / "run").exists()
    nodes.add()
    command = started(f"{line} {nodes.words}", tmp_path)
    folder = RunFolder(tmp_path / "run")
    until(lambda: len(rows_of(folder)) >= 2 or command.poll() is not None)
    nodes.lose()
    nodes.add()
    said = command.communicate()[1]
    assert command.returncode == 0, said
    assert "2 workers on the Ray cluster at " in said
    assert "! a worker was lost: all begin again, from the last state saved\n" in said
    assert folder.read_run()["status"] == "finished"
    assert (folder.path / ".hydra" / "overrides.yaml").is_file()
    here = bash(line.replace("=run", "=here"), tmp_path, **threads(1))
    assert here.returncode == 0, here.stderr
    assert fingerprint(folder.path) == fingerprint(tmp_path / "here")

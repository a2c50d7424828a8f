"""The feature pass on a real Ray cluster of two nodes on this machine, one of whose processes is killed at work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from framework import embed, predict
from framework.features import on_ray, shards
from tests.conftest import bash, make_images, until
from tests.evaluation.common import make_run
from tests.options.counted import effect

pytestmark = pytest.mark.slow

# in a process of its own: one that has spoken to Ray can't be forked, which other tests do
CLUSTER = """
import sys
from ray.cluster_utils import Cluster
small = {"include_dashboard": False, "object_store_memory": 80_000_000, "num_cpus": 1}
cluster = Cluster(initialize_head=True, head_node_args={"node_ip_address": "127.0.0.2", **small})
cluster.add_node(node_ip_address="127.0.0.3", **small)
print("at", cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""
NETWORK = "model=mobilenet model.alpha=0.25 model.weights=null data=image_folder data.image_size=32 data.dir=photos"


@pytest.fixture(scope="module")
def address():
    with subprocess.Popen(
        [sys.executable, "-c", CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as cluster:
        yield next(line for line in cluster.stdout if line.startswith("at")).split()[1]
        cluster.stdin.close()


def at_work() -> list[int]:
    """Ray's processes that compute features now."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"ray::framework-features" in file.read_bytes():
                found.append(int(file.parent.name))
        except OSError:
            continue
    return found


@effect("cache.compute")
def test_killed_processes_and_a_killed_command_lose_no_whole_shard(address, here, tmp_path):
    make_images(tmp_path / "photos", count=200, size=40)
    (tmp_path / "photos" / "red" / "red-0-000.jpg").write_bytes(b"\xff\xd8\xff none")
    spread = f"cache.compute=ray cache.dir=kept compute.address={address}"
    line = f"python -m framework.embed {NETWORK} data.on_error=skip"
    started = subprocess.Popen(
        ["bash", "-c", f"exec {sys.executable} {line.removeprefix('python ')} {spread}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stderr=subprocess.PIPE,
        text=True,
    )
    os.kill(until(at_work)[0], signal.SIGKILL)

    def kept():
        return [file for folder in tmp_path.glob("kept/*") for file in shards.indexes(folder) if folder.name != "locks"]

    until(kept)
    started.send_signal(signal.SIGKILL)
    started.wait()
    until(lambda: not at_work())
    count = sum(len(shards.read_index(file)[0].rows) for file in kept())
    done = bash(f"{line} {spread}", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "features: 2 tasks at a time on 2 machines of Ray's" in done.stderr
    assert f"599 images, 256 features each ({count} known, {599 - count} computed)" in done.stderr
    assert 0 < count < 599
    spread_out = pyarrow.parquet.read_table(tmp_path / "features.parquet")
    assert embed.main([*line.split()[3:], "cache.dir=here", "output=here.parquet"]) == 0
    alone = pyarrow.parquet.read_table(tmp_path / "here.parquet")
    assert spread_out.drop(["features"]).equals(alone.drop(["features"]))
    found = [np.stack(table["features"].to_numpy()) for table in (spread_out, alone)]
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-6)


def test_predictions_of_the_cluster_are_those_of_this_machine(address, here, tmp_path, photos):
    make_run(tmp_path / "run", photos)
    (photos / "train" / "red" / "zz.jpg").write_bytes(b"\xff\xd8\xff none")
    line = "python -m framework.predict photos gone.jpg run=run top=3"
    assert predict.main([*line.split()[3:], "output=alone.csv"]) == 1
    command = f"{line} output=spread.csv cache.compute=ray cache.dir=kept compute.address={address}"
    spread = bash(command, tmp_path)
    assert spread.returncode == 1, spread.stderr
    assert "2 images can't be read:" in spread.stderr
    assert (tmp_path / "spread.csv").read_text() == (tmp_path / "alone.csv").read_text()
    (photos / "train" / "red" / "zz.jpg").unlink()
    again = bash(command, tmp_path)
    assert "of Ray's" not in again.stderr  # all is kept
    assert (tmp_path / "spread.csv").read_text() == (tmp_path / "alone.csv").read_text()


DEADLY = """
import os, signal, sys
from framework import embed
from framework.features import errand

real, tried = errand.run, sys.argv[1]

def run(found, environment, version, work, model, part):
    with open(tried, "a") as file:
        file.write("x")
    if b"red-0-001.jpg" in part:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(found, environment, version, work, model, part)

errand.run = run
sys.exit(embed.main(sys.argv[2:]))
"""


def test_images_that_kill_their_process_are_told_and_not_tried_for_ever(address, here, tmp_path):
    make_images(tmp_path / "photos", count=4, size=40)
    words = [*NETWORK.split(), "cache.compute=ray", "cache.dir=kept", f"compute.address={address}"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", DEADLY, str(tmp_path / "tried"), *words],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    told = " ".join(done.stderr.split())
    assert f"The process of a task has died {on_ray.DEATHS} times over 12 images ({tmp_path}/photos/" in told
    assert "data.exclude=FILE, a path a line, leaves images out." in told
    assert "Traceback" not in done.stderr
    assert (tmp_path / "tried").read_text() == "x" * on_ray.DEATHS

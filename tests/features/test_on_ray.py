"""The feature pass on a real Ray cluster of two nodes on this machine, whose processes and nodes are killed at work."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from benchmarks.cluster import kept, whole_shards
from framework import embed, predict
from framework.core.travelling import threads
from framework.features import on_ray
from tests.clusters import Nodes
from tests.conftest import CLONE, bash, make_images, until
from tests.evaluation.common import make_run, weighed
from tests.options.counted import effect

pytestmark = pytest.mark.slow

NETWORK = "model=mobilenet model.alpha=0.25 model.weights=null data=image_folder data.image_size=32 data.dir=photos"


@pytest.fixture(scope="module")
def nodes():
    found = Nodes(head=1)
    yield found
    found.end()


@pytest.fixture
def address(nodes):
    return nodes.address


def at_work(host: str = "") -> list[int]:
    """Ray's processes that compute features now, on all nodes or on one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"ray::framework-features" in (folder / "cmdline").read_bytes():
                raylet = (folder / "stat").read_text().rpartition(")")[2].split()[1]
                if host.encode() in Path("/proc", raylet, "cmdline").read_bytes():
                    found.append(int(folder.name))
        except OSError:
            continue
    return found


def started(line: str, folder: Path) -> subprocess.Popen[str]:
    """The line at work, as it is typed."""
    return subprocess.Popen(
        ["bash", "-c", f"exec {sys.executable} {line.removeprefix('python ')}"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(CLONE)},
        stderr=subprocess.PIPE,
        text=True,
    )


@effect("cache.compute")
def test_killed_processes_and_a_killed_command_lose_no_whole_shard(address, here, tmp_path):
    make_images(tmp_path / "photos", count=200, size=40)
    (tmp_path / "photos" / "red" / "red-0-000.jpg").write_bytes(b"\xff\xd8\xff none")
    spread = f"cache.compute=ray cache.dir=kept compute.address={address}"
    line = f"python -m framework.embed {NETWORK} data.on_error=skip"
    command = started(f"{line} {spread}", tmp_path)
    os.kill(until(at_work)[0], signal.SIGKILL)
    until(lambda: whole_shards(tmp_path / "kept"))
    command.send_signal(signal.SIGKILL)
    command.wait()
    until(lambda: not at_work())
    count = len(kept(tmp_path / "kept"))
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


def test_predictions_of_the_cluster_see_an_image_as_often_as_here(address, here, tmp_path, photos):
    make_run(tmp_path / "run", photos, weighed([[3, -1, 0], [0, 2, -1], [-1, 0, 2]]))
    line = "python -m framework.predict photos run=run top=3 format=csv tta=crops"
    assert predict.main([*line.split()[3:], "output=alone.csv"]) == 0
    spread = bash(f"{line} output=spread.csv cache.compute=ray cache.dir=kept compute.address={address}", tmp_path)
    assert spread.returncode == 0, spread.stderr
    assert "of Ray's" in spread.stderr
    alone, found = (list(csv.DictReader((tmp_path / f"{name}.csv").open())) for name in ("alone", "spread"))
    assert len(found) == 36
    for one, other in zip(alone, found, strict=True):
        assert [one[key] for key in ("path", "class")] == [other[key] for key in ("path", "class")]
        assert float(one["probability"]) == pytest.approx(float(other["probability"]), abs=2e-6)


@pytest.mark.slow
def test_a_machine_that_is_lost_takes_no_whole_shard_along(nodes, here, tmp_path):
    """The bytes are those of one process: as many threads, and batches of the same images."""
    make_images(tmp_path / "photos", count=600, size=40)
    line = f"python -m framework.embed {NETWORK.replace('image_size=32', 'image_size=224')}"
    spread = f"{line} cache.compute=ray cache.dir=kept compute.address={nodes.address}"
    command = started(spread, tmp_path)
    until(lambda: at_work("127.0.0.3") and whole_shards(tmp_path / "kept"))
    whole = kept(tmp_path / "kept")
    nodes.lose()
    said = command.communicate()[1]
    assert command.returncode == 0, said
    nodes.add()
    found = kept(tmp_path / "kept")
    assert 0 < len(whole) < len(found) == 1800
    assert whole.items() <= found.items()
    again = bash(f"{spread} output=again.parquet", tmp_path)
    assert "(1,800 known, 0 computed)" in again.stderr
    alone = bash(f"{line} cache.dir=alone output=alone.parquet", tmp_path, **threads(1))
    assert alone.returncode == 0, alone.stderr
    assert found == kept(tmp_path / "alone")


WATCHED = """
import os, signal, sys
from framework import embed
from framework.features import errand

real, tried, deadly = errand.run, sys.argv[1], sys.argv[2].encode()

def run(found, environment, version, work, model, part):
    with open(tried, "a") as file:
        file.write(f"{os.getpid()} ")
    if deadly in part:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(found, environment, version, work, model, part)

errand.run = run
sys.exit(embed.main(sys.argv[3:]))
"""


def watched(folder: Path, deadly: str, *words: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """A pass of which a task is killed that has this image, and the process of each task."""
    command = [sys.executable, "-c", WATCHED, str(folder / "tried"), deadly, *NETWORK.split(), *words]
    environment = {**os.environ, "PYTHONPATH": str(CLONE)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return done, (folder / "tried").read_text().split()


def test_processes_are_used_again_with_cards_too(address, here, tmp_path):
    make_images(tmp_path / "photos", count=100, size=40)
    given = ("cache.compute=ray", "cache.dir=kept", f"compute.address={address}", "compute.gpus=1")
    done, tried = watched(tmp_path, "none", *given)
    assert done.returncode == 0, done.stderr
    assert len(tried) == 5
    assert len(set(tried)) <= 2


def test_images_that_kill_their_process_are_told_and_not_tried_for_ever(address, here, tmp_path):
    make_images(tmp_path / "photos", count=4, size=40)
    given = ("cache.compute=ray", "cache.dir=kept", f"compute.address={address}")
    done, tried = watched(tmp_path, "red-0-001.jpg", *given)
    assert done.returncode == 1, done.stderr
    told = " ".join(done.stderr.split())
    assert f"The process of a task has died {on_ray.DEATHS} times over 12 images ({tmp_path}/photos/" in told
    assert "data.exclude=FILE, a path a line, leaves images out." in told
    assert "Traceback" not in done.stderr
    assert len(tried) == on_ray.DEATHS

"""The benchmark of the cluster's feature pass counts what its processes use, on images of which each is another."""

from __future__ import annotations

import os
import subprocess

import numpy as np
import pytest

from benchmarks.cluster import AGENTS, TASKS, Ray, kept, make_images
from benchmarks.measure import processor
from framework.core.geometry import Geometry
from framework.data import fingerprint
from framework.data.decode import image, look
from framework.features.shards import Layout
from framework.features.store import Store

BUSY = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo; read end"


def test_each_copy_of_a_photo_is_an_image_of_its_own_with_the_same_pixels(tmp_path, photos):
    make_images(tmp_path / "made", photos, 80)
    paths = sorted(map(str, (tmp_path / "made").rglob("*.jpg")))
    assert len(set(fingerprint.contents(paths))) == len(paths) == 80
    assert look(paths).unreadable == []
    # there are 36 photos
    one, again = (
        image(next(path for path in paths if f"{number:07d}" in path), Geometry((24, 24))) for number in (2, 38)
    )
    np.testing.assert_array_equal(one, again)


def test_what_processes_use_is_counted_by_their_kind():
    # one is called as Ray calls what runs tasks
    names = {TASKS: "ray::IDLE", AGENTS: "agent"}
    cluster, before = Ray("", os.getpid()), processor()
    with cluster.watched() as used:
        for name in names.values():
            pipes = dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
            with subprocess.Popen([name, "-c", BUSY], executable="/bin/sh", **pipes) as busy:
                busy.stdout.readline()
                cluster.look()
                busy.stdin.close()
    assert all(used[kind] > 0.05 for kind in names)
    assert sum(used[kind] for kind in names) == pytest.approx(processor() - before, abs=0.05)


def test_what_a_pass_has_kept_is_read_by_its_keys(tmp_path):
    store = Store(tmp_path / "kept", {"made": "here"}, Layout(((2,),), "float32"))
    store.open({})
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    with store.writing():
        store.add([(("a", "b"), rows[:2].view(np.uint8)), (("c",), rows[2:].view(np.uint8))])
    store.close()
    assert kept(tmp_path / "kept") == {key: row.tobytes() for key, row in zip("abc", rows, strict=True)}

"""Two workers train as one does, and one that is killed takes the other along; the same command goes on."""

from __future__ import annotations

import json
import math
import shlex
import signal
from dataclasses import replace
from pathlib import Path

import pytest

import framework
from benchmarks import kills, worker_kills
from framework import train
from framework.core.errors import BadInput
from framework.core.runs import RunFolder
from framework.runs import meeting
from framework.runs.job import Job
from framework.runs.prepare import look, network
from framework.training.workers import OneWorker
from tests.conftest import bash
from tests.options.counted import effect
from tests.options.made import SMALL, settings

# 30 images in batches of 29: the last has one, and a worker none; batch normalisation, weights, every kind of metric
WORDS = (
    "data=image_folder data.dir=photos data.image_size=32 model.filters=[4] trainer.batch_size=29 trainer.save_steps=1"
    " trainer.epochs=3 metrics=[default,auc,f1] data.class_weights='{red: 3.0}' augment=[light,mixup]"
    " callbacks=[default,weight_averaging] optim.schedule=cosine"
)


def rows(folder: Path):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in RunFolder(folder).read_history()]


@pytest.mark.slow
@effect("trainer.workers")
def test_two_workers_train_as_one_does_and_are_killed_and_go_on(here):
    tmp_path, arguments = here, shlex.split(WORDS)
    kills.make_photos(tmp_path / "photos")
    # in this process, which has TensorFlow
    assert train.main([*arguments, "hydra.run.dir=one"]) == 0
    two = bash(f"python -m framework.train {WORDS} trainer.workers=2 hydra.run.dir=two", tmp_path)
    assert two.returncode == 0, two.stderr
    alone, together = rows(tmp_path / "one"), rows(tmp_path / "two")
    assert [row["epoch"] for row in together] == [1, 2, 3]
    for first, second in zip(alone, together, strict=True):
        assert first.keys() == second.keys()
        for key in first:
            assert first[key] == second[key] or math.isclose(first[key], second[key], abs_tol=1e-3), (
                key,
                first,
                second,
            )
    assert RunFolder(tmp_path / "two").model.is_file()
    assert not worker_kills.half_written(tmp_path / "two")

    process = kills.train(tmp_path, "killed", *arguments, "trainer.workers=2")
    while not RunFolder(tmp_path / "killed").state.exists():
        assert process.poll() is None, (tmp_path / "killed.log").read_text()
    assert worker_kills.kill(process.pid, 1, signal.SIGKILL, 0, 2) is not None
    assert process.wait() == 3
    said = (tmp_path / "killed.log").read_text()
    assert "worker 1 was ended by SIGKILL; the same command goes on" in said
    assert "Traceback" not in said
    changed = bash(f"python -m framework.train {WORDS} trainer.workers=3 hydra.run.dir=killed", tmp_path)
    assert changed.returncode == 2
    assert "try:    resume.allow=[trainer.workers] to go on with it" in changed.stderr
    assert kills.train(tmp_path, "killed", *arguments, "trainer.workers=2").wait() == 0
    assert rows(tmp_path / "killed") == together
    assert kills.fingerprint(tmp_path / "killed") == kills.fingerprint(tmp_path / "two")
    # one worker goes on with what two have begun, where that is allowed
    allowed = "resume.allow=[trainer.workers,trainer.epochs]"
    assert train.main([*arguments, "trainer.epochs=4", allowed, "hydra.run.dir=killed"]) == 0
    assert rows(tmp_path / "killed")[:3] == together
    assert len(rows(tmp_path / "killed")) == 4


@pytest.mark.slow
@effect("trainer.workers_timeout")
def test_a_worker_that_never_comes_is_waited_for_so_long_and_named(tmp_path):
    given = {"cluster": {"worker": ["127.0.0.1:0", "127.0.0.1:1"]}, "task": {"type": "worker", "index": 0}}
    small = "data.train=6 data.validation=6 model.filters=[4] data.image_size=16"
    line = f"python -m framework.train {small} trainer.workers=2 trainer.workers_timeout=0.5"
    done = bash(line, tmp_path, TF_CONFIG=json.dumps(given))
    assert done.returncode == 3, done.stderr
    assert "worker 1 (127.0.0.1:1) did not come within 0.5 s (trainer.workers_timeout)" in done.stderr


def test_who_trains_in_one_process_says_so(photos, here):
    with pytest.raises(framework.Error, match=r"trainer\.workers=2, and this trains in one process"):
        framework.fit(*SMALL, f"data.dir={photos}", "trainer.workers=2")


class Two(OneWorker):
    """The first of two workers, of whom the other says something else."""

    count = 2

    def __init__(self, **other):
        self.other = other

    def said(self, own):
        config = {**own["config"], **self.other.get("config", {})}
        return [own, {**own, **self.other, "config": config}]


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (
            {"program": "x", "data": "x"},
            ["worker 1 has another version of this project or of its packages than the first"],
        ),
        ({"data": "x"}, ["worker 1 has other images or labels, or in another order, than the first worker"]),
        ({"network": "x"}, ["worker 1 has other first weights than the first worker"]),
        ({"teacher": "x"}, ["worker 1 has another teacher than the first worker"]),
        (
            {"config": {"optim.lr": 0.5, "trainer.epochs": 9}},
            ["worker 1 has optim.lr=0.5, the first worker optim.lr=0.01", "trainer.epochs=9"],
        ),
    ],
)
def test_workers_that_differ_are_told_how(photos, here, other, says):
    chosen = settings(*SMALL, f"data.dir={photos}")
    looked = look(chosen)
    text = "optim: {lr: 0.01}\ntrainer: {epochs: 1}\ndata: {dir: /somewhere}\ncache: {size_limit: 3}\n"
    job = Job(chosen, text, here, ())
    built = network(looked.experiment)
    meeting.meet(Two(), job, looked, built)
    with pytest.raises(BadInput) as error:
        meeting.meet(Two(**other), job, looked, built)
    assert len(error.value.problems) == len(says)
    for problem, text in zip(error.value.problems, says, strict=True):
        assert text in problem.what
    # where files lie, and how much room a cache has, may differ
    elsewhere = replace(job, config=job.config.replace("/somewhere", "/else").replace("3", "4"))
    assert meeting._config(elsewhere) == meeting._config(job)

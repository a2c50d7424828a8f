"""Who trains together: followed from TF_CONFIG or made, and every wrong set-up told in one sentence, before TensorFlow."""

from __future__ import annotations

import json
import socket

import pytest

from framework.core.errors import BadInput
from framework.runs.cluster import cluster_of, several
from tests.conftest import bash
from tests.options.made import SMALL, settings


def config(addresses=("a:1", "a:2", "b:1"), kind="worker", index=0, **more):
    return json.dumps({"cluster": {"worker": list(addresses), **more}, "task": {"type": kind, "index": index}})


@pytest.fixture
def chosen(photos, here, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)

    def choose(*overrides):
        return settings(*SMALL, f"data.dir={photos}", *overrides)

    return choose


def test_without_tf_config_they_are_on_this_machine(chosen):
    cluster = cluster_of(chosen("trainer.workers=3"))
    assert cluster.here == (0, 1, 2)
    assert len({address for _, address in cluster.tasks}) == 3
    assert [cluster.device(place) for place in range(3)] == [0, 1, 2]
    told = json.loads(cluster.config(2))
    assert told["task"] == {"type": "worker", "index": 2}
    assert told["cluster"]["worker"] == [address for _, address in cluster.tasks]
    assert not several(chosen())


def test_tf_config_is_followed(chosen, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config(("a:1", "b:1", "b:2"), index=1, chief=["a:9"]))
    assert several(chosen())
    cluster = cluster_of(chosen("trainer.workers=4"))
    assert cluster.here == (2,)
    assert not cluster.has_first
    assert [cluster.device(place) for place in range(4)] == [0, 1, 0, 1]
    assert json.loads(cluster.config(2)) == json.loads(config(("a:1", "b:1", "b:2"), index=1, chief=["a:9"]))


def test_a_worker_that_is_shown_one_card_has_that(chosen, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config(("a:1", "a:2"), index=1))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert cluster_of(chosen("trainer.workers=2")).device(1) == 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert cluster_of(chosen("trainer.workers=2")).device(1) == 1
    # those that are started here see the same cards
    monkeypatch.delenv("TF_CONFIG")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert cluster_of(chosen("trainer.workers=2")).device(1) == 1


@pytest.mark.parametrize(
    ("given", "workers", "what", "right"),
    [
        (config(), 1, "names 3 workers, and trainer.workers=1", "trainer.workers=3"),
        (config(), 2, "names 3 workers, and trainer.workers=2", "trainer.workers=3"),
        (config(index=3), 3, "calls this process worker 3, which is none", "worker 0 to 2"),
        (config(kind="ps"), 3, "calls this process ps 0, which is none", "worker 0 to 2"),
        ("{", 2, "names no workers", "unset"),
        ('{"cluster": {"worker": ["nowhere"]}}', 2, "names no workers", "unset"),
    ],
)
def test_a_tf_config_that_cant_be_followed(chosen, monkeypatch, given, workers, what, right):
    monkeypatch.setenv("TF_CONFIG", given)
    with pytest.raises(BadInput) as error:
        cluster_of(chosen(f"trainer.workers={workers}"))
    (problem,) = error.value.problems
    assert what in problem.what
    assert right in problem.right


@pytest.fixture
def taken():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("trainer.workers=2 trainer.batch_size=1", "trainer.workers=2 share a batch of 1"),
        ("trainer.workers=2 cache=only", "cache=only trains nothing"),
        ("trainer.workers=2 head=prototypes model.trainable=false", "'prototypes' is fitted in one pass"),
        ("-m trainer.workers=1,2", "sweep.jobs=1, or trainer.workers=1"),
        ("trainer.workers=2", "port {port} of worker 0 is in use"),
        ("trainer.workers=3", "trainer.workers=2"),
    ],
)
def test_a_wrong_set_up_is_one_message(words, says, taken, tmp_path):
    given = config((f"127.0.0.1:{taken}", "127.0.0.1:1"))
    done = bash(
        f"python -X importtime -m framework.train data.train=6 data.validation=6 {words}", tmp_path, TF_CONFIG=given
    )
    said = "\n".join(line for line in done.stderr.splitlines() if not line.startswith("import time:"))
    assert done.returncode == 2, said
    assert says.format(port=taken) in said
    assert "1 problem, nothing was started" in said
    assert "Traceback" not in said
    assert "tensorflow.python" not in done.stderr
    assert not list(tmp_path.rglob("run.json"))

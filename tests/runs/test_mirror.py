"""The copy of a run folder in an object store: what is in it, who may write it, and a run that goes on from it elsewhere."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from framework import train
from framework.core.errors import BadInput
from framework.core.runs import RunFolder
from framework.runs import mirror as module
from framework.runs.mirror import CLAIMS, Mirror, address_of
from framework.sweeps.folder import rows_of
from tests.conftest import CLONE, bash
from tests.options.counted import effect

AT = "frail://bucket/run"


class Frail(MemoryFileSystem):
    """A store in memory that notes what is put there, and fails or dies as it is told."""

    protocol = "frail"
    store: dict = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012
    cachable = False
    puts: list[str] = []  # noqa: RUF012
    fault: Exception | None = None
    left: int | None = None  # files until it dies

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("frail://", "memory://"))

    def put_file(self, local, path, **more):
        if type(self).fault is not None:
            raise type(self).fault
        if type(self).left is not None:
            type(self).left -= 1
            if type(self).left < 0:
                raise KeyboardInterrupt
        type(self).puts.append(path.rpartition("/run/")[2])
        super().put_file(local, path, **more)


fsspec.register_implementation("frail", Frail, clobber=True)


@pytest.fixture
def frail(monkeypatch):
    for name, value in {"store": {}, "pseudo_dirs": [""], "puts": [], "fault": None, "left": None}.items():
        monkeypatch.setattr(Frail, name, value)
    for name, value in {"EVERY": 60.0, "BEAT": 60.0, "LEASE": 0.6}.items():
        monkeypatch.setattr(module, name, value)
    return Frail


def filled(path: Path, epoch: int = 1) -> RunFolder:
    """A run folder as it is after so many epochs."""
    (path / "checkpoints").mkdir(parents=True, exist_ok=True)
    for name in ("config.yaml", "run.json", "state.npz", "history.csv", "checkpoints/best.keras"):
        beside = path / "beside"
        beside.write_text(f"{name} {epoch}")
        os.replace(beside, path / name)
    return RunFolder(path)


def contents(path: Path) -> dict[str, str]:
    files = (file for file in path.rglob("*") if file.is_file() and not file.name.startswith(".mirror"))
    return {file.relative_to(path).as_posix(): file.read_text() for file in files}


def kept() -> dict[str, str]:
    """What is in the copy."""
    system = fsspec.filesystem("frail")
    names = [name for name in system.find("/bucket/run") if f"/{CLAIMS}/" not in name]
    return {name.removeprefix("/bucket/run/"): system.cat_file(name).decode() for name in names}


def claim(number: int, **said: object) -> None:
    usual = {"token": "other", "beat": 0, "over": False, "process": 1, "machine": "elsewhere"}
    fsspec.filesystem("frail").pipe_file(f"/bucket/run/{CLAIMS}/{number:08d}.json", json.dumps(usual | said).encode())


def test_each_changed_file_is_copied_the_state_behind_what_it_belongs_to(frail, tmp_path, capsys):
    folder = filled(tmp_path / "a")
    with Mirror(AT, folder) as mirror:
        assert mirror.copy()
        assert frail.puts == ["checkpoints/best.keras", "config.yaml", "history.csv", "state.npz", "run.json"]
        assert kept() == contents(folder.path)
        frail.puts.clear()
        assert mirror.copy()
        assert frail.puts == []
        (folder.path / ".01234567-12.csv").write_text("half")
        (folder.path / "history.csv").unlink()
        filled(folder.path, 2).history.unlink()
    (folder.path / ".01234567-12.csv").unlink()
    assert frail.puts == ["checkpoints/best.keras", "config.yaml", "state.npz", "run.json"]
    assert kept() == contents(folder.path)  # what is gone is gone there too
    assert f"mirror {AT}: 4 files, all as here" in capsys.readouterr().err


def test_a_file_that_changes_while_the_copy_is_made_is_the_old_one_or_the_new(frail, tmp_path, monkeypatch):
    folder = filled(tmp_path / "a")
    put = Frail.put_file

    def meanwhile(self, local, path, **more):
        if path.endswith("best.keras"):
            filled(folder.path, 2)
        put(self, local, path, **more)

    with Mirror(AT, folder) as mirror:
        monkeypatch.setattr(Frail, "put_file", meanwhile)
        mirror.copy()
        # the state of then, though there is another by now: nothing that is there is older than it
        assert kept()["state.npz"] == "state.npz 1"
        assert kept()["history.csv"] == "history.csv 2"
        monkeypatch.setattr(Frail, "put_file", put)
    assert kept() == contents(folder.path)


@pytest.mark.parametrize("left", range(6))
def test_killed_at_any_file_leaves_the_old_or_the_new_and_an_empty_folder_goes_on(frail, tmp_path, left):
    folder = filled(tmp_path / "a")
    with Mirror(AT, folder):
        pass
    filled(folder.path, 2)
    frail.left = left
    killed = Mirror(AT, folder).__enter__()
    if left < 5:
        with pytest.raises(KeyboardInterrupt):
            killed.copy()
    else:
        killed.copy()
    killed._over.set()
    frail.left = None
    there = kept()
    assert [text.endswith(" 2") for _, text in sorted(there.items())].count(True) == left
    with Mirror(AT, RunFolder(tmp_path / "b")):  # nobody beats for it any more
        assert contents(tmp_path / "b") == there
    assert (tmp_path / "b" / "run.json").exists()


def test_a_second_writer_is_refused(frail, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "BEAT", 0.1)
    with Mirror(AT, filled(tmp_path / "a")), pytest.raises(BadInput) as caught:
        Mirror(AT, RunFolder(tmp_path / "b")).__enter__()
    assert caught.value.problems[0].what.endswith(f" writes to {AT}")
    assert f"Waiting {module.LEASE:.0f} s to see whether process {os.getpid()} on " in capsys.readouterr().err


def test_of_two_that_claim_at_once_one_is_refused(frail, tmp_path, monkeypatch):
    pipe = Frail.pipe_file

    def late(self, path, value, mode="overwrite", **more):
        if mode == "create":
            claim(1, process=7)
        return pipe(self, path, value, mode=mode, **more)

    monkeypatch.setattr(Frail, "pipe_file", late)
    with pytest.raises(BadInput, match="process 7 on elsewhere writes to"):
        Mirror(AT, RunFolder(tmp_path / "a")).__enter__()


def test_one_whose_claim_was_taken_writes_no_more(frail, tmp_path, capsys):
    folder = filled(tmp_path / "a")
    with Mirror(AT, folder) as mirror:
        mirror.copy()
        claim(2, process=7)
        filled(folder.path, 2)
        assert not mirror.copy()
    assert kept()["state.npz"] == "state.npz 1"
    assert f"{AT} is copied to no more: process 7 on elsewhere writes there now; the run goes on here" in (
        capsys.readouterr().err
    )


def test_a_folder_that_others_have_gone_on_from_is_refused(frail, tmp_path):
    folder = filled(tmp_path / "a")
    for _ in range(2):  # its own claim is none of others
        with Mirror(AT, folder):
            pass
    with Mirror(AT, RunFolder(tmp_path / "b")):
        pass
    with pytest.raises(BadInput) as caught:
        Mirror(AT, folder).__enter__()
    assert " since " in caught.value.problems[0].what
    assert "hydra.run.dir=<an empty folder> takes it up" in caught.value.problems[0].right


def test_a_store_that_fails_is_told_once_and_ends_nothing(frail, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "TRIES", 1)
    folder = filled(tmp_path / "a")
    with Mirror(AT, folder) as mirror:
        frail.fault = PermissionError("Forbidden")
        assert [mirror.copy(), mirror.copy()] == [False, False]
        frail.fault = None
        assert mirror.copy()
        frail.fault = TimeoutError()
        filled(folder.path, 2)
    said = capsys.readouterr().err
    assert said.count("can't be written: access is refused (Forbidden); the run goes on here, and is copied later") == 1
    assert f"{AT} is written again" in said
    assert f"{AT} is behind " in said
    assert "no answer in time; the same command copies the rest" in said


def test_a_store_that_can_t_be_read_is_told(frail, tmp_path, monkeypatch):
    def refused(*_, **__):
        raise PermissionError("Forbidden")

    monkeypatch.setattr(Frail, "find", refused)
    with pytest.raises(BadInput, match="can't be used: access is refused"):
        Mirror(AT, RunFolder(tmp_path / "a")).__enter__()


def test_runs_of_a_sweep_have_a_place_each(tmp_path):
    assert address_of("s3://b/runs/", tmp_path / "run") == "s3://b/runs"
    (tmp_path / "sweep.json").write_text("{}")
    assert address_of("s3://b/runs", tmp_path / "optim.lr=0.1") == "s3://b/runs/optim.lr=0.1"


RUN = (
    "python -m framework.train trainer.epochs=60 trainer.save_steps=10 trainer.steps_per_execution=1 "
    "model.filters=[4] model.image_size=8 "
    "data.train=40 data.validation=20 trainer.batch_size=20"
)


# dies of SIGKILL as soon as a state is in the bucket
KILLED = """
import os, signal
from framework import train
from framework.runs import mirror
put = mirror.Mirror._put
def put_and_die(self, name, *held):
    put(self, name, *held)
    if name == "state.npz":
        os.kill(os.getpid(), signal.SIGKILL)
mirror.EVERY, mirror.Mirror._put = 0.05, put_and_die
train.main()
"""


def history(run: Path):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows_of(RunFolder(run))]


@pytest.mark.slow
@effect("mirror")
def test_a_killed_run_goes_on_from_a_bucket_in_another_folder_with_equal_bits(s3, here, tmp_path):
    line = f"{RUN} mirror=s3://bucket/run"
    environment = {**os.environ, "PYTHONPATH": str(CLONE)}
    command = [sys.executable, "-c", KILLED, *line.split()[3:], "hydra.run.dir=a"]
    killed = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert 0 < len(history(tmp_path / "a")) < 60
    done = bash(f"{line} hydra.run.dir=b", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "taken up from s3://bucket/run: " in done.stderr
    assert "all as here" in done.stderr
    assert train.main([*RUN.split()[3:], "hydra.run.dir=alone"]) == 0
    assert history(tmp_path / "b") == history(tmp_path / "alone")
    ours, theirs = (np.load(tmp_path / run / "logits.npz") for run in ("b", "alone"))
    np.testing.assert_array_equal(ours["logits"], theirs["logits"])
    names = {name.removeprefix("bucket/run/") for name in s3.find("bucket/run") if CLAIMS not in name}
    assert {"model.keras", "run.json", "state.npz", "config.yaml", "history.csv"} < names
    assert s3.cat_file("bucket/run/model.keras") == (tmp_path / "b" / "model.keras").read_bytes()


@pytest.mark.parametrize(
    ("words", "what"),
    [("runs/copy", "mirror=runs/copy is no address of an object store"), ("nowhere://a/b", "nowhere://a/b: Protocol")],
)
def test_what_is_no_store_is_told(tmp_path, words, what):
    done = bash(f"python -m framework.check mirror={words}", tmp_path)
    assert done.returncode == 2
    assert what in done.stderr + done.stdout

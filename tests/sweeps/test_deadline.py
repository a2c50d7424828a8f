"""A batch of runs with a deadline: what is under way then is stopped, what waits does not begin, and neither is a failure."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from framework.cli.command import job_in
from framework.core.errors import DONE
from framework.core.runs import RunFolder
from framework.sweeps import summary
from framework.sweeps.folder import read_index
from framework.sweeps.request import SweepRequest
from framework.sweeps.sweep import Sweep
from tests.sweeps.common import work


@pytest.fixture(autouse=True)
def alone(here, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["auto.py"])
    monkeypatch.setattr(summary, "_compare", lambda *_: None)


def run(rates, seconds, at_once=1):
    """Exit code of a sweep whose runs, of these learning rates, have so many seconds; 60 hangs for a minute."""
    folder = Path("sweep").resolve()
    jobs = [job_in([f"optim.lr={rate}"], folder / f"run-{rate}", lambda _: []) for rate in rates]
    settings = jobs[0].settings.sweep
    sweep = Sweep(SweepRequest("sweep", folder, ("auto",), ("optim.lr",), (), settings, ()), work, lambda: None)
    return sweep.start(lambda started: started.run(jobs, lambda _: None, at_once, time.monotonic() + seconds))


def states():
    return {entry["folder"]: entry["status"] for entry in read_index(Path("sweep"))["runs"]}


def test_what_runs_is_stopped_and_what_waits_stays_there(capsys):
    began = time.monotonic()
    assert run([0.5, 60, 0.25], seconds=4) == DONE
    assert time.monotonic() - began < 30
    assert states() == {"run-0.5": "finished", "run-60": "interrupted", "run-0.25": "waiting"}
    assert RunFolder(Path("sweep/run-60")).read_run()["status"] == "stopped"
    said = capsys.readouterr().err
    assert "3 runs: 1 finished, 2 no time left" in said
    assert "the same command goes on" not in said
    assert "again: python -m framework.train optim.lr=0.5" in said


def test_a_later_batch_takes_up_what_was_left(capsys):
    assert run([0.5, 0.25], seconds=0) == DONE
    assert set(states().values()) == {"waiting"}
    assert run([0.5, 0.25], seconds=60, at_once=2) == DONE
    assert set(states().values()) == {"finished"}

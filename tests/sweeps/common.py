"""A sweep without TensorFlow: each run is a function that writes what a run folder needs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

import framework.parts  # noqa: F401 - registers the shipped parts
from framework.cli import multirun
from framework.cli.command import launch
from framework.core.errors import RunFailed
from framework.core.files import write_whole
from framework.core.reporting import guarded
from framework.core.runs import RunFolder
from framework.runs.job import Job
from framework.sweeps import summary
from framework.sweeps.request import SweepRequest
from framework.sweeps.sweep import Sweep
from tests.conftest import bash


def work(job: Job) -> None:
    """A run that is as good as its learning rate, fails at 13, kills itself at 9, and hangs at 60."""
    folder, lr = RunFolder(job.folder), job.settings.optim.lr
    write_whole(folder.config, job.config)
    about = {"overrides": list(job.overrides), "seed": job.settings.trainer.seed, "process": os.getpid()}
    folder.write_run({**about, "status": "running"})
    print("working")
    with open(job.folder.parent / "calls.txt", "a") as file:
        file.write(f"{job.folder.name}\n")
    if lr == 13:
        folder.write_run({**about, "status": "failed", "reason": "the loss is not finite\nmore of it"})
        raise RunFailed("the loss is not finite")
    if lr == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    if lr == 60:
        time.sleep(60)
    best = {"epoch": 1, "monitor": "val_accuracy", "metrics": {"val_accuracy": lr, "val_loss": 1 - lr}}
    folder.write_run({**about, "status": "finished", "best": best})


def learn(job: Job) -> None:
    """A run that learns: each epoch adds a tenth of its learning rate, and is there to be read at once."""
    folder, lr = RunFolder(job.folder), job.settings.optim.lr
    write_whole(folder.config, job.config)
    about = {"overrides": list(job.overrides), "seed": 1}
    folder.write_run({**about, "status": "running"})
    rows = []
    for epoch in range(1, job.settings.trainer.epochs + 1):
        rows.append({"stage": "head", "epoch": epoch, "val_accuracy": lr * epoch / 10})
        folder.write_history(rows)
        time.sleep(0.1)
    best = {"epoch": epoch, "monitor": "val_accuracy", "metrics": {"val_accuracy": lr * epoch / 10}}
    folder.write_run({**about, "status": "finished", "best": best})


def hang_twice(job: Job) -> None:
    """A run as ``work`` does it, in a second or two; the first two that are begun at 0.6 never end."""
    file = job.folder.parent / "calls.txt"
    begun = file.read_text().split() if file.exists() else []
    if job.settings.optim.lr == 0.6 and begun.count(job.folder.name) < 2:
        with open(file, "a") as calls:
            calls.write(f"{job.folder.name}\n")
        time.sleep(300)
    time.sleep(1.5)
    work(job)


def dies_once(job: Job) -> None:
    """A run as ``work`` does it; at 0.6 its process is killed the first time."""
    file = job.folder.parent / "calls.txt"
    if job.settings.optim.lr == 0.6 and job.folder.name not in (file.read_text().split() if file.exists() else []):
        with open(file, "a") as calls:
            calls.write(f"{job.folder.name}\n")
        os.kill(os.getpid(), signal.SIGKILL)
    work(job)


def sweep(*arguments: str, begin=lambda: None, preflight=lambda settings: [], work=work) -> int:
    """Exit code of ``framework-train -m`` with one of the works above."""
    given = ["-m", "sweep.name=tried", *arguments]

    def start(request: SweepRequest, *_: object) -> int:
        return Sweep(request, work, begin).start(partial(multirun.launch_sweep, request))

    return launch(given, work, preflight, begin, start)


def main(words: Sequence[str], work: Callable[[Job], None]) -> NoReturn:
    """A sweep as a command, which ends with its exit code; the figures of its comparison are left out."""
    sys.argv = ["train.py"]
    summary._compare = lambda *_: None
    sys.exit(guarded(lambda: sweep(*words, work=work)))


def swept(folder: Path, *words: str, work: str = "work") -> subprocess.CompletedProcess[str]:
    """A sweep of one of the works above, as a command of its own."""
    code = f"import sys; from tests.sweeps.common import {work}, main; main(sys.argv[1:], {work})"
    return bash(f'python -c "{code}" {" ".join(words)}', folder)


def calls(folder: Path) -> list[str]:
    """Folders of the runs that were done, in order, since last asked."""
    file = folder / "calls.txt"
    done = file.read_text().split() if file.exists() else []
    file.unlink(missing_ok=True)
    return done

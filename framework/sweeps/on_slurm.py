"""Runs as jobs of Slurm's, submitted in arrays by submitit.

A job attends to the run's process. Where its time is nearly over it ends the process, which saves its state, and has Slurm
queue it again; one that was killed is submitted again. Jobs outlive the command that submitted them: the same command,
given again, has those called off that are left, and goes on from their folders. What is handed over is one more job, which
is the command itself.

Source: https://github.com/facebookincubator/submitit (checkpointing, job arrays).
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import pickle
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framework.config.settings import ComputeSettings
from framework.core.digits import seconds
from framework.core.errors import FAILED, BadInput, Problem
from framework.sweeps import attending
from framework.sweeps.attending import Attending
from framework.sweeps.engines import Call, Elsewhere
from framework.sweeps.worker import DRIVER_LOG, ordered

CLUSTER = "slurm"  # of submitit's
SAYS = "SUBMITIT_LOG_LEVEL"  # of submitit's
FILES = ".slurm"  # submitit's own, in the sweep's folder
ASKED_EVERY = 20.0  # seconds: how often Slurm is asked for jobs that leave no result
GONE_IN = 120.0  # seconds in which jobs that were called off are gone
BEFORE_ITS_END = 90  # seconds that a job has to end in good order when its time is over


@dataclass
class _Job:
    """A job of submitit's, the call that it makes, how often it may be submitted again, and whether it was called off."""

    call: Call
    job: Any
    retries: int
    told: bool = False


class OnSlurm(Elsewhere):
    """The Slurm cluster whose commands this machine has.

    Args:
        compute: the node ``compute``.
        folder: of the sweep.

    Raises:
        BadInput: there is no Slurm here.
    """

    def __init__(self, compute: ComputeSettings, folder: Path):
        if CLUSTER == "slurm" and not shutil.which("sbatch"):
            what = "compute=slurm needs Slurm's commands, and there is no sbatch here"
            raise BadInput(Problem(what, "compute.engine", "a machine that submits jobs to Slurm"))
        self.compute, self._files = compute, folder / FILES
        # by which its jobs are found in Slurm's queue
        self._name = f"framework-{hashlib.sha1(os.fsencode(folder), usedforsecurity=False).hexdigest()[:10]}"
        self._executor = self._made(self._name, compute.cpus, compute.gpus)
        self._starting: list[tuple[int, Call]] = []
        self._jobs: dict[int, _Job] = {}
        self._asked = time.monotonic()

    def _made(self, name: str, cpus: int | None, gpus: float | None) -> Any:
        import cloudpickle

        submitit = _submitit()
        cloudpickle.register_pickle_by_value(attending)
        executor = submitit.AutoExecutor(self._files, cluster=CLUSTER, slurm_max_num_timeout=10_000)
        minutes = max(1, math.ceil((seconds(self.compute.time) or 0) / 60))
        executor.update_parameters(
            name=name,
            timeout_min=minutes,
            cpus_per_task=cpus,
            gpus_per_node=math.ceil(gpus) if gpus else None,
            slurm_partition=self.compute.partition,
            slurm_array_parallelism=self.compute.array,
            slurm_signal_delay_s=min(BEFORE_ITS_END, minutes * 20),
        )
        return executor

    @property
    def told(self) -> str:
        """What it is, for messages."""
        return "Slurm"

    def clear_up(self) -> None:
        """Have Slurm call off what is left of an earlier command."""
        _call_off(self._name)

    @property
    def room(self) -> int:
        """As many as may be with Slurm at a time; most of them wait there for their turn."""
        return self.compute.array

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What is started while this is entered is one array."""
        yield
        starting, self._starting = self._starting, []
        jobs = self._submitted([call for _, call in starting])
        for (place, call), job in zip(starting, jobs, strict=True):
            self._jobs[place] = _Job(call, job, self.compute.retries)

    def start(self, place: int, call: Call) -> None:
        """Have the call submitted with others."""
        self._starting.append((place, call))

    def _submitted(self, calls: Sequence[Call]) -> list[Any]:
        attended = [Attending(ordered(call, self.compute.cpus, self.compute.gpus)) for call in calls]
        with _refusing():
            return list(self._executor.submit_array(attended)) if attended else []

    def ended(self, patience: float) -> list[tuple[int, int, str]]:
        """Jobs that are over; one that was killed is submitted again as often as it may be."""
        time.sleep(patience)
        gone, found = self._gone(), []
        for place, one in list(self._jobs.items()):
            if not (one.job.paths.result_pickle.exists() or one.job.job_id in gone):
                continue
            code, reason, killed = _outcome(one.job)
            if killed and one.retries and not one.told:
                one.retries -= 1
                (one.job,) = self._submitted([one.call])
            else:
                del self._jobs[place]
                found.append((place, code, "" if one.told else reason))
        return found

    def _gone(self, now: bool = False) -> set[str]:
        """Jobs that Slurm knows no more; asked now and then, for one that ends by itself leaves its result."""
        if not now and time.monotonic() - self._asked < ASKED_EVERY and CLUSTER == "slurm":
            return set()
        self._asked = time.monotonic()
        if CLUSTER != "slurm":  # submitit's stand-in, whose jobs are processes of this one
            return {one.job.job_id for one in self._jobs.values() if one.job.done()}
        queued = _queued(self._name)
        return {one.job.job_id for one in self._jobs.values()} - queued if queued is not None else set()

    def stop(self, place: int) -> None:
        """Have Slurm call a job off: its process is told, and saves its state."""
        self._jobs[place].told = True
        self._jobs[place].job.cancel(check=False)

    def interrupt(self) -> None:
        """Have Slurm call all jobs off, and wait for them."""
        for place in self._jobs:
            self.stop(place)
        deadline = time.monotonic() + GONE_IN
        while len(self._gone(now=True)) < len(self._jobs) and time.monotonic() < deadline:
            time.sleep(0.5)
        self._jobs.clear()

    def hand_over(self, call: Call) -> str:
        """Submit the call as a job of one core, which is queued again whenever its time is over."""
        executor = self._made(self._driver, 1, None)
        with _refusing():
            job = executor.submit(Attending(ordered(call, log=DRIVER_LOG, stop=signal.SIGINT)))
        return f"Slurm's job {job.job_id}"

    def has(self, folder: Path) -> bool:
        """Whether the command's job waits or runs."""
        return bool(_queued(self._driver))

    def call_back(self, folder: Path) -> None:
        """Have Slurm call off the command's job, and all that it has submitted."""
        _call_off(self._driver)
        _call_off(self._name)

    @property
    def _driver(self) -> str:
        return f"{self._name}-driver"


def _submitit() -> Any:
    """The package, kept from configuring ``logging``.

    That closes all handlers of the process, TensorFlow's among them, which closes what was standard error when it was
    made; and submitit's own would speak on standard output, where results go.
    """
    before = os.environ.get(SAYS)
    os.environ[SAYS] = "NOCONFIG"
    try:
        import submitit
    finally:
        # its jobs say in their own files what they do
        if before is None:
            del os.environ[SAYS]
        else:
            os.environ[SAYS] = before
    return submitit


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    """What sbatch says where it takes no job, as a message."""
    from submitit.core.utils import FailedJobError

    try:
        yield
    except FailedJobError as error:
        said = [line for line in str(error).splitlines() if line.strip()]
        what = f"Slurm takes no job: {next((line for line in said if 'error' in line), said[-1])}"
        raise BadInput(
            Problem(what, "compute", "compute.partition, compute.time, compute.cpus as the cluster has them")
        ) from None


def _outcome(job: Any) -> tuple[int, str, bool]:
    """Exit code of a job, why it came to nothing where the code does not say, and whether it was killed."""
    try:
        outcome, result = pickle.loads(job.paths.result_pickle.read_bytes())
    except (OSError, EOFError, pickle.UnpicklingError):
        return FAILED, f"Slurm's job {job.job_id} was ended, or its machine was lost; see {job.paths.stderr}", True
    if outcome == "success":
        code, reason = result
        return int(code), str(reason), False
    last = str(result).strip().rsplit("\n", 1)[-1]
    if killed := re.fullmatch(r"ChildProcessError: (\d+)", last):
        return -int(killed[1]), "", True
    return FAILED, f"Slurm's job {job.job_id}: {last}", False


def _queued(name: str) -> set[str] | None:
    """Jobs of this name that wait or run; None where Slurm does not answer."""
    if CLUSTER != "slurm":
        return set()
    asked = ["squeue", "--noheader", "--array", "--me", "--name", name, "--format", "%i"]
    told = subprocess.run(asked, capture_output=True, text=True, check=False)
    return set(told.stdout.split()) if told.returncode == 0 else None


def _call_off(name: str) -> None:
    """Have Slurm call off all jobs of this name, and wait until they are gone."""
    if not _queued(name):
        return
    subprocess.run(["scancel", "--me", "--name", name], capture_output=True, check=False)
    deadline = time.monotonic() + GONE_IN
    while _queued(name) and time.monotonic() < deadline:
        time.sleep(1)

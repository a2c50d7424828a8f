"""One training by several workers on a Ray cluster: a place for each, and the command that waits for all of them.

Places are a placement group: all are had, or none. In each a task attends to a process that is what the same command would
be on that machine; ``TF_CONFIG`` tells it which worker it is. All end if one does. Then the command has all begin again
where places are now, and they go on from the last state that was saved.

Source: https://docs.ray.io/en/latest/ray-core/scheduling/placement-group.html
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from framework.config.folders import shown
from framework.config.settings import ComputeSettings
from framework.core import ray_cluster
from framework.core.console import say, warn
from framework.core.errors import BAD_INPUT, DONE, FAILED, STOPPED, BadInput, Problem, RunStopped
from framework.core.files import wait_for
from framework.core.reporting import guarded
from framework.core.runs import RunFolder
from framework.runs.cluster import VARIABLE, Cluster
from framework.runs.job import Job, load_recipe, train
from framework.runs.workers import tell_end
from framework.sweeps.attending import free_port
from framework.sweeps.engines import Call, Ended, all_ended
from framework.sweeps.log import LOG
from framework.sweeps.on_ray import OnRay
from framework.sweeps.sweep import LOST_IN
from framework.sweeps.worker import ordered

# in the run's folder, while the run may still be refused by its worker
BEGUN = ".begun"


def train_placed(job: Job) -> None:
    """Train a job with several workers on the cluster that it names, and end as they end.

    Raises:
        BadInput: no cluster answers, it has room for fewer workers, or it does not see the run's folder.
        RunStopped: its places were not free in time, or a worker was lost, more often than it may be.
        SystemExit: with the exit code of workers that have said themselves why they end.
    """
    compute, trainer = job.settings.compute, job.settings.trainer
    try:
        with Placed(compute, trainer.workers) as places:
            say(f"{trainer.workers} workers on {places.told}, each with its share of every batch")
            say(f"what they say is in {shown(job.folder)}: {LOG} and, of others than the first, {_log(1)} and so on")
            for left in range(compute.retries, -1, -1):
                ended = _work(job, places)
                if not (left and _lost(ended)):
                    break
                warn("a worker was lost: all begin again, from the last state saved")
        _tell(job, ended)
    finally:
        with contextlib.suppress(OSError):
            # Hydra has made it, and nothing was begun
            job.folder.rmdir()


class Placed(OnRay):
    """Places of a Ray cluster for workers of one training.

    Args:
        compute: the node ``compute``; a place has its cores and cards.
        count: of workers.

    Raises:
        BadInput: no cluster answers, or it has too few places.
    """

    def __init__(self, compute: ComputeSettings, count: int):
        super().__init__(replace(compute, retries=0))
        self.count = count
        self._group: Any = None
        self._cluster = Cluster((), ())

    def __enter__(self) -> Placed:
        if (room := self.room) < self.count:
            self.ray.shutdown()
            what = f"trainer.workers={self.count} need {self._needs(self.count)}, {self._needs()} each on one machine"
            what += f", and the cluster has room for {room} of them"
            right = f"trainer.workers={room}" if room > 1 else "more machines: ray start --address=HOST:6379 on each"
            raise BadInput(Problem(what, "trainer.workers", right))
        return self

    def _needs(self, places: int = 1) -> str:
        return ray_cluster.needs(self.cpus, self.compute.gpus, places)

    @contextlib.contextmanager
    def held(self, seconds: float) -> Iterator[None]:
        """While entered, all places are held, and it is known where they are.

        Raises:
            RunStopped: they are not free within so many seconds.
        """
        from ray.util import placement_group, placement_group_table, remove_placement_group

        bundle = {"CPU": float(self.cpus), **({"GPU": self.compute.gpus} if self.compute.gpus else {})}
        self._group = placement_group([bundle] * self.count)
        try:
            if not self._group.wait(seconds):
                what = f"{self._needs(self.count)} of the cluster were not free within {seconds:g} s"
                raise RunStopped(
                    f"{what} (trainer.workers_timeout): nothing was trained; the same command begins again"
                )
            hosts = {node["NodeID"]: node["NodeManagerAddress"] for node in ray_cluster.machines(self.ray)}
            where = placement_group_table(self._group)["bundles_to_node_id"]
            asked = self.ray.remote(num_cpus=0, max_retries=0)(free_port)
            ports = self.ray.get([asked.options(**self._at(place)).remote() for place in range(self.count)])
            addresses = [f"{hosts[where[place]]}:{port}" for place, port in enumerate(ports)]
            self._cluster = Cluster(tuple(("worker", address) for address in addresses), ())
            yield
        finally:
            remove_placement_group(self._group)

    def _at(self, place: int) -> dict[str, Any]:
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        return {"scheduling_strategy": PlacementGroupSchedulingStrategy(self._group, place)}

    def start(self, place: int, call: Call) -> None:
        """Have a task attend to the worker of this place."""
        order = ordered(call, self.compute.cpus, self.compute.gpus, LOG if place == 0 else _log(place))
        order = replace(order, environment={**order.environment, VARIABLE: self._cluster.config(place)})
        self._hand(place, order, name=f"{call.folder.name}, worker {place}", **self._at(place))


def _work(job: Job, places: Placed) -> list[Ended]:
    """Have the workers train; their ends, in order."""
    count, marker = job.settings.trainer.workers, job.folder / BEGUN
    for file in (marker, *(job.folder / _log(place) for place in range(1, count))):
        file.unlink(missing_ok=True)
    theirs, first_says = replace(job, begin=partial(Path.touch, marker)), _Tail(job.folder / LOG)
    ended: list[Ended] = []

    def meanwhile() -> None:
        first_says()
        with contextlib.suppress(FileNotFoundError):
            marker.unlink()
            job.begin()

    calls = [Call(partial(_as_worker, theirs, place), job.folder) for place in range(count)]
    with places.held(job.settings.trainer.workers_timeout):
        failing = lambda place: any(one.code for one in ended)  # noqa: E731 - of those that go on, each is told
        for one in all_ended(calls, places, lambda: count, unwanted=failing, meanwhile=meanwhile):
            ended.append(one)
    meanwhile()
    return ended


def _as_worker(job: Job, place: int) -> int:
    """What the process in a place does; returns its exit code."""

    def work() -> int:
        load_recipe(job)
        if place == 0:
            # the one of before may not be gone with its machine yet
            wait_for(RunFolder(job.folder).lock, LOST_IN)
        train(job)
        return DONE

    return guarded(work)


def _lost(ended: list[Ended]) -> bool:
    """Whether workers ended through no fault of the run's."""
    first = next((one.code for one in ended if one.place == 0), None)
    return first != DONE and all(
        one.code in (DONE, STOPPED) or one.code < 0 or (one.code == FAILED and one.reason) for one in ended
    )


def _tell(job: Job, ended: list[Ended]) -> None:
    """End as the workers ended; what only Ray knows is told here."""
    for one in ended:
        if one.reason and one.code == BAD_INPUT:
            raise BadInput(Problem(one.reason, "hydra.run.dir", "hydra.run.dir=<a folder that all machines see>"))
        if one.reason:
            what = f"worker {one.place} was lost: {one.reason}"
            raise RunStopped(f"{what}; the same command goes on from the last state saved")
    tell_end({one.place: one.code for one in ended}, lambda place: job.folder / _log(place))


def _log(place: int) -> str:
    """Name of the file that takes what a worker says that is not the first."""
    return f"worker-{place}.txt"


class _Tail:
    """Says again, each time that it is called, what was added to a file."""

    def __init__(self, file: Path):
        self.file, self.said = file, file.stat().st_size if file.exists() else 0

    def __call__(self) -> None:
        with contextlib.suppress(FileNotFoundError), open(self.file, "rb") as file:
            file.seek(self.said)
            for line in file:
                if line.endswith(b"\n"):
                    self.said += len(line)
                    say(line.decode(errors="replace").rstrip("\n"))

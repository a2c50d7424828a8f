"""Runs as tasks of a Ray cluster, each where there is room for it.

A task attends to the run's process. Ray begins a task again, on another machine if need be, whose process was killed or
whose machine was lost; the run then goes on from the state in its folder. A task ends with the command that asked for it,
however that ends, so that the same command can be given again at once. What is handed over is an actor that keeps the
command itself at work; Ray starts that anew too where its machine is lost.

Sources: https://docs.ray.io/en/latest/ray-core/fault_tolerance/tasks.html and
https://docs.ray.io/en/latest/ray-core/actors/named-actors.html (detached actors).
"""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import Any

from framework.config.settings import ComputeSettings
from framework.core import ray_cluster
from framework.core.errors import FAILED, STOPPED, BadInput, RunFailed, many
from framework.sweeps import attending
from framework.sweeps.attending import Keeping, Order, attend
from framework.sweeps.engines import Call, Elsewhere
from framework.sweeps.processes import PATIENCE
from framework.sweeps.worker import DRIVER_LOG, ordered

BEGINS = 60.0  # seconds in which what is handed over begins


class OnRay(Elsewhere):
    """A Ray cluster that is there already.

    Args:
        compute: the node ``compute``.

    Raises:
        BadInput: no cluster answers, or none of its machines has room for a run.
    """

    def __init__(self, compute: ComputeSettings):
        self.compute, self.cpus = compute, compute.cpus or 1
        self._running: dict[Any, int] = {}
        self.ray: Any = ray_cluster.join(compute.address)
        self.ray.cloudpickle.register_pickle_by_value(attending)
        placed = {"num_cpus": self.cpus, "num_gpus": compute.gpus or 0, "max_retries": compute.retries}
        # the types that Ray declares know of no exceptions that are tried again
        self._attend: Any = self.ray.remote(retry_exceptions=[ChildProcessError], **placed)(attend)

    def __enter__(self) -> OnRay:
        if not self.room:
            problem = ray_cluster.no_room(self.ray, "a run", self.cpus, self.compute.gpus)
            self.ray.shutdown()
            raise BadInput(problem)
        return self

    def __exit__(self, *_: object) -> None:
        self.ray.shutdown()

    @property
    def told(self) -> str:
        """The cluster, for messages."""
        machines = ray_cluster.machines(self.ray)
        cores = sum(node["Resources"].get("CPU", 0) for node in machines)
        size = f"{many(len(machines), 'machine')} with {many(int(cores), 'core')}"
        return f"the Ray cluster at {self.ray.get_runtime_context().gcs_address}, {size}"

    @property
    def words(self) -> tuple[str, ...]:
        """The cluster's address."""
        return (f"compute.address={self.ray.get_runtime_context().gcs_address}",)

    @property
    def room(self) -> int:
        """As many as fit on the machines that are there now."""
        return ray_cluster.room(self.ray, self.cpus, self.compute.gpus or 0)

    def start(self, place: int, call: Call) -> None:
        """Have Ray place a task for the call."""
        self._hand(place, ordered(call, self.compute.cpus, self.compute.gpus), name=call.folder.name)

    def _hand(self, place: int, order: Order, **options: Any) -> None:
        self._running[self._attend.options(**options).remote(order)] = place

    def ended(self, patience: float) -> list[tuple[int, int, str]]:
        """Tasks that are over, with all that Ray was to try again."""
        self.ray.wait(list(self._running), num_returns=1, timeout=patience)
        over, _ = self.ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
        return [(self._running.pop(task), *self._outcome(task)) for task in over]

    def _outcome(self, task: Any) -> tuple[int, str]:
        errors = self.ray.exceptions
        try:
            code, reason = self.ray.get(task)
            return int(code), str(reason)
        except errors.TaskCancelledError:
            return STOPPED, ""
        except ChildProcessError as error:  # as which Ray raises it here too
            number = getattr(error, "cause", error).args[0]
            return -int(number), ""
        except errors.RayError as error:
            tried = many(self.compute.retries, "more time")
            first = str(error).strip().split("\n", 1)[0]
            return FAILED, f"Ray gave it up, tried {tried}: {type(error).__name__}: {first}"

    def stop(self, place: int) -> None:
        """Interrupt a task, which then ends its process."""
        for task, number in self._running.items():
            if number == place:
                self.ray.cancel(task)

    def interrupt(self) -> None:
        """Interrupt all tasks, and wait for their processes."""
        for task in self._running:
            self.ray.cancel(task)
        if self._running:
            self.ray.wait(list(self._running), num_returns=len(self._running), timeout=PATIENCE + attending.PATIENCE)
        self._running.clear()

    def hand_over(self, call: Call) -> str:
        """Have an actor keep the call at work."""
        order = ordered(call, log=DRIVER_LOG, stop=signal.SIGINT)
        actor = self.ray.remote(max_restarts=-1, num_cpus=0)(Keeping)
        keeper = actor.options(name=str(call.folder), lifetime="detached").remote(order)
        try:
            number, machine = self.ray.get(keeper.who.remote(), timeout=BEGINS)
        except self.ray.exceptions.RayError as error:
            self.ray.kill(keeper)
            reason = str(error).strip().split("\n", 1)[0]
            raise RunFailed(f"the cluster has not taken the sweep over within {BEGINS:.0f} s: {reason}") from None
        return f"process {number} on {machine}"

    def has(self, folder: Path) -> bool:
        """Whether there is an actor of the folder."""
        return self._keeper(folder) is not None

    def call_back(self, folder: Path) -> None:
        """Interrupt what the actor keeps at work."""
        with contextlib.suppress(self.ray.exceptions.RayError):  # it goes with its process
            self.ray.get(self._keeper(folder).end.remote())

    def _keeper(self, folder: Path) -> Any:
        try:
            return self.ray.get_actor(str(folder))
        except ValueError:
            return None

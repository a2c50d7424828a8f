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
import logging
import os
import signal
import socket
import threading
from pathlib import Path
from typing import Any

from framework.config.settings import ComputeSettings
from framework.core.errors import FAILED, STOPPED, BadInput, Problem, RunFailed, many
from framework.sweeps import attending
from framework.sweeps.attending import Keeping, Order, attend
from framework.sweeps.engines import Call, Elsewhere
from framework.sweeps.processes import PATIENCE
from framework.sweeps.worker import DRIVER_LOG, ordered

NAMESPACE = "framework"
ANSWERS = 3.0  # seconds in which a cluster's address answers
JOINS = 20.0  # seconds in which a command is part of the cluster
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
        _refuse_silent(compute.address)
        import ray

        ray.cloudpickle.register_pickle_by_value(attending)
        self._connect(ray)
        self.ray: Any = ray
        placed = {"num_cpus": self.cpus, "num_gpus": compute.gpus or 0, "max_retries": compute.retries}
        # the types that Ray declares know of no exceptions that are tried again
        self._attend: Any = self.ray.remote(retry_exceptions=[ChildProcessError], **placed)(attend)

    def _connect(self, ray: Any) -> None:
        """Join the cluster; where something else answers than a cluster, Ray itself would go on trying for ever."""
        failed: list[Exception] = []

        def join() -> None:
            try:
                ray.init(
                    address=self.compute.address,
                    namespace=NAMESPACE,
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,
                    ignore_reinit_error=True,
                )
            except Exception as error:  # of many kinds
                failed.append(error)

        joining = threading.Thread(target=join, daemon=True)
        joining.start()
        joining.join(JOINS)
        if joining.is_alive() or failed:
            reason = str(failed[0]).strip().split("\n", 1)[0] if failed else f"nothing of Ray's within {JOINS:.0f} s"
            raise BadInput(_unreachable(self.compute.address, reason))
        # else the traceback of each task that is begun again goes to standard output, where results go
        ray._private.worker._worker_logs_enabled = False

    def __enter__(self) -> OnRay:
        if not self.room:
            largest = max((node["Resources"].get("CPU", 0) for node in self._machines()), default=0)
            self.ray.shutdown()
            what = f"a run needs {self._needs()}, and no machine of the cluster has that: the largest has {largest:g} cores"
            raise BadInput(Problem(what, "compute.cpus", f"compute.cpus={max(1, int(largest))}"))
        return self

    def __exit__(self, *_: object) -> None:
        self.ray.shutdown()

    @property
    def told(self) -> str:
        """The cluster, for messages."""
        machines = self._machines()
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
        needs = {"CPU": float(self.cpus), "GPU": float(self.compute.gpus or 0)}
        return sum(
            min(int(node["Resources"].get(name, 0) // needed) for name, needed in needs.items() if needed)
            for node in self._machines()
        )

    def _needs(self, places: int = 1) -> str:
        """What so many calls take, in words."""
        gpus = places * (self.compute.gpus or 0)
        return many(places * self.cpus, "core") + (f" and {gpus:g} graphics card{'s' * (gpus != 1)}" if gpus else "")

    def _machines(self) -> list[dict[str, Any]]:
        return [node for node in self.ray.nodes() if node["Alive"]]

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


def _refuse_silent(address: str) -> None:
    """Let no address pass that nothing answers at: Ray would ask it for minutes.

    Raises:
        BadInput: it is none, or nothing does.
    """
    asked = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    if asked == "auto":
        return
    host, _, port = asked.rpartition("://")[2].rpartition(":")
    if not host or not port.isdigit():
        what = f"compute.address={asked} is no address of a Ray cluster"
        raise BadInput(Problem(what, "compute.address", "HOST:6379, or auto for the cluster that this machine is in"))
    try:
        socket.create_connection((host, int(port)), ANSWERS).close()
    except OSError as error:
        raise BadInput(_unreachable(asked, error.strerror or str(error))) from None


def _unreachable(address: str, reason: str) -> Problem:
    what = f"no Ray cluster answers at {address}: {reason}"
    return Problem(what, "compute.address", "compute.address=HOST:6379, as ray start --head says it")

"""Joining a Ray cluster, whoever needs one: the one place that brings this process there, and says why it can't be."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

from framework.core.errors import BadInput, Problem, many

NAMESPACE = "framework"
WHERE = "compute.address"
ANSWERS = 3.0  # seconds in which a cluster's address answers
JOINS = 20.0  # seconds in which a command is part of the cluster


def join(address: str) -> Any:
    """Join the cluster at an address, ``HOST:PORT`` or ``auto``; gives back the module ``ray``.

    From then on the process can't be forked.

    Raises:
        BadInput: no cluster answers. Where something else does, Ray itself would go on trying for ever.
    """
    _refuse_silent(address)
    import ray

    failed: list[Exception] = []

    def begin() -> None:
        try:
            ray.init(
                address=address,
                namespace=NAMESPACE,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                ignore_reinit_error=True,
            )
        except Exception as error:  # of many kinds
            failed.append(error)

    joining = threading.Thread(target=begin, daemon=True)
    joining.start()
    joining.join(JOINS)
    if joining.is_alive() or failed:
        reason = str(failed[0]).strip().split("\n", 1)[0] if failed else f"nothing of Ray's within {JOINS:.0f} s"
        raise BadInput(_unreachable(address, reason))
    # else the traceback of each task that is begun again goes to standard output, where results go
    ray._private.worker._worker_logs_enabled = False
    return ray


@contextlib.contextmanager
def joined(address: str) -> Iterator[Any]:
    """While entered, this process is part of the cluster, and its signals are handled as before; raises as ``join``."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    ray = join(address)
    try:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)
        yield ray
    finally:
        ray.shutdown()


def machines(ray: Any) -> list[dict[str, Any]]:
    """Those that are there now, as Ray tells of them."""
    return [node for node in ray.nodes() if node["Alive"]]


def room(ray: Any, cpus: float, gpus: float) -> int:
    """How many that need so many cores and graphics cards each fit on the machines that are there now."""
    each = {"CPU": float(cpus), "GPU": float(gpus)}
    return sum(
        min(int(node["Resources"].get(name, 0) // needed) for name, needed in each.items() if needed)
        for node in machines(ray)
    )


def needs(cpus: int, gpus: float | None, places: int = 1) -> str:
    """What so many places take that have so many cores and graphics cards each, in words."""
    cards = places * (gpus or 0)
    return many(places * cpus, "core") + (f" and {cards:g} graphics card{'s' * (cards != 1)}" if cards else "")


def no_room(ray: Any, what: str, cpus: int, gpus: float | None) -> Problem:
    """That no machine has room for ``what``, which needs so many cores and graphics cards."""
    largest = max((node["Resources"].get("CPU", 0) for node in machines(ray)), default=0)
    text = (
        f"{what} needs {needs(cpus, gpus)}, and no machine of the cluster has that: the largest has {largest:g} cores"
    )
    return Problem(text, "compute.cpus", f"compute.cpus={max(1, int(largest))}")


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
        what = f"{WHERE}={asked} is no address of a Ray cluster"
        raise BadInput(Problem(what, WHERE, "HOST:6379, or auto for the cluster that this machine is in"))
    try:
        socket.create_connection((host, int(port)), ANSWERS).close()
    except OSError as error:
        raise BadInput(_unreachable(asked, error.strerror or str(error))) from None


def _unreachable(address: str, reason: str) -> Problem:
    what = f"no Ray cluster answers at {address}: {reason}"
    return Problem(what, WHERE, "compute.address=HOST:6379, as ray start --head says it")

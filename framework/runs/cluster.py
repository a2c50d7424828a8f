"""Who trains together: the addresses of all workers, on this machine or as ``TF_CONFIG`` names them."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from framework.config.settings import Settings
from framework.core.errors import BadInput, Problem

VARIABLE = "TF_CONFIG"
_ANSWER_SECONDS = 2.0


@dataclass(frozen=True)
class Cluster:
    """Workers by their place; the first writes the run folder.

    Attributes:
        tasks: kind of task, ``chief`` or ``worker``, and ``host:port`` of each.
        here: places of those that this process starts.
    """

    tasks: tuple[tuple[str, str], ...]
    here: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.tasks)

    @property
    def has_first(self) -> bool:
        """Whether the first worker is one of those here."""
        return 0 in self.here

    def device(self, place: int) -> int:
        """The number of a worker's card among those that it sees, from 0: its own among the workers of its machine.

        Where what has started it, as Ray does, and Slurm with ``--gpus-per-task``, shows it a single card, that is its own.
        """
        seen = [card for card in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if card]
        if self.here == (place,) and len(seen) == 1:
            return 0
        return sum(_host(address) == _host(self.tasks[place][1]) for _, address in self.tasks[:place])

    def config(self, place: int) -> str:
        """What ``TF_CONFIG`` says to a worker."""
        addresses: dict[str, list[str]] = {}
        for kind, address in self.tasks:
            addresses.setdefault(kind, []).append(address)
        kind = self.tasks[place][0]
        index = sum(other == kind for other, _ in self.tasks[:place])
        return json.dumps({"cluster": addresses, "task": {"type": kind, "index": index}})

    def silent(self) -> list[str]:
        """Workers that are started elsewhere and do not answer: ``worker 1 (host:port)``."""
        elsewhere = [(place, address) for place, (_, address) in enumerate(self.tasks) if place not in self.here]
        return [f"worker {place} ({address})" for place, address in elsewhere if not _answers(address)]


def several(settings: Settings) -> bool:
    """Whether a training is to be done by several workers."""
    return settings.trainer.workers > 1 or len(_tasks_of(os.environ.get(VARIABLE, ""))) > 1


def cluster_of(settings: Settings) -> Cluster:
    """Who trains: those that ``TF_CONFIG`` names, else as many as the settings say, on this machine.

    Raises:
        BadInput: ``TF_CONFIG`` can't be followed, names another number than the settings, or a port that is in use.
    """
    wanted = settings.trainer.workers
    given = os.environ.get(VARIABLE)
    if not given:
        tasks = tuple(("worker", f"127.0.0.1:{port}") for port in _free_ports(wanted))
        return Cluster(tasks, tuple(range(wanted)))
    tasks = _tasks_of(given)
    if not tasks:
        right = '{"cluster": {"worker": ["host:port", …]}, "task": {"type": "worker", "index": 0}}, or unset'
        raise BadInput(Problem(f"{VARIABLE} names no workers", f"environment: {VARIABLE}", right))
    if wanted != len(tasks):
        what = f"{VARIABLE} names {len(tasks)} workers, and trainer.workers={wanted}"
        raise BadInput(Problem(what, "trainer.workers", f"trainer.workers={len(tasks)}"))
    task = json.loads(given).get("task") or {}
    own = [(kind, number) for kind in ("chief", "worker") for number in range(sum(kind == one for one, _ in tasks))]
    if (task.get("type"), task.get("index")) not in own:
        what = f"{VARIABLE} calls this process {task.get('type')} {task.get('index')}, which is none of its workers"
        raise BadInput(Problem(what, f"environment: {VARIABLE}", f"worker 0 to {len(tasks) - 1}"))
    place = own.index((task["type"], task["index"]))
    _refuse_taken(place, tasks[place][1])
    return Cluster(tasks, (place,))


def faults(settings: Settings) -> Iterator[Problem]:
    """What several workers can't do."""
    count, batch_size = settings.trainer.workers, settings.trainer.batch_size
    if count == 1:
        return
    where = "trainer.workers"
    if batch_size < count:
        what = f"trainer.workers={count} share a batch of {batch_size}: some would never have an image"
        yield Problem(what, where, f"trainer.workers={batch_size}, or trainer.batch_size={count} or more")
    if settings.cache.use == "only":
        yield Problem(f"trainer.workers={count}: cache=only trains nothing", where, "trainer.workers=1")
    elif all(map(settings.fits, settings.stages.values())):
        what = f"trainer.workers={count}: head '{settings.head.name}' is fitted in one pass, and nothing is trained"
        yield Problem(what, where, "trainer.workers=1")


def _tasks_of(text: str) -> tuple[tuple[str, str], ...]:
    """The workers that a text of ``TF_CONFIG`` names, in TensorFlow's order; none where it can't be read so."""
    try:
        addresses = json.loads(text)["cluster"]
        kinds = [(kind, addresses.get(kind, [])) for kind in ("chief", "worker")]
        tasks = tuple((kind, str(address)) for kind, several in kinds for address in several)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()
    return tasks if all(address.rpartition(":")[2].isdigit() for _, address in tasks) else ()


def _host(address: str) -> str:
    return address.rpartition(":")[0]


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _refuse_taken(place: int, address: str) -> None:
    """TensorFlow would share the port with whoever has it, and wait.

    Raises:
        BadInput: another process listens at the worker's own port.
    """
    port = int(address.rpartition(":")[2])
    with socket.socket() as tried:
        # as servers do: a connection that is just closed is nobody's
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("", port))
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            what = (
                f"port {port} of worker {place} is in use"
                if error.errno == errno.EADDRINUSE
                else f"port {port} is not allowed"
            )
            raise BadInput(
                Problem(what, f"environment: {VARIABLE}", "another port, in all workers' TF_CONFIG")
            ) from None


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS):
            return True
    except OSError:
        return False

"""What several workers tell each other before they train: that they have the same, and what the first has kept."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import framework
from framework.core.errors import BadInput, Problem
from framework.core.files import write_whole
from framework.core.runs import RunFolder
from framework.core.schema import show
from framework.data import fingerprint
from framework.model.build import Network
from framework.reports.entries import flat
from framework.runs.facts import versions
from framework.runs.job import Job
from framework.runs.keeping import FolderStore, make_callbacks
from framework.runs.preflight import Data
from framework.runs.prepare import Looked, look, network, train
from framework.runs.resume_rules import FREE, rule
from framework.training import distilling
from framework.training.state import State
from framework.training.trainer import Trainer
from framework.training.workers import OneWorker

_OTHERS = {
    "program": ("another version of this project or of its packages", "the same versions for all workers"),
    "data": ("other images or labels, or in another order,", "the same data for all workers"),
    "network": ("other first weights", "the same file of weights, and machines of one kind, for all workers"),
    "teacher": ("another teacher", "the same model in distill.from for all workers"),
}


def follow(job: Job, data: Data | None, workers: OneWorker) -> None:
    """Train as a worker that is not the first: nothing is kept and nobody told.

    Raises:
        BadInput: it has other settings, data or weights than the first worker.
        RunStopped: a signal came, or another worker is lost.
        RunFailed: the training came to nothing.
    """
    said = json.loads(workers.of_first(b""))
    if said.get("done"):
        return
    with tempfile.TemporaryDirectory(prefix="framework-worker-") as place:
        folder = RunFolder(Path(place))
        looked = look(job.settings, data=data, begun=said["begun"])
        built = network(looked.experiment)
        meet(workers, job, looked, built)
        callbacks, store = (
            make_callbacks(job.settings, folder, writing=False),
            SharedStore(FolderStore(folder), workers),
        )
        train(Trainer(looked.experiment, built, callbacks, None, store, looked.fingerprint, workers))


def tell(workers: OneWorker, *, done: bool = False, begun: Mapping[str, Any] | None = None) -> None:
    """Let the others know how the run stands: finished, or begun with what ``run.json`` says, or new."""
    workers.of_first(json.dumps({"done": done, "begun": begun}).encode())


def meet(workers: OneWorker, job: Job, looked: Looked, built: Network) -> None:
    """Let the workers train only if all have the same; each finds the same faults.

    Raises:
        BadInput: a problem for each worker and thing that differs from the first's.
    """
    if workers.count == 1:
        return
    own = {
        "program": _program(job),
        "data": _order(looked),
        "network": _weights(built),
        "teacher": distilling.record(looked.experiment.teacher).get("teacher", {}).get("fingerprint"),
        "config": _config(job),
    }
    first, *others = workers.said(own)
    problems = [problem for place, other in enumerate(others, 1) for problem in _differences(place, first, other)]
    if problems:
        raise BadInput(problems)


class SharedStore:
    """The store of a training by several workers: the first reads and writes, the others get what it has read.

    Args:
        store: the worker's own; of one that is not the first in a folder that nobody keeps.
        workers: of whom this is one.
    """

    def __init__(self, store: FolderStore, workers: OneWorker):
        self.store, self.workers = store, workers

    def read(self) -> State | None:
        """Where the run stands; None if it is to begin.

        Raises:
            BadInput: the file is damaged.
        """
        if self.workers.count > 1:
            file = self.store.folder.state
            content = self.workers.of_first(file.read_bytes() if file.is_file() else b"")
            if content and not self.workers.first:
                write_whole(file, content)
        return self.store.read()

    def write(self, state: State) -> None:
        """Write the state whole, if this is the first."""
        if self.workers.first:
            self.store.write(state)

    def write_history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write all epochs so far, whole, if this is the first."""
        if self.workers.first:
            self.store.write_history(rows)


def _differences(place: int, first: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[Problem]:
    for key, (what, right) in _OTHERS.items():
        if other[key] != first[key]:
            yield Problem(f"worker {place} has {what} than the first worker", f"worker {place}", right)
            if key == "program":
                return
    then, now = first["config"], other["config"]
    for key in sorted({*then, *now}):
        if then.get(key) != now.get(key):
            what = f"worker {place} has {key}={show(now.get(key))}, the first worker {key}={show(then.get(key))}"
            yield Problem(what, key, "the same command for all workers")


def _program(job: Job) -> str:
    """Hash of the versions that results depend on and of the sources, a recipe's own among them."""
    total = hashlib.blake2b(repr(sorted(versions().items())).encode(), digest_size=16)
    folders = [Path(framework.__file__).parent, *([job.recipe.folder] if job.recipe else [])]
    for folder in folders:
        for file in sorted(folder.rglob("*.py")):
            total.update(file.relative_to(folder).as_posix().encode() + file.read_bytes())
    return total.hexdigest()


def _order(looked: Looked) -> str:
    """Hash of the images and their labels as they lie: workers take rows by their number."""
    return fingerprint.order(looked.experiment.images, looked.fingerprint)


def _weights(built: Network) -> str:
    total = hashlib.blake2b(digest_size=16)
    for weight in built.model.weights:
        total.update(np.ascontiguousarray(weight).tobytes())
    return total.hexdigest()


def _config(job: Job) -> dict[str, Any]:
    """The keys that a result depends on; not where files lie, which are compared by what is in them."""
    config = flat(yaml.safe_load(job.config))
    return {key: value for key, value in config.items() if rule(key) != FREE and not _is_path(value)}


def _is_path(value: Any) -> bool:
    return any(isinstance(one, str) and os.path.isabs(one) for one in (value if isinstance(value, list) else [value]))

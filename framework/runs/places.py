"""Where a run is computed, and where what it leaves is kept: places that can't be used, and keys that change nothing there."""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from framework.config.earlier import here
from framework.config.folders import unwritable
from framework.config.settings import Settings
from framework.core.digits import seconds
from framework.core.errors import BadInput, Problem
from framework.core.schema import show
from framework.data import remote
from framework.features.upkeep import root_folder

# of engines that are no process of this machine's: the package, and the keys of ``compute`` that only some have a use for
PACKAGES = {"ray": "ray", "slurm": "submitit"}
OF_ENGINE = {
    "retries": ("ray", "slurm"),
    "address": ("ray",),
    "partition": ("slurm",),
    "time": ("slurm",),
    "array": ("slurm",),
}


def kept(settings: Settings) -> Iterator[Problem]:
    """Problems of the cache's folder, the split that is written down, and the copy elsewhere."""
    yield from _cache(settings)
    yield from _written(settings)
    yield from _mirror(settings.mirror)


def computed(settings: Settings) -> Iterator[Problem]:
    """An engine whose package is missing, and keys that its runs have no use for."""
    compute, engine = settings.compute, settings.compute.engine
    spread = settings.cache.compute
    for key, chosen in {"compute": engine, "cache.compute": spread}.items():
        package = PACKAGES.get(chosen)
        if package and importlib.util.find_spec(package) is None:
            where = "compute.engine" if key == "compute" else key
            what = f"{key}={chosen} needs {package}, which is not installed"
            yield Problem(what, where, f"pip install 'framework[{chosen}]'")
    if spread != "local" and engine != "local":
        what = f"cache.compute={spread} with compute={engine}: each run would hold a place while it waits for others"
        yield Problem(
            what, "cache.compute", f"cache=only cache.compute={spread} first, then the sweep with compute={engine}"
        )
    if spread != "local" and settings.augment.parts and settings.augment.copies:
        what = f"augment.copies={settings.augment.copies}: varied copies are computed by this process, not by cache.compute"
        yield Problem(what, "cache.compute", "cache.compute=local, or augment.copies=0")
    for key, engines in OF_ENGINE.items():
        value = getattr(compute, key)
        if key == "address" and spread == "ray":
            continue
        if engine not in engines and value != _shipped_compute()[key]:
            what = f"compute.{key}={show(value)} changes nothing with compute={engine}"
            yield Problem(what, f"compute.{key}", f"compute={engines[0]}, or leave it out")
    try:
        seconds(compute.time)
    except ValueError:
        yield Problem(f"compute.time={compute.time} is no time", "compute.time", "30m, 2h, 1d")
    if engine == "slurm" and compute.gpus is not None and compute.gpus != int(compute.gpus):
        what = f"compute.gpus={compute.gpus:g}: Slurm gives whole cards"
        yield Problem(what, "compute.gpus", f"compute.gpus={int(compute.gpus) + 1}")
    if settings.sweep.detach and engine == "local":
        what = "sweep.detach hands a sweep over to a cluster, and compute=local is this machine"
        yield Problem(what, "sweep.detach", "compute=ray or compute=slurm")


@functools.cache
def _shipped_compute() -> dict[str, Any]:
    """The node ``compute`` as it is where nobody says anything, read once for all variants of a sweep."""
    return here()


def _cache(settings: Settings) -> Iterator[Problem]:
    """A cache folder that features are likely to be kept in, and can't be."""
    cache, model = settings.cache, settings.model
    if cache.use == "off" or (cache.dir is None and (model.weights is None or model.trainable)):
        return
    folder = root_folder(cache.dir).absolute()
    reason = unwritable(folder)
    if reason:
        what = f"the feature cache can't be kept in {folder}: {reason}"
        yield Problem(what, "cache.dir", "cache.dir=<another folder>, or cache=off")


def _written(settings: Settings) -> Iterator[Problem]:
    """A file of the split that can't be written."""
    file = settings.data.write_split
    if file is None:
        return
    where = "data.write_split"
    if os.path.isdir(file):
        yield Problem(f"{where}={file} is a folder", where, os.path.join(file, "split.csv"))
    elif reason := unwritable(Path(file).absolute().parent):
        yield Problem(f"{where}={file} can't be written: {reason}", where, "a file in a folder that can be written")


def _mirror(address: str | None) -> Iterator[Problem]:
    """A mirror that is no address, or whose package is missing."""
    if address is None:
        return
    if not remote.is_address(address):
        what = f"mirror={address} is no address of an object store"
        yield Problem(what, "mirror", "mirror=s3://bucket/path; a folder of this machine is hydra.run.dir=FOLDER")
        return
    try:
        remote.system_of(address, "mirror")
    except BadInput as error:
        yield from error.problems

"""Image files through a network by a cluster: what it gives of each is kept as features are, and computed once."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np

from framework.config.documents import read_option, shipped
from framework.config.folders import conf_folder
from framework.config.settings import CacheSettings, ComputeSettings
from framework.core.backend import keras
from framework.core.errors import BadInput, Problem
from framework.core.geometry import Geometry
from framework.core.schema import Count, NonNegative, PathText
from framework.data import containers, decode, fingerprint
from framework.data.rows import Undecodable
from framework.evaluation.seeing import Views
from framework.features.compute import features

ROWS = 4096  # answers handed on at a time


@dataclass(frozen=True)
class CacheOptions:
    """What computes answers, and where they are kept."""

    compute: Annotated[Literal["local", "ray"], "this process, or tasks of a Ray cluster, whose answers are kept"] = (
        "local"
    )
    dir: Annotated[PathText | None, "with cache.compute=ray: a folder on a disk that its machines share"] = None


@dataclass(frozen=True)
class ComputeOptions:
    """The cluster, and what each of its tasks gets."""

    address: Annotated[str, "with cache.compute=ray: HOST:PORT; auto: RAY_ADDRESS, or this machine's cluster"] = "auto"
    cpus: Annotated[Count, "with cache.compute=ray: cores of a task"] = 1
    gpus: Annotated[NonNegative, "with cache.compute=ray: graphics cards of a task"] = 0


def refuse(cache: CacheOptions, compute: ComputeOptions, by_distance: bool) -> None:
    """Let only what takes effect pass; ``by_distance`` if distances to the training images are asked for.

    Raises:
        BadInput: something does not, or Ray is missing.
    """
    problems = []
    if cache.compute == "local":
        given = {"cache.dir": cache.dir is not None, "compute.address": compute.address != "auto"}
        given |= {"compute.cpus": compute.cpus != 1, "compute.gpus": compute.gpus != 0}
        problems = [
            Problem(f"{key} changes nothing with cache.compute=local", f"command line: {key}", "cache.compute=ray")
            for key, is_given in given.items()
            if is_given
        ]
    elif importlib.util.find_spec("ray") is None:
        what = "cache.compute=ray needs ray, which is not installed"
        problems.append(Problem(what, "command line: cache.compute", "pip install 'framework[ray]'"))
    elif by_distance:
        what = "distances to the training images: a cluster's answers are kept without them"
        problems.append(Problem(what, "command line: cache.compute", "cache.compute=local"))
    if problems:
        raise BadInput(problems)


def spread(
    model: keras.Model,
    files: Iterable[str],
    geometry: Geometry,
    cache: CacheOptions,
    compute: ComputeOptions,
    unreadable: list[tuple[str, str]],
    deep: list[str],
    seen: Views | None = None,
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Files and their logits, in the order given, as ``evaluation.forward.forward`` gives them.

    What a cluster has computed is kept by the contents of files and the network, so what was killed goes on.

    Args:
        model: from raw images, float32 0-255 (batch, height, width, channels), to logits.
        files: read whole before anything is computed.
        geometry: of the images that it takes.
        cache: where logits are kept.
        compute: the cluster.
        unreadable: each file that can't be decoded is added here with the reason, and left out.
        deep: files of more than 8 bits a channel, of which 8 are read, are added here.
        seen: how each image is seen; None for once, as it is.

    Yields:
        some files, and float32 logits of shape (files, units).

    Raises:
        BadInput: no cluster answers, or it can't do it.
    """
    paths = []
    for path in files:
        if containers.is_file(path):
            paths.append(path)
        else:
            unreadable.append((path, "no such file"))
    decode.plan(paths, geometry, deep)
    node = {**shipped("compute"), **read_option(conf_folder() / "compute" / "ray.yaml").content}
    where = replace(ComputeSettings(**node), address=compute.address, cpus=compute.cpus, gpus=compute.gpus)
    kept = CacheSettings(**{**shipped("cache"), "use": "auto", "compute": "ray", "dir": cache.dir})
    while paths:
        try:
            rows = features(
                model,
                paths,
                fingerprint.contents(paths),
                geometry=geometry,
                cache=kept,
                precision="float32",
                about={"base": model.name, "cut": "logits", "size": list(geometry.size)},
                compute=where,
                seen=seen,
            )
        except Undecodable as error:
            left = [path for path in paths if path not in error.reasons]
            if len(left) == len(paths):
                raise
            unreadable += error.reasons.items()
            paths = left
            continue
        for start in range(0, len(paths), ROWS):
            some = paths[start : start + ROWS]
            yield some, np.asarray(rows.read(np.arange(start, start + len(some))))
        return

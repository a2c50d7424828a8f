"""The feature pass as tasks of a Ray cluster, which write the shards of the store themselves.

A task computes some hundred images and has them whole in the store before it ends, a shard every 20 seconds at least. One
whose process dies, or whose machine is lost, is begun again elsewhere; it looks first what it has left. One whose process has
died several times is given up, for it may be an image that ends it; a lost machine is nobody's fault. What the killed command
itself had computed is in the store, and the same command asks for the rest.

Source: https://docs.ray.io/en/latest/ray-core/fault_tolerance/tasks.html
"""

from __future__ import annotations

import hashlib
import pickle
import platform
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import framework
from framework.config.settings import ComputeSettings
from framework.core import ray_cluster
from framework.core.backend import keras, load_tensorflow
from framework.core.console import progress, say
from framework.core.errors import BadInput, Problem, RunFailed, many
from framework.core.geometry import Geometry
from framework.core.travelling import found, threads, travelling
from framework.data.columns import Keys, at
from framework.data.rows import Undecodable
from framework.features import errand
from framework.features.compute import BATCH_SIZE, Seen, forward_of, image_batches, listed, records, unchanged
from framework.features.key import digest
from framework.features.shards import Layout
from framework.features.store import SHARD_BYTES, Store
from framework.model.saving import load_model

MOST = 2048  # images of a task: a minute of a small network on one core
DEATHS = 4  # of a part's process, after which it is given up
PARTS = 4  # so many tasks for each that runs at a time, where there are few images, so that all end together
NAME = "framework-features"  # of the tasks, as Ray's tools and ps show them


@dataclass(frozen=True)
class Work:
    """What all tasks of a pass have in common.

    Attributes:
        root: the cache's folder.
        description: all that the features depend on.
        layout: of a record.
        by_shard: whether images are known by their shards.
        geometry: how a file becomes an image.
        precision: of the pass.
        classes: layers that are neither Keras's nor this package's, by the names that they are saved under.
        seen: how each image is seen; None for once, as it is.
    """

    root: Path
    description: Mapping[str, Any]
    layout: Layout
    by_shard: bool
    geometry: Geometry
    precision: str
    classes: Mapping[str, type]
    seen: Seen | None


@dataclass(frozen=True)
class Part:
    """The images of a task: their files, their keys in the store, and the shards that they lie in, as ``listed`` has them."""

    paths: tuple[str, ...]
    keys: Sequence[str]
    shards: Sequence[tuple[str, tuple[int, int]]]

    @property
    def name(self) -> str:
        """What its shards are called first: of the same images the same."""
        return hashlib.blake2b("\n".join(self.keys).encode(), digest_size=8).hexdigest() + "-"


def spread(
    store: Store,
    prefix: keras.Model,
    paths: Sequence[str],
    keys: Sequence[str],
    geometry: Geometry,
    precision: str,
    compute: ComputeSettings,
    seen: Seen | None = None,
) -> None:
    """Have a cluster compute features and write them to the store, which is opened, on a disk that all machines share.

    Args:
        store: where to.
        prefix: from images to what is kept.
        paths: the images' files, on such a disk too.
        keys: of the images, none twice.
        geometry: how a file becomes an image.
        precision: as for ``features``.
        compute: ``address`` of the cluster, ``cpus`` and ``gpus`` of a task.
        seen: as for ``features``.

    Raises:
        BadInput: no cluster answers, no machine of it has room, one lacks what a task needs; or images can't be decoded.
        RunFailed: a disk or a memory is too small, or Ray gave a task up.
    """
    cpus, gpus = compute.cpus or 1, compute.gpus or 0
    with ray_cluster.joined(compute.address) as ray:
        places = ray_cluster.room(ray, cpus, gpus)
        if not places:
            raise BadInput(ray_cluster.no_room(ray, "a task", cpus, gpus))
        say(f"features: {many(places, 'task')} at a time on {many(len(ray_cluster.machines(ray)), 'machine')} of Ray's")
        ray.cloudpickle.register_pickle_by_value(errand)
        root = store.root.absolute()
        classes = _foreign(prefix, ray)
        work = Work(root, store.description, store.layout, store.by_shard, geometry, precision, classes, seen)
        common = ray.put(ray.cloudpickle.dumps(work)), ray.put(_saved(prefix))
        # begun again here: Ray counts deaths of a process and lost machines as one; and a process is used again, which with
        # cards Ray would not do: to load TensorFlow takes as long as a card needs for thousands of images
        task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0, max_calls=0)(errand.run).options(name=NAME)
        parts = _parts(paths, keys, store.layout, places)
        environment = {**travelling(), **threads(compute.cpus or 1)}
        running: dict[Any, Part] = {}
        died: Counter[str] = Counter()
        problems: list[Undecodable] = []

        def begin(part: Part) -> None:
            order = found(), environment, framework.__version__, *common, pickle.dumps(part)
            running[task.remote(*order)] = part

        try:
            with progress("Computing features", len(keys), "images") as advance:
                while True:
                    while len(running) < 2 * places and (part := next(parts, None)) is not None:
                        begin(part)
                    if not running:
                        break
                    over, _ = ray.wait(list(running), num_returns=1, timeout=0.5)
                    for one in over:
                        part = running.pop(one)
                        try:
                            _heed(*ray.get(one))
                        except Undecodable as error:
                            problems.append(error)
                        except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
                            died[part.name] += 1
                            if died[part.name] == DEATHS:
                                raise _deadly(part, store, error) from None
                            begin(part)
                            continue
                        except (ray.exceptions.NodeDiedError, ray.exceptions.ObjectLostError):
                            begin(part)
                            continue
                        except ray.exceptions.RayError as error:
                            first = str(error).strip().split("\n", 1)[0]
                            raise RunFailed(f"Ray gave a task of the feature pass up: {first}") from None
                        advance(len(part.keys))
        finally:
            for one in running:
                ray.cancel(one, force=True)
    if problems:
        reasons = {path: why for error in problems for path, why in error.reasons.items()}
        given = {full: path for path in paths if (full := _full(path)) in reasons}
        raise Undecodable([(given.get(path, path), why) for path, why in reasons.items()])


def compute_part(work: bytes, model: bytes, part: bytes) -> tuple[str, Any]:
    """Compute a part and keep it, at the machine of a task.

    Args:
        work: the pickled ``Work``.
        model: the prefix as Keras saves it; loaded once a process.
        part: the pickled ``Part``.

    Returns:
        ``done``; or what is wrong and the particulars of it, for ``_heed``.
    """
    wanted: Work = pickle.loads(work)
    images: Part = pickle.loads(part)
    store = Store(wanted.root, wanted.description, wanted.layout, wanted.by_shard)
    if not (store.folder / "key.json").is_file():
        return "unfit", f"{wanted.root} is not there on {platform.node()}"
    there = store.written(images.name)
    left = [place for place, key in enumerate(images.keys) if key not in there]
    if not left:
        return "done", None
    load_tensorflow()
    paths, keys = [images.paths[place] for place in left], at(images.keys, np.array(left))
    try:
        dataset = image_batches(paths, wanted.geometry, wanted.seen)(np.arange(len(paths)))
        forward = _loaded(wanted, model, dataset.element_spec)
        stream = records(forward, dataset, lambda: paths, keys, wanted.geometry, wanted.layout, lambda count: None)
        store.write(unchanged(stream, images.shards), images.name)
    except Undecodable as error:
        return "undecodable", list(error.reasons.items())
    except BadInput as error:
        return "bad", [(one.what, one.where, one.right) for one in error.problems]
    except RunFailed as error:
        return "failed", f"{error} (on {platform.node()})"
    return "done", None


_forwards: dict[str, Any] = {}


def _loaded(work: Work, model: bytes, spec: Any) -> Any:
    """The pass of this process, traced once; that of another prefix before it is forgotten."""
    key = digest(work.description)
    if key not in _forwards:
        _forwards.clear()
        with tempfile.TemporaryDirectory(prefix="framework-") as folder:
            file = Path(folder, "prefix.keras")
            file.write_bytes(model)
            with keras.utils.custom_object_scope(dict(work.classes)):
                prefix = load_model(file)
        _forwards[key] = forward_of(prefix, work.layout, spec, work.precision, work.seen)
    return _forwards[key]


def _heed(said: str, more: Any) -> None:
    """Raise what a task has found wrong, here."""
    if said == "undecodable":
        raise Undecodable(more)
    if said == "bad":
        raise BadInput(Problem(*one) for one in more)
    if said == "failed":
        raise RunFailed(more)
    if said == "unfit":
        right = "this version on all machines, and a cache.dir on a disk that they share"
        raise BadInput(Problem(more, "cache.compute", right))


def _deadly(part: Part, store: Store, error: Exception) -> RunFailed:
    """That a part has ended its process too often, and which images of it are left."""
    there = store.written(part.name)
    left = [path for path, key in zip(part.paths, part.keys, strict=True) if key not in there]
    which = left[0] if len(left) == 1 else f"{left[0]} to {left[-1]}"
    first = str(error).strip().split("\n", 1)[0]
    return RunFailed(
        f"The process of a task has died {DEATHS} times over {many(len(left), 'image')} ({which}): {first} "
        "What else was computed is kept. An image may be too large for the memory of a task: a greater compute.cpus lets fewer "
        "tasks share a machine's; data.exclude=FILE, a path a line, leaves images out."
    )


def _parts(paths: Sequence[str], keys: Sequence[str], layout: Layout, places: int) -> Iterator[Part]:
    """The images in parts of whole batches: about a shard each, fewer where there would be too few parts for all places."""
    size = min(SHARD_BYTES // layout.bytes, MOST, -(-len(keys) // (PARTS * places)))
    size = max(1, -(-size // BATCH_SIZE)) * BATCH_SIZE
    for start in range(0, len(keys), size):
        files, some = paths[start : start + size], keys[start : start + size]
        own = some.alone() if isinstance(some, Keys) else tuple(some)
        yield Part(tuple(map(_full, files)), own, listed(files))


def _full(path: str) -> str:
    return str(Path(path).absolute())


def _saved(prefix: keras.Model) -> bytes:
    """The prefix as Keras saves it."""
    with tempfile.TemporaryDirectory(prefix="framework-") as folder:
        file = Path(folder, "prefix.keras")
        prefix.save(file)
        return file.read_bytes()


def _foreign(prefix: keras.Model, ray: Any) -> dict[str, type]:
    """Classes of layers that are a recipe's own: they travel by value, for the recipe may not be there."""
    kinds = {type(operation) for operation in prefix.operations}
    foreign = {kind for kind in kinds if kind.__module__.split(".")[0] not in ("keras", "keras_hub", "framework")}
    for kind in foreign:
        ray.cloudpickle.register_pickle_by_value(sys.modules[kind.__module__])
    return {keras.saving.get_registered_name(kind): kind for kind in foreign}

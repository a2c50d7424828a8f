"""What a run would do, found out without doing it: shapes, counts, cuts, cache hits, estimates of time and memory."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from framework.config.settings import CacheSettings
from framework.core.backend import keras, load_tensorflow, tf
from framework.core.errors import Problem
from framework.core.geometry import Geometry
from framework.core.registry import get
from framework.data import fingerprint, pipeline
from framework.data.columns import joined
from framework.data.rows import untuned
from framework.features.compute import BATCH_SIZE, image_batches, kept, measured
from framework.features.graph import Cut
from framework.model import weights
from framework.model.build import Network, build
from framework.training.compiling import balance, make_loss, make_metrics, make_optimizer
from framework.training.distilling import PRECISION, kept_as
from framework.training.experiment import Experiment
from framework.training.inputs import SPLITS, InputBuilder, with_prefix
from framework.training.loop import StepLoop
from framework.training.stages import Stage, freeze, stage_of

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
MEASURED = 16
AT_ONCE = 32
# seconds: to decode an image that is not there yet; of Python, Hydra and a look at the data; of files and curves
DECODING = 1 / 800
START = 1.5
END = 1.0
WRITTEN = 2e8  # bytes a second


@dataclass(frozen=True)
class StagePlan:
    """One stage: what trains, where the frozen prefix ends, and what that costs.

    Attributes:
        stage: the stage on the network.
        trained: parameters that learn.
        frozen: parameters that don't.
        cut: where the frozen prefix ends.
        why: why nothing is kept, empty if something is.
        known: images whose features are kept already; None where that can't be known.
        images: how many are trained and validated on.
        bytes: that all features take on disk.
        steps: training steps of an epoch.
        seconds: estimate for the whole stage.
    """

    stage: Stage
    trained: int
    frozen: int
    cut: Cut
    why: str
    known: int | None
    images: int
    bytes: int
    steps: int
    seconds: float


@dataclass(frozen=True)
class RunPlan:
    """A run that was not started.

    Attributes:
        start: settings, data and task.
        network: as it would be trained; with random weights where ``note`` says so.
        note: what is not as it would be, empty if nothing.
        stages: in order.
        memory: estimate in bytes of weights, optimizer state and images or features.
        model_bytes: estimate of one saved model with its optimizer.
        seconds: estimate for the whole run, the start of TensorFlow included.
    """

    start: Experiment
    network: Network
    note: str
    stages: tuple[StagePlan, ...]
    memory: int
    model_bytes: int
    seconds: float


def plan(start: Experiment) -> RunPlan:
    """The plan of a run; downloads nothing, trains nothing, writes nothing but the memory of image hashes.

    Raises:
        BadInput: the network can't be built.
    """
    began = time.perf_counter()
    load_tensorflow()
    start, note = with_local_weights(start)
    network = build(start.settings, start.task, start.examples)
    stages = [stage_of(name, one, start.settings, network) for name, one in start.settings.stages.items()]
    ready = time.perf_counter() - began
    decoding = decoding_seconds(start)
    planned = tuple(_stage(start, network, stage, not note, decoding) for stage in stages)
    total = network.model.count_params()
    trained = max(stage.trained for stage in planned)
    read = sum(len(start.images.splits[name]) for name in SPLITS if name in start.images.splits)
    images = min(read * math.prod(start.settings.data.geometry.shape), start.settings.data.memory_limit << 20)
    held = max([stage.bytes if not stage.why else images for stage in planned], default=0)
    model_bytes = 4 * (total + 2 * trained)
    seconds = (
        START
        + ready
        + sum(stage.seconds for stage in planned)
        + _taught(start, decoding)
        + END
        + 2 * model_bytes / WRITTEN
    )
    return RunPlan(start, network, note, planned, 4 * (total + 3 * trained) + held, model_bytes, seconds)


def layers(network: Network, stage: Stage) -> Iterator[tuple[str, str, str, str, str]]:
    """Name, type, shape of the output for one image, parameters and whether it trains, of every layer."""
    for layer in network.flat.layers:
        shapes = [tuple(tensor.shape[1:]) for tensor in keras.tree.flatten(layer.output)]
        count = f"{layer.count_params():,}" if layer.weights else ""
        trains = "trains" if layer.weights and layer.name in stage.trained else ""
        yield layer.name, type(layer).__name__, " ".join("×".join(map(str, shape)) for shape in shapes), count, trains


def with_local_weights(start: Experiment) -> tuple[Experiment, str]:
    """The same with random weights where those asked for are not on this machine, and a clause that says so."""
    model = start.settings.model
    found = weights.find(get("base", model.name), model.weights, start.settings.data.size, model.parameters)
    if found is None or (isinstance(found, Path) and found.exists()):
        return start, ""
    plain = replace(start.settings, model=replace(model, weights=None))
    if not isinstance(found, Problem):
        name = found.name if isinstance(found, Path) else found.handle
        return replace(start, settings=plain), f"the weights would be downloaded first: {name}"
    return replace(start, settings=plain), "the weights can't be had: random ones would take their place"


def _stage(start: Experiment, network: Network, stage: Stage, known: bool, decoding: float) -> StagePlan:
    settings = start.settings
    freeze(network, stage)
    inputs = InputBuilder(start, network)
    passes = inputs.passes(stage)
    cut, tail = passes[0].cut, passes[0].tail
    why = inputs.why_not_kept(cut, stage)
    if why == "":
        why = "nothing is kept: what trains begins at the images"
    if why and passes[0].prefix is not None:
        tail = with_prefix(passes[0].prefix, tail)
    images = sum(map(len, inputs.splits.values()))
    trained = sum(int(np.prod(weight.shape)) for weight in network.model.trainable_variables)
    steps = pipeline.steps(len(balance(start) or start.images.splits["train"]), settings.trainer.batch_size)
    hits: int | None = None
    size, precision = 0, settings.trainer.feature_precision
    if why:
        # read once where they fit into memory, else in every epoch
        once = images * math.prod(settings.data.geometry.shape) <= settings.data.memory_limit << 20
        seconds = decoding * images * (1 if once else stage.epochs)
    else:
        known = known or start.images.features is not None
        hits = 0 if known else None
        seconds = 0.0
        for one in passes:
            paths = joined([inputs.splits[name].paths for name in one.names])
            found = _kept(start, one.prefix, paths, one.geometry, settings.cache, precision) if known else 0
            hits = hits + found if hits is not None else None
            size += one.cut.numbers * BYTES[settings.cache.dtype] * len(paths)
            if len(paths) > found:
                begin, forward = measured(one.prefix, cache=settings.cache, precision=precision)
                seconds += begin + (len(paths) - found) * (decoding + forward)
    begin, epoch = training_times(start, network, stage, tail, not why)
    seconds += begin + stage.epochs * epoch
    total = network.model.count_params()
    return StagePlan(stage, trained, total - trained, cut, why or "", hits, images, size, steps, seconds)


def _kept(
    start: Experiment,
    prefix: keras.Model,
    paths: Sequence[str],
    geometry: Geometry,
    cache: CacheSettings,
    precision: str,
) -> int:
    """Of how many images what a network gives is kept; of none where the images are still to be made."""
    if start.images.features is not None:
        return len(paths)
    if start.images.prepare and not all(Path(path).exists() for path in paths[:1]):
        return 0
    found = kept(prefix, fingerprint.keys(paths), geometry=geometry, cache=cache, precision=precision)
    return min(found, len(paths))


def _taught(start: Experiment, decoding: float) -> float:
    """Seconds of the teacher's pass over the training images, as far as its answers are not kept."""
    if start.teacher is None:
        return 0.0
    model, geometry, cache = start.teacher.load(), start.teacher.geometry, kept_as(start.settings.cache)
    paths = start.images.splits["train"].paths
    known = 0 if cache.use == "off" else _kept(start, model, paths, geometry, cache, PRECISION)
    begin, forward = measured(model, cache=cache, precision=PRECISION)
    return begin + (len(paths) - known) * (decoding + forward)


def training_times(
    start: Experiment, network: Network, stage: Stage, tail: keras.Model, cached: bool
) -> tuple[float, float]:
    """Seconds until a stage's first step, and of each epoch with its validation, without reading images.

    From a few steps on noise; the weights that they change are nowhere kept.

    Args:
        start: settings and data.
        network: what is trained.
        stage: which of it.
        tail: what takes a row, as ``training.inputs`` makes it.
        cached: whether rows are kept features.
    """
    settings, task, splits = start.settings, start.task, start.images.splits
    steps = pipeline.steps(len(splits["train"]), settings.trainer.batch_size)
    batch = settings.trainer.batch_size if cached else min(settings.trainer.batch_size, MEASURED)
    at_once = min(steps, AT_ONCE) if cached else 1
    tail.compile(
        optimizer=make_optimizer(settings, stage, network.flat, steps),
        loss=make_loss(settings, task, stage),
        metrics=make_metrics(settings, task),
        auto_scale_loss=False,
        jit_compile=False,
        steps_per_execution=at_once,
    )
    one_target = task.targets(splits["train"].labels[:1])
    labels = tf.zeros((batch, *one_target.shape[1:]), one_target.dtype)
    inputs = [tf.random.uniform((batch, *tensor.shape[1:]), 0, 255, tf.float32) for tensor in tail.inputs]
    one = tf.data.Dataset.from_tensors((inputs[0] if len(inputs) == 1 else tuple(inputs), labels))
    batches = untuned(one.repeat())
    tail.train_function = StepLoop(tail, tail.train_step, at_once, at_once)
    tail.test_function = StepLoop(tail, tail.test_step, at_once, at_once)
    begin, some = _first_and_later(lambda: tail.fit(batches, steps_per_epoch=at_once, shuffle=False, verbose=0))
    epoch = steps * settings.trainer.batch_size / batch * some / at_once
    if validated := len(splits.get("validation", ())):
        more, some = _first_and_later(lambda: tail.evaluate(batches, steps=at_once, verbose=0))
        begin, epoch = begin + more, epoch + validated / batch * some / at_once
    return begin, epoch


def _first_and_later(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds that the first call takes more than a later one, and those of a later one."""
    taken = []
    for _ in range(3):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return max(0.0, taken[0] - min(taken[1:])), min(taken[1:])


def decoding_seconds(start: Experiment) -> float:
    """Of one image, from some of those that are to be read."""
    paths = joined([start.images.splits[name].paths for name in SPLITS if name in start.images.splits])
    some = [path for path in paths[:: max(1, len(paths) // (2 * BATCH_SIZE))] if Path(path).exists()]
    if not some:
        return DECODING
    batches = image_batches(some, start.settings.data.geometry)
    places = np.arange(len(some))
    try:
        _, later = _first_and_later(lambda: [None for _ in batches(places)])
    except tf.errors.OpError:
        return DECODING
    return later / len(some)

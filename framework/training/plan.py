"""What a run would do, found out without doing it: shapes, counts, cuts, cache hits, estimates of time and memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from framework.core.backend import keras, load_tensorflow, tf
from framework.core.registry import get
from framework.data import fingerprint
from framework.features.compute import kept
from framework.features.graph import Cut, frozen_prefix, split
from framework.model import weights
from framework.model.build import Network, build
from framework.training.fit import make_loss
from framework.training.material import AT_INPUT, SPLITS, Supply
from framework.training.preflight import Experiment
from framework.training.stages import Stage, freeze, stage_of

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
MEASURED = 16
DECODING = 800
START = 6.0


@dataclass(frozen=True)
class StagePlan:
    """One stage: what trains, where the frozen prefix ends, and what that costs.

    Attributes:
        stage: the stage on the network.
        trained: parameters that learn.
        frozen: parameters that don't.
        cut: where the frozen prefix ends.
        why: why nothing is kept, empty if something is.
        known: pictures whose features are kept already; None where that can't be known.
        pictures: how many are trained and validated on.
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
    pictures: int
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
        memory: estimate in bytes of weights, optimizer state and pictures or features.
        model_bytes: estimate of one saved model with its optimizer.
    """

    start: Experiment
    network: Network
    note: str
    stages: tuple[StagePlan, ...]
    memory: int
    model_bytes: int

    @property
    def seconds(self) -> float:
        """Estimate for the whole run, the start of TensorFlow included."""
        return START + sum(stage.seconds for stage in self.stages)


def plan(start: Experiment) -> RunPlan:
    """The plan of a run; downloads nothing, trains nothing, writes nothing but the memory of picture hashes.

    Raises:
        BadInput: the network can't be built.
    """
    load_tensorflow()
    start, note = _with_local_weights(start)
    network = build(start.settings, start.task)
    stages = [stage_of(name, one, start.settings, network) for name, one in start.settings.stages.items()]
    planned = tuple(_stage(start, network, stage, known=not note) for stage in stages)
    total = network.model.count_params()
    trained = max(stage.trained for stage in planned)
    read = sum(len(start.pictures.splits[name]) for name in SPLITS if name in start.pictures.splits)
    pictures = min(read * int(np.prod(start.settings.data.size)) * 3, start.settings.data.memory_limit << 20)
    held = max([stage.bytes if not stage.why else pictures for stage in planned], default=0)
    return RunPlan(start, network, note, planned, 4 * (total + 3 * trained) + held, 4 * (total + 2 * trained))


def layers(network: Network, stage: Stage) -> Iterator[tuple[str, str, str, str, str]]:
    """Name, type, shape of the output for one picture, parameters and whether it trains, of every layer."""
    for layer in network.model.layers:
        shapes = [tuple(tensor.shape[1:]) for tensor in keras.tree.flatten(layer.output)]
        count = f"{layer.count_params():,}" if layer.weights else ""
        trains = "trains" if layer.weights and layer.name in stage.trained else ""
        yield layer.name, type(layer).__name__, " ".join("×".join(map(str, shape)) for shape in shapes), count, trains


def _with_local_weights(start: Experiment) -> tuple[Experiment, str]:
    """The same with random weights where those asked for are not on this machine, and a clause that says so."""
    model = start.settings.model
    found = weights.find(get("base", model.name), model.weights, start.settings.data.size, model.parameters)
    if found is None or (isinstance(found, Path) and found.is_file()):
        return start, ""
    plain = replace(start.settings, model=replace(model, weights=None))
    if isinstance(found, Path):
        return replace(start, settings=plain), f"the weights would be downloaded first: {found.name}"
    return replace(start, settings=plain), "the weights can't be had: random ones would take their place"


def _stage(start: Experiment, network: Network, stage: Stage, known: bool) -> StagePlan:
    settings = start.settings
    freeze(network, stage)
    cut = frozen_prefix(network.model, stage.trained, stage.inference)
    supply = Supply(start, network, None)  # type: ignore[arg-type]
    why = supply.hindrance(cut)
    if why == "":
        why = "nothing is kept: what trains begins at the pictures"
    prefix, tail = split(network.model, AT_INPUT if why else cut, stage.inference)
    counts = {name: len(split) for name, split in supply.splits.items()}
    pictures, batch = sum(counts.values()), min(settings.trainer.batch_size, MEASURED)
    trained = sum(int(np.prod(weight.shape)) for weight in network.model.trainable_variables)
    steps = -(-counts["train"] // settings.trainer.batch_size)
    step, forward = _measure(start, tail, batch)
    scale = settings.trainer.batch_size / batch
    seconds = stage.epochs * (steps * step * scale + counts.get("validation", 0) / batch * forward)
    hits: int | None = None
    if why:
        seconds += pictures / DECODING
    else:
        assert prefix is not None
        hits = _known(start, prefix, supply) if known else None
        seconds += (pictures - (hits or 0)) / batch * _seconds(_forward(prefix), _noise(prefix, batch))
    size = 0 if why else cut.numbers * BYTES[settings.cache.dtype] * pictures
    total = network.model.count_params()
    return StagePlan(stage, trained, total - trained, cut, why or "", hits, pictures, size, steps, seconds)


def _known(start: Experiment, prefix: keras.Model, supply: Supply) -> int:
    """How many pictures' features are kept; none where the pictures are still to be made."""
    paths = [path for split in supply.splits.values() for path in split.paths]
    if start.pictures.prepare and not all(Path(path).exists() for path in paths[:1]):
        return 0
    settings = start.settings
    keys = fingerprint.contents(paths)
    found = kept(prefix, keys, cache=settings.cache, precision=settings.trainer.feature_precision)
    return min(found, len(paths))


def _measure(start: Experiment, tail: keras.Model, batch: int) -> tuple[float, float]:
    """Seconds of a training step without its last act, changing the weights, and of a forward pass."""
    loss = make_loss(start.settings, start.task)
    task = start.task
    shape = (batch,) if task.labels == "index" else (batch, task.units)
    labels = tf.zeros(shape, tf.int32 if task.labels == "index" else tf.float32)

    @tf.function
    def step(inputs: Any) -> Any:
        with tf.GradientTape() as tape:
            value = loss(labels, tail(inputs, training=True))
        return tape.gradient(value, tail.trainable_variables)

    inputs = _noise(tail, batch)
    return _seconds(step, inputs), _seconds(_forward(tail), inputs)


def _forward(model: keras.Model) -> Callable[[Any], Any]:
    return tf.function(lambda inputs: model(inputs, training=False))


def _noise(model: keras.Model, batch: int) -> Any:
    inputs = [tf.random.uniform((batch, *tensor.shape[1:]), 0, 255, tf.float32) for tensor in model.inputs]
    return inputs[0] if len(inputs) == 1 else inputs


def _seconds(work: Callable[[Any], Any], inputs: Any) -> float:
    """Of the faster of two runs, after one that traces."""
    work(inputs)
    taken = []
    for _ in range(2):
        started = time.perf_counter()
        tf.nest.map_structure(lambda tensor: np.asarray(tensor)[..., :1], work(inputs))
        taken.append(time.perf_counter() - started)
    return min(taken)

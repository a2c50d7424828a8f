"""How fast a network is on this machine: the frozen pass, an epoch of a head, an epoch of everything, and memory."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from pathlib import Path

from framework.config.settings import StageSettings
from framework.core.backend import load_tensorflow
from framework.core.registry import get
from framework.features.compute import measured
from framework.features.graph import frozen_prefix, split
from framework.model.build import Network, build
from framework.runs.plan import END, START, decoding_seconds, training_times, with_local_weights
from framework.training.experiment import Experiment
from framework.training.inputs import SPLITS, InputBuilder, with_prefix
from framework.training.stages import Stage, freeze, stage_of

EVERYTHING = StageSettings("all", None, None, 1.0, None, "auto", 1, [], None, None, None)
HEAD = replace(EVERYTHING, train="head")


@dataclass(frozen=True)
class Speed:
    """What was measured, in seconds where nothing else is said.

    Attributes:
        images: how many the data have to train and validate on.
        epochs: ``trainer.epochs``.
        rate: images a second of the frozen pass, decoded already.
        head_epoch: an epoch of the head on kept features, with validation.
        full_epoch: an epoch of everything, with validation, on decoded images.
        first: a run of the head, start and decoding included, while no features are kept.
        later: the same once they are.
        memory: MB that the process took at most, beyond what it had when it began; None where that can't be known.
    """

    images: int
    epochs: int
    rate: float
    head_epoch: float
    full_epoch: float
    first: float
    later: float
    memory: float | None


def speed(start: Experiment) -> Speed:
    """Measure a network on the data's counts and sizes; few images are read, the weights may be random.

    Memory is that of this process: one network a process.

    Raises:
        BadInput: the network can't be built.
    """
    load_tensorflow()
    before = _peak()
    began = time.perf_counter()
    start, _ = with_local_weights(start)
    network = build(start.settings, start.task, start.examples)
    ready = START + END + time.perf_counter() - began
    decoding = decoding_seconds(start)
    count = sum(len(start.images.splits[name]) for name in SPLITS if name in start.images.splits)
    epochs = start.settings.trainer.epochs

    fitted = get("head", start.settings.head.name).details["fit"] is not None
    stage = stage_of("head", replace(HEAD, train="fit") if fitted else HEAD, start.settings, network)
    freeze(network, stage)
    cut = frozen_prefix(network.model, stage.trained, stage.inference)
    prefix, tail = split(network.model, cut, stage.inference)
    assert prefix is not None  # below a head there is always a base
    settings = start.settings
    begin, forward = measured(prefix, cache=settings.cache, precision=settings.trainer.feature_precision)
    first_step, head_epoch = training_times(start, network, stage, tail, cached=True)
    later = ready + first_step + epochs * head_epoch
    first = later + begin + count * (decoding + forward)
    if InputBuilder(start, network).why_not_kept(cut, stage) is not None:
        later = first
    full_epoch = _everything(start, network)
    after = _peak()
    memory = None if before is None or after is None else after - before
    return Speed(count, epochs, 1 / forward, head_epoch, full_epoch, first, later, memory)


def _everything(start: Experiment, network: Network) -> float:
    """Seconds of an epoch that trains all weights."""
    stage: Stage = stage_of("all", EVERYTHING, start.settings, network)
    freeze(network, stage)
    cut = frozen_prefix(network.model, stage.trained, stage.inference)
    prefix, tail = split(network.model, cut, stage.inference)
    if prefix is not None:
        tail = with_prefix(prefix, tail)
    return training_times(start, network, stage, tail, cached=False)[1]


def _peak() -> float | None:
    """MB that this process has taken at most so far, as Linux tells; None elsewhere."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 / 1e6 if found else None

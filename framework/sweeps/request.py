"""A sweep that is asked for, in plain values, and how many of its runs go side by side."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from framework.config.settings import SweepSettings


@dataclass(frozen=True)
class SweepRequest:
    """A sweep as the command line describes it.

    Attributes:
        name: of the sweep.
        folder: where its runs go.
        command: what was typed.
        varied: keys that have several values.
        fixed: the overrides of a single value.
        settings: the node ``sweep``.
        arguments: what Hydra is given.
    """

    name: str
    folder: Path
    command: tuple[str, ...]
    varied: tuple[str, ...]
    fixed: tuple[str, ...]
    settings: SweepSettings
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Search:
    """A study of Optuna's that the sweep's jobs are trials of: where it is kept, its name there, how many are to come."""

    storage: str
    study: str
    trials: int


def jobs_at_once(settings: SweepSettings) -> int:
    """How many runs go side by side; a graphics card is filled by one.

    Half as many again as there are cores: a run on kept features traces, trains and draws on little more than half a
    core.
    """
    if settings.jobs != "auto":
        return settings.jobs
    if any(Path(device).exists() for device in ("/dev/nvidia0", "/dev/kfd")):
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + cores // 2

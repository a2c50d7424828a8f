"""A sweep that is asked for, in plain values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from framework.config.settings import ComputeSettings, SearchSettings, SweepSettings
from framework.core.better import Yardstick
from framework.sweeps.space import Space


@dataclass(frozen=True)
class Search:
    """A search that is asked for.

    Attributes:
        settings: the node ``search``.
        space: what is drawn from.
        objectives: what trials are judged by, the first one counts where only one can.
        timeout: seconds after which no trial begins.
        epochs: of a whole run.
        may_differ: whether ``resume.allow`` lets runs of before have other values.
    """

    settings: SearchSettings
    space: Space
    objectives: tuple[Yardstick, ...]
    timeout: float | None
    epochs: int
    may_differ: bool


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
        search: what draws the runs; None where they are all combinations.
        compute: where its runs are; None for this machine.
        typed: of the command, what stands behind its name.
    """

    name: str
    folder: Path
    command: tuple[str, ...]
    varied: tuple[str, ...]
    fixed: tuple[str, ...]
    settings: SweepSettings
    arguments: tuple[str, ...]
    search: Search | None = None
    compute: ComputeSettings | None = None
    typed: tuple[str, ...] = ()

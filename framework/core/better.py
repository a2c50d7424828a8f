"""Which result is better: the one rule for epochs, runs and variants, for training, sweeps, reports and what follows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from framework.core.digits import is_number

Mode = Literal["auto", "min", "max"]
Direction = Literal["auto", "minimize", "maximize"]
Row = TypeVar("Row", bound=Mapping[str, Any])

LOSSES = ("loss", "val_loss")
LOWER = ("loss", "mae", "rmse", "seconds", "parameters")  # what columns end in of which less is better
MODES: dict[Direction, Mode] = {"auto": "auto", "minimize": "min", "maximize": "max"}


@dataclass(frozen=True)
class Yardstick:
    """What results are held against.

    Attributes:
        column: of the history.
        higher: whether more of it is better.
    """

    column: str
    higher: bool

    @classmethod
    def of(cls, column: str, mode: Mode = "auto") -> Yardstick:
        """The yardstick of a column; ``auto`` is down for a loss or an error, up for anything else."""
        return cls(column, mode == "max" or (mode != "min" and not column.endswith(LOWER)))

    @property
    def mode(self) -> Literal["min", "max"]:
        """Which way is better, as Keras says it."""
        return "max" if self.higher else "min"

    def order(self, value: Any) -> float:
        """Sorts values best first; what is no finite number comes last."""
        return math.inf if not is_number(value) else -value if self.higher else value

    def beats(self, value: Any, other: Any) -> bool:
        """Whether a value is better than another; equals don't beat each other, so that the earlier one stays."""
        return self.order(value) < self.order(other)

    def can_judge(self, row: Mapping[str, Any]) -> bool:
        """Whether an epoch may be best: its value is a finite number, and so are its losses where it has them."""
        return is_number(row.get(self.column)) and all(is_number(row[name]) for name in LOSSES if name in row)

    def best(self, rows: Iterable[Row]) -> Row | None:
        """The best epoch of a history, the first one of equals; None where none can be judged."""
        return min(filter(self.can_judge, rows), key=lambda row: self.order(row[self.column]), default=None)


def of_run(checkpoints: Iterable[Mapping[str, Any]], metrics: Iterable[str], validated: bool) -> Yardstick:
    """How a run's epochs are judged: as its checkpoint says, else by its first metric, else by the loss.

    Args:
        checkpoints: ``monitor`` and ``mode`` of each checkpoint callback.
        metrics: their names, in order.
        validated: whether there are validation images, which then count.
    """
    for checkpoint in checkpoints:
        return Yardstick.of(checkpoint["monitor"], checkpoint["mode"])
    return Yardstick.of(f"{'val_' if validated else ''}{next(iter(metrics), 'loss')}")


def of_sweep(own: Yardstick, metric: str | None, direction: Direction) -> Yardstick:
    """How the runs of a sweep are judged: as ``sweep.metric`` and ``sweep.direction`` say, else as each judges itself.

    Args:
        own: how the runs judge their epochs.
        metric: a column; None for theirs.
        direction: ``auto`` is theirs for their column.
    """
    if metric in (None, own.column) and direction == "auto":
        return own
    return Yardstick.of(metric or own.column, MODES[direction])

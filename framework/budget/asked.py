"""What is asked of auto: the budget, the bases there are to choose from, what holds for all runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from framework.core.console import clock
from framework.core.errors import BadInput, Problem
from framework.parts.facts import facts

SHORTEST = 20.0  # seconds: TensorFlow is loaded, one run trained, the result written
IMAGES_A_SECOND = 1000  # that any machine decodes and any base takes, at best
# by quality: how long, and which bases to choose from, as far as their weights are to be had
QUALITIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "quick": ("1m", ("mobilenet", "mobilenetv3small")),
    "good": ("10m", ("mobilenet", "mobilenetv3large", "efficientnetv2b0")),
    "best": ("1h", ("mobilenet", "mobilenetv3large", "efficientnetv2b0", "convnexttiny", "efficientnetv2s")),
}
SCRATCH = "cnn"


@dataclass(frozen=True)
class Base:
    """A base to try.

    Attributes:
        name: of it.
        lines: the overrides that choose it; none where those that hold for all runs do.
        pretrained: whether it has weights of before.
        blocks: whether it is a transformer, of which ``last:N`` counts blocks.
    """

    name: str
    lines: tuple[str, ...]
    pretrained: bool
    blocks: bool = False

    @property
    def gflops(self) -> float:
        """Operations an image, as far as they are known; what is not known counts as much as a large one."""
        return facts(self.name).gflops or 20.0


@dataclass(frozen=True)
class Asked:
    """What the command line asks for.

    Attributes:
        given: overrides that hold for all runs.
        bases: to choose from, the cheapest first.
        budget: seconds, of all commands that work on it together.
        folder: where everything goes.
        command: what was typed.
        images: how many there are to train and validate on.
        seed: of the first runs.
    """

    given: tuple[str, ...]
    bases: tuple[Base, ...]
    budget: float
    folder: Path
    command: tuple[str, ...]
    images: int
    seed: int


def refuse_short(budget: float, images: int, where: str) -> None:
    """Let only a budget pass in which one run can be done.

    Raises:
        BadInput: it is too short.
    """
    needed = SHORTEST + images / IMAGES_A_SECOND
    if budget < needed:
        what = f"{budget:g} s are too short for one run on {images:,} images, which takes {clock(needed)} at best"
        raise BadInput(Problem(what, where, "budget=1m" if needed < 60 else f"budget={needed / 60 + 1:.0f}m"))

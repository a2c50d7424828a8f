"""Graphics cards of this machine, and which of them each run gets."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

DEVICES = Path("/dev")
VARIABLE = "CUDA_VISIBLE_DEVICES"
NONE = "-1"  # as CUDA reads it


def cards() -> tuple[str, ...]:
    """The cards that a process may use, as ``CUDA_VISIBLE_DEVICES`` names them; where that is set, those in it."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        return tuple(name for name in map(str.strip, named.split(",")) if name not in ("", NONE))
    numbers = [found[1] for path in DEVICES.glob("nvidia*") if (found := re.fullmatch(r"nvidia(\d+)", path.name))]
    # of AMD's driver it can't be told so how many there are
    return tuple(sorted(numbers, key=int)) or (("0",) if (DEVICES / "kfd").exists() else ())


class Cards:
    """Deals cards out.

    Args:
        each: how many a run gets; a half where two share one.
    """

    def __init__(self, each: float):
        self.each = each
        self._load = dict.fromkeys(cards() if each else (), 0.0)

    @property
    def room(self) -> int:
        """How many runs have cards at once; 0 where there are none to be dealt out."""
        if not self._load:
            return 0
        runs = len(self._load) * math.floor(1 / self.each) if self.each < 1 else len(self._load) // math.ceil(self.each)
        return max(1, runs)

    def take(self) -> tuple[str, ...]:
        """The cards of one more run: those that fewest have."""
        chosen = sorted(self._load, key=lambda card: self._load[card])[: max(1, math.ceil(self.each))]
        for card in chosen:
            self._load[card] += min(1.0, self.each)
        return tuple(chosen)

    def give_back(self, chosen: tuple[str, ...]) -> None:
        """A run has ended that had these."""
        for card in chosen:
            self._load[card] -= min(1.0, self.each)

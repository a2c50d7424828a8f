"""What is known of bases beside how they are built: published accuracy, year, size and cost; read from ``bases.yaml``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import yaml

FILE = Path(__file__).with_name("bases.yaml")
BYTES = 4  # of a float32


@dataclass(frozen=True)
class Facts:
    """Facts of a base, or of an option that names one, None for what is not known.

    Attributes:
        top1: published accuracy on ImageNet's validation images, 0 to 1.
        top1_by: how that was reached: by training the whole on ImageNet (None), by fine-tuning after other images, by a
            linear probe, which is one layer on frozen features, or without training, by texts that name the classes.
        year: of the paper.
        parameters: numbers in the weights of the base without head, with its option's values.
        gflops: 10⁹ operations for an image of the option's size, a multiplication and an addition counted as one each.
    """

    top1: float | None = None
    top1_by: Literal["fine-tuning", "probe", "texts"] | None = None
    year: int | None = None
    parameters: int | None = None
    gflops: float | None = None

    @property
    def megabytes(self) -> float | None:
        """10⁶ bytes that the weights take in a file, without head."""
        return None if self.parameters is None else self.parameters * BYTES / 1e6


@cache
def known() -> dict[str, Facts]:
    """Facts by the name of a base or of an option."""
    entries = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return {name: Facts(**entry) for name, entry in entries.items()}


def facts(base: str, option: str = "") -> Facts:
    """What is known of an option, a size of a base of many sizes, or else of a base."""
    return known().get(option) or known().get(base, Facts())

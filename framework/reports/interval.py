"""How far two results may differ by chance: 95 % intervals for a share of pictures and for repeats of a training."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

Z = statistics.NormalDist().inv_cdf(0.975)
# 97.5 % points of Student's t for 1 to 10 degrees of freedom, where the expansion below is not exact enough
T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % score interval of a share (0 to 1) seen on ``count`` pictures.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927);
    recommended for any count by Brown, Cai and DasGupta, Statistical Science 16 (2001).
    """
    weight = Z * Z / count
    middle = (share + weight / 2) / (1 + weight)
    half = Z * math.sqrt(share * (1 - share) / count + weight / (4 * count)) / (1 + weight)
    return max(0.0, middle - half), min(1.0, middle + half)


def welch(first: Sequence[float], second: Sequence[float]) -> float:
    """Half the 95 % interval of the difference of two means over repeats; 0 where one of them has no repeat.

    Source: B. L. Welch, "The generalization of 'Student's' problem …", Biometrika 34 (1947).
    """
    if min(len(first), len(second)) < 2:
        return 0.0
    parts = [(statistics.variance(values) / len(values), len(values) - 1) for values in (first, second)]
    total = sum(part for part, _ in parts)
    if total == 0:
        return 0.0
    freedom = total**2 / sum(part**2 / less for part, less in parts)
    return student(freedom) * math.sqrt(total)


def student(freedom: float) -> float:
    """The 97.5 % point of Student's t (Abramowitz and Stegun, 26.7.5, two terms, above 10 degrees of freedom)."""
    if freedom < len(T) + 1:
        return T[max(1, math.floor(freedom)) - 1]
    return Z + (Z**3 + Z) / (4 * freedom) + (5 * Z**5 + 16 * Z**3 + 3 * Z) / (96 * freedom**2)

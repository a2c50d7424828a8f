"""How far two results may differ by chance: 95 % intervals for a share of images and for repeats of a training."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

OUTSIDE = 0.05
Z = statistics.NormalDist().inv_cdf(1 - OUTSIDE / 2)


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % score interval of a share (0 to 1) seen on ``count`` images.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927);
    recommended for any count by Brown, Cai and DasGupta, Statistical Science 16 (2001).
    """
    weight = Z * Z / count
    middle = (share + weight / 2) / (1 + weight)
    half = Z * math.sqrt(share * (1 - share) / count + weight / (4 * count)) / (1 + weight)
    return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True)
class Spread:
    """What seeds do to a result: one variance for all variants, and the degrees of freedom that it rests on."""

    variance: float = 0.0
    freedom: int = 0

    def half(self, first: int, second: int) -> float:
        """Half the 95 % interval of the difference of two means of so many repeats (Student's t)."""
        from scipy.special import stdtrit

        if not self.freedom:
            return 0.0
        return float(stdtrit(self.freedom, 1 - OUTSIDE / 2)) * math.sqrt(self.variance * (1 / first + 1 / second))


def pooled(best: Sequence[float], others: Sequence[Sequence[float]]) -> Spread:
    """The variance of repeats, pooled over variants: two repeats each tell little, those of all variants much.

    A variant that is far less steady than all the rest, one whose rate is too high, would make every difference a tie:
    those whose variance is outlying are left out one by one, unless it is the best, whose own place is in question.

    Source: the within-groups mean square of an analysis of variance; variances are outlying by Cochran's test (ISO
    5725-2:2019, 8.3.2) in its form for unequal groups (R. U. E. 't Lack, 2010), the F test of one against the others.
    """
    from scipy.special import fdtrc

    groups = [_squares(group) for group in (best, *others) if len(group) > 1]
    kept = len(best) > 1  # the best, in front, stays
    while True:
        spread = _pool(groups)
        by_chance = {}
        for place in range(int(kept), len(groups)):
            squares, freedom = groups[place]
            rest = _pool([*groups[:place], *groups[place + 1 :]])
            if rest.variance > 0:
                by_chance[place] = len(groups) * float(fdtrc(freedom, rest.freedom, squares / freedom / rest.variance))
        outlying = min(by_chance, key=by_chance.__getitem__, default=None)
        if outlying is None or by_chance[outlying] >= OUTSIDE:
            return spread
        del groups[outlying]


def _squares(values: Sequence[float]) -> tuple[float, int]:
    """Sum of squared distances from the mean, and its degrees of freedom."""
    return statistics.variance(values) * (len(values) - 1), len(values) - 1


def _pool(groups: Sequence[tuple[float, int]]) -> Spread:
    freedom = sum(less for _, less in groups)
    return Spread(sum(squares for squares, _ in groups) / freedom, freedom) if freedom else Spread()

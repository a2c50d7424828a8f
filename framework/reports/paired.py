"""Whether chance can set two variants as far apart as they are, where both were measured on the same images.

Of images that are easy or hard for both, nothing is learnt; those that only one of the two has right tell them apart
far better than two separate intervals do. Chance is the probability (p value) that two equally good variants lie
at least so far apart: by the images alone where no variant was repeated, by images and seeds where some were. Two are held
against each other by a test of two; of many the answers to the same images are drawn anew together (a bootstrap), for the
more there are, the farther from the best some lie by chance.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from framework.reports.entries import Entry
from framework.reports.interval import Spread

if TYPE_CHECKING:
    import numpy as np

HALF = 0.5  # of an image
DRAWS = 4000  # of images: a chance of 5 in 100 is then known to 0.3


def most_between(first: Sequence[Entry], second: Sequence[Entry], column: str, seeds: Spread) -> float | None:
    """The most that the probability of chance can be, by the scores alone, whichever images they are right about.

    Args:
        first: runs of a variant that have a score.
        second: those of another.
        column: their score, the share of images that they have right.
        seeds: what seeds do to it.

    Returns:
        None where they can't be compared on the same images.
    """
    images, shares = common_images([*first, *second]), [[run.best[column] for run in runs] for runs in (first, second)]
    if images is None or not all(0 <= share <= 1 for variant in shares for share in variant):
        return None
    return most_chance(shares[0], shares[1], images, seeds)


def common_images(runs: Sequence[Entry]) -> int | None:
    """How many validation images all these runs were measured on, where they are the same and answers were left."""
    counts, data = {run.images for run in runs}, {run.fingerprint for run in runs}
    if len(counts) > 1 or len(data) > 1 or None in data or not all(run.answered for run in runs):
        return None
    count = counts.pop()
    return count if count and count > 1 else None


def right_of(runs: Sequence[Entry], column: str) -> np.ndarray | None:
    """Whether each run is right about each image, bool (runs, images); None where the answers are not of these.

    Those of an earlier model, which a run that goes on may hold, don't add up to its score.
    """
    import numpy as np

    answers = [run.answers for run in runs if run.answers is not None]
    if len(answers) < len(runs) or len({each.images for each in answers}) > 1:
        return None
    right = np.array([each.right for each in answers])
    scores = [run.best[column] for run in runs]
    return right if (abs(right.mean(axis=1) - scores) * right.shape[1] < HALF).all() else None


def chance(first: np.ndarray, second: np.ndarray, seeds: Spread) -> float:
    """Probability, 0 to 1, that chance alone makes such a difference.

    Args:
        first: whether each run of a variant is right about each image, bool (runs, images), two images at least.
        second: the same of the other variant, on the same images in the same order.
        seeds: what seeds do to the share of right answers; without it a single run each is compared.
    """
    if not seeds.freedom:
        return mcnemar(*right_alone(first[0], second[0]))
    apart = first.mean(axis=0) - second.mean(axis=0)
    repeats = len(first), len(second)
    return over_seeds(float(apart.mean()), float(apart.var(ddof=1)), len(apart), seeds, repeats)


def chances_among(right: Sequence[np.ndarray], seeds: Spread) -> list[float]:
    """Of each variant but the first, which is the best: how probable it is that chance sets any other as far apart from
    it as the best is, were all equally good.

    Images are drawn anew with repeats, the same for all variants; what seeds add is drawn from a normal distribution, its
    variance as uncertain as its degrees of freedom make it. Each difference is counted in its own standard error, and of
    those to all others the largest is held against what was seen: a comparison with the best, for many at once. A single
    run's difference is taken to be an image smaller, since images come whole (Edwards, Psychometrika 13, 1948).

    Args:
        right: whether each run of a variant is right about each image, bool (runs, images), on the same images.
        seeds: what seeds do to the share of right answers.

    Source: B. Efron, Annals of Statistics 7 (1979); the largest of many differences as in C. W. Dunnett, JASA 50 (1955),
    and P. H. Westfall and S. S. Young, Resampling-Based Multiple Testing (1993). The same draws each time.
    """
    import numpy as np

    chance_ = np.random.default_rng(0)
    repeats, images = np.array([len(each) for each in right]), right[0].shape[1]
    # images on which all variants do alike are one kind, drawn as often as there are such
    kinds, counts = np.unique(np.stack([each.mean(axis=0) for each in right]), axis=1, return_counts=True)
    means = kinds @ counts / images
    apart = kinds - means[:, None]
    products = (apart * counts) @ apart.T / (images - 1)
    own = np.diag(products)
    variance = np.maximum(own[:, None] + own - 2 * products, 0) / images
    variance += seeds.variance * (1 / repeats[:, None] + 1 / repeats)
    moved = chance_.multinomial(images, counts / images, DRAWS) @ apart.T / images
    if seeds.freedom:
        wider = np.sqrt(seeds.freedom / chance_.chisquare(seeds.freedom, (DRAWS, 1)))
        moved += chance_.standard_normal(moved.shape) * np.sqrt(seeds.variance / repeats) * wider
    found = []
    for place in range(1, len(right)):
        errors = np.sqrt(variance[place])
        differs = errors > 0
        differs[place] = False
        largest = (np.abs(moved - moved[:, [place]])[:, differs] / errors[differs]).max(axis=1, initial=0.0)
        seen = abs(means[0] - means[place]) - (0 if seeds.freedom else 1 / images)
        far = largest >= seen / errors[0] if differs[0] else np.full(DRAWS, seen <= 0)
        found.append((1 + int(far.sum())) / (1 + DRAWS))
    return found


def most_chance(first: Sequence[float], second: Sequence[float], images: int, seeds: Spread) -> float:
    """What ``chance`` is at most, whichever images they are right about: from the share of right answers of each run."""
    if not seeds.freedom:
        right, other = (round(share * images) for share in (first[0], second[0]))
        return mcnemar(right, other) if right + other <= images else mcnemar(images - other, images - right)
    means = [statistics.fmean(shares) for shares in (first, second)]
    widest = sum(math.sqrt(mean * (1 - mean)) for mean in means) ** 2 * images / (images - 1)
    repeats = len(first), len(second)
    # more variance makes a difference smaller and the t distribution narrower: the most is at one of the ends
    return max(over_seeds(means[0] - means[1], variance, images, seeds, repeats) for variance in (0.0, widest))


def right_alone(first: np.ndarray, second: np.ndarray) -> tuple[int, int]:
    """How many images only the first of two runs has right, and how many only the second; both bool (images,)."""
    return int((first & ~second).sum()), int((second & ~first).sum())


def mcnemar(first_only: int, second_only: int) -> float:
    """The exact test of McNemar, two-sided, of so many images that only one of two runs is right about.

    Source: Q. McNemar, Psychometrika 12 (1947); for two trained classifiers recommended by T. G. Dietterich, Neural
    Computation 10 (1998).
    """
    from scipy.special import bdtr  # the sum that scipy.stats.binomtest takes, which is slow to import

    return min(1.0, 2 * float(bdtr(min(first_only, second_only), first_only + second_only, 0.5)))


def over_seeds(difference: float, variance: float, images: int, seeds: Spread, repeats: tuple[int, int]) -> float:
    """A t test of two means that chance moves twice: which images were there, and which seeds were drawn.

    Both variances are added, their degrees of freedom combined. What a seed changes about single images is part of
    both, so that the test is rather too careful than too bold.

    Args:
        difference: of the two shares of right answers.
        variance: over the images, of the difference of the two variants' mean answers.
        images: how many.
        seeds: what seeds do to a share.
        repeats: runs of each.

    Source: F. E. Satterthwaite, Biometrics Bulletin 2 (1946), as in the analysis of several readers of the same cases
    (Hillis, Statistics in Medicine 26, 2007), the seeds being the readers.
    """
    from scipy.special import stdtr

    of_images, of_seeds = variance / images, seeds.variance * sum(1 / runs for runs in repeats)
    total = of_images + of_seeds
    if not total:
        return float(difference == 0)
    freedom = total**2 / (of_images**2 / (images - 1) + of_seeds**2 / seeds.freedom)
    return 2 * float(stdtr(freedom, -abs(difference) / math.sqrt(total)))

"""Samplers: how a search draws its trials. All are Optuna's, https://optuna.readthedocs.io/en/stable/reference/samplers/.

A part is built with the seed of the command, None for another one each time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from framework.core.registry import sampler
from framework.core.schema import Count, Whole

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


@sampler("none")
def none(seed: int | None) -> None:
    """No search: every combination of the values that are typed is a run."""


@sampler("tpe")
def tpe(seed: int | None, *, startup_trials: Whole) -> BaseSampler:
    """Tree-structured Parzen estimator, over all keys together; trials under way count as bad, so that others differ.

    Source: Bergstra et al., 2011, https://proceedings.neurips.cc/paper/2011/hash/86e8f7ab32cfd12577bc2619bc635690.
    """
    from optuna.samplers import TPESampler

    return TPESampler(n_startup_trials=startup_trials, multivariate=True, group=True, constant_liar=True, seed=seed)


@sampler("random")
def random(seed: int | None) -> BaseSampler:
    """Each trial by itself, evenly over the space."""
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


@sampler("grid", every=True)
def grid(seed: int | None) -> BaseSampler:
    """Every combination once, in order; keys of an option that is not chosen make none."""
    return random(seed)


@sampler("cmaes", numbers=2, single=True, needs=("cmaes",))
def cmaes(seed: int | None, *, startup_trials: Whole) -> BaseSampler:
    """Covariance matrix adaptation; choices among the keys are drawn at random.

    Source: Hansen, 2016, https://arxiv.org/abs/1604.00772.
    """
    from optuna.samplers import CmaEsSampler

    return CmaEsSampler(n_startup_trials=startup_trials, warn_independent_sampling=False, seed=seed)


@sampler("gp", needs=("torch",))
def gp(seed: int | None, *, startup_trials: Whole) -> BaseSampler:
    """Bayesian optimization by a Gaussian process with the logarithm of the expected improvement.

    Source: Ament et al., 2023, https://arxiv.org/abs/2310.20708.
    """
    from optuna.samplers import GPSampler

    return GPSampler(n_startup_trials=startup_trials, seed=seed)


@sampler("qmc", numbers=1)
def qmc(seed: int | None, *, sequence: Literal["sobol", "halton"]) -> BaseSampler:
    """A low-discrepancy sequence over the numbers, the same whatever the seed; choices are drawn at random.

    Source: Bergstra and Bengio, 2012, https://jmlr.org/papers/v13/bergstra12a.html.
    """
    from optuna.samplers import QMCSampler

    # the sequence's own seed stays: several processes share the one sequence
    return QMCSampler(qmc_type=sequence, seed=0, independent_sampler=random(seed), warn_independent_sampling=False)


@sampler("nsgaii")
def nsgaii(seed: int | None, *, population: Count) -> BaseSampler:
    """Non-dominated sorting genetic algorithm II.

    Source: Deb et al., 2002, https://doi.org/10.1109/4235.996017.
    """
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(population_size=population, seed=seed)

"""Pruners: which trials of a search are ended early. All are Optuna's,
https://optuna.readthedocs.io/en/stable/reference/pruners.html, told in epochs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from annotated_types import Gt, Lt

from framework.core.registry import pruner
from framework.core.schema import Count, Whole

if TYPE_CHECKING:
    from optuna.pruners import BasePruner


@pruner("none")
def none(epochs: int) -> BasePruner:
    """Every trial goes to its end."""
    from optuna.pruners import NopPruner

    return NopPruner()


@pruner("median")
def median(epochs: int, *, startup_trials: Whole, warmup_epochs: Whole) -> BasePruner:
    """A trial ends whose best so far is worse than the median of what earlier ones had at that epoch.

    Source: Golovin et al., 2017, https://doi.org/10.1145/3097983.3098043, the median stopping rule.
    """
    from optuna.pruners import MedianPruner

    return MedianPruner(startup_trials, n_warmup_steps=warmup_epochs + 1)


@pruner("percentile")
def percentile(
    epochs: int, *, percentile: Annotated[float, Gt(0), Lt(100)], startup_trials: Whole, warmup_epochs: Whole
) -> BasePruner:
    """The same with another share than half: of 100 trials ``percentile`` go on."""
    from optuna.pruners import PercentilePruner

    return PercentilePruner(percentile, startup_trials, n_warmup_steps=warmup_epochs + 1)


@pruner("hyperband")
def hyperband(epochs: int, *, min_epochs: Count, factor: Annotated[int, Gt(1)]) -> BasePruner:
    """Successive halving in brackets of several lengths.

    Source: Li et al., 2018, https://jmlr.org/papers/v18/16-558.html.
    """
    from optuna.pruners import HyperbandPruner

    return HyperbandPruner(min_resource=min(min_epochs, epochs), max_resource=epochs, reduction_factor=factor)

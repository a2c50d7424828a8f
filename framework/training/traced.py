"""What a training has compiled and traced, for a next one of the same graph.

To trace the steps of a head takes as long as many epochs of it on kept features. Trainings that differ in their learning rate
alone have the same graph: the rate is a variable, as weights are and all that an optimizer remembers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from framework.config.settings import PartSettings, Settings
from framework.core import registry

if TYPE_CHECKING:
    from framework.model.build import Network
    from framework.training.inputs import StageInputs
    from framework.training.state import StageProgress


def graph_of(settings: Settings) -> Settings | None:
    """What is equal for runs of the same graph; None for one whose graph no other run has."""
    chosen: list[tuple[str, PartSettings]] = [
        ("optimizer", settings.optim),
        ("schedule", settings.optim.schedule),
        ("head", settings.head),
        ("pooling", settings.pooling),
        ("loss", settings.loss),
        *(("metric", metric) for metric in settings.metrics.values()),
        *(("callback", callback) for callback in settings.callbacks.values()),
    ]
    parts = [registry.get(kind, one.name) for kind, one in chosen]
    # other people's may make more of the rate than a graph shows, and leave more behind than is known here
    ours = all(part.function.__module__.startswith("framework.") for part in parts)
    alone = (
        len(settings.stages) == 1
        and settings.trains_head_alone
        and not any(map(settings.fits, settings.stages.values()))
    )
    constant, steps = parts[1].details["constant"], any(part.details.get("steps") for part in parts)
    if not ours or not alone or not constant or steps:
        return None
    return replace(settings, optim=replace(settings.optim, lr=0.0))


@dataclass(frozen=True, eq=False)
class Traced:
    """A training of one stage.

    Attributes:
        network: that is trained.
        inputs: of its stage.
        at: where that stands; its fitted model is compiled and holds the traced steps.
        begun: what its optimizer remembers before the first step, by the names of ``state.optimizer_variables``.
    """

    network: Network
    inputs: StageInputs
    at: StageProgress
    begun: Mapping[str, np.ndarray]

    def again(self, network: Network) -> Network:
        """Its network, which is now as a new one is, and its optimizer as before the first step."""
        from framework.training.state import layer_variables, optimizer_variables

        trained = self.at.stage.trained
        new = dict(layer_variables(network.flat, trained))
        for name, variable in layer_variables(self.network.flat, trained):
            variable.assign(new[name])
        for name, variable in optimizer_variables(self.at.tail):
            variable.assign(self.begun[name])
        self.network.model.stop_training = False
        return self.network


class LastTraced:
    """Holds the last training, for the next one if that has the same graph and stands on the same layers."""

    def __init__(self) -> None:
        self._held: tuple[tuple[Settings, str], Traced] | None = None

    def serves(self, settings: Settings, data: str | None) -> bool:
        """Whether a training with these settings, on data of this fingerprint, has the graph of the last one."""
        return self._held is not None and self._held[0] == (graph_of(settings), data)

    def take(self, settings: Settings, data: str | None, network: Network) -> Traced | None:
        """The last training, if a new one has its graph. It is held no more: one that fails leaves none.

        Args:
            settings: of the new one.
            data: fingerprint of what it is trained on.
            network: as it is built.
        """
        held, serves = self._held, self.serves(settings, data)
        self._held = None
        if held is None or not serves:
            return None
        # a base that was built anew has an input of its own
        return held[1] if held[1].network.model.input is network.model.input else None

    def keep(self, settings: Settings, data: str | None, traced: Traced) -> None:
        """Hold a training that has ended well, if another can have its graph."""
        graph = graph_of(settings)
        if graph is not None and data is not None:
            self._held = (graph, data), traced

"""One stage on the network: which layers train, which stay in inference mode, at which learning rate."""

from __future__ import annotations

from dataclasses import dataclass

from framework.config.settings import Settings, StageSettings
from framework.core.backend import keras
from framework.core.errors import BadInput, Problem, suggestion
from framework.model.build import Network


@dataclass(frozen=True)
class Stage:
    """A stage held against a network.

    Attributes:
        name: its name in config.
        trained: names of layers that learn.
        inference: names of layers that run as at inference: the frozen ones, and those whose batch statistics stay.
        epochs: how many.
        lr: learning rate at its start.
        rates: share of that rate for each trained layer of the base; empty where all have the whole.
    """

    name: str
    trained: frozenset[str]
    inference: frozenset[str]
    epochs: int
    lr: float
    rates: dict[str, float]


def stage_of(name: str, stage: StageSettings, settings: Settings, network: Network) -> Stage:
    """The stage on this network.

    Raises:
        BadInput: it names a layer that the base does not have.
    """
    base = _trained_base(name, stage, settings, network)
    norms = {layer for layer in base if isinstance(network.model.get_layer(layer), keras.layers.BatchNormalization)}
    keeps = stage.batch_norm == "inference" or (stage.batch_norm == "auto" and settings.model.weights is not None)
    still = norms if keeps else set()
    trained = [layer for layer in base if layer not in still]
    return Stage(
        name=name,
        trained=frozenset([*trained, *network.head_layers]),
        inference=frozenset([*(set(network.base_layers) - set(base)), *still]),
        epochs=stage.epochs or settings.trainer.epochs,
        lr=stage.lr if stage.lr is not None else settings.optim.lr * stage.lr_factor,
        rates=_rates(trained, stage.layer_decay, network),
    )


def _trained_base(name: str, stage: StageSettings, settings: Settings, network: Network) -> list[str]:
    """Layers of the base that the stage trains, in the order of the graph."""
    layers = list(network.base_layers)
    train = stage.train
    if train == "auto":
        train = "all" if settings.model.trainable else "head"
    if train == "head":
        return []
    if train == "all":
        return layers
    kind, _, rest = train.partition(":")
    if kind == "last":
        weighted = [layer for layer in layers if network.model.get_layer(layer).weights]
        first = weighted[-int(rest)] if 0 < int(rest) <= len(weighted) else layers[0]
        return layers[layers.index(first) :] if int(rest) else []
    starts = [layer for layer in layers if layer == rest or layer.startswith((f"{rest}_", f"{rest}/"))]
    if not starts:
        what = f"stages.{name}.train={train}: base '{settings.model.name}' has no layer or block '{rest}'"
        raise BadInput(Problem(what, f"stages.{name}.train", suggestion(rest, layers)))
    return layers[layers.index(starts[0]) :]


def _rates(trained: list[str], decay: float | None, network: Network) -> dict[str, float]:
    """Share of the stage's rate for each trained layer: the decay once for each weighted layer above it."""
    if decay is None:
        return {}
    weighted = [layer for layer in trained if network.model.get_layer(layer).weights]
    return {layer: decay ** (len(weighted) - place) for place, layer in enumerate(weighted)}


def freeze(network: Network, stage: Stage) -> None:
    """Set what learns on the layers themselves, so that the whole model's counts and the optimizer follow."""
    for layer in network.model.layers:
        if layer.weights:
            layer.trainable = layer.name in stage.trained

"""One stage on the network: which layers train, which stay in inference mode, at which learning rate."""

from __future__ import annotations

from dataclasses import dataclass, field

from framework.config.settings import AugmentSettings, PartSettings, Settings, StageSettings
from framework.core.backend import keras
from framework.core.errors import BadInput, Problem, listing, suggestion
from framework.core.keras_private import layers_within
from framework.core.schema import show
from framework.model.build import Network
from framework.parts.lora import Adapters, adapt, adaptable, merge, targeted


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
        fits: whether the head is only fitted, and nothing learns.
        adapters: what learns in the trained layers of the base, where those themselves do not.
        size: height and width of the images that train, where they are of another size than the network's; None where not.
        augment: how these are varied.
        loss: what is made small, where that is not the run's own; None where it is.
    """

    name: str
    trained: frozenset[str]
    inference: frozenset[str]
    epochs: int
    lr: float
    rates: dict[str, float]
    fits: bool = False
    adapters: Adapters | None = None
    size: tuple[int, int] | None = None
    augment: AugmentSettings = field(default_factory=lambda: AugmentSettings(0))
    loss: PartSettings | None = None


def stage_of(name: str, stage: StageSettings, settings: Settings, network: Network) -> Stage:
    """The stage on this network.

    Raises:
        BadInput: it names a layer that the base does not have.
    """
    base = _trained_base(name, stage.train, settings, network)
    if _adapters(stage, settings):
        base = _adapted(name, stage, settings, network, base)
    norms = {layer for layer in base if isinstance(network.flat.get_layer(layer), keras.layers.BatchNormalization)}
    keeps = stage.batch_norm == "inference" or (stage.batch_norm == "auto" and settings.model.weights is not None)
    still = norms if keeps else set()
    # one that is inside of a layer keeps its statistics too, and learns with it
    around = {layer for layer in base if keeps and layer not in norms and _has_norm(network.flat.get_layer(layer))}
    trained = [layer for layer in base if layer not in still]
    size, loss = settings.geometry_of(stage).size, settings.loss_of(stage)
    return Stage(
        name=name,
        trained=frozenset([*trained, *network.head_layers]),
        inference=frozenset([*(set(network.base_layers) - set(base)), *still, *around]),
        epochs=settings.epochs_of(stage),
        lr=stage.lr if stage.lr is not None else settings.optim.lr * stage.lr_factor,
        rates=_rates(trained, stage.layer_decay, network),
        fits=settings.fits(stage),
        adapters=_adapters(stage, settings),
        size=None if size == settings.data.size else size,
        augment=settings.augment_of(stage),
        loss=None if loss == settings.loss else loss,
    )


def _adapters(stage: StageSettings, settings: Settings) -> Adapters | None:
    if stage.train.partition(":")[0] != "lora":
        return None
    return Adapters(stage.rank, tuple(stage.targets), settings.trainer.seed)


def _adapted(name: str, stage: StageSettings, settings: Settings, network: Network, base: list[str]) -> list[str]:
    """Those of the layers of the base that have a layer to adapt inside.

    Raises:
        BadInput: none has one of these names.
    """
    layers = [network.flat.get_layer(layer) for layer in base]
    found = [layer.name for layer in layers if targeted(layer, stage.targets)]
    if not found:
        there = sorted({inner for layer in layers for inner in adaptable(layer)})
        where = f"stages.{name}.targets"
        what = f"{where}={show(stage.targets)}: base '{settings.model.name}' has no such layers to adapt"
        right = (
            f"some of {listing(there, 12)}" if there else f"stages.{name}.train=last:N: this base has no dense layers"
        )
        raise BadInput(Problem(what, where, right))
    return found


def _trained_base(name: str, train: str, settings: Settings, network: Network) -> list[str]:
    """Layers of the base that the stage trains, in the order of the graph."""
    layers = list(network.base_layers)
    if train.startswith("lora"):
        train = train.removeprefix("lora").removeprefix(":") or "all"
    if train == "auto":
        train = "all" if settings.model.trainable else "head"
    if train in ("head", "fit"):
        return []
    if train == "all":
        return layers
    kind, _, rest = train.partition(":")
    if kind == "last":
        weighted = list(network.blocks) or [layer for layer in layers if network.flat.get_layer(layer).weights]
        first = weighted[-int(rest)] if 0 < int(rest) <= len(weighted) else layers[0]
        return layers[layers.index(first) :] if int(rest) else []
    blocks = {f"block_{number}": layer for number, layer in enumerate(network.blocks, start=1)}
    starts = [layer for layer in layers if layer == rest or layer.startswith((f"{rest}_", f"{rest}/"))]
    if rest in blocks:
        starts = [blocks[rest]]
    if not starts:
        what = f"stages.{name}.train={train}: base '{settings.model.name}' has no layer or block '{rest}'"
        raise BadInput(Problem(what, f"stages.{name}.train", suggestion(rest, [*blocks, *layers])))
    return layers[layers.index(starts[0]) :]


def _has_norm(layer: keras.Layer) -> bool:
    """Whether there is batch normalisation inside of a layer."""
    return any(isinstance(inner, keras.layers.BatchNormalization) for inner in layers_within(layer))


def _rates(trained: list[str], decay: float | None, network: Network) -> dict[str, float]:
    """Share of the stage's rate for each trained layer: the decay once for each weighted layer above it.

    Of a transformer, once for each block above its input or output: what comes before the first block is a layer
    below it, what comes after the last has the head's rate, as BEiT's recipe says (https://arxiv.org/abs/2106.08254).
    """
    if decay is None:
        return {}
    weighted = [layer for layer in trained if network.flat.get_layer(layer).weights]
    if not network.blocks:
        return {layer: decay ** (len(weighted) - place) for place, layer in enumerate(weighted)}
    order = network.base_layers
    places = [order.index(block) for block in network.blocks]
    above = {layer: sum(place >= order.index(layer) for place in places) for layer in weighted}
    first = places[0]
    return {layer: decay ** (count + (order.index(layer) < first)) for layer, count in above.items()}


def freeze(network: Network, stage: Stage) -> None:
    """Set what learns on the layers themselves, so that the whole model's counts and the optimizer follow.

    Adapters of an earlier stage are merged; this one's, if it has such, begin.
    """
    merge(network.model)
    if network.flat is not network.model:
        # a layer that is frozen hides what learns inside of it
        for layer in layers_within(network.model):
            layer.trainable = True
    for layer in network.flat.layers:
        if layer.weights:
            layer.trainable = layer.name in stage.trained and not stage.fits
    if stage.adapters:
        number = 0
        for name in network.base_layers:
            if name in stage.trained:
                number += adapt(network.flat.get_layer(name), stage.adapters, number)

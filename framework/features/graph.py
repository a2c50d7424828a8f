"""Finds the frozen prefix of a model's graph, and splits the model there into two that share its layers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from framework.core.backend import keras
from framework.core.keras_private import call_again, is_of_keras, maker_of, makers_of, nodes_of
from framework.features.shortcuts import first_tokens, fused

MOST_TENSORS = 3

Trained = Callable[["keras.Layer"], bool] | Collection[str]


@dataclass(frozen=True)
class Cut:
    """Where a stage's frozen prefix ends.

    Attributes:
        tensors: symbolic tensors that cross the cut; none if the prefix is not worth keeping.
        layers: names of the operations of the prefix, inputs left out, in the order they run.
        stops: each operation that ends the prefix, with the reason: ``it trains``, ``it draws at random``, ….
    """

    tensors: tuple[Any, ...]
    layers: tuple[str, ...]
    stops: Mapping[str, str]

    @property
    def at_input(self) -> bool:
        """Whether nothing is kept, and what trains takes images."""
        return not self.tensors

    @property
    def names(self) -> tuple[str, ...]:
        """Name of the operation that makes each tensor."""
        return tuple(maker_of(tensor).name for tensor in self.tensors)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of each tensor for one image."""
        return tuple(tuple(tensor.shape[1:]) for tensor in self.tensors)

    @property
    def numbers(self) -> int:
        """How many numbers are kept for one image."""
        return sum(prod(shape) for shape in self.shapes)


def frozen_prefix(model: keras.Model, trained: Trained, inference: Collection[str] = ()) -> Cut:
    """The longest part of the graph, from the input on, whose output on an image stays the same throughout a stage.

    An operation is constant if its inputs are, none of its weights trains, and it does not behave otherwise in
    training: draw at random, or follow the batch. The cut is where constant tensors meet other operations. Where
    several tensors would cross, it is the latest single tensor that everything passes through, if they are more than
    three or only operations without a matrix of weights run again for it. A prefix that has no such matrix at all is
    cheaper to run than its output is to read: the cut is then at the input.

    Args:
        model: a functional model.
        trained: the layers that the stage trains, by name or by a function that says so of a layer.
        inference: names of the layers that run as in inference throughout the stage, as those of a frozen base do.
    """
    trains = trained if callable(trained) else lambda layer: layer.name in trained
    nodes = nodes_of(model)
    inputs = [id(tensor) for tensor in model.inputs]
    constant = set(inputs)
    stops: dict[str, str] = {}
    for node in nodes:
        if all(id(tensor) in constant for tensor in node.input_tensors):
            reason = _reason(node.operation, trains, inference)
            if reason:
                stops[node.operation.name] = reason
            else:
                constant.update(id(tensor) for tensor in node.outputs)
    if all(id(tensor) in constant for tensor in model.outputs):
        for tensor in model.outputs:
            constant.discard(id(tensor))
            stops[maker_of(tensor).name] = "it is the output"
    frontier = {
        id(tensor): tensor
        for node in nodes
        if not all(id(output) in constant for output in node.outputs)
        for tensor in node.input_tensors
        if id(tensor) in constant
    }
    frontier |= {id(tensor): tensor for tensor in model.outputs if id(tensor) in constant}
    tensors, makers = list(frontier.values()), makers_of(nodes)
    operations = _operations(nodes, _upstream(tensors, makers))
    if len(tensors) > 1:
        single = _last_single(nodes, constant, tensors, makers)
        before = _operations(nodes, _upstream(single, makers))
        again = [operation for operation in operations if operation not in before]
        if len(tensors) > MOST_TENSORS or (single and not any(has_kernel(operation) for operation in again)):
            tensors, operations = single, before
    if any(id(tensor) in inputs for tensor in tensors) or not any(has_kernel(operation) for operation in operations):
        return Cut((), (), stops)
    return Cut(tuple(tensors), tuple(dict.fromkeys(operation.name for operation in operations)), stops)


def split(model: keras.Model, cut: Cut, inference: Collection[str] = ()) -> tuple[keras.Model | None, keras.Model]:
    """The model as two: from images to the cut's tensors, and from there to the output.

    Both share the model's layers: training the second trains the model, which can be saved as before.

    Args:
        model: a functional model.
        cut: where to; with a cut at the input there is no prefix, and the second model takes images.
        inference: names of layers that the second model runs as in inference even while it trains.

    In the second model the layers of ``shortcuts`` stand in for slower ones.

    Returns:
        The prefix, to be called with ``training=False``, or None; and the tail. One tensor crosses as itself, several
        as a list, as in Keras.
    """
    from framework.features.stand_ins import Inference

    crossing = list(cut.tensors) or model.inputs
    values = {id(tensor): keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype) for tensor in crossing}
    inputs = list(values.values())
    needed = _upstream(model.outputs, makers_of(nodes_of(model)), {id(tensor) for tensor in crossing})
    nodes = [node for node in nodes_of(model) if any(id(tensor) in needed for tensor in node.outputs)]
    instead: dict[int, keras.Layer | None] = {
        **fused(nodes),
        **{id(layer): Inference(layer) for layer in model.layers if layer.name in inference and _takes_training(layer)},
        **first_tokens(nodes, model.outputs),
    }
    repeat(nodes, values, lambda operation: instead.get(id(operation), operation))
    tail = keras.Model(one_or_all(inputs), one_or_all([values[id(tensor)] for tensor in model.outputs]), name="tail")
    prefix = None if cut.at_input else keras.Model(model.input, one_or_all(list(cut.tensors)), name="prefix")
    return prefix, tail


def resized(model: keras.Model, size: tuple[int, int]) -> keras.Model:
    """The same layers, with their weights, called on images of another height and width.

    Args:
        model: a functional model that takes images.
        size: height and width.

    Raises:
        ValueError: a layer is made for images of the model's own size.
    """
    (images,) = model.inputs
    inputs = keras.Input((*size, images.shape[-1]), dtype=images.dtype)
    values = {id(images): inputs}
    repeat(nodes_of(model), values, lambda operation: operation)
    return keras.Model(inputs, one_or_all([values[id(tensor)] for tensor in model.outputs]), name=model.name)


def repeat(nodes: Iterable[Any], values: dict[int, Any], instead: Callable[[Any], Any]) -> None:
    """Make these calls again on other tensors.

    Args:
        nodes: in an order in which they can run.
        values: by a tensor's id the one that takes its place; what the calls give is added.
        instead: from an operation to the one to call; None lets its one input through.
    """
    for node in nodes:
        operation = instead(node.operation)
        outputs = [values[id(node.input_tensors[0])]] if operation is None else call_again(node, operation, values)
        values |= {id(tensor): output for tensor, output in zip(node.outputs, outputs, strict=True)}


def _operations(nodes: Iterable[Any], tensors: Collection[int]) -> list[Any]:
    """The operations that make any of these tensors, given by id, in the order they run."""
    return [node.operation for node in nodes if any(id(tensor) in tensors for tensor in node.outputs)]


def _reason(operation: Any, trains: Callable[[Any], bool], inference: Collection[str]) -> str | None:
    """Why an operation's output on the same input may change during a stage; None if it can't."""
    if not isinstance(operation, keras.Layer):
        return None
    if operation.weights and trains(operation):
        return "it trains"
    if operation.name in inference:
        return None
    if len(operation.variables) > len(operation.weights):  # the state of a random generator
        return "it draws at random"
    if not _takes_training(operation):
        return None
    if isinstance(operation, keras.layers.BatchNormalization):
        return "it follows the batch" if operation.trainable else None
    # Keras's own layers draw from a generator of their own only, which is missing at rate 0; others may draw anyhow
    if is_of_keras(operation) and not isinstance(operation, keras.layers.Wrapper | keras.layers.Lambda):
        return None
    return "it may behave otherwise in training"


def _takes_training(layer: keras.Layer) -> bool:
    return "training" in inspect.signature(layer.call).parameters


def has_kernel(operation: Any) -> bool:
    """Whether an operation has a matrix of weights, as dense and convolutional layers do."""
    weights = operation.weights if isinstance(operation, keras.Layer) else []
    return any(sum(side > 1 for side in weight.shape) >= 2 for weight in weights)


def _last_single(nodes: list[Any], constant: set[int], frontier: list[Any], makers: Mapping[int, Any]) -> list[Any]:
    """The latest constant tensor without which nothing of the input reaches ``frontier``; none if there is none."""
    for node in reversed(nodes):
        for tensor in node.outputs:
            if id(tensor) in constant:
                before = _upstream(frontier, makers, {id(tensor)})
                if all(made in makers for made in before):
                    return [tensor]
    return []


def _upstream(tensors: Iterable[Any], makers: Mapping[int, Any], known: Collection[int] = ()) -> set[int]:
    """Ids of ``tensors`` and of all that they are made from, without those in ``known`` and what is behind them."""
    found: set[int] = set()
    todo = list(tensors)
    while todo:
        tensor = todo.pop()
        if id(tensor) not in found and id(tensor) not in known:
            found.add(id(tensor))
            todo += makers[id(tensor)].input_tensors if id(tensor) in makers else []
    return found


def one_or_all(tensors: list[Any]) -> Any:
    """As Keras wants a model's inputs or outputs: one tensor as itself, several as a list."""
    return tensors[0] if len(tensors) == 1 else tensors

"""All that is used of Keras's private names, so that a new Keras is tried in one place.

Keras has no public way to read the graph of a functional model, nor to count the names of layers anew without taking the
random seed with it. ``pyproject.toml`` ends below the first minor release that this was not tried with: 3.15.1 passes
the tests of ``features``, ``model`` and ``evaluation``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from framework.core.backend import keras


def is_functional(model: Any) -> bool:
    """Whether a model has a graph that ``nodes_of`` reads: a functional one has ``_nodes_by_depth``."""
    return hasattr(model, "_nodes_by_depth")


def nodes_of(model: keras.Model) -> list[Any]:
    """Calls of operations in an order in which they can run, inputs left out: what ``_nodes_by_depth`` lists.

    A node is read by ``operation``, ``input_tensors`` and ``outputs``, names of Keras's that it documents nowhere.
    """
    return [node for node in all_nodes_of(model) if not node.is_input]


def all_nodes_of(model: keras.Model) -> list[Any]:
    """The same with inputs, of a sequential model too, which keeps a functional one in ``_functional``."""
    by_depth = (getattr(model, "_functional", None) or model)._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def arguments_of(node: Any, values: Mapping[int, Any]) -> tuple[Any, dict[str, Any]]:
    """What a node's operation was called with, other tensors by id in their place: ``arguments.fill_in``."""
    return node.arguments.fill_in(values)


def call_again(node: Any, operation: Any, values: Mapping[int, Any]) -> list[Any]:
    """What an operation gives when called as in a node, on other tensors by id."""
    args, arguments = arguments_of(node, values)
    return keras.tree.flatten(operation(*args, **arguments))


def maker_of(tensor: Any) -> Any:
    """The operation that gave a symbolic tensor, which its ``_keras_history`` names."""
    return tensor._keras_history.operation


def layers_within(model: keras.Model) -> list[keras.Layer]:
    """A model and all its layers, those within layers too: ``_flatten_layers``."""
    return list(model._flatten_layers())


def take_moments(layer: keras.layers.BatchNormalization, moments: Callable[[Any, list[int]], tuple[Any, Any]]) -> None:
    """Have a layer take mean and variance of a batch by ``moments(inputs, axes)``: in place of its ``_moments``."""
    layer._moments = lambda inputs, mask: moments(inputs, layer._reduction_axes)


def is_of_keras(layer: keras.Layer) -> bool:
    """Whether a layer's class is Keras's own: those live in ``keras.src.layers``."""
    return type(layer).__module__.startswith("keras.src.layers.")


def is_random_state(path: str) -> bool:
    """Whether a variable of this path is a random generator's state, no weight: Keras calls it ``seed_generator…``."""
    return "seed_generator" in path


def saved_kind(layer: keras.Layer) -> str:
    """What Keras counts a layer under in a weights file: its class in ``keras.src.utils.naming.to_snake_case``."""
    from keras.src.utils.naming import to_snake_case

    return to_snake_case(type(layer).__name__)


def restart_names() -> None:
    """Count the names that Keras gives from the start again: ``keras.src.utils.naming.reset_uids``."""
    # Keras's public way, clear_session, would take the random seed with it
    from keras.src.utils.naming import reset_uids

    reset_uids()


def own_kernel(layer: Any) -> Any:
    """The matrix of a layer with an adapter, without what that adds: ``_kernel``, or ``_embeddings``."""
    return layer._embeddings if isinstance(layer, keras.layers.Embedding) else layer._kernel


def lora_weights(layer: Any) -> list[Any]:
    """The two matrices of a layer's adapter, the first drawn at random, the second zero."""
    what = "embeddings" if isinstance(layer, keras.layers.Embedding) else "kernel"
    return [getattr(layer, f"lora_{what}_{one}") for one in "ab"]


def begin_lora(layer: Any, rank: int, initializer: Any, within: str) -> None:
    """Give a layer an adapter that says nothing of itself in its config: what is saved has it merged.

    Keras names its weights after the layer alone; here they begin with the path of what the layer is in, so that no two
    have the same.
    """
    get_config = layer.get_config
    with contextlib.ExitStack() as scopes:
        for name in within.split("/"):
            scopes.enter_context(keras.name_scope(name))
        layer.enable_lora(rank, a_initializer=initializer)
    layer.get_config = lambda: {key: value for key, value in get_config().items() if not key.startswith("lora_")}


def end_lora(layer: Any) -> None:
    """Add a layer's adapter to its matrix and take it away: ``_untrack_variable``."""
    kernel = own_kernel(layer)
    kernel.assign(layer.embeddings if isinstance(layer, keras.layers.Embedding) else layer.kernel)
    for weight in lora_weights(layer):
        layer._untrack_variable(weight)
    layer.lora_enabled, layer.lora_rank, layer.lora_alpha = False, None, None
    kernel.trainable = True
    del layer.get_config

"""All that is used of Keras's private names, so that a new Keras is tried in one place.

Keras has no public way to read the graph of a functional model, nor to count the names of layers anew without taking the
random seed with it. ``pyproject.toml`` ends below the first minor release that this was not tried with: 3.15.1 passes
the tests of ``features``, ``model`` and ``evaluation``.
"""

from __future__ import annotations

from collections.abc import Mapping
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

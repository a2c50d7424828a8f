"""All that is used of Keras's private names, so that a new Keras is tried in one place.

Keras has no public way to read the graph of a functional model, nor to count the names of layers anew without taking the
random seed with it. ``pyproject.toml`` ends below the first minor release that this was not tried with: 3.15.1 passes
the tests of ``features``, ``model`` and ``evaluation``.
"""

from __future__ import annotations

import contextlib
import functools
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from framework.core.backend import Lazy, keras

_MOST_SEEDS = 5000  # of a base's layers


@contextlib.contextmanager
def sparing() -> Iterator[None]:
    """While Keras is imported in this, it does without two packages until somebody uses what it has them for.

    They take as long to import as half of Keras. ``keras.src.visualization.plot_image_gallery`` draws with Matplotlib's
    ``pyplot``, ``keras.src.wrappers`` are estimators of scikit-learn; both are written so that the package may be missing.
    """
    spared = [name for name in ("matplotlib.pyplot", "sklearn") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(spared))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in spared:
            del sys.modules[name]
    gallery = sys.modules.get("keras.src.visualization.plot_image_gallery")
    if gallery is not None and "matplotlib.pyplot" in spared:
        gallery.plt = Lazy("matplotlib.pyplot")  # type: ignore[attr-defined]
    if "sklearn" in spared:
        _import_wrappers_late()


def remember_attributes() -> None:
    """Have Keras find out once, not for each layer that it saves or reads, which attributes all layers have:
    ``keras.src.saving.saving_lib.get_attr_skipset`` looks for what it knows under another name than it notes it.
    """
    from keras.src.saving import saving_lib

    saving_lib.get_attr_skipset = functools.cache(saving_lib.get_attr_skipset)


def set_seed_of_keras(seed: int) -> None:
    """What ``keras.utils.set_random_seed`` does, without TensorFlow's seed: to set that throws away all that TensorFlow has
    made of traced functions, which takes it as long as to trace them. Nothing that Keras draws depends on it.
    """
    from keras.src.utils import rng_utils

    before, rng_utils.tf = rng_utils.tf, SimpleNamespace(available=False)
    try:
        keras.utils.set_random_seed(seed)
    finally:
        rng_utils.tf = before


def _import_wrappers_late() -> None:
    """Have ``keras.wrappers`` import what it shows again, scikit-learn with it, when that is first asked for."""
    shown = {
        name: sys.modules[name] for name in ("keras.wrappers", "keras._tf_keras.keras.wrappers") if name in sys.modules
    }
    names = [name for module in shown.values() for name in vars(module) if name.startswith("SKLearn")]

    def wrapper(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module 'keras.wrappers' has no attribute '{name}'")
        for inner in [one for one in sys.modules if one.startswith("keras.src.wrappers")]:
            del sys.modules[inner]
        found = import_module("keras.src.wrappers")
        for module in shown.values():
            del module.__getattr__
            vars(module).update({one: getattr(found, one) for one in names})
        return getattr(found, name)

    for module in shown.values():
        for name in names:
            vars(module).pop(name, None)
        module.__getattr__ = wrapper  # type: ignore[method-assign]


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


def makers_of(nodes: Iterable[Any]) -> dict[int, Any]:
    """The call that gave each tensor, by the tensor's id."""
    return {id(tensor): node for node in nodes for tensor in node.outputs}


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


def restart_names(given: Mapping[str, int] | None = None) -> None:
    """Count the names that Keras gives from the start again, or from where ``names_given`` was called:
    ``keras.src.utils.naming.reset_uids``, and what it resets in Keras's global state.
    """
    # Keras's public way, clear_session, would take the random seed with it
    from keras.src.utils.naming import reset_uids

    reset_uids()
    _names().update(given or {})


def names_given() -> dict[str, int]:
    """How many names of each kind Keras has given since ``restart_names``."""
    return dict(_names())


def _names() -> dict[str, int]:
    from keras.src.backend.common.global_state import get_global_attribute

    return get_global_attribute("object_name_uids")


def draw_seeds(count: int) -> None:
    """Draw as many seeds as layers would that have none of their own: ``keras.src.random.seed_generator.make_default_seed``."""
    from keras.src.random.seed_generator import make_default_seed

    for _ in range(count):
        make_default_seed()


def seeds_drawn(before: object) -> int | None:
    """How many such seeds were drawn since Python's generator was in the state ``before``; None where that was not all."""
    after = random.getstate()
    random.setstate(before)  # type: ignore[arg-type]
    for count in range(_MOST_SEEDS):
        if random.getstate() == after:
            return count
        draw_seeds(1)
    random.setstate(after)
    return None


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

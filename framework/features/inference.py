"""A layer that always runs as in inference."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="framework")
class Inference(keras.layers.Wrapper):
    """Calls the layer it wraps with ``training=False``, whatever the model is called with; weights are shared.

    Needed because Keras 3.15 lets ``model(x, training=True)`` override a ``training=False`` that a layer of a
    functional model was called with.
    """

    def __init__(self, layer: keras.Layer, **options: Any):
        super().__init__(layer, **{"name": layer.name, "dtype": layer.dtype_policy, **options})

    def __call__(self, *inputs: Any, **arguments: Any) -> Any:
        """As of any layer; arguments that are None are left out, for Keras before 3.13 takes them for tensors."""
        return super().__call__(*inputs, **{name: value for name, value in arguments.items() if value is not None})

    def call(self, *inputs: Any, **arguments: Any) -> Any:
        """What the layer gives in inference; shapes and dtypes are the layer's."""
        return self.layer(*inputs, **{**arguments, "training": False})

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

    def call(self, *inputs: Any, **arguments: Any) -> Any:
        """What the layer gives in inference; shapes and dtypes are the layer's."""
        return self.layer(*inputs, **{**arguments, "training": False})

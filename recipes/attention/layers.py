"""Keras classes of this recipe; imported when a model is built or a saved one is loaded."""

from __future__ import annotations

from typing import Any

from framework.core.backend import keras


@keras.saving.register_keras_serializable(package="attention")
class AttentionPooling(keras.layers.Layer):
    """Weighted means over height and width; the weights of a look sum to one.

    Takes (batch, height, width, channels), gives (batch, looks · channels). A place's score is
    ``tanh(place · V) · w``, its weight the softmax of the scores over all places.

    Args:
        looks: how many means, each with weights of its own.
        hidden: columns of V.
    """

    def __init__(self, looks: int, hidden: int, **options: Any):
        super().__init__(**options)
        self.looks, self.hidden = looks, hidden

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make V, (channels, hidden), and w, (hidden, looks)."""
        self.inner = self.add_weight(name="inner", shape=(input_shape[-1], self.hidden))
        self.outer = self.add_weight(name="outer", shape=(self.hidden, self.looks))

    def call(self, maps: Any) -> Any:
        """(batch, height, width, channels) to (batch, looks · channels)."""
        channels = maps.shape[-1]
        places = keras.ops.reshape(maps, (-1, maps.shape[1] * maps.shape[2], channels))
        scores = keras.ops.tanh(places @ self.inner) @ self.outer
        weights = keras.ops.softmax(scores, axis=1)
        means = keras.ops.matmul(keras.ops.transpose(weights, (0, 2, 1)), places)
        return keras.ops.reshape(means, (-1, self.looks * channels))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(batch, looks · channels)."""
        return (input_shape[0], self.looks * input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """What ``__init__`` takes."""
        return {**super().get_config(), "looks": self.looks, "hidden": self.hidden}

"""A loss that Keras lacks: of numbers, whatever their units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from framework.core.backend import keras

ops = keras.ops


@keras.saving.register_keras_serializable(package="framework")
class InDeviations(keras.losses.Loss):
    """A loss of numbers that are measured in deviations.

    Args:
        loss: Keras's, one that depends on differences alone.
        deviation: of each column, above 0.
    """

    def __init__(self, loss: Any, deviation: Sequence[float], name: str | None = None, **given: Any):
        super().__init__(name=name, **given)
        self.loss, self.deviation = loss, tuple(deviation)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each image, of labels and answers, float (batch, columns)."""
        scale = 1 / ops.convert_to_tensor(self.deviation, y_pred.dtype)
        return self.loss.call(ops.cast(y_true, y_pred.dtype) * scale, y_pred * scale)

    def get_config(self) -> dict[str, Any]:
        """What makes the loss again."""
        inner = keras.saving.serialize_keras_object(self.loss)
        return {**super().get_config(), "loss": inner, "deviation": list(self.deviation)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> InDeviations:
        """The loss that ``get_config`` told."""
        return cls(**{**config, "loss": keras.saving.deserialize_keras_object(config["loss"])})

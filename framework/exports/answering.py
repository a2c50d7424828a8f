"""What an exported file holds: the classifier from raw images to the answer that is wanted."""

from __future__ import annotations

from typing import Any, Literal

from framework.core.backend import keras
from framework.core.keras_private import layers_within
from framework.core.task import Task

Answer = Literal["probabilities", "logits", "numbers"]
INPUT = "image"
_HALVES = ("float16", "bfloat16", "mixed_float16", "mixed_bfloat16")


def answering(model: keras.Model, task: Task, answer: Answer) -> keras.Model:
    """The model with the answer for its output, in Keras's own layers and operations, computing in float32.

    Args:
        model: from raw images, float32 0-255 (batch, height, width, channels), to logits (batch, task.units).
        task: what is asked.
        answer: ``logits`` as they are, or what the task makes of them, float32 (batch, classes): ``numbers``, or
            ``probabilities``, of which a row sums to 1, or has an own one for each label. A binary task has two columns,
            no and yes.
    """
    model = in_float32(model)
    images = keras.Input(model.input_shape[1:], dtype="float32", name=INPUT)
    # call, not __call__: the layers stay layers of the new model, with their names
    logits = keras.ops.cast(model.call(images), "float32")
    if answer == "logits":
        return keras.Model(images, logits, name=model.name)
    return keras.Model(images, task.shares(logits), name=model.name)


def in_float32(model: keras.Model) -> keras.Model:
    """A model of mixed precision built anew in float32, with its weights, which are float32 already; others as they are.

    Neither LiteRT nor ONNX has all operations in halves, and what they are for is no longer known at export.
    """
    if all(layer.compute_dtype == "float32" for layer in layers_within(model)):
        return model
    copy = type(model).from_config(_without_halves(model.get_config()))
    copy.set_weights(model.get_weights())
    return copy


def _without_halves(config: Any) -> Any:
    """A config, as deep as it nests, in which every dtype and every policy of half or mixed precision is float32."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            return {**config, "config": {"name": "float32"}}
        return {
            key: "float32" if key == "dtype" and value in _HALVES else _without_halves(value)
            for key, value in config.items()
        }
    if isinstance(config, list | tuple):
        return type(config)(_without_halves(value) for value in config)
    return config

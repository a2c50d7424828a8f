"""What an exported file holds: the classifier from raw pictures to the answer that is wanted."""

from __future__ import annotations

from typing import Literal

from framework.core.backend import keras
from framework.core.task import Task

Answer = Literal["probabilities", "logits"]
INPUT = "image"


def answering(model: keras.Model, task: Task, answer: Answer) -> keras.Model:
    """The model with the answer for its output, in Keras's own layers and operations.

    Args:
        model: from raw RGB pictures, float32 0-255 (batch, height, width, 3), to logits (batch, task.units).
        task: what is asked.
        answer: ``logits`` as they are, or ``probabilities``, float32 (batch, classes): a row sums to 1, or has an own
            probability for each label. A binary task has two columns, no and yes.
    """
    pictures = keras.Input(model.input_shape[1:], dtype="float32", name=INPUT)
    # call, not __call__: the layers stay layers of the new model, with their names
    logits = keras.ops.cast(model.call(pictures), "float32")
    if answer == "logits":
        return keras.Model(pictures, logits, name=model.name)
    if task.kind == "multiclass":
        shares = keras.ops.softmax(logits, axis=-1)
    else:
        shares = keras.ops.sigmoid(logits)
        if task.kind == "binary":
            shares = keras.ops.concatenate([1.0 - shares, shares], axis=-1)
    return keras.Model(pictures, shares, name=model.name)

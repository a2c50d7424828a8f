"""Grad-CAM: where in an image the evidence for a class lies; of a vision transformer on the tokens of its patches.

Source: Selvaraju et al., 2017, https://arxiv.org/abs/1610.02391.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from framework.core.backend import keras, tf
from framework.core.task import Task
from framework.evaluation.layers import Step, last_maps
from framework.evaluation.tokens import tokens_of


class GradCam:
    """Heat maps of a classifier.

    Args:
        model: to logits, with feature maps somewhere, or with a vision transformer for its base.
        task: says which logit speaks for a class.
        step: whose maps are weighed; None is the last ones, of a vision transformer what its last block takes, for behind
            that a class token may be all that is looked at.

    Attributes:
        where: whose maps are weighed.
    """

    def __init__(self, model: keras.Model, task: Task, step: Step | None = None):
        self._evidence = task.evidence
        self._tokens = None if step else tokens_of(model)
        if self._tokens:
            self.where = f"the tokens before {self._tokens.blocks[-1]}"
            self._model = keras.Model(self._tokens.flat.input, [self._tokens.last, self._tokens.flat.outputs[0]])
        else:
            step = step or last_maps(model)
            self.where = step.name
            self._model = keras.Model(model.input, [step.output, model.outputs[0]])

    def __call__(self, image: np.ndarray, classes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Heat of each class and the logits of an image.

        Args:
            image: 0-255, (height, width, channels), of the size that the model takes.
            classes: their numbers; for a yes-or-no question 1 is yes, its only logit, and 0 is no, its negative.

        Returns:
            float32 (classes, rows, columns) in [0, 1], the largest of each 1 unless nothing speaks for the class; and
            float32 (units,).
        """
        images = tf.constant(image[None], tf.float32)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(images)  # else nothing would be recorded of a network that is frozen
            maps, logits = self._model(images, training=False)
            scores = [sign * logits[0, place] for place, sign in map(self._evidence, classes)]
        heats = []
        for score in scores:
            gradient = self._laid_out(tape.gradient(score, maps))
            weights = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
            heat = tf.nn.relu(tf.reduce_sum(weights * self._laid_out(maps), axis=-1))[0].numpy()
            heats.append(heat / max(float(heat.max()), 1e-12))
        return np.stack(heats), logits[0].numpy()

    def _laid_out(self, maps: tf.Tensor) -> tf.Tensor:
        """Maps as float32 (batch, rows, columns, channels), those of tokens from their patches."""
        maps = tf.cast(maps, tf.float32)
        if self._tokens is None:
            return maps
        return tf.reshape(maps[:, self._tokens.before(maps.shape[1]) :], (-1, *self._tokens.grid, maps.shape[-1]))

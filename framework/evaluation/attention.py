"""Grad-CAM: where in an image the evidence for a class lies.

Source: Selvaraju et al., 2017, https://arxiv.org/abs/1610.02391.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from framework.core.backend import keras, tf
from framework.core.task import Task
from framework.evaluation.layers import Step, last_maps


class GradCam:
    """Heat maps of a classifier.

    Args:
        model: to logits, with feature maps somewhere.
        task: says which logit speaks for a class.
        step: whose maps are weighed; None is the last ones.
    """

    def __init__(self, model: keras.Model, task: Task, step: Step | None = None):
        self._evidence = task.evidence
        self.step = step or last_maps(model)
        self._model = keras.Model(model.input, [self.step.output, model.outputs[0]])

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
            gradient = tf.cast(tape.gradient(score, maps), tf.float32)
            weights = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
            heat = tf.nn.relu(tf.reduce_sum(weights * tf.cast(maps, tf.float32), axis=-1))[0].numpy()
            heats.append(heat / max(float(heat.max()), 1e-12))
        return np.stack(heats), logits[0].numpy()

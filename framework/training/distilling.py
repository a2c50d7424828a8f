"""Knowledge distillation: a network learns, beside the labels, what a finished run answers to the same images.

Source: Hinton et al., 2015, https://arxiv.org/abs/1503.02531.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np

from framework.config.settings import CacheSettings
from framework.core.backend import keras
from framework.core.task import Classification
from framework.data import fingerprint
from framework.features import compute
from framework.model.saved import Trained
from framework.training.experiment import Experiment

PRECISION: Final = "float32"


def kept_as(cache: CacheSettings) -> CacheSettings:
    """How a teacher's answers are kept: in full, for they are few numbers an image."""
    return replace(cache, dtype=PRECISION)


def answers(experiment: Experiment) -> np.ndarray | None:
    """The teacher's logits of the training images, each as its file is: float32 (images, units); None without a teacher.

    They are kept as features are, found again by the teacher's weights, the images' contents and how the teacher reads them;
    with ``cache=off`` they are computed anew.

    Raises:
        BadInput: the teacher can't be loaded, or an image can't be decoded.
    """
    teacher, settings = experiment.teacher, experiment.settings
    if teacher is None:
        return None
    paths, model = experiment.images.splits["train"].paths, teacher.load()
    if settings.cache.use == "off":
        return compute.outputs(model, paths, geometry=teacher.geometry)
    rows = compute.features(
        model,
        paths,
        fingerprint.keys(paths),
        geometry=teacher.geometry,
        cache=kept_as(settings.cache),
        precision=PRECISION,
        about={"base": f"teacher {teacher.name}", "cut": "its logits", "size": list(teacher.geometry.size)},
    )
    found = np.asarray(rows.read(np.arange(len(rows))))
    rows.store.close()
    return found


def teach(model: keras.Model, experiment: Experiment) -> None:
    """Have a compiled model that is given pairs of labels and a teacher's logits for targets learn both.

    The loss is that of the labels and the divergence of the softened probabilities, times the temperature's square, each
    with its share; sample weights weigh both. Metrics, and the loss of what is evaluated, are of the labels alone.
    """
    distill, task = experiment.settings.distill, experiment.task
    if experiment.teacher is None:
        return
    assert isinstance(task, Classification)
    divergence = task.divergence
    of_labels, measure, heat = model.compute_loss, model.compute_metrics, distill.temperature

    def compute_loss(x: Any, y: Any, y_pred: Any, sample_weight: Any = None, training: bool = True) -> Any:
        if not training:
            return of_labels(x, y, y_pred, sample_weight, training=False)
        labels, logits = y
        far = heat**2 * divergence(logits / heat, y_pred / heat)
        if sample_weight is not None:
            far = far * sample_weight
        own = of_labels(x, labels, y_pred, sample_weight, training=True)
        return (1 - distill.weight) * own + distill.weight * keras.ops.mean(far)

    def compute_metrics(x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return measure(x, y[0] if isinstance(y, tuple) else y, y_pred, sample_weight)

    model.compute_loss, model.compute_metrics = compute_loss, compute_metrics


def record(teacher: Trained | None) -> dict[str, Any]:
    """For ``run.json``: which run teaches, and what its model is by contents; nothing where none does."""
    if teacher is None:
        return {}
    (contents,) = fingerprint.contents([str(teacher.file)])
    return {"teacher": {"run": str(teacher.folder), "fingerprint": contents}}

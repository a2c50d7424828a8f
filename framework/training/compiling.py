"""What a stage is compiled with: optimizer, loss, metrics and class weights, as settings and task want them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from framework.config.settings import Settings
from framework.core import registry
from framework.core.backend import keras, tf
from framework.core.errors import BadInput, Problem, listing
from framework.core.task import Task
from framework.data import labels
from framework.data.pipeline import Balance
from framework.training.experiment import Experiment
from framework.training.stages import Stage


def check_formats(settings: Settings, model: keras.Model) -> None:
    """The older file format holds layers only: a base whose images are prepared by operations can't be read back.

    Raises:
        BadInput: a checkpoint is to be written as such a file.
    """
    operations = [operation.name for operation in model.operations if not isinstance(operation, keras.Layer)]
    for key, chosen in settings.callbacks.items():
        if operations and str(chosen.parameters.get("filename", "")).endswith(".h5"):
            path = f"callbacks.{key}.filename"
            what = f"{path}: a .h5 file can't hold '{settings.model.name}' ({listing(operations)} is no layer)"
            raise BadInput(Problem(what, path, "a name that ends in .keras"))


def make_optimizer(settings: Settings, stage: Stage, model: keras.Model, steps: int) -> keras.optimizers.Optimizer:
    """The optimizer of a stage, its schedule laid over the stage's own steps.

    Where gradients are accumulated, one step of the schedule is one move of the weights, as Keras counts them then.
    """
    chosen, together = settings.optim.schedule, settings.trainer.gradient_accumulation_steps
    rate = registry.get("schedule", chosen.name)(stage.lr, stage.epochs, max(1, steps // together), **chosen.parameters)
    optimizer = registry.get("optimizer", settings.optim.name)(rate, **settings.optim.parameters)
    if together > 1:
        optimizer.gradient_accumulation_steps = together
    if stage.rates:
        _scale_rates(optimizer, stage.rates, model)
    if settings.trainer.precision == "mixed_float16":
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def _scale_rates(optimizer: keras.optimizers.Optimizer, rates: dict[str, float], model: keras.Model) -> None:
    """Give each layer its share of the learning rate, whatever the optimizer does with gradients.

    Weight decay is a share of the rate too, and Keras takes the whole rate for it: these layers' decay is done here.
    """
    weights = [(weight, share) for layer, share in rates.items() for weight in model.get_layer(layer).trainable_weights]
    # the optimizer hands on TensorFlow's variables, not those of Keras
    shares = {weight.value.ref(): share for weight, share in weights}
    optimizer.exclude_from_weight_decay([weight for weight, _ in weights])
    step, decay = optimizer.update_step, optimizer.weight_decay

    def scaled(gradient: Any, variable: Any, learning_rate: Any) -> Any:
        share = shares.get(variable.ref())
        if share is None:
            return step(gradient, variable, learning_rate)
        rate = tf.cast(learning_rate, variable.dtype) * share
        if decay is not None:
            variable.assign_sub(variable * decay * rate)
        return step(gradient, variable, rate)

    optimizer.update_step = scaled


def make_loss(settings: Settings, task: Task, stage: Stage | None = None) -> keras.losses.Loss:
    """The loss of this task: the run's, or that of a stage, which may have its own."""
    chosen = (stage.loss if stage else None) or settings.loss
    return registry.get("loss", chosen.name)(task, **chosen.parameters)


def validation_step(tail: keras.Model, judge: keras.Model, loss: keras.losses.Loss) -> Callable[[Any], Any]:
    """What ``tail.test_step`` does, by the answers of another model that shares its layers, and by another loss.

    Args:
        tail: compiled, whose metrics are updated.
        judge: takes what is evaluated.
        loss: the run's own, so that epochs of all stages are judged alike.
    """

    def step(data: Any) -> Any:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        found = judge(x, training=False)
        tail.metrics[0].update_state(loss(y, found, sample_weight), sample_weight=tf.shape(found)[0])
        return tail.compute_metrics(x, y, found, sample_weight)

    return step


def make_metrics(settings: Settings, task: Task) -> list[keras.metrics.Metric]:
    """New metrics of this task, named as in config."""
    return [
        registry.get("metric", chosen.name)(task, name, **chosen.parameters)
        for name, chosen in settings.metrics.items()
    ]


def balance(experiment: Experiment) -> Balance | None:
    """Which training images an epoch has; None: each once."""
    how = experiment.settings.data.balance
    return None if how == "none" else Balance(how, experiment.images.splits["train"].labels)


def class_weights(experiment: Experiment) -> Any:
    """A weight for each class, or None where all count the same."""
    train = experiment.images.splits["train"]
    return labels.class_weights(experiment.settings.data.class_weights, train.labels, experiment.task.classes)

"""Fits a network stage after stage: what is frozen becomes kept features, the rest trains, callbacks see the whole."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from framework.config.settings import Settings
from framework.core import registry
from framework.core.backend import keras
from framework.core.errors import RunFailed
from framework.core.runs import RunFolder
from framework.core.task import Task
from framework.data import labels, pipeline
from framework.model.build import Network
from framework.training.preflight import Experiment
from framework.training.material import Material, Supply
from framework.training.progress import Progress
from framework.training.record import Record
from framework.training.stages import Stage, freeze, stage_of

WHOLE_EPOCH = 128
EVALUATION_BATCH = 256


class Fit:
    """The training of one network.

    Args:
        experiment: settings, data and task.
        network: what is trained; its weights change in place.
        folder: where the history and the callbacks' files go.
        record: told what is known as it is known.
    """

    def __init__(self, experiment: Experiment, network: Network, folder: RunFolder, record: Record):
        self.experiment, self.network, self.folder, self.record = experiment, network, folder, record
        self.settings: Settings = experiment.settings
        self.callbacks = {
            name: registry.get("callback", chosen.name)(folder, **chosen.parameters)
            for name, chosen in self.settings.callbacks.items()
        }
        self.stages = [stage_of(name, stage, self.settings, network) for name, stage in self.settings.stages.items()]
        self.supply = Supply(experiment, network, record)
        self.history: list[dict[str, Any]] = []
        self.monitor, self.higher_is_better = _monitor(self.settings, "validation" in experiment.pictures.splits)

    def run(self) -> None:
        """Train all stages; history, curves and callbacks run through them."""
        from framework.training.bridge import Clock

        clock = Clock()
        steps = -(-len(self.experiment.pictures.splits["train"]) // self.settings.trainer.batch_size)
        epochs = sum(stage.epochs for stage in self.stages)
        progress = Progress(epochs, epochs * steps, self.monitor, self.higher_is_better)
        done, fault = 0, None
        for number, stage in enumerate(self.stages):
            freeze(self.network, stage)
            material = self.supply.material(stage)
            progress.stage(stage.name, stage.epochs, stage.lr, material.says)
            tail = self._compile(stage, material, steps)
            if number == 0:
                for callback in self.callbacks.values():
                    callback.set_model(self.network.model)
                    callback.on_train_begin()
            with self.record.phase("training"), progress:
                self._fit(tail, stage, material, clock, progress, done)
            done = self.history[-1]["epoch"] if self.history else 0
            fault = self._fault()
            if fault:
                break
        for callback in self.callbacks.values():
            callback.on_train_end()
        if fault:
            raise RunFailed(fault)

    def fill_cache(self) -> None:
        """Keep the features of every stage whose frozen prefix no earlier stage trains; train nothing."""
        trained: set[str] = set()
        for stage in self.stages:
            trained |= stage.trained
            freeze(self.network, stage)
            self.supply.material(replace(stage, trained=frozenset(trained)))

    def _compile(self, stage: Stage, material: Material, steps: int) -> keras.Model:
        """Compile the part that the stage fits, and the whole model with the same optimizer, so that it saves as such."""
        optimizer = make_optimizer(self.settings, stage, self.network.model, steps)
        at_once = self.settings.trainer.steps_per_execution
        if at_once == "auto":
            at_once = min(steps, WHOLE_EPOCH) if material.cached else 1
        task = self.experiment.task
        compiled = dict(optimizer=optimizer, loss=make_loss(self.settings, task), auto_scale_loss=False)
        whole = self.network.model
        whole.compile(metrics=make_metrics(self.settings, task), **compiled)
        whole.stop_training = False
        material.tail.compile(
            metrics=make_metrics(self.settings, task), steps_per_execution=at_once, jit_compile=False, **compiled
        )
        return material.tail

    def _fit(
        self, tail: keras.Model, stage: Stage, material: Material, clock: Any, progress: Progress, done: int
    ) -> None:
        from framework.training.bridge import Bridge

        settings, task = self.settings, self.experiment.task
        clock.epoch = done
        train = pipeline.training_dataset(
            material.train,
            labels.encode(self.experiment.pictures.splits["train"].labels, task),
            batch_size=settings.trainer.batch_size,
            seed=settings.trainer.seed,
            clock=clock,
            augmentations=material.augmentations,
            class_weights=class_weights(self.experiment),
        )
        validation = None
        if material.validation is not None:
            validation = pipeline.evaluation_dataset(
                material.validation,
                labels.encode(self.experiment.pictures.splits["validation"].labels, task),
                batch_size=EVALUATION_BATCH if material.cached else settings.trainer.batch_size,
            )
        bridge = Bridge(self.network.model, list(self.callbacks.values()), stage.name, clock, progress, self._write)
        tail.fit(
            train,
            validation_data=validation,
            initial_epoch=done,
            epochs=done + stage.epochs,
            callbacks=[bridge],
            shuffle=False,
            verbose=0,
        )

    def _write(self, row: dict[str, Any]) -> None:
        self.history.append(row)
        self.folder.write_history(self.history)

    def _fault(self) -> str | None:
        """Why a callback stopped the run as failed, None if none did."""
        for callback in self.callbacks.values():
            if getattr(callback, "failed", False) and callback.reason:
                advice = getattr(callback, "advice", None)
                return f"{callback.reason}; try {advice}" if advice else callback.reason
        return None

    def restore_best(self) -> dict[str, Any]:
        """Give the network the weights of its best epoch, if a checkpoint kept them; that epoch's row of the history."""
        for callback in self.callbacks.values():
            if hasattr(callback, "restore_best") and callback.best_epoch is not None:
                callback.restore_best()
                return next(row for row in self.history if row["epoch"] == callback.best_epoch)
        return self.history[-1]


def make_optimizer(settings: Settings, stage: Stage, model: keras.Model, steps: int) -> keras.optimizers.Optimizer:
    """The optimizer of a stage, its schedule laid over the stage's own steps."""
    chosen = settings.optim.schedule
    rate = registry.get("schedule", chosen.name)(stage.lr, stage.epochs, steps, **chosen.parameters)
    optimizer = registry.get("optimizer", settings.optim.name)(rate, **settings.optim.parameters)
    if stage.rates:
        _scale_rates(optimizer, stage.rates, model)
    if settings.trainer.precision == "mixed_float16":
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def _scale_rates(optimizer: keras.optimizers.Optimizer, rates: dict[str, float], model: keras.Model) -> None:
    """Give each layer its share of the learning rate, whatever the optimizer does with gradients."""
    shares = {
        variable.path: share for layer, share in rates.items() for variable in model.get_layer(layer).trainable_variables
    }
    step = optimizer.update_step

    def scaled(gradient: Any, variable: Any, learning_rate: Any) -> Any:
        return step(gradient, variable, learning_rate * shares.get(variable.path, 1.0))

    optimizer.update_step = scaled


def make_loss(settings: Settings, task: Task) -> keras.losses.Loss:
    """The loss of this task."""
    return registry.get("loss", settings.loss.name)(task, **settings.loss.parameters)


def make_metrics(settings: Settings, task: Task) -> list[keras.metrics.Metric]:
    """New metrics of this task, named as in config."""
    return [
        registry.get("metric", chosen.name)(task, name, **chosen.parameters) for name, chosen in settings.metrics.items()
    ]


def class_weights(experiment: Experiment) -> Any:
    """A weight for each class, or None where all count the same."""
    train = experiment.pictures.splits["train"]
    return labels.class_weights(experiment.settings.data.class_weights, train.labels, experiment.task.classes)


def _monitor(settings: Settings, validated: bool) -> tuple[str, bool]:
    """The column that says which epoch is best: the checkpoint's, else the first metric's on validation pictures."""
    prefix = "val_" if validated else ""
    for chosen in settings.callbacks.values():
        if chosen.name == "checkpoint":
            monitor = chosen.parameters["monitor"]
            mode = chosen.parameters["mode"]
            return monitor, mode == "max" or (mode == "auto" and not monitor.endswith("loss"))
    first = next(iter(settings.metrics), None)
    return (f"{prefix}{first}", True) if first else (f"{prefix}loss", False)

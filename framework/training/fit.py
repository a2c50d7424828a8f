"""Fits a network stage after stage: what is frozen becomes kept features, the rest trains, callbacks see the whole."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from framework.config.settings import Settings
from framework.core import registry
from framework.core.backend import keras, tf
from framework.core.console import say, warn
from framework.core.errors import BadInput, Problem, RunFailed, listing
from framework.core.runs import RunFolder
from framework.core.task import Task
from framework.data import labels, pipeline
from framework.model.build import Network
from framework.runs.record import Record
from framework.training.experiment import Experiment
from framework.training.interruption import Interruption
from framework.training.loop import StepLoop
from framework.training.material import Material, Supply
from framework.training.progress import Progress
from framework.training.stages import Stage, freeze, stage_of
from framework.training.state import (
    Standing,
    State,
    callback_choices,
    callback_states,
    collect,
    ends_no_more,
    layer_variables,
    measured,
    metric_variables,
    optimizer_variables,
    restore,
    restore_callbacks,
)

WHOLE_EPOCH = 128
EVALUATION_BATCH = 256


class Fit:
    """The training of one network.

    Args:
        experiment: settings, data and task.
        network: what is trained; its weights change in place.
        folder: where the history and the callbacks' files go.
        record: told what is known as it is known.
        data: fingerprint of what is trained on; a state that was written on other data is taken up at an epoch's start.
    """

    def __init__(
        self, experiment: Experiment, network: Network, folder: RunFolder, record: Record, data: str | None = None
    ):
        self.experiment, self.network, self.folder, self.record = experiment, network, folder, record
        self.settings: Settings = experiment.settings
        self.callbacks = {
            name: registry.get("callback", chosen.name)(folder, **chosen.parameters)
            for name, chosen in self.settings.callbacks.items()
        }
        _check_formats(self.settings, network.model)
        self.stages = [stage_of(name, stage, self.settings, network) for name, stage in self.settings.stages.items()]
        self.supply = Supply(experiment, network, record)
        self.history: list[dict[str, Any]] = []
        self.data = data
        self.steps = pipeline.steps(len(experiment.images.splits["train"]), self.settings.trainer.batch_size)
        self._learned: set[str] = set()
        self._last: Material | None = None
        self.yardstick = self.settings.yardstick("validation" in experiment.images.splits)

    def run(self) -> None:
        """Train all stages, from where the folder's state stands if there is one; the last state stays.

        A finished run can so be given more epochs.

        Raises:
            RunFailed: a callback found a fault that ends the run.
            RunStopped: SIGTERM came; the state is saved.
            KeyboardInterrupt: Ctrl-C came; the state is saved.
        """
        state = State.read(self.folder.state)
        progress = Progress(sum(stage.epochs for stage in self.stages), self.steps, self.yardstick)
        names = [stage.name for stage in self.stages]
        done, fault, begun = 0, None, False
        for number, stage in enumerate(self.stages):
            self._learned |= stage.trained
            if state is not None and number < names.index(state.stage):
                continue
            freeze(self.network, stage)
            if state is not None:
                # first of all: what this stage keeps features of may have been trained by an earlier one
                restore(layer_variables(self.network.model, self._learned), state)
            material = self.supply.material(stage)
            standing = self._compile(stage, material, done)
            if not begun:
                begun = True
                self._begin(state)
            if state is not None:
                self._take_up(state, standing)
                progress.resume(self.history, standing.step)
                state = None if state.stopped else state
            else:
                self._tell("on_stage_begin", stage.name)
            progress.stage(stage.name, stage.epochs, stage.lr, material.says)
            if not standing.stopped:
                with self.record.phase("training"), progress, Interruption() as interruption:
                    self._fit(material, standing, progress, interruption, state)
            state = None
            done = self.history[-1]["epoch"] if self.history else 0
            fault = self._reason(failed=True)
            if fault:
                break
            if standing.stopped and (reason := self._reason(failed=False)):
                say(f"stage {stage.name} ends here: {reason}")
        if not fault:
            self._save(standing)
        self._last = material
        self._tell("on_train_end", dict(self.history[-1]) if self.history else None)
        if fault:
            raise RunFailed(fault)

    def _begin(self, state: State | None) -> None:
        """Set callbacks going as Keras does, for the whole run; then they take up their state."""
        epochs = sum(stage.epochs for stage in self.stages)
        for callback in self.callbacks.values():
            callback.set_params({"verbose": 0, "epochs": epochs, "steps": self.steps})
            callback.set_model(self.network.model)
        self._tell("on_train_begin")
        if state is not None:
            restore_callbacks(self.callbacks, state)

    def _tell(self, hook: str, *given: Any) -> None:
        """Call a hook of each callback that has it."""
        for callback in self.callbacks.values():
            if hasattr(callback, hook):
                getattr(callback, hook)(*given)

    def fill_cache(self) -> None:
        """Keep the features of every stage whose frozen prefix no earlier stage trains; train nothing."""
        trained: set[str] = set()
        for stage in self.stages:
            trained |= stage.trained
            freeze(self.network, stage)
            self.supply.material(replace(stage, trained=frozenset(trained)))

    def given(self, stage: Stage) -> dict[str, Any]:
        """What a state rests on, for the run that takes it up to see what has changed since."""
        splits = self.experiment.images.splits
        return {
            "data": self.data,
            "classes": list(self.experiment.task.classes),
            "images": {name: len(split) for name, split in splits.items()},
            "batch_size": self.settings.trainer.batch_size,
            "steps": self.steps,
            "lr": stage.lr,
            "callbacks": callback_choices(self.settings),
        }

    def _take_up(self, state: State, standing: Standing) -> None:
        """Put optimizer and history where the state says, and heed what the run is given otherwise since."""
        stage, optimizer = standing.stage, standing.tail.optimizer
        optimizer.build(standing.tail.trainable_variables)
        restore(optimizer_variables(standing.tail), state)
        standing.start, standing.epoch, standing.step = state.stage_start, state.epoch, state.step
        standing.stopped = state.stopped and not ends_no_more(state, callback_choices(self.settings))
        changed = {key for key, value in self.given(stage).items() if state.given.get(key, value) != value}
        if "lr" in changed and registry.get("schedule", self.settings.optim.schedule.name).details["constant"]:
            optimizer.learning_rate = stage.lr
        if (changed & {"data", "batch_size"} and state.step) or state.step > self.steps:
            warn(f"epoch {state.epoch + 1} is begun again: {state.step} of its steps were of other batches")
            standing.step = 0
        if "steps" in changed:
            # a schedule is told in epochs and counts in steps
            optimizer.iterations.assign((state.epoch - state.stage_start) * self.steps + standing.step)
        self.history = list(state.history)
        self.folder.write_history(self.history)

    def _save(self, standing: Standing) -> None:
        """Write the state of the run as it stands."""
        variables = itertools.chain(
            layer_variables(self.network.model, self._learned),
            optimizer_variables(standing.tail),
            # between epochs they mean nothing, and a run that is taken up there has none
            metric_variables(standing) if standing.step else (),
        )
        State(
            stage=standing.stage.name,
            stage_start=standing.start,
            epoch=standing.epoch,
            step=standing.step,
            stopped=standing.stopped,
            history=self.history,
            callbacks=callback_states(self.callbacks),
            given=self.given(standing.stage),
            arrays=collect(variables, self.callbacks),
        ).write(self.folder.state)

    def _compile(self, stage: Stage, material: Material, done: int) -> Standing:
        """Compile what the stage fits, and the whole model with the same optimizer, so that it is saved as compiled."""
        optimizer = make_optimizer(self.settings, stage, self.network.model, self.steps)
        at_once = self.settings.trainer.steps_per_execution
        if at_once == "auto":
            at_once = min(self.steps, WHOLE_EPOCH) if material.cached else 1
        at_once = min(at_once, self.settings.trainer.save_steps or at_once)
        task = self.experiment.task
        metrics = make_metrics(self.settings, task)
        compiled = dict(optimizer=optimizer, loss=make_loss(self.settings, task), auto_scale_loss=False)
        whole = self.network.model
        whole.compile(metrics=make_metrics(self.settings, task), **compiled)
        whole.stop_training = False
        material.tail.compile(metrics=metrics, steps_per_execution=at_once, jit_compile=False, **compiled)
        return Standing(stage, material.tail, metrics, done, done)

    def _fit(
        self,
        material: Material,
        standing: Standing,
        progress: Progress,
        interruption: Interruption,
        state: State | None,
    ) -> None:
        from framework.training.bridge import Bridge

        settings, tail, left = self.settings, standing.tail, self.steps - standing.step
        bridge = Bridge(
            self.network.model,
            list(self.callbacks.values()),
            standing,
            progress,
            interruption,
            steps=self.steps,
            write=self._write,
            save=self._save,
            save_steps=settings.trainer.save_steps,
            metrics={} if state is None else state.arrays,
        )
        at_once = tail.steps_per_execution
        tail.train_function = StepLoop(tail, tail.train_step, self.steps, at_once, left or None, bridge.look)
        validation = batches = None
        if material.validation is not None:
            batch_size = EVALUATION_BATCH if material.cached else settings.trainer.batch_size
            targets = self.experiment.task.targets(self.experiment.images.splits["validation"].labels)
            validation = pipeline.evaluation_dataset(material.validation, targets, batch_size)
            batches = pipeline.steps(len(targets), batch_size)
            look = bridge.look_while_validating
            tail.test_function = StepLoop(tail, tail.test_step, batches, at_once, look=look)
        if not left:
            self._finish_epoch(standing, bridge, validation, batches)
        end = standing.start + standing.stage.epochs
        # an epoch that is entered in its middle is fitted by itself, for Keras must know how many steps are left of it
        for until in (standing.epoch + 1, end) if standing.step else (end,):
            if standing.epoch < until and not standing.stopped:
                tail.fit(
                    self._training(material, standing),
                    steps_per_epoch=self.steps - standing.step,
                    validation_data=validation,
                    validation_steps=batches,
                    initial_epoch=standing.epoch,
                    epochs=until,
                    callbacks=[bridge],
                    shuffle=False,
                    verbose=0,
                )

    def _finish_epoch(self, standing: Standing, bridge: Any, validation: Any, batches: int | None) -> None:
        """Do what is left of an epoch whose steps are all done: validate, and end it as ``fit`` does."""
        bridge.set_model(standing.tail)
        bridge.on_epoch_begin(standing.epoch)
        logs = measured(standing)
        for metric in standing.metrics:  # ``evaluate`` resets only those that a traced step has made known to the model
            metric.reset_state()
        found = standing.tail.evaluate(validation, steps=batches, callbacks=[bridge], return_dict=True, verbose=0)
        bridge.on_epoch_end(standing.epoch, logs | {f"val_{name}": value for name, value in found.items()})

    def _training(self, material: Material, standing: Standing) -> tf.data.Dataset:
        """Batches from where the stage stands on."""
        return pipeline.training_dataset(
            material.train,
            self.experiment.task.targets(self.experiment.images.splits["train"].labels),
            batch_size=self.settings.trainer.batch_size,
            seed=self.settings.trainer.seed,
            start=(standing.epoch, standing.step),
            augmentations=material.augmentations,
            class_weights=class_weights(self.experiment),
            copies=material.copies,
        )

    def _write(self, row: dict[str, Any]) -> None:
        self.history.append(row)
        self.folder.write_history(self.history)

    def _reason(self, failed: bool) -> str | None:
        """The reason of a callback that stopped the stage, with its advice; of one that makes the run a failed one."""
        for callback in self.callbacks.values():
            reason = getattr(callback, "reason", None)
            if reason and bool(getattr(callback, "failed", False)) == failed:
                advice = getattr(callback, "advice", None)
                return f"{reason}; try {advice}" if advice else reason
        return None

    @property
    def keeps_best(self) -> bool:
        """Whether a callback keeps the best epoch's weights."""
        return any(hasattr(callback, "restore_best") for callback in self.callbacks.values())

    def restore_best(self) -> tuple[dict[str, Any], Path | None, Literal["best", "last"]]:
        """Give the network the weights of its best epoch, if a checkpoint kept them; else it stays as it is, the last.

        Returns:
            That epoch's row, the checkpoint's file if it is what ``model.keras`` is to be, and which epoch it is.
        """
        for callback in self.callbacks.values():
            if hasattr(callback, "restore_best") and callback.best_epoch is not None:
                callback.restore_best()
                row = next(row for row in self.history if row["epoch"] == callback.best_epoch)
                return row, callback.best_file(), "best"
        return self.history[-1], None, "last"

    def answers(self) -> np.ndarray | None:
        """Logits of the validation images as the network stands, float32 (images, task.units); None without such.

        On kept features eagerly, batch by batch: tracing a graph for one pass takes longer than it saves.
        """
        if self._last is None or self._last.validation is None:
            return None
        rows, tail = self._last.validation, self._last.tail
        labels = np.zeros(len(rows), np.int32)
        batches = pipeline.evaluation_dataset(rows, labels, EVALUATION_BATCH if self._last.cached else 32)
        forward = tail if self._last.cached else tf.function(tail, reduce_retracing=True, autograph=False)
        return np.concatenate([np.asarray(forward(x, training=False)) for x, _ in batches])


def _check_formats(settings: Settings, model: keras.Model) -> None:
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


def make_loss(settings: Settings, task: Task) -> keras.losses.Loss:
    """The loss of this task."""
    return registry.get("loss", settings.loss.name)(task, **settings.loss.parameters)


def make_metrics(settings: Settings, task: Task) -> list[keras.metrics.Metric]:
    """New metrics of this task, named as in config."""
    return [
        registry.get("metric", chosen.name)(task, name, **chosen.parameters)
        for name, chosen in settings.metrics.items()
    ]


def class_weights(experiment: Experiment) -> Any:
    """A weight for each class, or None where all count the same."""
    train = experiment.images.splits["train"]
    return labels.class_weights(experiment.settings.data.class_weights, train.labels, experiment.task.classes)

"""Trains a network stage after stage: what is frozen becomes kept features, the rest trains, callbacks see the whole.

Knows no folder and no command line: where a training is kept, and who is told of it, are ``collaborators``.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from framework.core import registry
from framework.core.backend import keras, tf
from framework.core.console import say, warn
from framework.core.errors import BadInput, Problem, RunFailed
from framework.core.keras_private import nodes_of
from framework.data import pipeline
from framework.data.rows import Rows
from framework.features.graph import has_kernel
from framework.model.build import Network
from framework.training.collaborators import Recorder, Store, Unrecorded, Unstored
from framework.training.compiling import (
    balance,
    check_formats,
    class_weights,
    make_loss,
    make_metrics,
    make_optimizer,
    validation_step,
)
from framework.training.distilling import teach
from framework.training.experiment import Experiment
from framework.training.inputs import InputBuilder, StageInputs
from framework.training.interruption import Interruption
from framework.training.loop import StepLoop
from framework.training.progress import Progress
from framework.training.stages import Stage, freeze, stage_of
from framework.training.state import (
    StageProgress,
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
from framework.training.traced import LastTraced, Traced, graph_of
from framework.training.workers import OneWorker

if TYPE_CHECKING:
    from framework.training.callback_list import CallbackList

WHOLE_EPOCH = 128
EVALUATION_BATCH = 256


class Trainer:
    """The training of one network.

    Args:
        experiment: settings, data and task.
        network: what is trained; its weights change in place.
        callbacks: by name; any of Keras's, and those of the documented protocol (``parts.callbacks``).
        recorder: told what is known as it is known.
        store: keeps the history, and the state that a training goes on from.
        data: fingerprint of what is trained on; a state that was written on other data is taken up at an epoch's start.
        workers: that train together; by default this process alone.
        last: holds the training before this one, whose traced steps serve again where they can; afterwards this one.

    Raises:
        BadInput: a stage names a layer that the base has not or a size that it can't take, or a checkpoint's format can't
            hold this network.
    """

    def __init__(
        self,
        experiment: Experiment,
        network: Network,
        callbacks: Mapping[str, keras.callbacks.Callback] | None = None,
        recorder: Recorder | None = None,
        store: Store | None = None,
        data: str | None = None,
        workers: OneWorker | None = None,
        last: LastTraced | None = None,
    ):
        self.experiment, self.settings = experiment, experiment.settings
        self.last = last or LastTraced()
        self._traced = self.last.take(self.settings, data, network)
        self.network = self._traced.again(network) if self._traced else network
        self.callbacks = dict(callbacks or {})
        self.recorder, self.store, self.data = recorder or Unrecorded(), store or Unstored(), data
        self.workers = workers or OneWorker()
        check_formats(self.settings, self.network.model)
        stages = self.settings.stages.items()
        self.stages = [stage_of(name, stage, self.settings, self.network) for name, stage in stages]
        self.inputs = InputBuilder(experiment, self.network, self.recorder, self.workers)
        for stage in self.stages:
            self.inputs.graph(stage)  # a size that can't be is told before anything trains
        self.balance = balance(experiment)
        self.images = len(self.balance or experiment.images.splits["train"])
        self.steps = pipeline.steps(self.images, self.settings.trainer.batch_size)
        self.yardstick = self.settings.yardstick("validation" in experiment.images.splits)
        self.history: list[dict[str, Any]] = []
        self._learned: set[str] = set()
        self._last: StageInputs | None = None

    def train(self) -> None:
        """Train all stages, from where the stored state stands if there is one; the last state is stored.

        A finished training can so be given more epochs.

        Raises:
            RunFailed: a callback found a fault that ends the training.
            RunStopped: SIGTERM came; the state is stored.
            KeyboardInterrupt: Ctrl-C came; the state is stored.
        """
        state, begun, fault = self.store.read(), False, None
        display = Progress(sum(stage.epochs for stage in self.stages), self.steps, self.yardstick)
        for stage in self._ahead(state):
            inputs, at = self._prepare(stage, state)
            if not begun:
                begun = True
                if state is None:
                    self._fit_head(inputs)
                self._begin(state)
                self.workers.set_apart(self.network.flat)
            if state is None:
                self._tell("on_stage_begin", stage.name)
            else:
                self._go_on(state, at)
                display.resume(self.history, at.step)
            display.stage(stage.name, stage.epochs, stage.lr, inputs.says)
            if not at.stopped:
                # a stage that a callback had ended, and that it ends no more, goes on from between two epochs
                running = {} if state is None or state.stopped else state.arrays
                with self.recorder.phase("training"), display, self.workers.interruption() as interruption:
                    self._fit(inputs, at, display, interruption, running)
            state = None
            fault = self._reason(failed=True)
            if fault:
                break
            if at.stopped and (reason := self._reason(failed=False)):
                say(f"stage {stage.name} ends here: {reason}")
        if not fault:
            self._save(at)
            if self._traced is not None:
                self.last.keep(self.settings, self.data, self._traced)
        self._last = inputs
        self._tell("on_train_end", dict(self.history[-1]) if self.history else None)
        if fault:
            raise RunFailed(fault)

    def fill_cache(self) -> None:
        """Keep the features of every stage whose frozen prefix no earlier stage trains; train nothing."""
        trained: set[str] = set()
        for stage in self.stages:
            trained |= stage.trained
            freeze(self.network, stage)
            self.inputs.build(replace(stage, trained=frozenset(trained)))

    def given(self, stage: Stage) -> dict[str, Any]:
        """What a state rests on, for who takes it up to see what has changed since."""
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
        return _outputs(self._last.judge or self._last.tail, self._last.validation, self._last.cached)

    def batches(self, inputs: StageInputs, start: tuple[int, int] = (0, 0)) -> tf.data.Dataset:
        """Training batches without end, or this worker's share of them, from this epoch (from 0) and this step of it on."""
        return pipeline.training_dataset(
            inputs.train,
            self._targets("train"),
            batch_size=self.settings.trainer.batch_size,
            seed=self.settings.trainer.seed,
            start=start,
            augmentations=inputs.augmentations,
            class_weights=class_weights(self.experiment),
            copies=inputs.copies,
            balance=self.balance,
            share=self.workers.share(inputs.blended),
            answers=inputs.answers,
        )

    def _gathers(self, inputs: StageInputs) -> bool:
        """Whether the loop of steps gathers its batches itself: where the rows of a process alone lie in memory as tensors."""
        at_hand = all(getattr(rows, "in_memory", False) for rows in (inputs.train, inputs.validation or inputs.train))
        return inputs.cached and at_hand and inputs.answers is None and self.workers.count == 1

    def _targets(self, split: str) -> np.ndarray:
        return self.experiment.task.targets(self.experiment.images.splits[split].labels)

    def _ahead(self, state: State | None) -> Iterator[Stage]:
        """The stages that are not over; what earlier ones trained is learned."""
        over = state is not None
        for stage in self.stages:
            self._learned |= stage.trained
            over = over and state is not None and stage.name != state.stage
            if not over:
                yield stage

    def _prepare(self, stage: Stage, state: State | None) -> tuple[StageInputs, StageProgress]:
        """Freeze what the stage freezes, and compile what it fits; with the weights of the state, if it goes on."""
        freeze(self.network, stage)
        if state is not None:
            # first of all: what this stage keeps features of may have been trained by an earlier one
            restore(layer_variables(self.network.flat, self._learned), state)
        traced, done = self._traced, self.history[-1]["epoch"] if self.history else 0
        if traced is not None:
            traced.at.tail.optimizer.learning_rate = stage.lr
            self.inputs.note(traced.inputs)
            return traced.inputs, StageProgress(stage, traced.at.tail, traced.at.metrics, done, done)
        inputs = self.inputs.build(stage)
        tail, metrics = self._compile(stage, inputs)
        at = StageProgress(stage, tail, metrics, done, done)
        if self._gathers(inputs) and not inputs.features["computed"] and graph_of(self.settings) is not None:
            begun = {name: np.array(variable) for name, variable in optimizer_variables(tail)}
            self._traced = Traced(self.network, inputs, at, begun)
        return inputs, at

    def _compile(self, stage: Stage, inputs: StageInputs) -> tuple[keras.Model, list[Any]]:
        """Compile what the stage fits, and the whole model with the same optimizer, so that it is saved as compiled.

        Returns:
            What is fitted, and its metrics.
        """
        trainer, task = self.settings.trainer, self.experiment.task
        at_once = trainer.steps_per_execution
        if at_once == "auto":
            at_once = min(self.steps, WHOLE_EPOCH) if inputs.cached else 1
        at_once = min(at_once, trainer.save_steps or at_once)
        whole = self.network.model
        optimizer = make_optimizer(self.settings, stage, self.network.flat, self.steps)
        metrics = make_metrics(self.settings, task)
        compiled = dict(optimizer=optimizer, auto_scale_loss=False)
        whole.compile(loss=make_loss(self.settings, task), metrics=make_metrics(self.settings, task), **compiled)
        whole.stop_training = False
        loss = make_loss(self.settings, task, stage)
        inputs.tail.compile(loss=loss, metrics=metrics, steps_per_execution=at_once, jit_compile=False, **compiled)
        teach(inputs.tail, self.experiment)
        # before the first step: one that makes variables is traced twice
        optimizer.build(inputs.tail.trainable_variables)
        self.workers.join(inputs.tail, trainer.batch_size)
        return inputs.tail, metrics

    def _fit_head(self, inputs: StageInputs) -> None:
        """Make the head of the training images, each as it is kept or as its file is, if it is one that is made so.

        Raises:
            BadInput: the pooling below it has weights of its own, which nothing has trained.
        """
        chosen, task = self.settings.head, self.experiment.task
        fit = registry.get("head", chosen.name).details["fit"]
        if fit is None:
            return
        below = [self.network.flat.get_layer(name) for name in self.network.head_layers]
        below = [layer for layer in below if layer.name != "logits" and not layer.name.startswith("head_")]
        if any(map(has_kernel, below)):
            what = f"head '{chosen.name}' is fitted to what pooling '{self.settings.pooling.name}' gives, which only"
            raise BadInput(Problem(f"{what} training would make useful", "pooling.name", "a pooling without weights"))
        labels = self.experiment.images.splits["train"].labels
        shares = np.eye(len(task.classes), dtype=np.float32)[np.tile(labels, inputs.copies)]
        with self.recorder.phase("fitting"):
            model = inputs.tail if inputs.cached else self.network.model
            node = next(node for node in nodes_of(model) if node.operation.name == "logits")
            below_head = keras.Model(model.input, node.input_tensors[0])
            vectors = _outputs(below_head, inputs.train, inputs.cached)
            fit(self.network.model.get_layer("logits"), vectors, shares, **chosen.parameters)

    def _begin(self, state: State | None) -> None:
        """Set callbacks going as Keras does, for the whole training; then they take up their state."""
        epochs = sum(stage.epochs for stage in self.stages)
        for callback in self.callbacks.values():
            callback.set_params({"verbose": 0, "epochs": epochs, "steps": self.steps})
            callback.set_model(self.network.model)
        self._tell("on_train_begin")
        if state is not None:
            restore_callbacks(self.callbacks, state)

    def _go_on(self, state: State, at: StageProgress) -> None:
        """Put optimizer and history where the state says, and heed what the training is given otherwise since."""
        stage, optimizer = at.stage, at.tail.optimizer
        restore(optimizer_variables(at.tail), state)
        at.start, at.epoch, at.step = state.stage_start, state.epoch, state.step
        at.stopped = state.stopped and not ends_no_more(state, callback_choices(self.settings))
        changed = {key for key, value in self.given(stage).items() if state.given.get(key, value) != value}
        if "lr" in changed and registry.get("schedule", self.settings.optim.schedule.name).details["constant"]:
            optimizer.learning_rate = stage.lr
        if (changed & {"data", "batch_size"} and state.step) or state.step > self.steps:
            warn(f"epoch {state.epoch + 1} is begun again: {state.step} of its steps were of other batches")
            at.step = 0
        if "steps" in changed:
            # a schedule is told in epochs and counts in steps
            optimizer.iterations.assign((state.epoch - state.stage_start) * self.steps + at.step)
        self.history = list(state.history)
        self.store.write_history(self.history)

    def _fit(
        self,
        inputs: StageInputs,
        at: StageProgress,
        display: Progress,
        interruption: Interruption,
        running: Mapping[str, np.ndarray],
    ) -> None:
        """The epochs of a stage: its steps, validation, callbacks; ``running`` is what the metrics had summed up."""
        from framework.training.callback_list import CallbackList

        tail, left = at.tail, self.steps - at.step
        gathers = self._gathers(inputs)
        callbacks = CallbackList(
            self.network.model,
            list(self.callbacks.values()),
            at,
            display,
            interruption,
            steps=self.steps,
            write=self._write,
            save=self._save,
            save_steps=self.settings.trainer.save_steps,
            metrics=running,
            agree=self.workers.agree,
        )
        validation, batches = self._loops(inputs, at, interruption, callbacks)
        if not left:
            self._finish_epoch(at, callbacks, validation, batches)
        end = at.start + at.stage.epochs
        # an epoch that is entered in its middle is fitted by itself, for Keras must know how many steps are left of it
        for until in (at.epoch + 1, end) if at.step else (end,):
            if at.epoch < until and not at.stopped:
                with warnings.catch_warnings():
                    # of a stage that fits, whose steps are to measure only
                    warnings.filterwarnings("ignore", "The model does not have any trainable weights", UserWarning)
                    tail.fit(
                        pipeline.epochs(at.epoch) if gathers else self.batches(inputs, (at.epoch, at.step)),
                        steps_per_epoch=self.steps - at.step,
                        validation_data=validation,
                        validation_steps=batches,
                        initial_epoch=at.epoch,
                        epochs=until,
                        callbacks=[callbacks],
                        shuffle=False,
                        verbose=0,
                    )

    def _loops(
        self, inputs: StageInputs, at: StageProgress, interruption: Interruption, callbacks: CallbackList
    ) -> tuple[Any, int | None]:
        """Set the loops of steps that ``fit`` and ``evaluate`` call; those of a training before begin again.

        Returns:
            What the second is given, and how many batches that is; None where there is no validation.
        """
        tail, gathers, first = at.tail, self._gathers(inputs), self.steps - at.step or None
        rows, batch_size = inputs.validation, self.settings.trainer.batch_size
        judging = EVALUATION_BATCH if inputs.cached else batch_size
        batches = None if rows is None else pipeline.steps(len(rows), judging)
        if isinstance(tail.train_function, StepLoop):
            tail.train_function.begin(first, callbacks.look)
            if rows is not None:
                tail.test_function.begin(look=callbacks.look_while_validating)
            return pipeline.epochs() if rows is not None else None, batches
        gathered = judged = validation = None
        if gathers:
            gathered = pipeline.training_gathered(
                inputs.train,
                self._targets("train"),
                batch_size=batch_size,
                seed=self.settings.trainer.seed,
                class_weights=class_weights(self.experiment),
                copies=inputs.copies,
                balance=self.balance,
            )
        at_once = tail.steps_per_execution
        loop = self.workers.loop(at, interruption, self.images, batch_size)
        tail.train_function = loop(tail.train_step, self.steps, at_once, first, callbacks.look, gathered)
        if rows is not None:
            targets = self._targets("validation")
            if gathers:
                validation = pipeline.epochs()
                judged = pipeline.evaluation_gathered(rows, targets, judging)
            else:
                validation = pipeline.evaluation_dataset(rows, targets, judging, self.workers.share())
            loop = self.workers.loop(at, interruption, len(rows), judging)
            step = tail.test_step
            if inputs.judge is not None or at.stage.loss is not None:
                loss = make_loss(self.settings, self.experiment.task)
                step = validation_step(tail, inputs.judge or tail, loss)
            tail.test_function = loop(step, batches, at_once, look=callbacks.look_while_validating, gathered=judged)
        return validation, batches

    def _finish_epoch(self, at: StageProgress, callbacks: Any, validation: Any, batches: int | None) -> None:
        """Do what is left of an epoch whose steps are all done: validate, and end it as ``fit`` does."""
        callbacks.set_model(at.tail)
        callbacks.on_epoch_begin(at.epoch)
        logs = measured(at)
        for metric in at.metrics:  # ``evaluate`` resets only those that a traced step has made known to the model
            metric.reset_state()
        found = at.tail.evaluate(validation, steps=batches, callbacks=[callbacks], return_dict=True, verbose=0)
        callbacks.on_epoch_end(at.epoch, logs | {f"val_{name}": value for name, value in found.items()})

    def _save(self, at: StageProgress) -> None:
        """Store the state of the training as it stands."""
        if not self.workers.first:
            return
        variables = itertools.chain(
            layer_variables(self.network.flat, self._learned),
            optimizer_variables(at.tail),
            # between epochs they mean nothing, and a training that is taken up there has none
            metric_variables(at) if at.step else (),
        )
        state = State(
            stage=at.stage.name,
            stage_start=at.start,
            epoch=at.epoch,
            step=at.step,
            stopped=at.stopped,
            history=self.history,
            callbacks=callback_states(self.callbacks),
            given=self.given(at.stage),
            arrays=collect(variables, self.callbacks),
        )
        self.store.write(state)

    def _write(self, row: dict[str, Any]) -> None:
        self.history.append(row)
        self.store.write_history(self.history)

    def _tell(self, hook: str, *given: Any) -> None:
        """Call a hook of each callback that has it."""
        for callback in self.callbacks.values():
            if hasattr(callback, hook):
                getattr(callback, hook)(*given)

    def _reason(self, failed: bool) -> str | None:
        """The reason of a callback that stopped the stage, with its advice; of one that makes the training a failed one."""
        for callback in self.callbacks.values():
            reason = getattr(callback, "reason", None)
            if reason and bool(getattr(callback, "failed", False)) == failed:
                advice = getattr(callback, "advice", None)
                return f"{reason}; try {advice}" if advice else reason
        return None


def _outputs(model: keras.Model, rows: Rows, cached: bool) -> np.ndarray:
    """What a model gives for all rows, in their order; of kept features eagerly, batch by batch."""
    if cached:
        starts = range(0, len(rows), EVALUATION_BATCH)
        places = (tf.range(start, min(start + EVALUATION_BATCH, len(rows)), dtype=tf.int64) for start in starts)
        return np.concatenate([np.asarray(model(rows.read(some), training=False)) for some in places])
    batches = pipeline.evaluation_dataset(rows, np.zeros(len(rows), np.int32), 32)
    forward = tf.function(model, reduce_retracing=True, autograph=False)
    return np.concatenate([np.asarray(forward(x, training=False)) for x, _ in batches])

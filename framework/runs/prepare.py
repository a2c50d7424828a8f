"""All that a training needs around it: seeds, a look at the data, the network; for a run, and for who wants no run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from framework.config.settings import Settings, TrainerSettings
from framework.core.backend import keras, load_tensorflow, tf
from framework.core.console import warn
from framework.core.errors import BadInput, Problem
from framework.core.keras_private import set_seed_of_keras
from framework.data import fingerprint
from framework.data.columns import joined
from framework.data.rows import Undecodable, undecodable
from framework.data.selection import left_out, readable
from framework.model.bases import Bases
from framework.model.build import Network, build
from framework.model.weights import IMAGENET
from framework.runs.preflight import Data, experiment, missing_weights
from framework.training.collaborators import Recorder, Unrecorded
from framework.training.experiment import Experiment
from framework.training.trainer import Trainer


@dataclass(frozen=True)
class Looked:
    """Data that have been looked at.

    Attributes:
        experiment: with the images that are trained on.
        skipped: files that are left out, and why.
        fingerprint: digest of images and labels.
    """

    experiment: Experiment
    skipped: Mapping[str, str]
    fingerprint: str


def look(
    settings: Settings,
    recorder: Recorder | None = None,
    unread: Mapping[str, str] | None = None,
    data: Data | None = None,
    begun: Mapping[str, Any] | None = None,
) -> Looked:
    """Make the files if the source makes them, and look at each once.

    Args:
        settings: of one run.
        recorder: told how long it takes.
        unread: files that only reading showed to be damaged, and why.
        data: that have been listed and looked at already.
        begun: what ``run.json`` says of the run that goes on, for a task that was begun with what it was told then.

    Raises:
        BadInput: settings and data don't fit, or images can't be read and are not to be skipped.
    """
    load_tensorflow()
    data = Data() if data is None else data
    start = _with_weights_to_be_had(experiment(settings, data))
    if begun is not None:
        start = replace(start, task=start.task.as_begun(begun))
    with (recorder or Unrecorded()).phase("data"):
        if start.images.prepare:
            start.images.prepare()
        if unread:
            images, skipped = readable(start.images, settings.data.on_error, unread)
            digest = fingerprint.dataset(images)
        else:
            images, skipped = data.readable(settings)
            digest = data.fingerprint(settings)
        if skipped:
            warn(left_out(len(skipped)))
    return Looked(replace(start, images=images), skipped, digest)


def network(start: Experiment, bases: Bases | None = None, traced: bool = False) -> Network:
    """The network as it begins: all seeds set, then built, on a base of before if ``bases`` holds it.

    Args:
        start: what is to be trained.
        bases: hold the last one.
        traced: whether the steps that it is to be trained by are traced already.

    Raises:
        BadInput: it can't be built.
    """
    seed_everything(start.settings.trainer, traced)
    return build(start.settings, start.task, start.examples, bases)


def trainer(settings: Settings) -> Trainer:
    """A trainer whose training leaves nothing: no folder, no record, no callback.

    Raises:
        BadInput: settings and data don't fit, or the network can't be built.
    """
    start = look(settings).experiment
    return Trainer(start, network(start))


def train(trainer: Trainer) -> None:
    """Train; images that turn out to be unreadable are named.

    Raises:
        Undecodable: some are, and it may begin again without them.
        BadInput: some are, and several workers train: each has read others of them.
    """
    try:
        trainer.train()
    except (tf.errors.OpError, Undecodable) as error:
        splits = trainer.experiment.images.splits.values()
        found: BadInput = (
            error
            if isinstance(error, Undecodable)
            else undecodable(joined([split.paths for split in splits]), trainer.settings.data.geometry)
        )
        if not isinstance(found, Undecodable):
            raise
        if trainer.workers.count > 1:
            right = "data.exclude=FILE that lists them: several workers leave out only what a first look shows"
            raise BadInput(Problem(found.problems[0].what, "data", right)) from None
        raise found from None


def seed_everything(trainer: TrainerSettings, traced: bool = False) -> None:
    """Set all seeds, and where wanted make every operation deterministic; without TensorFlow's own where all is ``traced``."""
    if traced:
        set_seed_of_keras(trainer.seed)
    else:
        keras.utils.set_random_seed(trainer.seed)
    if trainer.deterministic:
        tf.config.experimental.enable_op_determinism()


def _with_weights_to_be_had(start: Experiment) -> Experiment:
    """On demonstration data missing published weights are replaced by random ones, and that is said loudly."""
    model = start.settings.model
    if not start.demonstration or missing_weights(start.settings) is None:
        return start
    kind = "ImageNet weights" if model.weights == IMAGENET else "The weights"
    warn(f"{kind} of {model.name} can't be had here: RANDOM weights take their place.")
    warn("Accuracy will be near chance. This run shows that everything works, nothing else.")
    return replace(start, settings=replace(start.settings, model=replace(model, weights=None)))

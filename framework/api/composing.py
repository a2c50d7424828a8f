"""``compose`` and ``build``: overrides to checked settings, and to the network that they name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

import framework.parts  # noqa: F401 - registers the shipped parts
from framework.api.errors import speaking
from framework.cli.command import check
from framework.cli.compose import normalise, refuse_sweep
from framework.cli.primary import take_primary_config
from framework.config.settings import Settings
from framework.core import registry
from framework.core.backend import load_tensorflow
from framework.core.errors import BadInput, Problem
from framework.core.task import Multilabel
from framework.data.images import Images, Split
from framework.data.selection import narrow
from framework.runs.preflight import Data, experiment

if TYPE_CHECKING:
    import keras


@speaking
def compose(*overrides: str) -> Settings:
    """The settings that these overrides make: every value of the experiment, checked, frozen.

    Looks at no data and loads no TensorFlow.

    Args:
        overrides: as ``python -m framework.train`` takes them: ``"model=mobilenet"``, ``"optim.lr=0.01"``,
            ``"recipe=NAME"``, ``"from=RUN_FOLDER"``.

    Returns:
        Nodes as attributes: ``optim.lr``; a part's own parameters in ``parameters`` of its node.

    Raises:
        framework.Error: with every mistake in them at once.

    Examples:
        >>> import framework
        >>> settings = framework.compose("model=mobilenet", "model.alpha=0.25", "optim.lr=0.01")
        >>> settings.model.name, settings.data.size, settings.optim.lr
        ('mobilenet', (224, 224), 0.01)
        >>> settings.model.parameters["alpha"]
        0.25
    """
    return settings_of(overrides)


@speaking
def build(*overrides: str, classes: int | Sequence[str] | None = None) -> keras.Model:
    """The network that these overrides name, untrained: one functional ``keras.Model``, flat, with weights as they say.

    Seeds are set as ``trainer.seed`` says, so that the same call gives the same weights; with ``trainer.deterministic``,
    which is the default, TensorFlow computes deterministically from then on.

    Args:
        overrides: as for ``compose``. ``model.weights=null`` needs no weights file.
        classes: how many there are, or their names, or of ``task=regression`` the names of the numbers; None asks the
            data that the overrides name, which lists files and opens none.

    Returns:
        From raw RGB images, float32 0-255 (batch, height, width, 3), to float32 logits (batch, classes), of a
        yes-or-no question (batch, 1), of ``task=regression`` numbers.

    Raises:
        framework.Error: with every mistake; or parts do not fit each other, or weights can't be had.

    Examples:
        >>> import framework
        >>> model = framework.build("model=cnn", "model.filters=[8,16]", "model.image_size=32", classes=3)
        >>> model.input_shape, model.output_shape
        ((None, 32, 32, 3), (None, 3))
    """
    settings = settings_of(overrides)
    start = experiment(settings, None if classes is None else _Named(classes))
    load_tensorflow()
    from framework.runs.prepare import network

    return network(start).model


def settings_of(overrides: Sequence[str]) -> Settings:
    """What ``compose`` gives.

    Raises:
        BadInput: with every mistake.
    """
    given = normalise(take_primary_config(overrides))
    refuse_sweep(given, "one value; framework.sweep tries several")
    return check(given, lambda settings: [])[0]


class _Named(Data):
    """Data of which nothing is known but their classes."""

    def __init__(self, classes: int | Sequence[str]):
        super().__init__()
        self.names = list(map(str, range(classes))) if isinstance(classes, int) else list(map(str, classes))

    def images(self, settings: Settings) -> Images:
        """An image of each class that nobody has."""
        count = len(self.names)
        numbers = settings.task.asks == "numbers"
        if not count or len(set(self.names)) < count:
            raise BadInput(Problem("classes names none, or one twice", "classes", "a number, or each name once"))
        several = registry.get("head", settings.head.name).details["tasks"] == (Multilabel.kind,)
        if numbers:
            labels = np.stack([-np.ones(count, np.float32), np.ones(count, np.float32)])
        else:
            labels = np.eye(count, dtype=np.float32) if several else np.arange(count, dtype=np.int32)
        train = Split(("",) * len(labels), labels)
        images = Images(tuple(self.names), {"train": train, "validation": train}, several, "no data", numbers=numbers)
        chosen = settings.data
        return narrow(images, chosen.classes, chosen.positive, None, chosen.seed)

"""What tests of options are made with: parts from their YAML, settings as composed, and a tiny training."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

import framework.parts  # noqa: F401 - registers the shipped parts
from framework.cli.compose import compose
from framework.config.checks import read_settings
from framework.config.folders import groups
from framework.config.settings import Settings
from framework.core import registry
from framework.core.runs import RunFolder
from framework.core.task import Binary, Multiclass, Multilabel, Regression
from framework.training.collaborators import Unrecorded
from tests.options.counted import content

CLASSES = ("blue", "green", "red")
TASKS = {
    "one_hot": Multiclass(CLASSES),
    "index": Multiclass(CLASSES, "index"),
    "binary": Binary(("not red", "red")),
    "multi_hot": Multilabel(CLASSES),
    "numbers": Regression(("age", "height"), mean=(40.0, 1.7), deviation=(20.0, 0.1)),
}
# a network of one small block without batch statistics, plain steps, and no files but what is looked at
SMALL = (
    "data=image_folder",
    "optim=sgd",
    "callbacks=[stop_on_nan]",
    "model.filters=[2]",
    "model.normalization=none",
    "model.image_size=8",
    "trainer.epochs=1",
    "trainer.batch_size=8",
    "trainer.deterministic=false",
)


def chosen(group: str, option: str) -> list[dict[str, Any]]:
    """The nodes of an option that each name a part: one, or those of a group by name, in order."""
    # what an option takes from the task it takes from the usual one
    whole = OmegaConf.create({"task": content("task", "auto"), "node": content(group, option)})
    node = OmegaConf.to_container(whole, resolve=True)["node"]
    return [node] if "name" in node else list(node.values())


def built(kind: str, group: str, option: str, *supplied: Any, **changed: Any) -> Any:
    """The one part that an option names, with these of its keys changed."""
    (found,) = chosen(group, option)
    parameters = {**found, **changed}
    part = registry.get(kind, parameters.pop("name"))
    return part(*supplied, **{key: value for key, value in parameters.items() if key in part.parameters})


def settings(*overrides: str) -> Settings:
    """The settings of a run with these overrides: choices of options are composed, then keys are set, then checked."""
    known = groups()
    choices = tuple(one for one in overrides if one.partition("=")[0].replace(".", "/") in known)
    config = copy.deepcopy(_composed(choices))
    for key, _, value in (one.partition("=") for one in overrides if one not in choices):
        OmegaConf.update(config, key, yaml.safe_load(value), force_add=True)
    found, problems = read_settings(OmegaConf.to_container(config, resolve=True))
    assert not problems
    assert found is not None
    return found


@functools.cache
def _composed(choices: tuple[str, ...]) -> DictConfig:
    return compose(choices).node


class Noted(Unrecorded):
    """Keeps what it is told."""

    def __init__(self):
        self.noted = {}

    def note(self, **values):
        self.noted |= values


def prepared(photos: Path, folder: Path, *overrides: str) -> Any:
    """A tiny training of three classes that is ready to run, as ``framework.training.trainer.Trainer``."""
    from framework.runs.keeping import FolderStore, make_callbacks
    from framework.runs.prepare import look, network
    from framework.training.trainer import Trainer

    made, run = settings(*SMALL, f"data.dir={photos}", *overrides), RunFolder(folder)
    looked = look(made)
    built = network(looked.experiment)
    return Trainer(looked.experiment, built, make_callbacks(made, run), Noted(), FolderStore(run), looked.fingerprint)


def trained(photos: Path, folder: Path, *overrides: str) -> Any:
    """The same, after its run."""
    trainer = prepared(photos, folder, *overrides)
    trainer.train()
    return trainer

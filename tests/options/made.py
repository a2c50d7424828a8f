"""What tests of options are made with: parts from their YAML, settings as composed, and a tiny training."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import yaml

import framework.parts  # noqa: F401 - registers the shipped parts
from framework.config.checks import read_settings
from framework.config.compose import compose
from framework.config.folders import conf_folder
from framework.config.job import Job
from framework.config.settings import Settings
from framework.core import registry
from framework.core.task import Task

CLASSES = ("blue", "green", "red")
TASKS = {
    "one_hot": Task("multiclass", CLASSES, "one_hot"),
    "index": Task("multiclass", CLASSES, "index"),
    "binary": Task("binary", ("not red", "red"), "binary"),
    "multi_hot": Task("multilabel", CLASSES, "multi_hot"),
}
# a network of one small block without batch statistics, frozen weights that need no file, and plain steps
SMALL = (
    "data=image_folder",
    "optim=sgd",
    "model.filters=[2]",
    "model.normalization=none",
    "model.image_size=8",
    "trainer.epochs=1",
    "trainer.batch_size=8",
    "trainer.deterministic=false",
)


@functools.cache
def node(file: str) -> dict[str, Any]:
    """What a file of ``conf/`` holds."""
    return yaml.safe_load((conf_folder() / file).read_text(encoding="utf-8"))


def chosen(group: str, option: str) -> list[dict[str, Any]]:
    """The nodes of an option's file that each name a part: one, or those of a group by name, in order."""
    content = {key: value for key, value in node(f"{group}/{option}.yaml").items() if key != "defaults"}
    return [content] if "name" in content else list(content.values())


def built(kind: str, group: str, option: str, *supplied: Any, **changed: Any) -> Any:
    """The one part that an option names, with these of its keys changed."""
    (found,) = chosen(group, option)
    parameters = {**found, **changed}
    part = registry.get(kind, parameters.pop("name"))
    return part(*supplied, **{key: value for key, value in parameters.items() if key in part.parameters})


@functools.cache
def settings(*overrides: str) -> Settings:
    """The settings of a run with these overrides, as they are composed and checked."""
    found, problems = read_settings(compose(overrides).config)
    assert not problems
    assert found is not None
    return found


def prepared(photos: Path, folder: Path, *overrides: str) -> Any:
    """A tiny training of three classes that is ready to run, as ``framework.training.fit.Fit``."""
    from framework.training.run import Run

    made = settings(*SMALL, f"data.dir={photos}", *overrides)
    return Run(Job(made, "", folder, overrides)).prepare()


def trained(photos: Path, folder: Path, *overrides: str) -> Any:
    """The same, after its run."""
    fit = prepared(photos, folder, *overrides)
    fit.run()
    return fit

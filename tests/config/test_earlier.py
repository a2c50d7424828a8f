"""Run folders that earlier versions wrote."""

from __future__ import annotations

import yaml
from omegaconf import OmegaConf

import framework.parts  # noqa: F401 - registers the shipped parts
from framework.cli.compose import compose
from framework.config.earlier import DATA, STAGE, as_now
from framework.core.runs import RunFolder
from framework.runs import resume
from framework.runs.job import Job
from tests.conftest import bash
from tests.options.made import settings


def before_there_were_tasks(folder):
    """A run folder whose config says of no task, teacher or aspect of an image, and the same config as it is composed now."""
    composed = OmegaConf.to_container(compose([]).node, resolve=True)
    run = RunFolder(folder)
    run.write_run({"status": "finished", "task": "multiclass", "classes": ["a", "b"]})
    old = {key: value for key, value in composed.items() if key not in ("task", "distill")}
    old["data"] = {key: value for key, value in old["data"].items() if key not in DATA}
    old["stage"] = {key: value for key, value in old["stage"].items() if key not in STAGE}
    run.config.write_text(yaml.safe_dump(old))
    return run, yaml.safe_dump(composed)


def test_a_run_of_before_there_were_tasks_is_the_same_run(tmp_path):
    run, config = before_there_were_tasks(tmp_path)
    assert as_now(run.read_config())["task"] == {"name": "auto", "monitor": "val_accuracy"}
    assert as_now(as_now(run.read_config())) == as_now(run.read_config())
    assert resume.changes(Job(settings(), config, tmp_path, ())) == {}


def test_it_is_trained_anew_also_with_what_follows_the_task(tmp_path):
    before_there_were_tasks(tmp_path)
    checked = bash("python -m framework.check from=. head=mlp 'callbacks=[default,csv]'", tmp_path)
    assert checked.returncode == 0, checked.stderr

"""Every YAML in conf/ and recipes/ composes and checks, and none is forgotten: they are counted."""

import pytest

import framework.parts  # noqa: F401 - registers the shipped parts
from framework.cli.compose import compose, groups
from framework.config.checks import read_settings
from framework.config.documents import read_option
from framework.config.folders import conf_folder
from framework.core import registry

# What an option leaves to whoever chooses it.
GIVEN = {
    "data=image_folder": ["data.dir=photos"],
    "data=csv": ["data.file=labels.csv"],
    "data=parquet": ["data.files=data"],
    "data=features": ["data.files=data"],
    "data=webdataset": ["data.files=data"],
    "data=tfrecord": ["data.files=data"],
    "data=tfds": ["data.dataset=beans"],
    "data=label_studio": ["data.export=export.json"],
    "stages=finetune": ["stages.finetune.train=last:2"],
    **{f"search/pruner={name}": ["search=tpe"] for name in groups()["search/pruner"]},
}
OPTIONS = [(group, option) for group, options in groups().items() for option in options]
RECIPES = sorted(file for file in (conf_folder().parent / "recipes").glob("*/*.yaml"))
GROUP_OF_KIND = {
    "task": "task",
    "base": "model",
    "pooling": "pooling",
    "head": "head",
    "optimizer": "optim",
    "schedule": "optim/schedule",
    "loss": "loss",
    "metric": "metrics",
    "callback": "callbacks",
    "augmentation": "augment",
    "source": "data",
    "sampler": "search",
    "pruner": "search/pruner",
}


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=lambda value: value)
def test_an_option_composes_and_checks(group, option):
    chosen = f"{group}={option}" if group not in ("callbacks", "metrics") else f"{group}=[{option}]"
    settings, problems = read_settings(compose([chosen, *GIVEN.get(f"{group}={option}", [])]).config)
    assert problems == []
    assert settings is not None


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_a_recipe_composes_and_checks(file):
    name = file.parent.name if file.stem == "recipe" else file.stem
    with registry.isolated():
        from framework.cli.command import check_one

        settings, problems = check_one([f"recipe={name}", "data=image_folder", "data.dir=photos"], lambda _: [])
    assert problems == []
    assert settings is not None


def test_none_is_forgotten():
    files = [file for file in conf_folder().rglob("*.yaml") if file.name != "train.yaml"]
    # what several options have in common is no option, and composes with each of them
    assert len(OPTIONS) == len([file for file in files if not file.name.startswith("_")])
    assert len(OPTIONS) >= 100
    assert len(RECIPES) >= 6


def test_every_part_has_an_option_that_names_it():
    for kind, group in GROUP_OF_KIND.items():
        named = set()
        for option in groups()[group]:
            content = read_option(conf_folder() / group / f"{option}.yaml").content
            nodes = content.values() if group in ("metrics", "callbacks", "augment") else [content]
            named |= {node["name"] for node in nodes if isinstance(node, dict) and "name" in node}
        assert set(registry.names(kind)) == named, kind


@pytest.mark.parametrize("file", sorted(conf_folder().rglob("*.yaml")), ids=lambda file: file.stem)
def test_every_option_says_what_it_is(file):
    first = file.read_text().splitlines()[0]
    assert first.startswith("# ")
    assert first.count(".") <= 2

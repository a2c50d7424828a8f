"""What somebody else wrote is data: no variable of the environment is filled in, no code named in it runs."""

from __future__ import annotations

import json

import pytest
import yaml

from framework import check, evaluate, train
from framework.config.data_only import config_of_run, faults, overrides_of_run
from framework.config.documents import read
from framework.core.errors import BadInput
from tests.conftest import write
from tests.reports import made

SECRET = "s3cret"


@pytest.fixture
def run(here, monkeypatch):
    """A run folder, and a secret in the environment; changes its config or its record."""
    monkeypatch.setenv("SECRET", SECRET)
    folder = made.make_answered(here / "run", [1, 0, 1]).path

    def change(config=(), record=()):
        file = folder / "config.yaml"
        file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **dict(config)}))
        said = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps({**said, **dict(record)}))
        return folder

    return change


def refused(capsys, command, *words) -> str:
    assert command.main(list(words)) == 2
    said = capsys.readouterr().err
    assert SECRET not in said
    return said


@pytest.mark.parametrize(
    "text", ["${oc.env:SECRET}", "/x/${oc.env:SECRET}/y", "$SECRET/x", "${SECRET}", "${model.name}"]
)
def test_a_run_s_config_fills_nothing_in(run, capsys, text):
    run(config={"data": {"name": "image_folder", "dir": text, "validation": 0.2, "test": 0.0}})
    assert "data.dir is" in refused(capsys, check, "from=run")
    with pytest.raises(BadInput, match=r"data\.dir is (an interpolation|a variable)"):
        config_of_run({"data": {"dir": text}}, "config.yaml")


@pytest.mark.parametrize(
    "node",
    [
        {"hydra": {"callbacks": {"evil": {"_target_": "os.system", "command": "touch ran"}}}},
        {"hydra": {"job_logging": {"handlers": {"evil": {"()": "os.system"}}}}},
        {"defaults": ["_self_", {"/head@hydra.callbacks.evil": "dense"}]},
        {"model": {"name": "cnn", "evil": {"_target_": "os.system", "command": "touch ran"}}},
    ],
)
def test_a_run_s_config_names_no_code(run, here, capsys, node):
    run(config=node)
    assert "which no run writes" in refused(capsys, train, "from=run", "hydra.run.dir=new")
    assert not (here / "ran").exists()


@pytest.mark.parametrize(
    "line",
    [
        "+hydra.callbacks.evil={_target_:os.system,command:'touch ran'}",
        "hydra/launcher=joblib",
        "recipes=shelf",
        "from=other",
        "data.dir=${oc.env:SECRET}",
    ],
)
def test_a_run_is_not_begun_with_what_no_run_records(run, here, capsys, line):
    write(here, {"shelf/evil/recipe.yaml": "# Evil.\n", "shelf/evil/parts.py": "open('ran', 'w')\n"})
    run(record={"overrides": ["optim.lr=0.01", line], "status": "stopped"})
    assert "which no run records" in refused(capsys, train, "resume=run")
    assert not (here / "ran").exists()


@pytest.mark.parametrize("overrides", [None, 3, "x", [1], {}])
def test_overrides_that_are_none_are_told(run, capsys, overrides):
    run(record={"overrides": overrides})
    assert "names no overrides" in refused(capsys, train, "resume=run")


def test_where_a_run_went_is_no_part_of_what_it_was_begun_with():
    assert overrides_of_run(["hydra.run.dir=x", "a.b=${c.d}", "e=1"], "run.json") == ["a.b=${c.d}", "e=1"]


RECIPES = {
    "hydra:\n  callbacks:\n    evil: {_target_: os.system, command: touch ran}\n": "hydra.callbacks is set",
    "hydra:\n  job:\n    env_set: {A: b}\n": "hydra.job is set",
    "data:\n  dir: ${oc.env:SECRET}\n": "data.dir is an interpolation",
    "data:\n  dir: /x/${oc.decode:${oc.env:SECRET}}\n": "data.dir is an interpolation",
    "optim:\n  lr: ${oc.${nowhere}:SECRET}\n": "optim.lr is an interpolation",
    "optim:\n  evil: {_target_: os.system}\n": "optim.evil._target_ is the name of code",
}


@pytest.mark.parametrize("text", RECIPES)
def test_a_recipe_is_data(here, capsys, monkeypatch, text):
    monkeypatch.setenv("SECRET", SECRET)
    write(here, {"recipes/evil/recipe.yaml": f"# Evil.\n{text}"})
    said = refused(capsys, check, "recipe=evil")
    assert RECIPES[text] in said
    assert "recipes/evil/recipe.yaml:" in said
    assert not (here / "ran").exists()


def test_so_is_an_option_of_its_own(here, capsys):
    option = "# Mine.\ndefaults:\n  - dense\n  - /head@hydra.callbacks.evil: dense\n  - _self_\n"
    write(here, {"recipes/evil/recipe.yaml": "# Evil.\n", "recipes/evil/conf/head/mine.yaml": option})
    assert "an option for Hydra's node" in refused(capsys, check, "recipe=evil", "head=mine")


def test_a_recipe_may_repeat_a_key_and_say_where_runs_go(here):
    text = """
        # Mine.
        model:
          image_size: 64
        data:
          image_size: ${model.image_size}
        hydra:
          run:
            dir: mine/${now:%Y}/${model.image_size}
    """
    write(here, {"recipe.yaml": text})
    assert list(faults(read(here / "recipe.yaml"))) == []


def test_evaluate_does_not_fill_in_where_its_data_lie(run, capsys):
    from benchmarks.hostile.networks import CLASSES, keras_file

    data = {**_DATA, "dir": "/x/$SECRET"}
    folder = run(config={"data": data, "loss": {"name": "auto"}}, record={"classes": CLASSES})
    keras_file(folder / "model.keras")
    assert "a variable of the environment" in refused(capsys, evaluate, "run=run")


_DATA = {
    "name": "image_folder", "validation": 0.25, "test": 0.0, "image_size": 4, "seed": 1, "memory_limit": 10, "on_error": "stop",
    "classes": None, "positive": None, "limit": None, "class_weights": None,
}  # fmt: skip

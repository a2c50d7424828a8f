"""Recipes: found in every place, composed in order, and harmless to others when they are broken."""

import os
import subprocess
import sys

import pytest

import framework.parts  # noqa: F401 - registers the shipped parts
from framework.cli.command import check
from framework.cli.compose import compose
from framework.cli.primary import take_primary_config
from framework.config import folders
from framework.config.recipe_parts import load_parts
from framework.config.recipes import catalogue, find
from framework.core import registry
from framework.core.errors import BadInput
from tests.conftest import write

pytestmark = pytest.mark.usefixtures("here")

PARTS = '''
from framework.core.backend import keras
from framework.core.registry import head
from framework.core.schema import Positive


@head("{name}")
def build(vectors, task, *, scale: Positive):
    """Scaled logits."""
    return keras.layers.Rescaling(scale)(keras.layers.Dense(task.units)(vectors))
'''


def with_part(folder, name="scaled", option="scaled"):
    return write(
        folder,
        {
            "recipe.yaml": f"# A head of one's own.\ndefaults:\n  - override /head: {option}\n",
            f"conf/head/{option}.yaml": f"# Scaled.\nname: {name}\nscale: 2.0\n",
            "parts.py": PARTS.format(name=name),
        },
    )


def problems(*arguments):
    with pytest.raises(BadInput) as error:
        check(arguments, lambda settings: [])
    return [(problem.what, problem.where, problem.right) for problem in error.value.problems]


def test_recipes_are_found_here_in_the_variable_and_on_the_command_line(tmp_path, monkeypatch):
    write(tmp_path / "recipes" / "here", {"recipe.yaml": "# Here."})
    write(tmp_path / "named" / "there", {"recipe.yaml": "# There.", "second.yaml": "# Another."})
    write(tmp_path / "given" / "far", {"recipe.yaml": "# Far."})
    write(tmp_path / "itself", {"recipe.yaml": "# The folder is the recipe."})
    monkeypatch.setenv("FRAMEWORK_RECIPES", str(tmp_path / "named"))
    assert take_primary_config(["recipes=given", f"recipes={tmp_path}/itself", "recipe=far"]) == ["recipe=far"]
    found = {name: one.shelf.origin for name, (one, *_) in catalogue().items()}
    assert found.pop("clothing_v1") == "shipped"
    assert {name: found[name] for name in ("here", "there", "second", "far", "itself")} == {
        "here": "./recipes",
        "there": "FRAMEWORK_RECIPES",
        "second": "FRAMEWORK_RECIPES",
        "far": "FRAMEWORK_RECIPES",
        "itself": "FRAMEWORK_RECIPES",
    }


def test_a_folder_of_recipes_that_is_not_there_is_said(tmp_path, monkeypatch):
    with pytest.raises(BadInput, match="there is no folder 'nowhere' of recipes"):
        take_primary_config(["recipes=nowhere"])
    monkeypatch.setenv("FRAMEWORK_RECIPES", str(tmp_path / "gone"))
    with pytest.raises(BadInput, match="gone, named by FRAMEWORK_RECIPES, is not there"):
        find("birds")


def test_installed_packages_offer_recipes_by_an_entry_point(tmp_path, monkeypatch):
    site = tmp_path / "site"
    files = {"__init__.py": "raise RuntimeError('never imported')", "birds/recipe.yaml": "# Birds."}
    write(site / "acme_recipes", files)
    entry = "[framework.recipes]\nacme = acme_recipes\n"
    write(site / "acme-1.0.dist-info", {"METADATA": "Name: acme\nVersion: 1.0\n", "entry_points.txt": entry})
    monkeypatch.syspath_prepend(str(site))
    assert find("birds").shelf.origin == "package acme_recipes"


def test_options_and_parts_of_a_recipe_are_there_when_it_is_chosen_and_only_then(tmp_path):
    with_part(tmp_path / "recipes" / "mine")
    assert problems("head=scaled")[0][0] == "there is no head 'scaled'"
    assert "scaled" not in registry.names("head")
    (settings,) = check(["recipe=mine", "head.scale=3.0"], lambda settings: [])
    assert settings.head.name == "scaled"
    assert settings.head.parameters == {"scale": 3.0}
    assert problems("recipe=mine", "head.scal=1.0")[0][2] == "scale (one of: scale)"
    assert compose(["recipe=mine"]).origins.of("head.scale") == "recipes/mine/conf/head/scaled.yaml:3"


def test_a_recipe_builds_on_another_and_the_command_line_beats_both(tmp_path):
    with_part(tmp_path / "recipes" / "mine")
    below = "defaults:\n  - override /head: scaled\ntrainer: {epochs: 3}\n"
    write(tmp_path / "recipes" / "mine", {"recipe.yaml": below})
    on_top = "defaults:\n  - mine\n  - override /model: mobilenet\noptim:\n  lr: 1e-2\ntrainer:\n  batch_size: 8\n"
    write(tmp_path / "recipes" / "theirs", {"recipe.yaml": on_top})
    config = compose(["optim=sgd", "recipe=theirs", "trainer.batch_size=4"]).config
    assert (config["head"]["name"], config["model"]["name"], config["optim"]["name"]) == ("scaled", "mobilenet", "sgd")
    assert (config["optim"]["lr"], config["trainer"]["epochs"], config["trainer"]["batch_size"]) == (0.01, 3, 4)
    assert config["recipe"] == "theirs"
    assert compose(["recipe=theirs", "model=cnn"]).config["model"]["name"] == "cnn"


def test_a_sweep_over_recipes_has_each_ones_own(tmp_path):
    with_part(tmp_path / "recipes" / "a", "one", "one")
    with_part(tmp_path / "recipes" / "b", "two", "two")
    assert [settings.head.name for settings in check(["recipe=a,b"], lambda settings: [])] == ["one", "two"]


def test_two_recipes_of_one_name_can_not_be_chosen_and_the_others_can(tmp_path, monkeypatch):
    write(tmp_path / "recipes" / "birds", {"recipe.yaml": ""})
    write(tmp_path / "more" / "birds", {"recipe.yaml": "", "fish.yaml": "trainer: {epochs: 2}"})
    monkeypatch.setenv("FRAMEWORK_RECIPES", str(tmp_path / "more"))
    files = f"{folders.shown(tmp_path / 'recipes/birds/recipe.yaml')} and more/birds/recipe.yaml"
    assert problems("recipe=birds") == [("2 recipes are called 'birds'", files, "rename one")]
    assert compose(["recipe=fish"]).config["trainer"]["epochs"] == 2
    assert compose([]).config["trainer"]["epochs"] == 10


def test_an_option_or_part_that_is_there_already_is_refused_naming_both_files(tmp_path):
    with_part(tmp_path / "recipes" / "dense_again", "scaled", "dense")
    ((what, where, _),) = problems("recipe=dense_again")
    assert what == "recipe 'dense_again': two options are called head=dense"
    assert where == "conf/head/dense.yaml and recipes/dense_again/conf/head/dense.yaml"
    with_part(tmp_path / "recipes" / "taken", "dense", "other")
    ((what, where, right),) = problems("recipe=taken")
    assert what == "head 'dense' is registered twice"
    assert where.startswith(f"{tmp_path}/recipes/taken/parts.py:")
    assert "parts/heads.py:" in right
    with_part(tmp_path / "recipes" / "a", "one", "same")
    with_part(tmp_path / "recipes" / "b", "two", "same")
    ((what, where, _),) = problems("recipe=a,b")
    assert where == "recipes/a/conf/head/same.yaml and recipes/b/conf/head/same.yaml"
    assert check(["recipe=a"], lambda settings: [])


BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{later}: &{later} [{', '.join(['*' + earlier] * 10)}]\n"
    for earlier, later in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("content", "what", "where"),
    [
        (BOMB, "recipe 'bad': more than 10,000 values", ":4"),
        ("a: &a\n  b: *a\n", "recipe 'bad': a value that contains itself", ":1"),
        ("[" * 5000, "recipe 'bad': nested too deeply", ""),
        ("x: " + "y" * 200_000, "recipe 'bad': larger than a config can be", ""),
        ("optim: {lr: [}\n", "recipe 'bad': no valid YAML", ":1"),
        ("optim: {}\noptim: {}\n", "recipe 'bad': no valid YAML: found duplicate key optim", ":2"),
        ("- a\n- b\n", "recipe 'bad': no mapping of keys to values", ""),
        ("!!python/object/apply:os.system ['touch harm']\n", "recipe 'bad': no valid YAML", ":1"),
        ("defaults: mine\n", "recipe 'bad': defaults is no list", ":1"),
        ("defaults:\n  - bad\n", "recipes that build on each other: bad → bad", ""),
        ("defaults:\n  - good\n  - nothing\n", "there is no recipe 'nothing'", ":1"),
        ("defaults:\n  - override /modl: cnn\n", "recipe 'bad': there is no group 'modl'", ":1"),
        ("defaults:\n  - override /model: mobilnet\n", "recipe 'bad': there is no model 'mobilnet'", ":1"),
        ("defaults:\n  - model: cnn\n", "recipe 'bad': 'model' chooses nothing", ":1"),
        ("recipe: other\n", "recipe 'bad' sets the key 'recipe'", ":1"),
    ],
)
def test_a_broken_recipe_file_gives_one_message_and_harms_no_other(tmp_path, content, what, where):
    write(tmp_path / "recipes" / "bad", {"recipe.yaml": content})
    write(tmp_path / "recipes" / "good", {"recipe.yaml": "trainer: {epochs: 2}"})
    ((said, place, _),) = problems("recipe=bad")
    assert said.startswith(what)
    assert place.endswith(f"recipes/bad/recipe.yaml{where}")
    assert compose(["recipe=good"]).config["trainer"]["epochs"] == 2
    assert not (tmp_path / "harm").exists()


def test_what_is_not_utf_8_is_named_with_its_line(tmp_path):
    write(tmp_path / "recipes" / "bad", {"recipe.yaml": "x: 1\n"})
    (tmp_path / "recipes" / "bad" / "recipe.yaml").write_bytes(b"# fine\nname: \xff\xfe\n")
    assert problems("recipe=bad") == [("recipe 'bad': not in UTF-8", "recipes/bad/recipe.yaml:2", "save it as UTF-8")]


@pytest.mark.parametrize(
    ("code", "what", "line"),
    [
        ("x = 1\nraise RuntimeError('boom')\n", "RuntimeError: boom", 2),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3", 2),
        ("def broken(:\n", "SyntaxError: ", 1),
        ("import no_such_package\n", "ModuleNotFoundError: No module named 'no_such_package'", 1),
        ("from .helper import x\n", "ZeroDivisionError: division by zero", 2),
    ],
)
def test_a_parts_file_that_raises_gives_one_message_and_registers_nothing(tmp_path, code, what, line):
    before = registry.names("head")
    folder = with_part(tmp_path / "recipes" / "bad")
    (folder / "parts.py").write_text(code)
    (folder / "helper.py").write_text("\nx = 1 / 0\n")
    ((said, where, _),) = problems("recipe=bad")
    assert said.startswith(f"recipe 'bad': recipes/bad/parts.py can't be run: {what}")
    assert where.endswith(f"{'helper' if 'helper' in code else 'parts'}.py:{line}")
    assert registry.names("head") == before
    assert compose([]).config["head"]["name"] == "dense"


def test_parts_registered_before_a_parts_file_raises_are_forgotten(tmp_path):
    folder = with_part(tmp_path / "recipes" / "bad")
    (folder / "parts.py").write_text(PARTS.format(name="half") + "\nraise ValueError('late')\n")
    assert "ValueError: late" in problems("recipe=bad")[0][0]
    assert "half" not in registry.names("head")


def test_parts_run_only_when_their_recipe_is_chosen(tmp_path):
    for name in ("first", "second"):
        write(
            tmp_path / "recipes" / name,
            {"recipe.yaml": "", "parts.py": f"from pathlib import Path\nPath('{name}-ran').touch()\n"},
        )
    catalogue()
    compose(["recipe=first"])
    assert (tmp_path / "first-ran").exists()
    assert not (tmp_path / "second-ran").exists()


@pytest.mark.parametrize("name", ["my.birds", "my birds", "-birds", "bïrds"])
def test_names_that_can_not_be_typed_safely_are_refused(tmp_path, name):
    write(tmp_path / "recipes" / name, {"recipe.yaml": ""})
    with pytest.raises(BadInput, match="can't be a recipe's name"):
        find(name)


@pytest.mark.parametrize("name", ["../outside", "a/b", "..", "/etc/passwd"])
def test_paths_are_no_names(tmp_path, name):
    write(tmp_path / "outside", {"recipe.yaml": ""})
    assert f"there is no recipe '{name}'" in problems(f"recipe='{name}'")[0][0]


def test_links_that_lead_out_of_the_folder_are_refused(tmp_path):
    outside = with_part(tmp_path / "outside")
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    (recipes / "whole").symlink_to(outside)
    write(recipes / "file", {"README.md": ""})
    (recipes / "file" / "recipe.yaml").symlink_to(outside / "recipe.yaml")
    write(recipes / "part", {"recipe.yaml": ""})
    (recipes / "part" / "parts.py").symlink_to(outside / "parts.py")
    write(recipes / "option", {"recipe.yaml": "", "conf/head/README": ""})
    (recipes / "option" / "conf" / "head" / "scaled.yaml").symlink_to(outside / "conf/head/scaled.yaml")
    for name in ("whole", "file", "part", "option"):
        ((what, where, _),) = problems(f"recipe={name}")
        assert "a link that leads out of its folder" in what
        assert where.startswith(f"recipes/{name}")


def test_an_option_of_an_unknown_group_is_named_with_the_nearest(tmp_path):
    write(tmp_path / "recipes" / "bad", {"recipe.yaml": "", "conf/heads/x.yaml": "name: dense"})
    ((what, where, right),) = problems("recipe=bad")
    assert (what, where) == ("recipe 'bad': there is no group 'heads'", "recipes/bad/conf/heads/x.yaml")
    assert right.startswith("conf/head ")


def test_a_run_has_one_recipe(tmp_path):
    write(tmp_path / "recipes" / "a", {"recipe.yaml": ""})
    assert problems("recipe=[a,clothing_v1]")[0][0] == "a run has one recipe"


def test_modules_of_one_folder_are_not_those_of_another_of_its_name(tmp_path, monkeypatch):
    for place, name in (("recipes", "one"), ("more", "two")):
        folder = with_part(tmp_path / place / "same", name, name)
        (folder / "recipe.yaml").rename(folder / f"{name}.yaml")
        (folder / "words.py").write_text(f"WORD = '{name}'\n")
        code = f"from .words import WORD\n{PARTS.format(name=name)}\nassert WORD == '{name}'\n"
        (folder / "parts.py").write_text(code)
    monkeypatch.setenv("FRAMEWORK_RECIPES", str(tmp_path / "more"))
    load_parts([find("one"), find("two")])
    assert {"one", "two"} <= set(registry.names("head"))


def test_checking_a_recipe_with_parts_never_loads_tensorflow(tmp_path):
    with_part(tmp_path / "recipes" / "mine")
    code = (
        "import sys; from framework.check import main; assert main(['recipe=mine']) == 0;"
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={**os.environ}).returncode == 0

"""What is typed in a shell: texts of any kind reach their keys, and what can be meant either way is asked about."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

import framework.parts  # noqa: F401 - registers the shipped parts
from framework.cli.compose import IncompleteConfig, compose, normalise, variants
from framework.cli.typed import either
from framework.config.checks import NAMED, PLAIN, SINGLE, read_settings
from framework.config.folders import groups
from framework.config.kinds import kinds
from framework.core import registry, schema
from tests.conftest import bash, make_images

TEMPLATE = "callbacks.checkpoint.filename"


def value(key: str, *arguments: str):
    node = compose(arguments).config
    for name in key.split("."):
        node = node[name]
    return node


@pytest.mark.parametrize(
    "text",
    [
        "xception_v1_{epoch:02d}_{val_accuracy:.3f}",
        "{epoch:02d}",
        "{val_loss:,.3f}",
        "/a=b",
        "x y.h5",
        "a(1) & b; c#d!",
        "a'b",
        'a"b',
        "größe/été",
        "[2024]",
        "{a:1}",
        "1",
        "1.10",
        "007",
        "true",
        "1e5",
        " ",
        " - ",
        ", ",
        ",",
        "",
        "a:b",
        "C:\\x",
        "back\\",
        "yes",
    ],
)
def test_a_text_is_taken_as_it_stands(text):
    assert value(TEMPLATE, f"{TEMPLATE}={text}") == text
    assert normalise(normalise([f"{TEMPLATE}={text}"])) == normalise([f"{TEMPLATE}={text}"])


def test_every_key_that_is_a_text_takes_every_text():
    texts = ["a_{epoch:02d}", "/a=b", "x (y).h5", "1", "a:b c", "né"]
    keys = [
        (group, name) for group, (kind, _) in SINGLE.items() for name in _names(kind, schema.fields(SINGLE[group][1]))
    ]
    keys += [(group, name) for group, record in PLAIN.items() for name in schema.fields(record)]
    keys += [(f"{group}.it", name) for group, kind in NAMED.items() for name in _names(kind, {})]
    found = 0
    for group, name in keys:
        taken = {member for kind in kinds(f"{group}.{name}") for member in schema.members(kind)}
        for text in texts:
            if str in taken and not taken & {int, float}:  # of a number or a text 1 is the number
                (argument,) = normalise([f"{group}.{name}={text}"])
                assert yaml_of(argument) == text, argument
                found += 1
    assert found >= 20 * len(texts)


def _names(kind: str, own: dict) -> set[str]:
    return {name for part in registry.parts(kind) for name in part.parameters} | set(own)


def yaml_of(argument: str):
    from framework.cli.typed import hydra_reads

    return hydra_reads(argument).value()


def test_what_the_grammar_reads_well_stays_as_it_is():
    for argument in (
        "data.dir='a b'",
        'data.dir="a b"',
        "data.dir=${oc.env:HOME}/x",
        "data.positive=null",
        "data.dir=a\\,b",
        "optim.lr=0.1,0.2",
        "data.classes=[a,b]",
        "head.hidden=[1,2]",
        "callbacks=[default,early_stopping]",
        "optim.lr=a=b",
    ):
        assert normalise([argument]) == [argument]


def test_lists_of_texts_and_names_of_classes_are_texts():
    assert value("data.classes", "data.classes=[ü,b (x),007,true]") == ["ü", "b (x)", "007", "true"]
    settings, problems = read_settings(
        compose(["data=image_folder", "data.dir=x", "data.positive=1", "data.class_weights={0:1,1:2.5}"]).config
    )
    assert not problems
    assert (settings.data.positive, settings.data.class_weights) == ("1", {"0": 1.0, "1": 2.5})


def test_an_unknown_key_is_told_as_such_whatever_its_value():
    _, problems = read_settings(compose(["callbacks.checkpoint.filenam=a_{epoch}"]).config)
    assert [problem.right.split()[0] for problem in problems] == ["filename"]


def test_commas_are_a_sweep_or_a_question():
    line = ["-m", f"{TEMPLATE}='a_{{epoch}}','b_{{epoch}}'"]
    assert [one[0] for one in variants(line[1:])] == [f"{TEMPLATE}='a_{{epoch}}'", f"{TEMPLATE}='b_{{epoch}}'"]
    assert [one[0] for one in variants(normalise(["model.weights=~/a.h5,~/b.h5"]))] == [
        "model.weights='~/a.h5'",
        "model.weights='~/b.h5'",
    ]
    for argument in ("data.dir=a,b", "data.dir=/a=b,c d", f"{TEMPLATE}=a_{{epoch}},b_{{epoch}}"):
        problem = either(*normalise([argument]))
        assert "can be one text, or several to try" in problem.what
    with pytest.raises(IncompleteConfig, match="one text, or several"):
        compose(["data.dir=/a=b,c d"])


@pytest.mark.slow
def test_the_course_s_line_trains_and_each_way_of_writing_a_comma_is_taken(tmp_path):
    make_images(tmp_path / "a,b", count=3)
    small = "data=image_folder model.filters=[4] data.image_size=16 trainer.epochs=1"
    asked = bash(f"python -m framework.check {small} data.dir=a,b", tmp_path)
    assert asked.returncode == 2
    assert "can be one text, or several to try" in asked.stderr
    one = asked.stderr.split("try:")[1].split(" for one text")[0].strip()
    assert bash(f"python -m framework.check {small} {one}", tmp_path).returncode == 0
    template = "xception_v1_{epoch:02d}_{val_accuracy:.3f}"
    line = (
        f"python -m framework.train {small} {one} callbacks.checkpoint.filename='{template}' hydra.run.dir=$PWD/'r=1'"
    )
    done = bash(line, tmp_path)
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "r=1" / "checkpoints").iterdir()
    assert file.name.startswith("xception_v1_01_0.")


@pytest.mark.slow
def test_home_and_variables_are_filled_in_for_every_path(tmp_path):
    make_images(tmp_path / "my photos", count=3)
    line = "python -m framework.check data=image_folder data.image_size=16 data.dir="
    for path in ("'~/my photos'", "'$HOME/my photos'", "'$PHOTOS'"):
        done = bash(line + path, HOME=str(tmp_path), PHOTOS=str(tmp_path / "my photos"))
        assert done.returncode == 0, done.stderr
    recipe = tmp_path / "shelf" / "mine"
    recipe.mkdir(parents=True)
    text = "defaults:\n  - override /data: image_folder\ndata: {dir: ~/my photos, image_size: 16}\n"
    (recipe / "recipe.yaml").write_text(text)
    done = bash("python -m framework.check recipe=mine recipes='$HOME/shelf'", HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr


def test_yaml_s_yes_and_no_are_told_how_to_write(tmp_path):
    file = tmp_path / "shelf" / "mine" / "recipe.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("defaults:\n  - override /data: image_folder\ndata:\n  dir: x\n  classes: [yes, no]\n")
    done = bash("python -m framework.check recipe=mine recipes=shelf", tmp_path)
    assert done.returncode == 2
    assert "data.classes=[true,false] is not a list" in done.stderr
    assert "mine/recipe.yaml:5" in done.stderr
    assert "YAML reads yes, no, on and off without them as true and false" in done.stderr


def test_every_option_that_is_a_path_says_so():
    paths = {"data.dir", "data.file", "model.weights", "cache.dir", "callbacks.mlflow.tracking_uri", "hydra.run.dir"}
    assert all(any(map(schema.is_path, kinds(key))) for key in paths)
    assert not any(map(schema.is_path, kinds("callbacks.checkpoint.filename")))
    assert all(kinds(group) == [] for group in groups())
    assert schema.whole_path("~/x") == os.path.join(Path.home(), "x")
    assert yaml.safe_load("dir: ~/x")["dir"] == "~/x"

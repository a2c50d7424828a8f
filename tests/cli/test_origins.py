"""Where values come from: every place in the order of merging, and what chose it."""

import pytest

import framework.parts  # noqa: F401 - registers the shipped parts
from framework.cli.compose import compose
from framework.config import documents
from framework.config.folders import conf_folder


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FRAMEWORK_RECIPES", "")


def places(key, *overrides):
    found = compose(overrides).origins.places[key]
    return [(place.where.rpartition(":")[0] if "yaml" in place.where else place.where, place.value) for place in found]


def test_all_places_of_a_value_are_known_the_last_one_wins(tmp_path):
    (tmp_path / "recipes" / "birds").mkdir(parents=True)
    text = "defaults:\n  - override /optim: sgd\noptim:\n  lr: 0.5\n"
    (tmp_path / "recipes" / "birds" / "recipe.yaml").write_text(text)
    assert places("optim.lr", "recipe=birds", "optim.lr=0.25") == [
        ("conf/optim/sgd.yaml", 0.01),
        ("recipes/birds/recipe.yaml", 0.5),
        ("command line: optim.lr=0.25", 0.25),
    ]
    chosen = [place.chosen for place in compose(["recipe=birds"]).origins.places["optim.lr"]]
    assert chosen == ["recipes/birds/recipe.yaml:1: override /optim: sgd", "command line: recipe=birds"]
    assert compose(["optim=nadam"]).origins.places["optim.lr"][0].chosen == "command line: optim=nadam"


def test_a_mapping_from_the_command_line_sets_each_of_its_keys():
    assert places("data.class_weights.shoes", "data.class_weights={shoes:2.0}") == [
        ("command line: data.class_weights={shoes:2.0}", 2.0)
    ]


def test_a_document_tells_lines_comments_and_purpose(tmp_path):
    file = tmp_path / "a.yaml"
    text = '# What it is.\nname: x\n# above\n# in two lines\nrate: 1e-3 # behind\nnode:\n  # inner\n  text: "a # b"\n'
    file.write_text(text)
    document = documents.read(file)
    assert document.purpose == documents.purpose(file) == "What it is."
    assert document.content == {"name": "x", "rate": 0.001, "node": {"text": "a # b"}}
    said = {path: (entry.line, entry.comment) for path, entry in document.keys.items()}
    assert said == {"name": (2, ""), "rate": (5, "behind"), "node": (6, ""), "node.text": (8, "inner")}


@pytest.mark.parametrize("file", sorted(conf_folder().rglob("*.yaml")), ids=lambda file: file.stem)
def test_every_shipped_file_has_its_purpose_in_the_first_line(file):
    document = documents.read(file)
    assert len(document.purpose) > 10
    assert document.purpose[0].isupper()
    assert document.purpose.endswith(".")

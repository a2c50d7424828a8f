"""The recipe command: new, list, check and copy; and the contract, held by every shipped recipe."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml

from framework import recipe, train
from framework.cli.primary import take_primary_config
from framework.config.recipes import catalogue
from framework.core.errors import BadInput
from framework.core.runs import RunFolder
from framework.data.manifest import read_manifest
from framework.recipe import faults
from framework.runs.contract import _make_manifest
from tests.conftest import write

pytestmark = pytest.mark.usefixtures("here")

SHIPPED = sorted(name for name, (one, *_) in catalogue().items() if one.shelf.origin == "shipped")


def ran(capsys, *arguments):
    code = recipe.main(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


def test_new_looks_at_the_photos_and_writes_a_recipe_that_checks(tmp_path, photos, capsys):
    code, out, err = ran(capsys, "new", "name=my-birds", f"data.dir={photos}")
    assert code == 0
    assert out.split() == [f"recipes/my-birds/{name}" for name in ("recipe.yaml", "README.md", "test_my_birds.py")]
    assert "3 classes: blue 8, green 8, red 8" in err
    config = yaml.safe_load((tmp_path / "recipes/my-birds/recipe.yaml").read_text())
    assert config["data"] == {"dir": str(photos), "image_size": 32}
    assert {"override /augment": "light"} in config["defaults"]
    readme = (tmp_path / "recipes/my-birds/README.md").read_text()
    assert "24 train, 12 validation" in readme
    assert "| red | 8 |" in readme


@pytest.mark.slow
def test_what_new_writes_passes_as_it_is(tmp_path, photos, capsys):
    assert recipe.main(["new", "name=birds", f"data.dir={photos}", "into=shelf"]) == 0
    test = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "shelf/birds/test_birds.py"]
    ended = subprocess.run(test, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout


def test_uneven_classes_are_weighted(tmp_path, photos, capsys):
    for file in sorted((photos / "train" / "red").iterdir())[2:]:
        file.unlink()
    assert recipe.main(["new", "name=birds", f"data.dir={photos}"]) == 0
    assert yaml.safe_load(Path("recipes/birds/recipe.yaml").read_text())["data"]["class_weights"] == "balanced"


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["new", "name=../evil", "data.dir=photos"], "'../evil' can't be a recipe's name"),
        (["new", "name=a.b", "data.dir=photos"], "'a.b' can't be a recipe's name"),
        (["new", "name=clothing_v1", "data.dir=photos"], "there is a recipe 'clothing_v1' already"),
        (["new", "name=birds", "data.dir=nowhere"], "nowhere"),
        (["new"], "name must be given"),
        (["chek", "all"], "there is nothing to do called 'chek'"),
        (["check"], "no recipe is named"),
        (["copy", "none_such", "name=b"], "there is no recipe 'none_such'"),
        (["copy", "name=b"], "the recipe to start from is not named"),
        ([], "nothing to do is named"),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(tmp_path, capsys, arguments, what):
    code, _, err = ran(capsys, *arguments)
    assert code == 2
    assert what in err
    assert not (tmp_path / "recipes").exists()


def test_list_tells_purpose_expected_score_and_place(tmp_path, capsys):
    write(tmp_path / "recipes", {"birds/recipe.yaml": "# Birds.\n# Expected: 0.9\n", "a.b/recipe.yaml": ""})
    code, out, _ = ran(capsys, "list")
    assert code == 0
    said = " ".join(out.split())
    assert "birds Birds. expected 0.9; ./recipes: recipes/birds/recipe.yaml" in said
    assert "a.b ! 'a.b' can't be a recipe's name: recipes/a.b/recipe.yaml" in said
    for name in SHIPPED:
        assert f"{name} " in out


def test_copy_brings_parts_and_options_along(tmp_path, capsys):
    assert ran(capsys, "copy", "attention", "name=mine")[0] == 0
    copied = sorted(str(path.relative_to(tmp_path)) for path in Path(tmp_path, "recipes").rglob("*") if path.is_file())
    names = ["conf/pooling/looks.yaml", "layers.py", "parts.py", "recipe.yaml"]
    assert copied == [f"recipes/mine/{name}" for name in names]


def fault_of(name):
    (problem,) = faults(name)
    return problem


PART = """
    from framework.core.backend import keras
    from framework.core.registry import pooling


    @pooling("own")
    def own(maps):
        "Own."
        {code}
    """


def with_pooling(tmp_path, code, layers="", head=""):
    files = {
        "recipe.yaml": "# Own.\ndefaults:\n  - override /pooling: own\nmodel: {filters: [4], image_size: 16}\n",
        "conf/pooling/own.yaml": "# Own.\nname: own\n",
        "parts.py": head + textwrap.dedent(PART).format(code=code),
        "layers.py": layers,
    }
    write(tmp_path / "recipes" / "own", files)


def test_every_fault_is_named_with_file_and_line(tmp_path):
    write(tmp_path / "recipes" / "bad", {"recipe.yaml": "# Bad.\noptim:\n  lrr: 1\ntrainer:\n  epochs: many\n"})
    found = {problem.where: problem.what for problem in faults("bad")}
    assert "optim.lrr" in found["recipes/bad/recipe.yaml:3"]
    assert "trainer.epochs" in next(what for where, what in found.items() if "trainer" in what)
    with_pooling(tmp_path, "return keras.layers.Dense(3)(maps")
    assert fault_of("own").where == "recipes/own/parts.py:9"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "line", "why", "right"),
    [
        ("import keras\n", 1, " by import keras", "from framework.core.backend import keras"),
        ("from .layers import X\n", 1, " by from .layers import X", "from .layers import X where a part is built"),
        (
            "from framework.core.backend import keras\n\n\ndef own_maps(\n    maps: keras.KerasTensor,\n): ...\n",
            5,
            ": the types of a function are looked up",
            "from __future__ import annotations",
        ),
        (
            "from framework.core.backend import keras\n\n\nclass Own(keras.layers.Layer):\n    x = 1\n",
            4,
            ": class Own is made",
            "the class in layers.py",
        ),
        (
            "from framework.core.backend import keras\n\nRELU = keras.activations.relu\n",
            3,
            "; every check",
            "read it where a part is built",
        ),
    ],
)
def test_what_loads_tensorflow_early_is_named_by_line_and_cause(tmp_path, head, line, why, right):
    with_pooling(tmp_path, "pass", "from framework.core.backend import keras\nX = keras.layers.Layer\n", head)
    code = "from framework.recipe import faults; (found,) = faults('own'); print(found)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"parts.py loads TensorFlow when it is read{why}" in said.stdout, said.stderr
    assert f"recipes/own/parts.py:{line}\n" in said.stdout
    assert f"try:    {right}" in said.stdout


def test_labels_and_columns_with_commas_are_written_as_a_csv_file_has_them(tmp_path):
    columns = {"path_column": "file, name", "label_column": "label", "split_column": "split", "separator": ";"}
    classes = ["Shirts, long", 'the "hat"', "pants"]
    file = _make_manifest(tmp_path, classes, columns, numbers=False)
    found = read_manifest(str(file), "file, name", "label", ";", "split")
    assert found.classes == tuple(sorted(classes))
    assert found.multilabel


@pytest.mark.slow
def test_faults_of_building_and_saving_are_found(tmp_path):
    with_pooling(tmp_path, "raise RuntimeError('no such thing')")
    problem = fault_of("own")
    assert "RuntimeError: no such thing" in problem.what
    assert problem.where == "recipes/own/parts.py:9"


FORGETFUL = """
from framework.core.backend import keras


@keras.saving.register_keras_serializable(package="forgetful")
class Forgetful(keras.layers.Layer):
    def __init__(self, factor=1.0, **options):
        super().__init__(**options)
        self.factor = factor

    def call(self, maps):
        return keras.ops.mean(maps, axis=(1, 2)) * self.factor

    def compute_output_shape(self, shape):
        return shape[0], shape[-1]

    def get_config(self):
        return {"name": self.name}
"""


@pytest.mark.slow
def test_a_layer_that_forgets_what_it_was_made_with_is_found(tmp_path):
    code = "from .layers import Forgetful; return Forgetful(3.0)(maps)"
    with_pooling(tmp_path, code, FORGETFUL)
    assert "the saved model, loaded again, predicts something else" in fault_of("own").what


def test_check_leaves_nothing_behind_and_goes_on_after_a_fault(tmp_path, capsys):
    write(tmp_path / "recipes", {"bad/recipe.yaml": "[", "worse/recipe.yaml": "trainer: {batch_size: many}"})
    code, out, _ = ran(capsys, "check", "bad", "worse")
    assert code == 2
    assert out.splitlines() == ["bad: 1 fault", "worse: 1 fault"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recipes"]


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_keeps_the_contract(name):
    assert faults(name) == []


@pytest.mark.slow
@pytest.mark.parametrize(("name", "column", "reached"), [("shoes", "val_auc", 0.8), ("attention", "val_accuracy", 0.3)])
def test_the_small_recipes_learn_on_generated_images(tmp_path, name, column, reached):
    small = ["data.train=480", "data.validation=160", "data.size=48", "data.image_size=32", "trainer.batch_size=16"]
    assert train.main([f"recipe={name}", *small, "trainer.epochs=6", "hydra.run.dir=run"]) == 0
    run = RunFolder(tmp_path / "run")
    assert max(row[column] for row in run.read_history()) >= reached
    assert run.read_run()["recipe"]["name"] == name
    code = """
        import sys
        import numpy as np
        from framework.model.saved import open_run

        trained = open_run("run")
        assert "tensorflow" not in sys.modules
        print(trained.load()(np.zeros((1, 32, 32, 3), "float32")).shape)
        """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, env={**os.environ}
    )
    assert ended.stdout.strip() in ("(1, 1)", "(1, 10)"), ended.stderr


@pytest.mark.slow
def test_a_saved_model_names_the_recipe_that_is_missing(tmp_path):
    from framework.model.saved import open_run

    assert recipe.main(["copy", "attention", "name=gone"]) == 0
    layers = Path("recipes/gone/layers.py")
    layers.write_text(layers.read_text().replace('package="attention"', 'package="gone"'))
    small = ["data.train=40", "data.validation=20", "data.size=32", "data.image_size=16", "trainer.epochs=1"]
    assert train.main(["recipe=gone", *small, "hydra.run.dir=run"]) == 0
    Path("recipes").rename("moved")
    assert open_run("run").missing[0].what.startswith(f"{tmp_path}/run needs recipe 'gone', which is missing")
    code = "from framework.model.saved import open_run; open_run('run').load()"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "needs recipe 'gone', which is missing: it was in" in ended.stderr
    moved = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "FRAMEWORK_RECIPES": str(tmp_path / "moved")},
        capture_output=True,
    )
    assert moved.returncode == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["recipe"]["folder"] == f"{tmp_path}/recipes/gone"
    with pytest.raises(BadInput, match="needs recipe 'gone'"):
        take_primary_config(["from=run"])

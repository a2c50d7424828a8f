"""Opening a trained classifier: which run is meant, what is refused, and what a foreign file becomes."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from framework.core.backend import keras
from framework.core.errors import BadInput
from framework.core.runs import RunFolder
from framework.model.chosen import find_run
from framework.model.saved import ModelOptions, inside, open_file, open_run, open_trained

CLASSES = ("blue", "green", "red")


def network(units=3, activation=None, size=16):
    images = keras.Input((size, size, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(images)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, keras.layers.Dense(units, activation=activation, name="logits")(x))


@pytest.fixture(scope="module")
def model_file(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("model") / "model.keras"
    network().save(file)
    return file


def make_run(path: Path, model_file: Path | None, **said) -> Path:
    run = RunFolder(path)
    run.write_run(
        {"status": "finished", "started": "2026-01-01", "classes": list(CLASSES), "task": "multiclass", **said}
    )
    if model_file:
        run.model.write_bytes(model_file.read_bytes())
    return path


def best(value: float, monitor: str = "val_accuracy") -> dict:
    return {"best": {"epoch": 1, "monitor": monitor, "metrics": {monitor: value}}}


def message(call, *arguments) -> str:
    with pytest.raises(BadInput) as error:
        call(*arguments)
    return str(error.value)


def test_a_run_brings_its_classes_and_size(tmp_path, model_file):
    trained = open_run(str(make_run(tmp_path / "run", model_file)))
    assert trained.task.classes == CLASSES
    assert trained.task.kind == "multiclass"
    assert trained.geometry.size == (16, 16)
    assert trained.folder == tmp_path / "run"
    assert trained.load()(np.zeros((2, 16, 16, 3), np.float32)).shape == (2, 3)


def test_a_sweep_folder_means_its_best_run(tmp_path, model_file):
    for number, value in enumerate((0.5, 0.9, 0.7)):
        make_run(tmp_path / "sweep" / str(number), model_file, **best(value))
    make_run(tmp_path / "sweep" / "3", None, **best(0.99))
    assert find_run(str(tmp_path / "sweep")).folder.path.name == "1"


def test_a_loss_is_best_where_it_is_smallest(tmp_path, model_file):
    for number, value in enumerate((0.5, 0.2, 0.7)):
        make_run(tmp_path / str(number), model_file, **best(value, "val_loss"))
    assert find_run(str(tmp_path)).folder.path.name == "1"


def test_latest_is_the_newest_with_a_model(tmp_path, model_file, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "no run with a model in runs/ or sweeps/" in message(find_run, "latest")
    make_run(tmp_path / "runs" / "a", model_file, started="2026-01-03")
    make_run(tmp_path / "sweeps" / "s" / "0", model_file, started="2026-01-05")
    make_run(tmp_path / "runs" / "z", None, started="2026-01-07", status="running")
    assert find_run("latest").folder.path == tmp_path / "sweeps" / "s" / "0"


def test_a_misspelt_run_is_answered_with_the_nearest(tmp_path, model_file):
    make_run(tmp_path / "clothing", model_file)
    assert f"try:    run={tmp_path / 'clothing'}" in message(open_run, str(tmp_path / "clohting"))
    assert "is a file" in message(open_run, str(tmp_path / "clothing" / "run.json"))
    assert open_run(str(tmp_path / "clothing" / "model.keras")).folder == tmp_path / "clothing"
    (tmp_path / "empty").mkdir()
    assert "run.json is missing" in message(open_run, str(tmp_path / "empty"))


def test_a_run_without_a_model_says_why(tmp_path):
    make_run(tmp_path / "run", None, status="failed", reason="the loss is not a number")
    assert "it is failed: the loss is not a number" in message(open_run, str(tmp_path / "run"))


def test_another_format_and_a_broken_run_json_say_so(tmp_path, model_file):
    run = make_run(tmp_path / "run", model_file)
    (run / "run.json").write_text(json.dumps({"format": 7}))
    assert "has format 7; this version reads format 1" in message(open_run, str(run))
    (run / "run.json").write_text(json.dumps({"format": 1, "classes": [1, 2], "task": "multiclass"}))
    assert "names no classes" in message(open_run, str(run))
    (run / "run.json").write_text("{")
    assert "can't be read" in message(open_run, str(run))


def test_no_file_of_a_run_lies_outside_it(tmp_path, model_file):
    run = make_run(tmp_path / "run", None)
    (run / "model.keras").symlink_to(model_file)
    assert "leads out of the folder" in message(open_run, str(run))
    (tmp_path / "elsewhere").mkdir()
    (run / "evaluation").symlink_to(tmp_path / "elsewhere")
    assert "leads out of the folder" in message(inside, run, "evaluation", "test")
    assert "leads out of the folder" in message(inside, run, "..", "other")
    assert inside(run, "history.csv") == run / "history.csv"


def test_a_run_brings_no_recipe_of_its_own(tmp_path, model_file):
    theirs = tmp_path / "run" / "recipes" / "evil"
    theirs.mkdir(parents=True)
    (theirs / "recipe.yaml").write_text("trainer:\n  epochs: 1\n")
    for name in ("parts.py", "layers.py"):
        (theirs / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    run = make_run(tmp_path / "run", model_file, recipe={"name": "evil", "folder": str(theirs)})
    trained = open_run(str(run))
    assert trained.load().output_shape == (None, 3)
    assert not (tmp_path / "ran").exists()
    assert "needs recipe 'evil', which is missing: it was in" in str(trained.missing[0])


def test_the_classes_must_fit_the_model(tmp_path, model_file):
    run = make_run(tmp_path / "run", model_file, classes=["a", "b"])
    assert "gives 3 numbers an image; 2 classes are named: a, b" in message(open_run, str(run))


def test_a_pickle_is_refused(tmp_path, model_file):
    run = make_run(tmp_path / "run", model_file)
    (run / "model.keras").write_bytes(pickle.dumps({"weights": [1, 2]}))
    assert "is a pickle: opening it would run what it holds" in message(open_run, str(run))
    (run / "model.keras").write_bytes(b"text")
    assert "is not a model file of Keras" in message(open_run, str(run))
    (run / "model.keras").write_bytes(model_file.read_bytes()[:500])
    assert "can't be read as a whole model" in message(open_run, str(run))


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_a_lambda_is_refused_before_keras_sees_it(tmp_path, ending):
    images = keras.Input((8, 8, 3))
    x = keras.layers.Lambda(lambda x: x * 2, name="evil")(images)
    file = tmp_path / f"model.{ending}"
    keras.Model(images, keras.layers.Dense(2)(keras.layers.Flatten()(x))).save(file)
    said = message(open_file, str(file), ["a", "b"])
    assert "has code in it (Lambda: evil)" in said
    assert "it is not opened" in said


def test_weights_alone_are_no_model(tmp_path):
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file.attrs["layer_names"] = ["conv"]
    assert "it holds weights only" in message(open_file, str(tmp_path / "weights.h5"), ["a", "b"])


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_a_foreign_softmax_becomes_logits(tmp_path, ending):
    model = network(activation="softmax")
    file = tmp_path / f"theirs.{ending}"
    model.save(file)
    trained = open_file(str(file), CLASSES)
    assert (trained.geometry.size, trained.task.kind, trained.folder) == ((16, 16), "multiclass", tmp_path / "theirs")
    images = np.random.default_rng(0).uniform(0, 255, (4, 16, 16, 3)).astype(np.float32)
    logits = np.asarray(trained.load()(images))
    assert not np.allclose(logits.sum(axis=1), 1)
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(exponents / exponents.sum(axis=1, keepdims=True), np.asarray(model(images)), atol=1e-6)


@pytest.mark.parametrize("functional", [True, False])
def test_a_foreign_model_gets_its_preprocessing_in_front(tmp_path, functional):
    model = network()
    if not functional:
        model = keras.Sequential([keras.Input((16, 16, 3)), *model.layers[1:]])
    model.save(tmp_path / "theirs.keras")
    trained = open_file(str(tmp_path / "theirs.keras"), CLASSES, preprocess="tf")
    images = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 3)).astype(np.float32)
    loaded = trained.load()
    assert "conv" in [layer.name for layer in loaded.layers]
    np.testing.assert_allclose(np.asarray(loaded(images)), np.asarray(model(images / 127.5 - 1)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("units", "activation", "classes", "kind", "names"),
    [
        (1, "sigmoid", ["hat"], "binary", ("not hat", "hat")),
        (1, None, ["no", "yes"], "binary", ("no", "yes")),
        (3, "sigmoid", list(CLASSES), "multilabel", CLASSES),
        (3, None, list(CLASSES), "multiclass", CLASSES),
    ],
)
def test_a_foreign_model_s_question_is_read_from_its_end(tmp_path, units, activation, classes, kind, names):
    network(units, activation).save(tmp_path / "m.keras")
    task = open_file(str(tmp_path / "m.keras"), classes).task
    assert (task.kind, task.classes) == (kind, names)


def test_what_a_foreign_model_needs_is_asked_for_at_once(tmp_path):
    network(size=None).save(tmp_path / "m.keras")
    said = message(open_trained, ModelOptions(model=str(tmp_path / "m.keras")))
    assert "classes must be given with model" in said
    assert "classes=[a,b], 3 names" in said
    assert "image_size must be given" in said
    assert open_file(str(tmp_path / "m.keras"), CLASSES, (20, 30)).geometry.size == (20, 30)
    assert "there is no file" in message(open_file, str(tmp_path / "n.keras"), CLASSES)


def test_options_that_contradict_each_other(tmp_path, model_file):
    assert "run must be given" in message(open_trained, ModelOptions())
    assert "both given" in message(open_trained, ModelOptions(run="latest", model="m.keras"))
    assert "classes belongs to a model from elsewhere" in message(open_trained, ModelOptions(run="x", classes=["a"]))


def test_opening_loads_no_tensorflow(tmp_path, model_file):
    run = make_run(tmp_path / "run", model_file)
    code = (
        "import sys; from framework.model.saved import open_run, open_file\n"
        f"open_run({str(run)!r}); open_file({str(model_file)!r}, list('abc'))\n"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

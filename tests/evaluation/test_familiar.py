"""Distances to what a run was trained on: what is kept for them, and what predict, evaluate and serve make of them."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

from framework.core.backend import keras
from framework.core.errors import BadInput
from framework.core.runs import RunFolder
from framework.data.manifest import read_manifest
from framework.evaluate import main as evaluate
from framework.evaluation import familiar as module
from framework.evaluation.familiar import NEIGHBOURS, familiar, vector_of, vectors_of
from framework.evaluation.rejection import asked
from framework.features.graph import frozen_prefix, split
from framework.features.key import fingerprint
from framework.model.saved import open_run
from framework.predict import main as predict
from framework.serving.classifier import Classifier, Upload
from framework.serving.limits import Limits
from framework.serving.metrics import Metrics
from tests.conftest import make_images
from tests.evaluation.common import CONF, answered, colour_network, make_run
from tests.options.made import prepared


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run on three colours with its photos, and a folder of others: yellow, which is between two of them."""
    folder = tmp_path_factory.mktemp("familiar")
    make_images(folder / "photos" / "train", count=8, seed=0)
    make_images(folder / "photos" / "validation", count=10, seed=1)
    rng = np.random.default_rng(2)
    (folder / "others").mkdir()
    for number in range(6):
        pixels = np.clip(np.array([210, 190, 40]) + rng.normal(0, 25, (40, 40, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "others" / f"{number}.png")
    run = answered(make_run(folder / "run", folder / "photos"))
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["trainer"] = yaml.safe_load((CONF / "train.yaml").read_text())["trainer"]
    config["cache"] = {"use": "auto", "dir": str(folder / "cache"), "dtype": "float32", "size_limit": 1}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def test_what_the_logits_are_made_of():
    model = colour_network()
    assert vector_of(model) is model.get_layer("pooling").output
    x = keras.layers.Dropout(0.5)(model.get_layer("pooling").output)
    cooled = keras.layers.Rescaling(0.5)(keras.layers.Dense(3)(x))
    assert vector_of(keras.Model(model.input, cooled)) is model.get_layer("pooling").output
    hidden = keras.layers.Dense(2)(model.get_layer("pooling").output)
    several = keras.layers.Average()([model.output, keras.layers.Dense(3)(hidden)])  # as ensembles are
    assert vector_of(keras.Model(model.input, several)).shape == (None, 3 + 2)
    with pytest.raises(BadInput, match="not made of vectors"):
        vector_of(keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten()]))


def test_features_of_a_frozen_base_are_those_that_its_training_keeps(photos, tmp_path):
    trainer = prepared(photos, tmp_path, "model.trainable=false", "head.dropout=0.5")
    stage = trainer.stages[0]
    flat = trainer.network.flat
    kept, _ = split(flat, frozen_prefix(flat, stage.trained, stage.inference), stage.inference)
    trainer.network.model.save(tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras")
    assert fingerprint(keras.Model(model.input, vector_of(model), name="prefix")) == fingerprint(kept)


def test_what_is_kept_serves_where_the_images_are_no_longer(made, tmp_path, monkeypatch, capsys):
    shutil.copytree(made / "run", tmp_path / "run")
    computed, features = [], module.features
    monkeypatch.setattr(module, "features", lambda *a, **k: computed.append(found := features(*a, **k)) or found)
    trained = open_run(str(tmp_path / "run"))
    found = familiar(trained)
    assert (found.vectors.shape, found.vectors.dtype) == ((24, 3), np.float16)
    assert np.linalg.norm(found.vectors.astype(float), axis=1) == pytest.approx(1, abs=1e-3)
    assert (found.logits.shape, found.distances.shape) == ((30, 3), (30,))
    assert found.logits == pytest.approx(RunFolder(tmp_path / "run").read_logits().logits, abs=1e-4)
    assert 0 < found.distances.max() < 0.02
    told = "features of 24 training images and distances of 30 validation images"
    assert f"kept in familiar.npz of the run folder: {told}" in capsys.readouterr().err
    # by hand: the cosine to the fifth nearest
    (file, *_) = sorted((made / "photos" / "validation").rglob("*.jpg"))
    vector = vectors_of(trained.load(), [str(file)], trained.geometry)[0]
    known = found.vectors.astype(np.float64)
    cosines = np.sort(known @ vector / np.linalg.norm(known, axis=1))
    assert found.distances[0] == pytest.approx(1 - cosines[-NEIGHBOURS], abs=1e-5)
    (tmp_path / "run" / "familiar.npz").write_bytes(b"none")
    assert np.array_equal(familiar(trained).distances, found.distances)
    assert [rows.computed for rows in computed] == [24, 0]
    config = (tmp_path / "run" / "config.yaml").read_text()
    (tmp_path / "run" / "config.yaml").write_text(config.replace(str(made / "photos"), "/nowhere"))
    assert np.array_equal(familiar(trained).distances, found.distances)
    colour_network(wrong=True).save(tmp_path / "run" / "model.keras")
    with pytest.raises(BadInput, match="need the run's training images once, and they can't be had") as error:
        familiar(open_run(str(tmp_path / "run")))
    assert "familiar.npz then stays in the run folder" in error.value.problems[0].right


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_the_least_known_come_first_and_are_called_unknown(made, capsys):
    given = [str(made / "others"), str(made / "photos" / "validation"), f"run={made / 'run'}", "format=csv"]
    assert predict([*given, "order=distance"]) == 0
    found = rows_of(capsys.readouterr().out)
    assert len(found) == 36
    # of the two classes that they are taken for each in turn
    first = [row for row in found if row["class"] == found[0]["class"]]
    assert "others" in first[0]["path"]
    for name in {row["class"] for row in found}:
        own = ["others" in row["path"] for row in found if row["class"] == name]
        assert own == sorted(own, reverse=True)
    assert predict([*given, "reject=0.05", "reject_by=distance"]) == 0
    out, err = capsys.readouterr()
    unknown = {row["path"] for row in rows_of(out) if row["class"] == "unknown"}
    assert {path for path in unknown if "others" in path} == {row["path"] for row in rows_of(out)[:6]}
    assert len(unknown) == 7  # and one of the thirty
    assert "unknown beyond a distance of" in err
    assert "so are 1 of 30 validation images" in err
    assert predict([*given, "reject=0.1", "reject_by=either"]) == 0
    out, err = capsys.readouterr()
    assert sum(row["class"] == "unknown" for row in rows_of(out)) == 6 + int(
        re.search(r"so are (\d) of 30", err).group(1)
    )
    assert predict([*given, "order=distance", "tta=flip"]) == 0
    assert "others" in rows_of(capsys.readouterr().out)[0]["path"]
    assert predict([*given, "reject_by=distance"]) == 2
    assert predict([*given, "sheet=a.png"]) == 2
    assert "sheet takes the images most worth a label" in capsys.readouterr().err


def test_of_a_budget_those_that_differ_with_a_sheet(made, tmp_path, capsys):
    many = tmp_path / "many"
    many.mkdir()
    for number in range(12):  # of each of the others as many copies
        shutil.copy(made / "others" / f"{number % 6}.png", many / f"{number}.png")
    file, sheet = tmp_path / "label.csv", tmp_path / "label.png"
    given = [str(many), f"run={made / 'run'}", "order=margin", "budget=4", f"output={file}", f"sheet={sheet}"]
    assert predict(given) == 0
    rows = rows_of(file.read_text())
    assert len({Image.open(row["path"]).tobytes() for row in rows}) == 4
    assert f"written: {sheet}" in capsys.readouterr().err
    with Image.open(sheet) as drawn:
        assert min(drawn.size) > 300
    assert {row["class"] for row in rows} == {"red"}
    file.write_text(file.read_text().replace(",red,", ",yellow,", 2))  # who looks at them puts classes right
    assert len(read_manifest(str(file), "path", "class", None, None).splits["train"]) == 4


def test_an_evaluation_tells_distance_and_either(made, tmp_path, capsys):
    given = [f"run={made / 'run'}", f"data.unknown={made / 'others'}", f"output={tmp_path / 'found'}"]
    assert evaluate(given) == 0
    found = json.loads((tmp_path / "found" / "metrics.json").read_text())["unknown"]
    assert found["distance"] == {"auroc": 1.0, "detected": {"0.01": 1.0, "0.02": 1.0, "0.05": 1.0}}
    assert found["either"]["auroc"] > 0.9
    assert "6, by distance: ROC area 1.0000" in capsys.readouterr().out


def test_serve_answers_unknown_by_distance(made):
    trained = open_run(str(made / "run"))
    far, unsure = asked(trained, 0.05, "distance")
    classifier = Classifier(trained, Limits(), Metrics(), 4, 0.001, unsure, far)
    classifier.load()
    files = [*sorted((made / "others").iterdir())[:2], next((made / "photos" / "train" / "red").iterdir())]
    uploads = [Upload(file.name, file.name, file.read_bytes()) for file in files]
    said = asyncio.run(classifier.predict(uploads, 3))
    classifier.close()
    assert [one.classes for one in said] == [("unknown",), ("unknown",), ("red",)]
    assert [len(one.top) for one in said] == [3, 3, 3]

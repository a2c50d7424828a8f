"""Test-time augmentation: the mean of what a network gives for an image seen several times."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from PIL import Image

from framework.config.settings import CacheSettings
from framework.core.backend import keras, tf
from framework.core.errors import BadInput
from framework.core.geometry import Geometry
from framework.core.task import Multiclass, Multilabel, Regression
from framework.data import fingerprint
from framework.evaluate import main as evaluate
from framework.evaluation.forward import forward, inference
from framework.evaluation.seeing import views
from framework.features.compute import features
from framework.predict import main as predict
from tests.evaluation.common import CLASSES, make_run

TASK = Multiclass(CLASSES)


@pytest.fixture(scope="module")
def lopsided():
    """A network that looks at the upper left quarter alone."""
    images = keras.Input((24, 24, 3))
    x = keras.layers.Cropping2D(((0, 12), (0, 12)))(keras.layers.Rescaling(1 / 64)(images))
    model = keras.Model(images, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x)))
    model.layers[-1].set_weights([np.eye(3, dtype=np.float32)[:, ::-1], np.zeros(3, np.float32)])
    return model


def test_mirrored_images_count_as_much_as_they_do_themselves(lopsided):
    images = np.random.default_rng(0).integers(0, 256, (5, 24, 24, 3), np.uint8)
    found = TASK.probabilities(inference(lopsided, views(TASK, "flip"))(images).numpy())
    once = [TASK.probabilities(inference(lopsided)(seen).numpy()) for seen in (images, images[:, :, ::-1])]
    np.testing.assert_allclose(found, (once[0] + once[1]) / 2, atol=1e-5)
    assert not np.allclose(found, once[0], atol=1e-3)


def test_crops_see_every_corner_and_the_middle(lopsided):
    # each corner pixel by itself is in one crop of five only, and mirrored in another
    seen = views(TASK, "crops")
    for row, column in ((0, 0), (0, 23), (23, 0), (23, 23)):
        images = np.zeros((1, 24, 24, 3), np.float32)
        images[0, row, column] = 255
        crops = [view.numpy() for view in seen.of(tf.constant(images))]
        assert len(crops) == 10
        assert sum(crop.max() > 0 for crop in crops) == 2
    plain = np.full((2, 24, 24, 3), (200, 30, 30), np.uint8)
    ten, once = (TASK.probabilities(inference(lopsided, how)(plain).numpy()) for how in (seen, None))
    np.testing.assert_allclose(ten, once, atol=1e-5)


def test_the_feature_pass_sees_images_so_and_keeps_that_by_itself(tmp_path, photos, lopsided):
    paths, geometry = sorted(map(str, photos.rglob("*.jpg"))), Geometry((24, 24))
    cache = CacheSettings(use="auto", dir=str(tmp_path / "kept"), dtype="float32", size_limit=1.0, compute="local")
    for kind in ("none", "flip", "crops"):
        seen = pickle.loads(pickle.dumps(views(TASK, kind)))  # as it goes to another machine
        rows = features(
            lopsided,
            paths,
            fingerprint.contents(paths),
            geometry=geometry,
            cache=cache,
            precision="float32",
            about={},
            seen=seen,
        )
        assert rows.computed == len(paths)
        alone = np.concatenate([found for _, found in forward(lopsided, paths, geometry, 32, [], seen)])
        np.testing.assert_allclose(rows.arrays(), alone, atol=1e-5)
    # other tasks take other means
    keys = [views(task(CLASSES), "flip").key for task in (Multiclass, Multilabel)]
    assert len({*keys, views(TASK, "crops").key}) == 3


def test_numbers_are_not_averaged_so():
    task = Regression(("age",), mean=(1.0,), deviation=(1.0,))
    assert views(task, "none") is None
    with pytest.raises(BadInput, match="this model gives numbers"):
        views(task, "flip")


def test_both_commands_see_images_so(tmp_path, photos, lopsided, capsys):
    for file in (photos / "validation").rglob(
        "*.jpg"
    ):  # what it looks at is another colour on the left than on the right
        with Image.open(file) as image:
            pixels = np.asarray(image).copy()
        pixels[:, : pixels.shape[1] // 2] //= 3
        Image.fromarray(pixels).save(file)
    run = make_run(tmp_path / "run", photos, lopsided)
    losses, shares = {}, {}
    for tta in ("none", "flip", "crops"):
        assert evaluate([f"run={run}", f"tta={tta}", f"output={tmp_path / tta}"]) == 0
        found = json.loads((tmp_path / tta / "metrics.json").read_text())
        losses[tta] = found["loss"]
        assert found.get("tta", "none") == tta
        capsys.readouterr()
        assert predict([str(photos / "validation" / "red"), f"run={run}", "format=jsonl", f"tta={tta}"]) == 0
        shares[tta] = json.loads(capsys.readouterr().out.splitlines()[0])["probability"]
    assert losses["flip"] < losses["none"]  # the right half says more
    assert len(set(losses.values())) == len(set(shares.values())) == 3

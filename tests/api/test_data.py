"""Training on what a program has in memory: as on files, its features kept by contents."""

from __future__ import annotations

import numpy as np
import pytest

import framework
from framework.core.backend import tf
from framework.core.runs import RunFolder
from framework.evaluate import main as evaluate
from tests.api.conftest import SMALL
from tests.api.test_fit import numbers

FROZEN = ("model=mobilenet", "model.alpha=0.25", "model.weights=null", "model.image_size=32", "trainer.epochs=1")


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(2)
    labels = np.arange(30) % 3
    images = np.clip(rng.normal(0, 25, (30, 20, 20, 3)) + np.eye(3)[labels][:, None, None] * 200, 0, 255)
    return images.astype(np.uint8), labels


@pytest.mark.slow
def test_arrays_datasets_and_the_files_they_become_train_alike(arrays, here, capsys):
    run = framework.fit(*SMALL, data=arrays, names=["red", "green", "blue"])
    assert run.classes == ("red", "green", "blue")
    assert [RunFolder(run.folder).read_run()["data"]["images"][split] for split in ("train", "validation")] == [24, 6]
    dataset = tf.data.Dataset.from_tensor_slices(arrays).batch(7)
    again = framework.fit(*SMALL, data=dataset, names=["red", "green", "blue"])
    assert numbers(again.folder) == numbers(run.folder)
    # the commands work with the run as with any
    assert evaluate([f"run={run.folder}"]) == 0
    assert f"accuracy           {run.metrics['val_accuracy']:.4f}" in capsys.readouterr().out


@pytest.mark.slow
def test_features_of_arrays_are_kept_by_contents(arrays, here):
    images, labels = arrays
    first = framework.fit(*FROZEN, data=arrays, validation=(images[:6], labels[:6]))
    assert RunFolder(first.folder).read_run()["features"] == {
        **RunFolder(first.folder).read_run()["features"],
        "computed": 30,
    }
    order = np.random.default_rng(3).permutation(30)
    second = framework.fit(*FROZEN, "optim.lr=0.01", data=(images[order].astype(np.float32), labels[order]))
    assert RunFolder(second.folder).read_run()["features"]["computed"] == 0


@pytest.mark.slow
def test_numbers_several_labels_and_what_is_given_twice(arrays, here):
    images, labels = arrays
    run = framework.fit(*SMALL, "task=regression", data=(images, labels * 2.5), names=["size"])
    (name,) = run.predict(images[0]).probabilities
    assert (name, run.predict(images[0]).label) == ("size", None)
    assert run.evaluate((images, labels * 2.5))["mae"] >= 0
    several = np.stack([labels > 0, labels > 1, np.ones(30)], axis=1).astype(int)
    run = framework.fit(*SMALL, "head=multilabel", data=(images, several), names=["a", "b", "c"])
    assert set(run.predict(images[0]).labels) <= {"a", "b", "c"}
    for given in ("data=csv", "data.dir=x"):
        with pytest.raises(framework.Error, match="data is given twice"):
            framework.fit(*SMALL, given, data=arrays)
    with pytest.raises(framework.Error, match="validation and names belong to data"):
        framework.fit(*SMALL, validation=arrays)

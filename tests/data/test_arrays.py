"""Images that a program has: laid down once by their contents, read back as they were, refused where they make no sense."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from framework.core.backend import tf
from framework.core.errors import BadInput
from framework.data.arrays import arrays_folder, lay_down
from framework.data.decode import pixels
from framework.data.manifest import read_manifest
from framework.data.selection import narrow

RNG = np.random.default_rng(1)
IMAGES = RNG.integers(0, 256, (12, 9, 11, 3), np.uint8)
LABELS = np.arange(12) % 3


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def read(found, labels="classes"):
    columns = {"separator": None, **found.columns}
    images = read_manifest(str(found.file), "path", **columns, labels=labels)
    return narrow(images, list(found.classes) if found.classes else None, None, None, 1)


def test_images_come_back_as_they_were_in_their_order(tmp_path):
    images = read(lay_down({"train": (IMAGES, LABELS)}))
    train = images.splits["train"]
    assert images.classes == ("0", "1", "2")
    assert train.labels.tolist() == LABELS.tolist()
    assert all(np.array_equal(pixels(path), image) for path, image in zip(train.paths, IMAGES, strict=True))


def test_the_same_images_are_laid_down_once_whatever_they_come_as():
    first = lay_down({"train": (IMAGES, LABELS)})
    files = {path: path.stat().st_mtime_ns for path in arrays_folder().rglob("*.png")}
    assert len(files) == 12
    pairs = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS))
    for data in (
        (list(IMAGES), LABELS.tolist()),
        (IMAGES.astype(np.float32), LABELS.astype(np.float64)),
        (np.clip(IMAGES + 0.3, 0, 255), np.eye(3)[LABELS]),
        pairs,
        pairs.batch(5),
        pairs.map(lambda x, y: (tf.cast(x, tf.float32), tf.one_hot(y, 3))).batch(12),
    ):
        assert lay_down({"train": data}).file == first.file
    assert {path: path.stat().st_mtime_ns for path in arrays_folder().rglob("*.png")} == files


def test_grey_images_and_any_sizes():
    grey = RNG.integers(0, 256, (7, 5), np.uint8)
    images = read(lay_down({"train": ([grey, grey[..., None], IMAGES[0]], [0, 0, 1])})).splits["train"]
    assert images.paths[0] == images.paths[1]
    assert np.array_equal(pixels(images.paths[0]), np.repeat(grey[..., None], 3, axis=-1))
    assert pixels(images.paths[2]).shape == (9, 11, 3)


def test_splits_names_and_the_order_of_classes():
    found = lay_down({"train": (IMAGES, LABELS), "validation": (IMAGES[:3], LABELS[:3])}, names=["shoe", "hat", "bag"])
    images = read(found)
    assert images.classes == ("shoe", "hat", "bag")
    assert images.splits["validation"].labels.tolist() == [0, 1, 2]
    assert read(lay_down({"train": (IMAGES, np.array(["b", "a", "c"])[LABELS])})).classes == ("a", "b", "c")
    many = read(lay_down({"train": (IMAGES, np.arange(12))}))
    assert many.classes == tuple(map(str, range(12)))
    assert many.splits["train"].labels.tolist() == list(range(12))


def test_several_labels_and_numbers():
    several = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0]] * 4)
    images = read(lay_down({"train": (IMAGES, several)}, names=["a", "b", "c"]))
    assert images.multilabel
    assert images.splits["train"].labels.tolist() == several.tolist()
    numbers = RNG.normal(size=(12, 2)).astype(np.float32)
    images = read(lay_down({"train": (IMAGES, numbers)}, "numbers", ["age", "height"]), "numbers")
    assert images.classes == ("age", "height")
    assert np.array_equal(images.splits["train"].labels, numbers)
    assert read(lay_down({"train": (IMAGES, numbers[:, 0])}, "numbers"), "numbers").classes == ("value",)


@pytest.mark.parametrize(
    ("data", "labels", "names", "what"),
    [
        ((IMAGES, LABELS[:3]), "classes", None, "12 images and 3 labels"),
        (IMAGES, "classes", None, "ndarray is no data"),
        ((IMAGES / 255, LABELS), "classes", None, "pixels of 0 to 1"),
        ((IMAGES.astype(int) - 3, LABELS), "classes", None, "image 0 has pixels of -"),
        ((IMAGES[..., :2], LABELS), "classes", None, r"image 0 has shape \(9, 11, 2\)"),
        ((IMAGES, LABELS - 1), "classes", None, "a label is -1"),
        ((IMAGES, LABELS + 0.5), "classes", None, "the labels are float64"),
        ((IMAGES, LABELS), "classes", ["a", "b"], "2 names for 3 classes"),
        ((IMAGES, np.array(["a"] * 12)), "numbers", None, "no numbers"),
        ((IMAGES[:0], LABELS[:0]), "classes", None, "train has no images"),
        (tf.data.Dataset.from_tensors(IMAGES[0]), "classes", None, "no pairs"),
        (tf.data.Dataset.from_tensors((IMAGES[0], 1)).repeat(), "classes", None, "no end"),
        (tf.data.Dataset.from_tensors((IMAGES[0, 0], 1)), "classes", None, r"shape \(11, 3\)"),
    ],
)
def test_what_is_no_data_is_said(data, labels, names, what):
    with pytest.raises(BadInput, match=what):
        lay_down({"train": data}, labels, names)
    assert not list(arrays_folder().rglob("*.csv"))


def test_a_kill_leaves_no_half_image(monkeypatch):
    def cut_off(self, file, *rest, **named):
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", cut_off)
    with pytest.raises(KeyboardInterrupt):
        lay_down({"train": (IMAGES, LABELS)})
    assert not [path for path in arrays_folder().rglob("*") if path.is_file() and path.suffix != ".lock"]

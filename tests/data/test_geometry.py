"""What becomes of an image's aspect and of its colours, and that the graph does to the bit what NumPy does."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from framework.core.backend import tf
from framework.core.geometry import Geometry, named
from framework.data.decode import fit, whole_in_graph
from framework.data.upright import bilinear, fitted, upright, whole


def ramp(height, width):
    """Rows and columns can be told by their values."""
    down, across = np.mgrid[:height, :width]
    return np.stack([down * 255 // max(height - 1, 1), across * 255 // max(width - 1, 1), down * 0 + 90], -1).astype(
        np.uint8
    )


def test_crop_cuts_the_largest_part_of_the_aspect_out_of_the_middle():
    image = ramp(60, 100)
    np.testing.assert_array_equal(fitted(image, (30, 30), "crop", 0, 3), bilinear(image[:, 20:80], (30, 30)))
    np.testing.assert_array_equal(fitted(image, (30, 20), "crop", 0, 3), bilinear(image[:, 30:70], (30, 20)))
    tall = image.swapaxes(0, 1)
    np.testing.assert_array_equal(fitted(tall, (30, 30), "crop", 0, 3), bilinear(tall[20:80], (30, 30)))


def test_pad_keeps_the_whole_on_a_plain_ground():
    image = ramp(60, 100)
    padded = fitted(image, (50, 50), "pad", 200, 3)
    np.testing.assert_array_equal(padded[10:40], bilinear(image, (30, 50)))
    assert (padded[:10] == 200).all()
    assert (padded[40:] == 200).all()
    beside = fitted(image, (30, 90), "pad", 0, 3)
    np.testing.assert_array_equal(beside[:, 20:70], bilinear(image, (30, 50)))
    assert not beside[:, :20].any()


def test_stretch_is_what_it_was():
    image = ramp(60, 100)
    np.testing.assert_array_equal(fitted(image, (30, 30), "stretch", 200, 3), bilinear(image, (30, 30)))


def test_an_image_of_the_right_aspect_is_the_same_in_every_way():
    image = ramp(60, 90)
    for resize in ("crop", "pad"):
        np.testing.assert_array_equal(fitted(image, (20, 30), resize, 7, 3), bilinear(image, (20, 30)))


def test_grey_is_that_of_pillow():
    image = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    expected = np.asarray(Image.fromarray(image).convert("L"))
    np.testing.assert_array_equal(fitted(image, (40, 30), "stretch", 0, 1)[..., 0], expected)
    grey = np.repeat(image[..., :1], 3, axis=-1)
    np.testing.assert_array_equal(fitted(grey, (40, 30), "stretch", 0, 1), image[..., :1])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
def test_the_graph_does_the_same(resize, channels):
    rng = np.random.default_rng(3)
    for _ in range(25):
        sides, size = tuple(rng.integers(1, 400, 2).tolist()), tuple(rng.integers(1, 200, 2).tolist())
        image = rng.integers(0, 256, (*sides, 3), np.uint8)
        found = fit(tf.constant(image), Geometry(size, resize, 77, channels)).numpy()
        np.testing.assert_array_equal(found, fitted(image, size, resize, 77, channels), str((sides, size)))
        in_graph = whole_in_graph(tf.constant(sides), tf.constant(size), resize).numpy()
        assert tuple(in_graph) == whole(sides, size, resize)


@pytest.mark.parametrize(("resize", "sides"), [("stretch", (100, 1000)), ("crop", (100, 1000)), ("pad", (50, 500))])
def test_a_large_image_is_shrunk_to_no_less_than_twice_what_it_will_be(tmp_path, resize, sides):
    """A strip that is stretched or cut needs all of its height; the whole of one that is padded comes to few rows."""
    path = tmp_path / "strip.png"
    Image.fromarray(ramp(300, 3000)).save(path)
    assert upright(str(path), (50, 250), resize).shape[:2] == sides


def test_a_model_says_by_its_name_what_becomes_of_the_aspect():
    for geometry in (Geometry((8, 8)), Geometry((8, 8), "crop"), Geometry((8, 8), "pad"), Geometry((8, 8), "pad", 255)):
        assert named(geometry.model_name) == (geometry.resize, geometry.fill)
    assert Geometry((8, 8)).model_name == "classifier"
    assert {named(name) for name in (None, "", "classifier_pad256", "mine_pad3", "classifier_crop2")} == {
        ("stretch", 0)
    }

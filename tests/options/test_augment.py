"""Augmentations: what their keys do to images and labels, for given draws."""

from __future__ import annotations

import numpy as np
import pytest

from framework.core import registry
from framework.core.backend import tf
from tests.options.counted import effects
from tests.options.made import chosen

SIDE, COUNT = 20, 400
# of what is done image by image
FEW = 20
NOTHING = {
    "geometric": {"flip": False, "rotation": 0.0, "zoom": 0.0, "shear": 0.0, "shift": 0.0, "fill": "nearest"},
    "orientation": {"upside_down": False, "quarter_turns": False},
    "crop": {"cut": 0.0, "aspect": 0.0},
    "color": {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0},
    "erase": {"area": 0.0},
    "randaugment": {"layers": 0, "magnitude": 5.0},
    "mixup": {"alpha": 0.0},
    "cutmix": {"alpha": 0.0},
}
RNG = np.random.default_rng(0)
COARSE = RNG.uniform(60, 190, (COUNT, 5, 5, 3)).astype(np.float32).repeat(4, axis=1).repeat(4, axis=2)
LABELS = np.eye(4, dtype=np.float32)[np.arange(COUNT) % 4]


def varied(name, images=COARSE, draws=None, **changed):
    """Images and labels after an augmentation that does nothing but what is changed.

    Args:
        name: of the augmentation.
        images: float32 of shape (images, side, side, 3).
        draws: uniform numbers of each image, by place; those not named are drawn.
        changed: its keys.
    """
    part = registry.get("augmentation", name)(**{**NOTHING[name], **changed})
    uniforms = np.random.default_rng(1).random((len(images), part.draws), np.float32)
    for place, value in (draws or {}).items():
        uniforms[:, place] = value
    x, y = part.apply(tf.constant(images), tf.constant(LABELS[: len(images)]), tf.constant(uniforms))
    return np.array(x), np.array(y)


def ramp(axis):
    """One image whose pixels say where they are along an axis, from 0 to 1 times 200."""
    values = np.linspace(0, 200, SIDE, dtype=np.float32)
    return np.broadcast_to(values.reshape([1, -1, 1, 1] if axis == 1 else [1, 1, -1, 1]), (1, SIDE, SIDE, 3)).copy()


MIDDLE = (slice(None), slice(7, 13), slice(7, 13))
STEP = 200 / (SIDE - 1)


def slope(images, axis):
    """By how much the middle's pixels change from one to the next along an axis, in steps of the ramp."""
    return np.diff(images[MIDDLE], axis=axis).mean() / STEP


def flip():
    found, _ = varied("geometric", flip=True)
    same = np.all(found == COARSE, axis=(1, 2, 3))
    mirrored = np.all(found == COARSE[:, :, ::-1], axis=(1, 2, 3))
    assert (same | mirrored).all()
    assert mirrored.mean() == pytest.approx(0.5, abs=0.1)


def upside_down():
    found, _ = varied("orientation", upside_down=True)
    same = np.all(found == COARSE, axis=(1, 2, 3))
    swapped = np.all(found == COARSE[:, ::-1], axis=(1, 2, 3))
    assert (same | swapped).all()
    assert swapped.mean() == pytest.approx(0.5, abs=0.1)


def quarter_turns():
    found, _ = varied("orientation", quarter_turns=True)
    turns = [np.all(found == np.rot90(COARSE, times, axes=(1, 2)), axis=(1, 2, 3)) for times in range(4)]
    assert np.sum(turns, axis=0).tolist() == [1] * COUNT
    assert [turned.mean() for turned in turns] == pytest.approx([0.25] * 4, abs=0.1)
    wide = COARSE[:, :10]
    found, _ = varied("orientation", wide, quarter_turns=True)
    halves = [np.all(found == np.rot90(wide, times, axes=(1, 2)), axis=(1, 2, 3)) for times in (0, 2)]
    assert np.sum(halves, axis=0).tolist() == [1] * COUNT


def rotation():
    for most in (30.0, 90.0):
        found, _ = varied("geometric", ramp(2), {1: 1.0}, rotation=most)
        assert abs(slope(found, 2)) == pytest.approx(abs(np.cos(np.radians(most))), abs=0.02)
        assert abs(slope(found, 1)) == pytest.approx(np.sin(np.radians(most)), abs=0.02)


def zoom():
    for draw, times in ((0.0, 0.75), (1.0, 1.25)):
        found, _ = varied("geometric", ramp(2), {2: draw}, zoom=0.25)
        assert slope(found, 2) == pytest.approx(1 / times, abs=0.02)


def shear():
    found, _ = varied("geometric", ramp(2), {3: 1.0}, shear=30.0)
    assert abs(slope(found, 1)) == pytest.approx(np.tan(np.radians(30)), abs=0.02)
    assert slope(found, 2) == pytest.approx(1, abs=0.02)


def shift():
    for axis, place in ((2, 4), (1, 5)):
        found, _ = varied("geometric", ramp(axis), {4: 0.5, 5: 0.5, place: 1.0}, shift=0.25)
        assert (ramp(axis) - found)[MIDDLE] == pytest.approx(0.25 * SIDE * STEP, abs=0.5)


def fill():
    edges = {}
    for kind in ("nearest", "reflect"):
        found, _ = varied("geometric", ramp(2), {4: 1.0, 5: 0.5}, shift=0.25, fill=kind)
        edges[kind] = found[0, 10, :5, 0] / STEP
    np.testing.assert_allclose(edges["nearest"], 0, atol=0.1)
    np.testing.assert_allclose(edges["reflect"], [4, 3, 2, 1, 0], atol=0.1)


def cut():
    for most in (0.36, 0.75):
        found, _ = varied("crop", ramp(2), {0: 1.0, 1: 0.5}, cut=most)
        assert np.ptp(found) / 200 == pytest.approx(np.sqrt(1 - most), abs=0.01)


def aspect():
    for draw in (0.0, 1.0):
        across, _ = varied("crop", ramp(2), {0: 1.0, 1: draw}, cut=0.5, aspect=0.33)
        along, _ = varied("crop", ramp(1), {0: 1.0, 1: draw}, cut=0.5, aspect=0.33)
        assert np.ptp(across) / np.ptp(along) == pytest.approx(1.33 if draw == 0 else 1 / 1.33, rel=0.02)


def grey(images):
    return images @ np.array([0.299, 0.587, 0.114])


def brightness():
    for draw, times in ((0.0, 0.8), (1.0, 1.2)):
        found, _ = varied("color", draws={0: draw}, brightness=0.2)
        np.testing.assert_allclose(found, times * COARSE, atol=0.01)


def contrast():
    found, _ = varied("color", draws={1: 1.0}, contrast=0.2)
    assert grey(found).std() == pytest.approx(1.2 * grey(COARSE).std(), rel=0.02)
    assert grey(found).mean() == pytest.approx(grey(COARSE).mean(), rel=0.02)


def saturation():
    found, _ = varied("color", draws={2: 1.0}, saturation=0.2)
    np.testing.assert_allclose(grey(found), grey(COARSE), atol=1)
    np.testing.assert_allclose(found - grey(found)[..., None], 1.2 * (COARSE - grey(COARSE)[..., None]), atol=1)


def area():
    for most in (0.1, 0.5):
        found, _ = varied("erase", RNG.uniform(60, 190, (100, SIDE, SIDE, 3)).astype(np.float32), {0: 0.99}, area=most)
        # what is erased has one colour
        erased = np.array([np.unique(image.reshape(-1, 3), axis=0, return_counts=True)[1].max() for image in found])
        assert erased.mean() / SIDE**2 == pytest.approx(most, rel=0.15)


def layers():
    shares = []
    for number in (0, 1, 3):
        found, _ = varied("randaugment", COARSE[:FEW], layers=number)
        shares.append(np.abs(found - COARSE[:FEW]).mean())
    assert shares[0] == 0
    assert 5 < shares[1] < shares[2]


def magnitude():
    def moved(strength):
        found, _ = varied("randaugment", COARSE[:FEW], layers=1, magnitude=strength)
        return np.abs(found - COARSE[:FEW]).mean()

    assert moved(1.0) < moved(5.0) < moved(10.0)


def mixup():
    shares = {}
    for alpha in (0.0, 0.2, 8.0):
        found, labels = varied("mixup", alpha=alpha)
        kept = labels[np.arange(COUNT), np.arange(COUNT) % 4]
        np.testing.assert_allclose(labels.sum(1), 1, atol=1e-5)
        expected = kept[:, None, None, None] * COARSE + (1 - kept)[:, None, None, None] * np.roll(COARSE, 1, axis=0)
        np.testing.assert_allclose(found, expected, atol=0.1)
        shares[alpha] = kept
    assert (shares[0.0] == 1).all()
    assert_beta(shares)


def cutmix():
    shares = {}
    for alpha in (0.0, 0.2, 8.0):
        found, labels = varied("cutmix", alpha=alpha)
        kept = labels[np.arange(COUNT), np.arange(COUNT) % 4]
        own = np.all(found == COARSE, axis=-1)
        assert (own | np.all(found == np.roll(COARSE, 1, axis=0), axis=-1)).all()
        np.testing.assert_allclose(own.mean((1, 2)), kept, atol=0.02)
        shares[alpha] = kept
    assert (shares[0.0] == 1).all()
    assert_beta(shares)


def assert_beta(shares):
    """A small alpha mixes little or nearly all, a large one about half."""
    assert np.mean(np.abs(shares[0.2] - 0.5) > 0.4) > 0.5
    assert np.mean(np.abs(shares[8.0] - 0.5) < 0.25) > 0.9


@effects("see", {
    "augment.geometric.flip": flip,
    "augment.orientation.upside_down": upside_down,
    "augment.orientation.quarter_turns": quarter_turns,
    "augment.geometric.rotation": rotation,
    "augment.geometric.zoom": zoom,
    "augment.geometric.shear": shear,
    "augment.geometric.shift": shift,
    "augment.geometric.fill": fill,
    "augment.crop.cut": cut,
    "augment.crop.aspect": aspect,
    "augment.color.brightness": brightness,
    "augment.color.contrast": contrast,
    "augment.color.saturation": saturation,
    "augment.erase.area": area,
    "augment.randaugment.layers": layers,
    "augment.randaugment.magnitude": magnitude,
    "augment.mixup.alpha": mixup,
    "augment.cutmix.alpha": cutmix,
})  # fmt: skip
def test_a_key_varies_images_as_it_says(see):
    see()


@effects("option, names, blends", {
    "augment=none": ("none", set(), False),
    "augment=crop": ("crop", {"crop", "geometric"}, False),
    "augment=light": ("light", {"geometric"}, False),
    "augment=any_way_up": ("any_way_up", {"geometric", "orientation"}, False),
    "augment=strong": ("strong", {"crop", "geometric", "color", "erase"}, False),
    "augment=randaugment": ("randaugment", {"randaugment"}, False),
    "augment=mixup": ("mixup", {"mixup"}, True),
    "augment=cutmix": ("cutmix", {"cutmix"}, True),
})  # fmt: skip
def test_a_choice_varies_most_images_and_labels_only_where_it_blends(option, names, blends):
    nodes = [dict(part) for part in chosen("augment", option)]
    assert {part["name"] for part in nodes} == names
    found, labels = COARSE[:FEW], LABELS[:FEW]
    for part in nodes:
        name = part.pop("name")
        before = found
        found, labels = varied(name, found, **part)
        assert np.mean(np.any(np.abs(found - before) > 1, axis=(1, 2, 3))) > 0.5
    assert np.array_equal(labels, LABELS[:FEW]) != blends
    assert np.array_equal(found, COARSE[:FEW]) == (option == "none")

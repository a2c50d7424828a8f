"""One contract over every augmentation, and what each is for."""

from pathlib import Path

import numpy as np
import pytest

from framework.config.documents import read_option
from framework.core import registry
from framework.core.backend import tf
from framework.parts import augmentations

CONF = Path(__file__).parents[2] / "conf" / "augment"
STRONG = {
    "geometric": {"flip": True, "rotation": 40.0, "zoom": 0.3, "shear": 20.0, "shift": 0.2, "fill": "reflect"},
    "orientation": {"upside_down": True, "quarter_turns": True},
    "crop": {"cut": 0.6, "aspect": 0.5},
    "color": {"brightness": 0.5, "contrast": 0.5, "saturation": 0.5},
    "erase": {"area": 0.4},
    "randaugment": {"layers": 3, "magnitude": 9.0},
    "mixup": {"alpha": 1.0},
    "cutmix": {"alpha": 1.0},
}
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
NAMES = sorted(STRONG)


def built(name, parameters):
    return registry.get("augmentation", name)(**parameters)


def batch(count=6, height=20, width=28):
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (count, 5, 7, 3)).repeat(4, axis=1).repeat(4, axis=2).astype(np.float32)
    return tf.constant(images), tf.constant(np.eye(4, dtype=np.float32)[np.arange(count) % 4])


def uniforms(part, count=6, seed=1):
    return tf.constant(np.random.default_rng(seed).random((count, part.draws), np.float32))


def test_the_contract_covers_every_shipped_augmentation():
    shipped = [
        part.name for part in registry.parts("augmentation") if part.function.__module__ == augmentations.__name__
    ]
    assert shipped == NAMES == sorted(NOTHING)


@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("name", NAMES)
def test_contract(name, graph):
    part = built(name, STRONG[name])
    x, y = batch()
    spec = [tf.TensorSpec((None, *x.shape[1:])), tf.TensorSpec((None, 4)), tf.TensorSpec((None, part.draws))]
    apply = tf.function(part.apply, input_signature=spec) if graph else part.apply
    varied, labels = apply(x, y, uniforms(part))
    assert varied.shape == x.shape
    assert varied.dtype == tf.float32
    assert varied.numpy().min() >= -1e-3
    assert varied.numpy().max() <= 255 + 1e-3
    assert np.abs(varied - x).mean() > 0.5
    assert labels.shape == y.shape
    np.testing.assert_allclose(tf.reduce_sum(labels, axis=1), 1, rtol=1e-5)
    if not registry.get("augmentation", name).details["mixes"]:
        np.testing.assert_array_equal(labels, y)
    again, _ = apply(x, y, uniforms(part))
    np.testing.assert_array_equal(again, varied)
    other, _ = apply(x, y, uniforms(part, seed=2))
    assert not np.array_equal(other, varied)


@pytest.mark.parametrize("name", NAMES)
def test_no_strength_changes_nothing(name):
    part = built(name, NOTHING[name])
    x, y = batch()
    varied, labels = part.apply(x, y, uniforms(part))
    np.testing.assert_allclose(varied, x, atol=1e-3)
    np.testing.assert_allclose(labels, y, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("mixup", "cutmix")])
def test_an_image_does_not_depend_on_its_batch(name):
    part = built(name, STRONG[name])
    x, y = batch()
    chance = uniforms(part)
    whole, _ = part.apply(x, y, chance)
    alone, _ = part.apply(x[2:3], y[2:3], chance[2:3])
    np.testing.assert_allclose(alone[0], whole[2], atol=1e-3)


@pytest.mark.parametrize("more", [{}, {"rotation": 1e-6}], ids=["reversed", "transformed"])
def test_flip(more):
    part = built("geometric", {**NOTHING["geometric"], "flip": True, **more})
    x, y = batch(2)
    chance = np.full((2, 6), 0.5, np.float32)
    chance[:, 0] = [0.1, 0.9]
    flipped, _ = part.apply(x, y, tf.constant(chance))
    np.testing.assert_allclose(flipped[0], x[0, :, ::-1], atol=0.1)
    np.testing.assert_allclose(flipped[1], x[1], atol=0.1)


def test_shift_goes_right_and_down_by_its_share():
    part = built("geometric", {**NOTHING["geometric"], "shift": 0.5})
    x, y = batch(1)
    chance = np.full((1, 6), 0.5, np.float32)
    chance[0, 4:] = [0.75, 0.7]  # half of the most to the right, 0.4 of it down
    moved, _ = part.apply(x, y, tf.constant(chance))
    np.testing.assert_allclose(moved[0, 4:, 7:], x[0, :16, :21], atol=0.05)


def test_rotation_is_about_the_middle():
    part = built("geometric", {**NOTHING["geometric"], "rotation": 90.0})
    x = tf.constant(np.random.default_rng(0).uniform(0, 255, (1, 9, 9, 3)).astype(np.float32))
    chance = np.full((1, 6), 0.5, np.float32)
    chance[0, 1] = 1.0
    turned, _ = part.apply(x, tf.ones((1, 2)), tf.constant(chance))
    expected = [np.rot90(x[0], times) for times in (1, 3)]
    assert min(np.abs(turned[0] - one).max() for one in expected) < 0.1


def test_mixup_blends_images_and_labels_alike():
    part = built("mixup", {"alpha": 1.0})
    x, y = batch()
    blended, labels = part.apply(x, y, tf.constant([[0.25]] * 6))
    rolled = np.roll(x, 1, axis=0)
    np.testing.assert_allclose(blended, 0.25 * x + 0.75 * rolled, atol=1)
    np.testing.assert_allclose(labels, 0.25 * y + 0.75 * np.roll(y, 1, axis=0), atol=0.01)


def test_shares_follow_the_beta_distribution():
    for alpha in (0.2, 1.0, 4.0):
        quantiles = augmentations._beta_quantiles(alpha)
        assert quantiles.mean() == pytest.approx(0.5, abs=1e-4)
        assert quantiles.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.03)


def test_cutmix_labels_are_the_share_of_pixels():
    part = built("cutmix", {"alpha": 1.0})
    x = tf.constant(np.arange(6, dtype=np.float32)[:, None, None, None] * np.ones((6, 10, 10, 3), np.float32))
    y = tf.eye(6)
    pasted, labels = (tensor.numpy() for tensor in part.apply(x, y, uniforms(part)))
    for number in range(6):
        kept = np.mean(pasted[number] == number)
        assert labels[number, number] == pytest.approx(kept, abs=1e-6)
        assert labels[number, number - 1] == pytest.approx(1 - kept, abs=1e-6)


def test_labels_that_are_indices_are_refused():
    x, _ = batch()
    part = built("mixup", {"alpha": 1.0})
    with pytest.raises(ValueError, match="one-hot"):
        part.apply(x, tf.zeros(6, tf.int32), uniforms(part))


@pytest.mark.parametrize("path", sorted(CONF.glob("[!_]*.yaml")), ids=lambda path: path.stem)
def test_options_build_what_they_name(path):
    assert path.read_text().startswith("# ")
    for key, node in read_option(path).content.items():
        part = registry.get("augmentation", node.pop("name"))
        assert key == part.name
        assert set(node) == set(part.parameters)
        assert part(**node).draws > 0

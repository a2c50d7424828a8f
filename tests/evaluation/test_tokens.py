"""What tokens attend to: the same numbers as by hand, for every kind of vision transformer; and Grad-CAM on patches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from framework.core import keras_hub_private as hub
from framework.core.backend import keras
from framework.evaluation.attention import GradCam
from framework.evaluation.tokens import attention, on_patches, rollout, tokens_of
from framework.model.build import build
from tests.options.made import TASKS, settings
from tests.parts.hub_made import overrides

pytestmark = pytest.mark.skipif(not hub.installed(), reason="Keras Hub is not installed; it needs Python 3.11")

GRIDS = {
    "vit_tiny": ((2, 3), 1),
    "deit_base": ((2, 2), 2),
    "dinov2_base": ((2, 2), 1),
    "dinov3_base": ((3, 3), 5),
    "siglip_base": ((2, 2), 0),
    "clip_base": ((2, 2), 1),
}


def made(option):
    keras.utils.set_random_seed(0)  # of other weights Grad-CAM may find no evidence at all
    network = build(settings("data=image_folder", "data.dir=x", *overrides(option, Path())), TASKS["one_hot"])
    rng = np.random.default_rng(0)
    for weight in network.model.weights:
        if weight.dtype == "float32":
            weight.assign(np.asarray(weight) + rng.normal(0, 0.2, weight.shape))
    return network.model, rng.uniform(0, 255, network.model.input_shape[1:]).astype(np.float32)


@pytest.mark.parametrize("option", GRIDS)
def test_each_transformer_shows_what_its_tokens_attend_to(option):
    model, image = made(option)
    before = np.array(model(image[None]))
    tokens = tokens_of(model)
    grid, before_them = GRIDS[option]
    assert tokens.grid == grid
    shares = attention(tokens, image)
    count = before_them + grid[0] * grid[1]
    assert tokens.before(count) == before_them
    assert [one.shape for one in shares] == [(2, count, count)] * 2
    for one in shares:
        np.testing.assert_allclose(one.sum(-1), 1, rtol=1e-4)
        assert one.std() > 0
    np.testing.assert_array_equal(model(image[None]), before)
    rolled = rollout(shares)
    np.testing.assert_allclose(rolled[-1].sum(-1), 1, rtol=1e-4)
    heat = on_patches(tokens, rolled[-1])
    assert heat.shape == tokens.grid
    assert (heat.min(), heat.max()) == (0, 1)
    heats, logits = GradCam(model, TASKS["one_hot"])(image, [0, 2])
    assert heats.shape == (2, *tokens.grid)
    np.testing.assert_allclose(logits, before[0], rtol=1e-4, atol=1e-5)
    assert heats.max() == pytest.approx(1)


def test_the_shares_are_those_of_queries_and_keys():
    model, image = made("dinov3_base")
    found = attention(tokens_of(model), image)[0][0]
    # the first tokens have no positions: class token and registers against each other, by hand
    flat = tokens_of(model).flat
    tokens, block = flat.get_layer("layers_0").input, flat.get_layer("layers_0")
    x = keras.Model(flat.input, tokens[0] if isinstance(tokens, list) else tokens)(image[None])
    inner = {layer.name: layer for layer in block._flatten_layers()}
    x = block.norm1(x)
    q, k = (np.array(inner[name](x))[0, :, :4] for name in ("q_proj", "k_proj"))
    ratio = np.exp((q[:5] @ k[:5].T) * 4**-0.5)
    np.testing.assert_allclose(found[:5, :5] / found[:5, :1], ratio / ratio[:, :1], rtol=1e-3)


def test_rollout_multiplies_half_the_mean_and_half_the_token_itself():
    one, two = np.random.default_rng(0).dirichlet(np.ones(3), (2, 2, 3)).astype(np.float32)
    half = [0.5 * block.mean(0) + 0.5 * np.eye(3) for block in (one, two)]
    np.testing.assert_allclose(rollout([one, two])[-1], half[1] @ half[0], rtol=1e-5)


def test_evidence_lies_where_the_patch_is_that_the_answer_depends_on():
    model, image = made("siglip_base")
    assert tokens_of(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])) is None
    heats, _ = GradCam(model, TASKS["one_hot"])(image, [0, 1, 2])
    assert heats.std() > 0

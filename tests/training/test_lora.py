"""Low-rank adapters as a stage: what trains, what is stored and saved, and how a later stage goes on."""

from __future__ import annotations

import re

import numpy as np
import pytest

from framework.cli.command import check
from framework.core import keras_hub_private as hub
from framework.core.errors import BadInput
from framework.core.runs import RunFolder
from framework.model.saving import load_model
from framework.parts.lora import Adapters, adapt, merge, plain_weights, set_plain_weights
from framework.runs.keeping import make_callbacks
from framework.runs.preflight import preflight
from framework.runs.prepare import look, network
from framework.training.stages import freeze, stage_of
from framework.training.trainer import Trainer
from tests.options.counted import effect
from tests.options.made import settings
from tests.training.test_trainer import Memory, without_seconds

pytestmark = pytest.mark.skipif(not hub.installed(), reason="Keras Hub is not installed; it needs Python 3.11")

TINY = (
    *("data=image_folder", "model=vit_tiny", "model.num_layers=2", "model.num_heads=2", "model.hidden_dim=8"),
    *("model.mlp_dim=16", "model.image_size=32", "model.trainable=false", "trainer.batch_size=8", "trainer.epochs=2"),
)
LORA = ("stages.main.train=lora", "stages.main.rank=3")
WIDTH = 8


@pytest.fixture
def made(photos, here):
    def make(*overrides, **given):
        chosen = settings(*TINY, f"data.dir={photos}", *overrides)
        looked = look(chosen)
        callbacks = make_callbacks(chosen, RunFolder(here / "run"))
        built = network(looked.experiment)
        return Trainer(looked.experiment, built, callbacks, data=looked.fingerprint, **given)

    return make


def counts(trainer):
    trained = trainer.network.model.trainable_weights
    return sorted(weight.path.rpartition("/")[2] for weight in trained), sum(map(np.size, trained))


@effect("stage.rank", "stage.targets")
@pytest.mark.parametrize(
    ("train", "rank", "targets", "kernels"),
    [("lora", 3, "[query,value]", 2 * 2), ("lora:last:1", 2, "[query]", 1), ("lora", 1, "[dense_1]", 0)],
)
def test_two_thin_matrices_of_each_named_layer_train_and_the_head(made, train, rank, targets, kernels):
    wanted = (f"stages.main.train={train}", f"stages.main.rank={rank}", f"stages.main.targets={targets}")
    trainer = made(*wanted)
    (stage,) = trainer.stages
    freeze(trainer.network, stage)
    names, numbers = counts(trainer)
    adapted = kernels or 2
    assert names == sorted(["kernel", "bias", *["lora_kernel_a", "lora_kernel_b"] * adapted])
    # a kernel is (channels, heads, channels a head), or (channels, 2 · channels) of the dense one
    one = rank * (WIDTH * 2 + WIDTH // 2) if kernels else rank * (WIDTH + 2 * WIDTH)
    assert numbers == adapted * one + WIDTH * 3 + 3
    assert len({weight.path for weight in trainer.network.model.weights}) == len(trainer.network.model.weights)
    assert trainer.inputs.build(stage).tail.count_params() > 0


def test_it_learns_and_is_saved_as_a_plain_model_that_answers_the_same(made, here):
    trainer = made(*LORA, "optim.lr=0.05")
    before = [np.array(one) for one in plain_weights(trainer.network.model)]
    trainer.train()
    trainer.restore_best()
    after = [np.array(one) for one in plain_weights(trainer.network.model)]
    moved = {
        weight.path.rpartition("/")[0].rpartition("/")[2]
        for weight, one, other in zip(plain(trainer.network.model), before, after, strict=True)
        if not np.array_equal(one, other)
    }
    assert moved == {"query", "value", "logits"}
    images = np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 3)).astype(np.float32)
    answers = np.array(trainer.network.model(images, training=False))
    (file,) = (here / "run" / "checkpoints").iterdir()
    trainer.network.model.save(here / "model.keras")
    for path in (file, here / "model.keras"):
        loaded = load_model(path)
        np.testing.assert_allclose(loaded(images, training=False), answers, atol=1e-6)
        assert not [weight.path for weight in loaded.weights if "lora" in weight.path]
        assert not any(getattr(layer, "lora_rank", None) for layer in loaded._flatten_layers())
        for ours, theirs in zip(after, loaded.weights, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)


def plain(model):
    return [weight for weight in model.weights if "lora" not in weight.path]


@pytest.mark.slow
def test_from_any_stored_state_it_goes_on_to_the_same_bits(made, monkeypatch):
    monkeypatch.setattr("framework.training.callback_list.STATE_SECONDS", 0.0)
    wanted = ("stages.main.train=head", "stages.main.epochs=1", "stages.low.train=lora:last:1", "stages.low.epochs=1",
              "stages.more.train=last:1", "stages.more.epochs=1", "trainer.save_steps=2")  # fmt: skip
    whole = Memory()
    trainer = made(*wanted, store=whole)
    trainer.train()
    expected = [np.array(weight) for weight in trainer.network.model.weights]
    assert [row["stage"] for row in trainer.history] == ["main", "low", "more"]
    assert any("lora" in name or name.startswith("layer/transformer_block_2") for name in whole.states[-1].arrays)
    inside = [state for state in whole.states if state.stage == "low" and state.step]
    # in the middle of the adapters' stage, and before it, where they are still to be drawn
    for state in (inside[0], next(state for state in whole.states if state.stage == "main")):
        again = made(*wanted, store=Memory(state))
        again.train()
        assert without_seconds(again.history) == without_seconds(trainer.history)
        for one, other in zip(expected, again.network.model.weights, strict=True):
            np.testing.assert_array_equal(one, other)


def test_merged_adapters_leave_the_layers_as_they_were(made):
    network = made().network
    block = network.flat.get_layer(network.blocks[0])
    paths = [weight.path for weight in network.model.weights]
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    assert adapt(block, Adapters(2, ("query", "value"), 1)) == 2
    for weight in block.trainable_weights:
        weight.assign(weight + 0.1)
    answers, values = np.array(network.model(images)), plain_weights(network.model)
    merge(network.model)
    assert [weight.path for weight in network.model.weights] == paths
    np.testing.assert_allclose(network.model(images), answers, atol=1e-6)
    adapt(block, Adapters(2, ("query", "value"), 1))
    set_plain_weights(network.model, values)
    np.testing.assert_allclose(network.model(images), answers, atol=1e-6)


def test_a_base_without_such_layers_is_told_what_it_has(made, photos):
    with pytest.raises(BadInput, match="has no such layers to adapt") as error:
        made(*LORA, "stages.main.targets=[attention_qkv]")
    assert "attention_output, dense_1, dense_2, key, position_embedding, query, value" in error.value.problems[0].right
    chosen = settings("data=image_folder", f"data.dir={photos}", "model.filters=[2]", "model.image_size=16", *LORA)
    with pytest.raises(BadInput) as error:
        stage_of("main", chosen.stages["main"], chosen, network(look(chosen).experiment))
    assert "this base has no dense layers" in error.value.problems[0].right


def test_factors_are_not_averaged(photos):
    chosen = settings(*TINY, f"data.dir={photos}", *LORA, "callbacks=[default,weight_averaging]")
    (problem,) = preflight(chosen)
    assert "averages each weight by itself, and stage main trains factors" in problem.what


def test_what_lora_says_means_something(photos):
    for wrong, what in (
        ("stage.rank=3", "stage.rank=3 changes nothing: nothing has adapters: train is not lora"),
        ("stages.main.targets=[key]", "stages.main.targets=[key] changes nothing"),
        ("stages.main.train=lora:lst:2", "stages.main.train=lora:lst:2 says nothing that can be trained"),
    ):
        with pytest.raises(BadInput, match=re.escape(what)):
            check([f"data.dir={photos}", *TINY, wrong], lambda settings: [])

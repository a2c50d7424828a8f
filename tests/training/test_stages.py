"""A stage on a network: which layers learn, which run as at inference, at which rates."""

from __future__ import annotations

import dataclasses

import pytest

from framework.core.errors import BadInput
from framework.core.task import Multiclass
from framework.model.build import build
from framework.training.stages import freeze, stage_of
from tests.options.made import settings

GIVEN = ("model.filters=[4,8]", "model.image_size=16", "trainer.epochs=7", "optim.lr=0.1")


@pytest.fixture(scope="module")
def built():
    made = settings(*GIVEN)
    return made, build(made, Multiclass(("a", "b", "c"), "index"))


def stage(built, **changed):
    made, network = built
    usual = next(iter(made.stages.values()))
    return stage_of("main", dataclasses.replace(usual, **changed), made, network)


def in_base(built, layers):
    return [name for name in built[1].base_layers if name in layers]


def test_the_head_alone_or_all(built):
    assert in_base(built, stage(built, train="head").trained) == []
    assert in_base(built, stage(built, train="all").trained) == list(built[1].base_layers)
    assert set(built[1].head_layers) <= stage(built, train="head").trained


def test_from_a_block_and_the_last_layers_that_have_weights(built):
    block = in_base(built, stage(built, train="from:block2").trained)
    assert block[0].startswith("block2")
    assert block[-1] == list(built[1].base_layers)[-1]
    last = in_base(built, stage(built, train="last:1").trained)
    assert sum(bool(built[1].model.get_layer(name).weights) for name in last) == 1
    assert in_base(built, stage(built, train="last:0").trained) == []


def test_a_layer_that_is_not_there(built):
    with pytest.raises(BadInput, match="no layer or block 'blok2'") as caught:
        stage(built, train="from:blok2")
    assert "block2" in caught.value.problems[0].right


def test_batch_norms_run_as_at_inference_if_wanted(built):
    norms = {name for name in built[1].base_layers if "norm" in name}
    assert norms
    assert norms <= stage(built, train="all", batch_norm="inference").inference
    assert not norms & stage(built, train="all", batch_norm="train").inference
    # ``auto``: those of a base that begins at random learn
    assert not norms & stage(built, train="all", batch_norm="auto").inference


def test_rates_and_epochs(built):
    assert stage(built).epochs == 7
    assert stage(built, epochs=2).epochs == 2
    assert stage(built, lr_factor=0.5).lr == pytest.approx(0.05)
    assert stage(built, lr=3.0).lr == 3.0
    rates = stage(built, train="all", layer_decay=0.5).rates
    assert min(rates.values()) == pytest.approx(0.5 ** len(rates))
    assert max(rates.values()) == pytest.approx(0.5)
    assert stage(built, train="all").rates == {}


def test_freezing_is_seen_on_the_layers(built):
    chosen = stage(built, train="last:1")
    freeze(built[1], chosen)
    model = built[1].model
    assert {layer.name for layer in model.layers if layer.weights and layer.trainable} == {
        layer.name for layer in model.layers if layer.weights and layer.name in chosen.trained
    }

"""Size, smoothing and MixUp of a stage's own: how a training goes on with them, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from framework.core.errors import BadInput
from framework.runs.plan import plan
from framework.runs.preflight import experiment, preflight
from tests.options.made import SMALL, settings
from tests.training.test_trainer import Memory, weights, without_seconds

CHOSEN = ("stages=head_then_all", "stages.head.epochs=1", "stages.all.epochs=1", "head.dropout=0.3")
OWN = (
    "stages.head.image_size=12",
    "stages.all.image_size=10",
    "stages.all.mixup=0.4",
    "stages.all.label_smoothing=0.1",
)


def test_it_goes_on_within_a_stage_of_its_own_size_to_the_same_bits(made):
    whole = Memory()
    trainer = made(*CHOSEN, *OWN, "trainer.save_steps=1", store=whole)
    trainer.train()
    stood = [(state.stage, state.epoch, state.step) for state in whole.states]
    for place in (stood.index(("head", 0, 2)), stood.index(("all", 1, 1))):
        again = Memory(whole.states[place])
        resumed = made(*CHOSEN, *OWN, store=again)
        resumed.train()
        assert without_seconds(again.rows) == without_seconds(whole.rows)
        for one, other in zip(weights(trainer), weights(resumed), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_plan_counts_what_is_kept_of_each_size(photos, here):
    planned = plan(experiment(settings(*SMALL, f"data.dir={photos}", *CHOSEN, *OWN))).stages
    assert [stage.images for stage in planned] == [36, 36]
    assert planned[0].bytes == 36 * 2 * 4
    assert planned[1].why


MADE = ("head=prototypes", "model.trainable=false")
INDEX = "loss=sparse_categorical_crossentropy"
REFUSED = {
    "stages.main.image_size=64: base 'vit' takes images of one size": ["model=vit_tiny", "model.weights=null"],
    "stages.main.image_size=4 is too small: base 'cnn' needs sides of 8 at least": [],
    "stages.main.image_size=16: pooling 'flatten' gives vectors": ["pooling=flatten"],
    "stages.main.image_size=16: head 'prototypes' is made": MADE,
    "stages.main.mixup=0.2 changes nothing": MADE,
    "stages.main.label_smoothing=0.1: loss 'sparse_categorical_crossentropy' smooths no labels": [INDEX],
    "augmentation 'mixup' blends labels, which loss": [INDEX, "stages.main.mixup=0.1"],
    "augment.copies keeps each image by itself": ["augment=light", "augment.copies=2", "stages.main.mixup=0.1"],
}


@pytest.mark.parametrize(("said", "given"), REFUSED.items())
def test_what_a_stage_can_t_have_is_told_before_anything_starts(photos, here, said, given):
    small = [] if "model=vit_tiny" in given else SMALL
    key = [said.partition(":")[0].partition(" ")[0]] if said.startswith("stages") else []
    found = preflight(settings("data=image_folder", *small, f"data.dir={photos}", *given, *key))
    assert [problem.what for problem in found if problem.what.startswith(said)], found


def test_the_size_of_the_data_is_no_size_of_its_own(made):
    trainer = made("stages.main.image_size=8", "loss.label_smoothing=0.1", "stages.main.label_smoothing=0.1")
    assert (trainer.stages[0].size, trainer.stages[0].loss) == (None, None)


def test_a_network_that_turns_out_to_be_for_one_size_is_told_before_it_trains(made, monkeypatch):
    from framework.core import registry

    details = registry.get("pooling", "flatten").details
    monkeypatch.setitem(details, "any_size", True)
    with pytest.raises(BadInput, match=r"base 'cnn' takes no images of 16×16 with the weights of 8×8"):
        made("pooling=flatten", "stages.main.image_size=16")

"""Heads that are made of examples: how a training fits them, goes on with them, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest

from framework.core.backend import keras
from framework.core.errors import BadInput
from framework.runs.preflight import preflight
from framework.runs.prepare import look, network
from framework.training.trainer import Trainer
from tests.options.counted import effect
from tests.options.made import SMALL, settings
from tests.training.test_trainer import Memory, without_seconds

FROZEN = (*SMALL, "model.trainable=false", "head.neighbours=3")
KNN, MEANS = (*FROZEN, "head=knn"), (*FROZEN[:-1], "head=prototypes")


@pytest.fixture
def made(photos, here):
    def make(*overrides, **given):
        looked = look(settings(*overrides, f"data.dir={photos}"))
        return Trainer(looked.experiment, network(looked.experiment), data=looked.fingerprint, **given)

    return make


def vectors(trainer, split):
    model, images = trainer.network.model, trainer.experiment.images.splits[split]
    pixels = np.stack(
        [keras.utils.img_to_array(keras.utils.load_img(path, target_size=(8, 8))) for path in images.paths]
    )
    return keras.Model(model.input, model.get_layer("logits").input)(pixels)


@effect("stage.train")
def test_a_head_is_fitted_in_one_epoch_that_measures_and_trains_nothing(made):
    store = Memory()
    trainer = made(*KNN, "trainer.epochs=9", store=store)
    before = [np.array(weight) for weight in trainer.network.model.weights[:2]]
    trainer.train()
    (row,) = trainer.history
    assert (row["stage"], row["epoch"]) == ("main", 1)
    layer = trainer.network.model.get_layer("logits")
    held, shares = map(np.array, layer.get_weights())
    np.testing.assert_allclose(np.linalg.norm(held, axis=1), 1, rtol=1e-5)
    labels = trainer.experiment.images.splits["train"].labels
    np.testing.assert_array_equal(shares.argmax(1), labels)
    np.testing.assert_array_equal(before[0], trainer.network.model.weights[0])
    # leave-one-out on the training images, and on the others as evaluated
    cosines = held @ held.T
    np.fill_diagonal(cosines, -2)
    nearest = np.argsort(-cosines, axis=1)[:, :3]
    votes = [
        np.bincount(labels[near], weights=np.exp(cosines[place, near] / 0.07)) for place, near in enumerate(nearest)
    ]
    alone = np.mean([found.argmax() == label for found, label in zip(votes, labels, strict=True)])
    assert row["accuracy"] == pytest.approx(alone, abs=1e-6)
    found = trainer.answers().argmax(1) == trainer.experiment.images.splits["validation"].labels
    assert row["val_accuracy"] == pytest.approx(found.mean())
    # what is stored is all it takes
    again = made(*KNN, "trainer.epochs=9", store=Memory(store.states[-1]))
    again.train()
    np.testing.assert_array_equal(again.answers(), trainer.answers())
    assert without_seconds(again.history) == without_seconds(trainer.history)


def test_it_is_the_same_with_and_without_a_cache(made):
    answers = []
    for cache in ("auto", "off"):
        trainer = made(*MEANS, "model.weights=null", f"cache={cache}")
        trainer.train()
        answers.append(trainer.answers())
    np.testing.assert_allclose(*answers, rtol=1e-4, atol=1e-4)


def test_augmented_copies_are_examples_too(made):
    trainer = made(*KNN, "augment=light", "augment.copies=2", "pooling=flatten")
    trainer.train()
    held, shares = trainer.network.model.get_layer("logits").get_weights()
    assert len(held) == 2 * 24
    np.testing.assert_array_equal(shares[:24], shares[24:])
    assert not np.allclose(held[:24], held[24:])


def test_class_means_are_a_start_that_training_goes_on_from(made, monkeypatch):
    fitted = made(*MEANS)
    fitted.train()
    monkeypatch.setattr("framework.training.callback_list.STATE_SECONDS", 0.0)
    store = Memory()
    stages = ("stages.main.train=fit", "stages.more.train=all", "optim.lr=0.000000001", "trainer.epochs=2")
    trainer = made(*MEANS, *stages, store=store)
    trainer.train()
    assert [row["stage"] for row in trainer.history] == ["main", "more", "more"]
    np.testing.assert_allclose(trainer.answers(), fitted.answers(), rtol=1e-3, atol=1e-3)
    # from between the two stages, too
    again = made(*MEANS, *stages, store=Memory(store.states[0]))
    assert store.states[0].epoch == 1
    again.train()
    np.testing.assert_array_equal(again.answers(), trainer.answers())


def test_a_pooling_that_nothing_has_trained_is_refused(made):
    own = ("model=vit_tiny", "model.num_layers=1", "model.num_heads=1", "model.hidden_dim=4", "model.image_size=32")
    trainer = made(*(one for one in MEANS if "filters" not in one and "normal" not in one), *own, "pooling=attention",
                   "pooling.heads=1")  # fmt: skip
    with pytest.raises(BadInput, match="pooling 'attention' gives, which only training would make useful"):
        trainer.train()


@pytest.mark.parametrize(
    ("overrides", "what"),
    [
        ((*KNN[:-1], "head=knn", "stages.main.train=all"), "can't be trained: stages.main.train=all"),
        ((*SMALL, "stages.main.train=fit"), "head 'dense' is trained, not fitted"),
        ((*MEANS, "stages.main.epochs=3"), "stages.main.epochs=3 changes nothing: a head is fitted in one pass"),
        ((*MEANS, "augment=light"), "augment changes nothing"),
        ((*MEANS, "data.balance=over"), "data.balance=over changes nothing"),
        ((*MEANS, "data.class_weights=balanced"), "data.class_weights changes nothing"),
        ((*KNN, "head.neighbours=24"), "head.neighbours=24: an image has 23 others in training"),
    ],
)
def test_what_a_fitted_head_can_not_have_is_refused(photos, overrides, what):
    problems = preflight(settings(*overrides, f"data.dir={photos}"))
    assert any(re.search(re.escape(what), problem.what) for problem in problems), problems


def test_there_is_no_rate_to_find(photos, here, capsys):
    from framework import lr_find

    small = [one for one in SMALL if not one.startswith("callbacks")]
    assert lr_find.main([*small, "head=prototypes", "model.trainable=false", f"data.dir={photos}"]) == 2
    assert "fits head 'prototypes' without a learning rate" in capsys.readouterr().err

"""What a run says to be careful about: each caution where it holds, and only there."""

from __future__ import annotations

import numpy as np
import pytest

from framework.core.task import Multiclass
from framework.data.images import Images, Split
from framework.runs.cautions import cautions
from framework.training.experiment import Experiment
from tests.options.made import settings

CLASSES = ("hat", "shoes")


def said(images=(100, 100), scores=((0.7, 0.69), (0.8, 0.79), (0.81, 0.78)), *overrides):
    """The cautions of a run with so many validation images of each class and these accuracies, training's first."""
    labels = np.repeat([0, 1], images)
    split = Split(tuple(f"{number}.jpg" for number in range(len(labels))), labels.astype(np.int32))
    data = Images(CLASSES, {"train": split, "validation": split}, multilabel=False, origin="photos")
    start = Experiment(settings("data=image_folder", "data.dir=photos", *overrides), data, Multiclass(CLASSES), False)
    history = [
        {"stage": "main", "epoch": number, "accuracy": mine, "val_accuracy": theirs}
        for number, (mine, theirs) in enumerate(scores, start=1)
    ]
    return cautions(start, history, max(history, key=lambda row: row["val_accuracy"]))


def test_nothing_is_said_where_all_is_well():
    assert said() == []


def test_few_validation_images():
    (one,) = said((40, 40))
    assert one.startswith(
        "there are only 80 validation images, on which 0.790 can be 0.689 to 0.865 (95 %): -m data.folds=5"
    )
    (one,) = said((40, 40), ((0.7, 0.8), (0.7, 0.7)), "data.folds=5")
    assert one.endswith(": what counts is the mean over all folds")


def test_few_images_of_a_class():
    (one,) = said((193, 7))
    assert one.startswith("fewer than 10 validation images of a class say little of it (shoes 7): ")


@pytest.mark.parametrize(
    ("overrides", "right"), [((), "trainer.epochs=20"), (("stages.main.epochs=3",), "stages.main.epochs=6")]
)
def test_a_best_epoch_that_is_the_last(overrides, right):
    (one,) = said((100, 100), ((0.7, 0.7), (0.8, 0.79)), *overrides)
    assert one == f"the best epoch by val_accuracy is the last, so that more may be better still: {right}"


@pytest.mark.parametrize(
    ("overrides", "tries"),
    [
        ((), "augment=light or head.dropout=0.3"),
        (("augment=light",), "head.dropout=0.3"),
        (("augment=light", "head.dropout=0.2"), "more images, or a smaller network"),
    ],
)
def test_training_accuracy_far_above_validation(overrides, tries):
    (one,) = said((100, 100), ((0.99, 0.8), (0.99, 0.79)), *overrides)
    assert one == f"training accuracy is 0.990 and validation's 0.800: the images are learnt by heart; {tries}"
    assert said((100, 100), ((0.93, 0.8), (0.93, 0.79))) == []


def test_what_few_images_can_make_by_chance_is_no_learning_by_heart():
    assert not any("by heart" in one for one in said((2, 2), ((0.96, 0.8), (0.96, 0.79))))

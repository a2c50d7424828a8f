"""Splits that are drawn: by shares, by folds, and with groups that stay together."""

from __future__ import annotations

import os

import numpy as np
import pytest

from framework.core.errors import BadInput
from framework.data.images import Draw, Images, Split
from framework.data.splits import Splitting, drawn

CLASSES = ("a", "b", "c")


def listed(count=120, groups=20, test=0.0, validation=0.2, seed=0, several=False):
    """Images of three classes, half of them of the first; ``groups`` patients of very different size."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, count, p=(0.5, 0.3, 0.2)).astype(np.int32)
    patients = np.minimum(rng.geometric(0.15, count) - 1, groups - 1)
    paths = [
        f"/data/{CLASSES[label]}/p{patient:02d}-{place}.jpg"
        for place, (label, patient) in enumerate(zip(labels, patients, strict=True))
    ]
    given = np.eye(3, dtype=np.float32)[labels] if several else labels
    cells = {"patient": {path: str(patient) for path, patient in zip(paths, patients, strict=True)}}
    draw = Draw({"validation": validation, "test": test}, "/data")
    return Images(
        CLASSES,
        {"train": Split(tuple(paths), given)},
        several,
        "/data/list.csv",
        draw=draw,
        column=cells.get,
        columns=("patient",),
    )


def patients(split):
    return {os.path.basename(path).split("-")[0] for path in split.paths}


def shares(split):
    labels = split.labels if split.labels.ndim == 2 else np.eye(3)[split.labels]
    return labels.mean(axis=0)


@pytest.mark.parametrize("group", ["patient", "(p\\d+)-"])
@pytest.mark.parametrize("several", [False, True])
def test_a_group_is_on_one_side_and_labels_are_spread_as_well_as_that_allows(group, several):
    images = listed(count=600, groups=40, test=0.1, several=several)
    found = drawn(images, Splitting(1, group)).splits
    sides = [patients(split) for split in found.values()]
    assert [len(set.intersection(*pair)) for pair in zip(sides, sides[1:] + sides[:1], strict=True)] == [0, 0, 0]
    assert sorted(path for split in found.values() for path in split.paths) == sorted(images.splits["train"].paths)
    for name, share in (("train", 0.7), ("validation", 0.2), ("test", 0.1)):
        assert len(found[name]) == pytest.approx(600 * share, abs=20)
        assert shares(found[name]) == pytest.approx([0.5, 0.3, 0.2], abs=0.09)


def test_who_goes_where_does_not_depend_on_the_order():
    images = listed()
    backwards = Split(images.splits["train"].paths[::-1], images.splits["train"].labels[::-1])
    turned = Images(CLASSES, {"train": backwards}, False, "/data/list.csv", draw=images.draw, column=images.column)
    for wanted in (Splitting(1, "patient"), Splitting(1, None, 5, 2), Splitting(1, "patient", 4, 1), Splitting(1)):
        one, other = (set(drawn(given, wanted).splits["validation"].paths) for given in (images, turned))
        assert one == other
        assert one != set(drawn(images, Splitting(2, *list(vars(wanted).values())[1:])).splits["validation"].paths)


@pytest.mark.parametrize("group", [None, "patient"])
def test_each_image_validates_in_one_fold(group):
    images = listed(test=0.2)
    folds = [drawn(images, Splitting(1, group, 4, fold)).splits for fold in range(4)]
    assert len({one["test"].paths for one in folds}) == 1
    validated = [path for one in folds for path in one["validation"].paths]
    assert sorted([*validated, *folds[0]["test"].paths]) == sorted(images.splits["train"].paths)
    for one in folds:
        assert not set(one["train"].paths) & set(one["validation"].paths)
        if group:
            assert not patients(one["train"]) & patients(one["validation"])
        else:
            assert len(one["validation"]) == pytest.approx(len(validated) / 4, abs=1)
            counts = np.bincount(one["validation"].labels) - np.bincount(images.splits["train"].labels) * 0.8 / 4
            assert np.abs(counts).max() <= 2


def test_every_part_gets_a_group():
    few = listed(count=60, groups=4)
    for fold in range(4):
        assert drawn(few, Splitting(1, "patient", 4, fold)).splits["validation"].paths


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Splitting(1, "patiend"), "/data/list.csv has no column 'patiend'"),
        (Splitting(1, "(p\\d+"), r"data.group=\(p\\d\+ is no regular expression: missing \)"),
        (Splitting(1, "(p0\\d)-"), r"says no group of \d+ images: .*/p1"),
        (Splitting(1, None, 5, 5), "data.fold=5, and the folds of data.folds=5 count from 0"),
        (Splitting(1, None, 1), "data.folds=1: one part can't validate"),
        (Splitting(1, None, None, 2), "data.fold=2 needs data.folds"),
        (Splitting(1, None, 121), "data.folds=121, and there are 120 images"),
        (Splitting(1, "patient", 21), r"data.group makes \d+ groups of the images: .* \(16 more\)"),
    ],
)
def test_what_can_not_be_is_told(wanted, said):
    with pytest.raises(BadInput, match=said):
        drawn(listed(groups=20), wanted)


def test_splits_of_the_data_are_held_against_the_groups():
    images = listed()
    one, other = drawn(images, Splitting(1)).splits.values()
    given = Images(CLASSES, {"train": one, "validation": other}, False, "/data/list.csv", column=images.column)
    with pytest.raises(
        BadInput, match=r"groups of data.group=patient lie in several of the splits that the data bring"
    ):
        drawn(given, Splitting(1, "patient"))
    with pytest.raises(BadInput, match=r"draws the validation images, and /data/list.csv brings its own"):
        drawn(given, Splitting(1, None, 5))

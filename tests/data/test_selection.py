"""The stratified split, fewer classes, the yes-or-no question, and the limit."""

import hashlib

import numpy as np
import pytest

from framework.core.errors import BadInput
from framework.data import selection
from framework.data.images import Images, Split
from framework.data.selection import narrow, stratified_split


def listed(counts, multilabel=False):
    labels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    paths = tuple(f"/data/{label}/{number}.jpg" for number, label in enumerate(labels))
    if multilabel:
        labels = np.eye(len(counts), dtype=np.float32)[labels]
        labels[:, 0] = 1
    split = Split(paths, labels)
    return Images(tuple("abcdefgh"[: len(counts)]), {"train": split, "validation": split}, multilabel, "made")


def test_split_has_its_share_of_every_group_whatever_the_order():
    names = [f"{number}.jpg" for number in range(100)]
    groups = [0] * 80 + [1] * 17 + [2] * 3
    parts = stratified_split(names, groups, {"validation": 0.2, "test": 0.1}, seed=4)
    assert sorted(position for positions in parts.values() for position in positions) == list(range(100))
    assert {split: np.bincount([groups[p] for p in positions]).tolist() for split, positions in parts.items()} == {
        "train": [56, 12, 1],
        "validation": [16, 3, 1],
        "test": [8, 2, 1],
    } or [len(parts[split]) for split in ("train", "validation", "test")] == [70, 20, 10]
    backwards = stratified_split(names[::-1], groups[::-1], {"validation": 0.2, "test": 0.1}, seed=4)
    assert {names[p] for p in parts["validation"]} == {names[::-1][p] for p in backwards["validation"]}
    assert stratified_split(names, groups, {"validation": 0.2}, seed=5)["validation"] != parts["validation"]


@pytest.mark.parametrize(("clash", "bits"), [(False, 14), (False, 0), (True, 14)])
def test_the_first_of_each_group_validate_the_next_test_and_the_others_train(monkeypatch, clash, bits):
    monkeypatch.setattr(selection, "_GROUPS", bits)  # as if there were very many groups
    if clash:  # as if all names had one of ten hashes
        real = hashlib.blake2b
        monkeypatch.setattr(hashlib, "blake2b", lambda data, digest_size: real(data[-5:-4], digest_size=digest_size))
    rng = np.random.default_rng(0)
    for count in (0, 1, 7, 2000):
        names = [f"{number}.jpg" for number in rng.permutation(count).tolist()]
        groups = rng.choice([0, 1, 2, 2, 11], count).tolist()
        parts = stratified_split(names, groups, {"validation": 0.2, "test": 0.13}, seed=1)
        split_of = {position: split for split, positions in parts.items() for position in positions}
        assert len(split_of) == count
        for members in selection.by_group(names, groups, "split/1"):
            there = [split_of[position] for position in members.tolist()]
            assert there == sorted(there, key=["validation", "test", "train"].index)


def test_every_class_of_two_reaches_validation():
    parts = stratified_split([f"{n}" for n in range(40)], [n // 2 for n in range(40)], {"validation": 0.5}, seed=0)
    assert sorted(p // 2 for p in parts["validation"]) == list(range(20))


def test_classes_are_kept_in_the_given_order():
    images = narrow(listed([3, 4, 5]), ["c", "a"], None, None, 0)
    assert images.classes == ("c", "a")
    split = images.splits["train"]
    assert np.bincount(split.labels).tolist() == [5, 3]
    assert all(("/2/" in path) == (label == 0) for path, label in zip(split.paths, split.labels, strict=True))


def test_classes_of_several_labels_an_image():
    images = narrow(listed([2, 3, 4], multilabel=True), ["c", "b"], None, None, 0)
    assert images.splits["train"].labels.tolist() == [[0, 1]] * 3 + [[1, 0]] * 4
    asked = narrow(listed([2, 3, 4], multilabel=True), None, "b", None, 0)
    assert not asked.multilabel
    assert asked.splits["train"].labels.tolist() == [0, 0, 1, 1, 1, 0, 0, 0, 0]


def test_a_question_about_one_class():
    images = narrow(listed([3, 4, 5]), None, "b", None, 0)
    assert images.classes == ("not b", "b")
    assert images.splits["train"].labels.tolist() == [0] * 3 + [1] * 4 + [0] * 5


@pytest.mark.parametrize("limit", [1, 3, 10, 57, 200])
def test_limit_is_spread_and_never_exceeded(limit):
    images = narrow(listed([60, 30, 10]), None, None, limit, 0)
    split = images.splits["train"]
    assert len(split) == min(limit, 100)
    if limit >= 3:
        assert np.bincount(split.labels, minlength=3).min() >= 1
    assert list(split.paths) == sorted(split.paths, key=lambda path: int(path.split("/")[-1][:-4]))
    again = narrow(listed([60, 30, 10]), None, None, limit, 0)
    assert again.splits["train"].paths == split.paths


def test_unknown_names_come_together():
    images = Images(("hat", "shirt", "skirt"), listed([1, 1, 1]).splits, False, "made")
    with pytest.raises(BadInput) as error:
        narrow(images, ["shrt", "hat", "hat"], "skirts", None, 0)
    assert [(problem.what, problem.where) for problem in error.value.problems] == [
        ("the data has no class 'shrt'", "data.classes"),
        ("data.classes has 'hat' 2 times", "data.classes"),
        ("data.classes has no class 'skirts'", "data.positive"),
    ]
    assert error.value.problems[0].right.startswith("shirt")
    with pytest.raises(BadInput, match="keeps fewer than two"):
        narrow(images, ["hat"], None, None, 0)

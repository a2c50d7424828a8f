"""The images that a classifier is least sure of."""

from __future__ import annotations

import numpy as np
import pytest

from framework.core.task import Binary, Multiclass, Multilabel
from framework.evaluation.uncertain import diverse, doubt, worth_labelling


def logits(probabilities):
    return np.log(np.asarray(probabilities, np.float32))


def test_doubt_of_one_class_is_nearness_of_the_two_likeliest_or_entropy():
    task = Multiclass(("a", "b", "c"))
    found = logits([[0.5, 0.4, 0.1], [0.4, 0.3, 0.3], [0.98, 0.01, 0.01]])
    assert doubt(task, found, "margin") == pytest.approx([0.9, 0.9, 0.03], abs=1e-5)
    entropy = [-sum(p * np.log(p) for p in row) for row in ([0.5, 0.4, 0.1], [0.4, 0.3, 0.3], [0.98, 0.01, 0.01])]
    assert doubt(task, found, "entropy") == pytest.approx(entropy, abs=1e-5)


def test_doubt_of_yes_or_no_and_of_several_labels():
    found = np.array([[0.0], [3.0], [-1.0]], np.float32)
    assert np.argsort(-doubt(Binary(("no", "yes")), found, "margin")).tolist() == [0, 2, 1]
    several = np.array([[5.0, 0.1], [5.0, -5.0]], np.float32)
    for order in ("margin", "entropy"):
        assert doubt(Multilabel(("a", "b")), several, order).argmax() == 0


def test_the_classes_take_turns():
    task = Multiclass(("a", "b"))
    found = logits([[0.51, 0.49], [0.52, 0.48], [0.53, 0.47], [0.1, 0.9], [0.2, 0.8]])
    assert worth_labelling(task, found, "margin", None).tolist() == [0, 4, 1, 3, 2]
    assert worth_labelling(task, found, "margin", 2).tolist() == [0, 4]


def test_the_least_known_come_first_by_distance():
    task = Multiclass(("a", "b"))
    rows = np.concatenate([logits([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9]]), [[0.1], [0.7], [0.3]]], axis=1)
    assert doubt(task, rows, "distance") == pytest.approx([0.1, 0.7, 0.3])
    assert worth_labelling(task, rows, "distance", 2).tolist() == [1, 2]


def test_those_that_are_alike_are_not_taken_twice():
    vectors = np.array([[1, 0, 0], [0.999, 0.04, 0], [0, 1, 0], [0.04, 0.999, 0], [0, 0, 1]])
    assert diverse(vectors, 3).tolist() == [0, 4, 2] or diverse(vectors, 3).tolist() == [0, 2, 4]
    assert sorted(diverse(vectors, 9).tolist()) == [0, 1, 2, 3, 4]

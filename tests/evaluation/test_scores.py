"""Scores against values worked out by hand or by another road."""

from __future__ import annotations

import math

import numpy as np
import pytest

from framework.evaluation.scores import (
    calibration,
    class_scores,
    confusion_matrix,
    most_confused,
    probabilities,
    thresholds,
    top_k,
    wilson,
)


def test_probabilities_are_those_of_a_softmax_or_a_sigmoid():
    logits = np.array([[1.0, 2.0, 3.0], [1000.0, 0.0, -1000.0]])
    many = probabilities(logits, "multiclass")
    np.testing.assert_allclose(many.sum(axis=1), 1)
    assert many[0, 2] == pytest.approx(math.exp(3) / (math.e + math.exp(2) + math.exp(3)))
    yes = probabilities(np.array([[0.0], [800.0], [-800.0]]), "binary")
    np.testing.assert_allclose(yes, [[0.5, 0.5], [0, 1], [1, 0]])
    assert probabilities(logits, "multilabel")[0, 0] == pytest.approx(1 / (1 + math.exp(-1)))


def test_wilson_gives_the_published_interval():
    low, high = wilson(276, 341)
    assert (round(low, 4), round(high, 4)) == (0.7643, 0.8475)
    assert wilson(0, 10)[0] == 0
    assert wilson(10, 10)[1] == pytest.approx(1)
    assert wilson(0, 0) == (0, 1)


def test_top_k_counts_the_right_class_among_the_likeliest():
    shares = np.array([[0.5, 0.3, 0.2], [0.1, 0.3, 0.6], [0.2, 0.5, 0.3]])
    labels = np.array([1, 0, 1])
    assert top_k(shares, labels, 1) == pytest.approx(1 / 3)
    assert top_k(shares, labels, 2) == pytest.approx(2 / 3)
    assert top_k(shares, labels, 3) == 1


def test_confusions_and_what_follows_from_them():
    labels, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 0, 2])
    matrix = confusion_matrix(labels, predicted, 4)
    np.testing.assert_array_equal(matrix, [[1, 2, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]])
    rows = class_scores(np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1), "abcd")
    assert rows[0] == pytest.approx({"class": "a", "precision": 1 / 2, "recall": 1 / 3, "f1": 0.4, "support": 3})
    assert rows[3] == {"class": "d", "precision": 0, "recall": 0, "f1": 0, "support": 0}
    pairs = most_confused(matrix, "abcd")
    assert [(pair["true"], pair["predicted"], pair["count"]) for pair in pairs] == [("a", "b", 2), ("b", "a", 1)]
    assert pairs[0]["share"] == pytest.approx(2 / 3)


def test_the_calibration_error_is_the_weighted_gap():
    found = calibration(np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55]), np.array([1, 1, 1, 0, 1, 0], bool), bins=10)
    assert found.counts.tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 0, 4]
    assert found.error == pytest.approx((4 * 0.2 + 2 * 0.05) / 6)
    assert calibration(np.ones(3), np.ones(3, bool)).error == 0
    assert math.isnan(found.accuracy[0])


def test_the_curves_of_a_yes_or_no_question():
    yes, labels = np.array([0.9, 0.8, 0.7, 0.6, 0.6]), np.array([1, 1, 0, 1, 0])
    curve = thresholds(yes, labels)
    assert curve.threshold.tolist() == [0.9, 0.8, 0.7, 0.6]
    assert curve.hits.tolist() == [1, 2, 2, 3]
    assert curve.alarms.tolist() == [0, 0, 1, 2]
    pairs = [(a > b) + 0.5 * (a == b) for a in yes[labels == 1] for b in yes[labels == 0]]
    assert curve.roc_area == pytest.approx(np.mean(pairs))
    assert curve.average_precision == pytest.approx((1 + 1 + 3 / 5) / 3)
    assert curve.threshold[curve.best_f1] == 0.8
    assert thresholds(yes, np.ones(5, int)).roc_area is None
    assert thresholds(yes, np.zeros(5, int)).average_precision is None

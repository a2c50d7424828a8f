"""Scores against values worked out by hand or by another road."""

from __future__ import annotations

import math

import numpy as np
import pytest

from framework.evaluation.scores import (
    average_precision,
    calibration,
    class_scores,
    confusion_matrix,
    most_confused,
    roc_area,
    thresholds,
    top_k,
)


def test_top_k_counts_the_right_class_among_the_likeliest():
    logits = np.array([[0.5, 0.3, 0.2], [0.1, 0.3, 0.6], [0.2, 0.5, 0.3]])
    labels = np.array([1, 0, 1])
    assert top_k(logits, labels, 1) == pytest.approx(1 / 3)
    assert top_k(logits, labels, 2) == pytest.approx(2 / 3)
    assert top_k(logits, labels, 3) == 1
    assert top_k(np.zeros((3, 5)), np.array([0, 2, 4]), 2) == pytest.approx(1 / 3)


def test_confusions_and_what_follows_from_them():
    labels, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 0, 2])
    matrix = confusion_matrix(labels, predicted, 4)
    np.testing.assert_array_equal(matrix, [[1, 2, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]])
    many = np.array([29, 29, 3], np.uint8), np.array([29, 4, 3])  # as labels of very many images are
    assert np.argwhere(confusion_matrix(*many, 30)).tolist() == [[3, 3], [29, 4], [29, 29]]
    rows = class_scores(labels, predicted, "abcd")
    first = {"class": "a", "precision": 1 / 2, "recall": 1 / 3, "f1": 0.4, "support": 3, "named": 2}
    assert rows[0] == pytest.approx(first)
    assert rows[3] == {"class": "d", "precision": 0, "recall": 0, "f1": 0, "support": 0, "named": 0}
    pairs = most_confused(matrix, "abcd")
    assert [(pair["true"], pair["predicted"], pair["count"]) for pair in pairs] == [("a", "b", 2), ("b", "a", 1)]
    assert pairs[0]["share"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("images", [100, 341, 5000])
def test_what_chance_makes_of_true_confidence_is_what_draws_come_to(images):
    draw = np.random.default_rng(3)
    confidence = draw.beta(4, 1, images)
    errors = [calibration(confidence, draw.random(images) < confidence).error for _ in range(300)]
    assert calibration(confidence, np.ones(images, bool)).by_chance == pytest.approx(np.mean(errors), rel=0.08)


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
    np.testing.assert_allclose(curve.recall, [1 / 3, 2 / 3, 2 / 3, 1])
    np.testing.assert_allclose(curve.false_alarm_rate, [0, 0, 1 / 2, 1])
    np.testing.assert_allclose(curve.precision, [1, 1, 2 / 3, 3 / 5])
    assert curve.threshold[curve.best_f1] == 0.8
    pairs = [(a > b) + 0.5 * (a == b) for a in yes[labels == 1] for b in yes[labels == 0]]
    assert roc_area(yes, labels) == pytest.approx(np.mean(pairs))
    assert average_precision(yes, labels) == pytest.approx((1 + 1 + 3 / 5) / 3)


@pytest.mark.parametrize("label", [0, 1])
def test_where_there_is_one_answer_only_curves_are_0_and_areas_none(label):
    yes, labels = np.array([0.9, 0.8, 0.7]), np.full(3, label)
    curve = thresholds(yes, labels)
    assert all(
        np.isfinite(values).all() for values in (curve.recall, curve.false_alarm_rate, curve.precision, curve.f1)
    )
    assert roc_area(yes, labels) is None
    assert (average_precision(yes, labels) is None) == (label == 0)

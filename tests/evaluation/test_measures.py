"""A whole record of scores for each kind of task."""

from __future__ import annotations

import json

import numpy as np
import pytest

from framework.core.task import Task
from framework.evaluation.measures import Answers, measure

PATHS = tuple("abcd")


def answers(kind, classes, labels, logits):
    return Answers(Task(kind, classes, "index"), PATHS, np.asarray(labels), np.asarray(logits, np.float32))


def test_one_of_many():
    found = answers("multiclass", ("x", "y", "z"), [0, 1, 2, 2], [[5, 0, 0], [0, 5, 0], [0, 0, 5], [9, 0, 1]])
    record = measure(found, 0.5, [2, 5])
    assert (record["loss"], record["accuracy"], record["top_k"]) == (0.5, 0.75, {"2": 1.0})
    assert record["most_confused"] == [{"true": "z", "predicted": "x", "count": 1, "share": 0.5}]
    assert found.mistakes(10).tolist() == [3]
    assert json.loads(json.dumps(record)) == record


def test_yes_or_no():
    found = answers("binary", ("no", "yes"), [0, 1, 1, 0], [[-3], [2], [-1], [-4]])
    record = measure(found, 0.1, [3])
    assert record["accuracy"] == 0.75
    assert record["binary"]["roc_area"] == 1
    assert record["binary"]["best_f1"] == 1
    assert record["binary"]["best_f1_threshold"] == pytest.approx(1 / (1 + np.e))
    assert "top_k" not in record
    assert json.loads(json.dumps(record)) == record


def test_several_labels():
    labels = np.array([[1, 0], [1, 1], [0, 0], [0, 1]], np.float32)
    found = answers("multilabel", ("x", "y"), labels, [[3, -3], [3, -1], [-3, -3], [-3, 3]])
    record = measure(found, 0.1, [3])
    assert record["accuracy"] == 7 / 8
    assert record["exact_match"] == 3 / 4
    assert record["mean_average_precision"] == 1
    assert record["per_class"][1]["recall"] == 0.5
    assert "most_confused" not in record
    assert found.mistakes(10).tolist() == [1]
    assert json.loads(json.dumps(record)) == record

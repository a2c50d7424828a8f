"""A whole record of scores for each kind of task."""

from __future__ import annotations

import json

import numpy as np
import pytest

import framework.parts.metrics  # noqa: F401 - registers them
from framework.core import registry
from framework.core.task import TASKS
from framework.evaluation.measures import Answers, measure
from tests.parts.options import named

PATHS = tuple("abcd")


def answers(kind, classes, labels, logits):
    return Answers(TASKS[kind](classes), PATHS, np.asarray(labels), np.asarray(logits, np.float32))


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


UNITS = {"multiclass": 6, "binary": 1, "multilabel": 6}
LOGITS = {
    "random": lambda rng, shape: rng.normal(0, 1.5, shape),
    "narrow": lambda rng, shape: 3 + rng.normal(0, 1e-5, shape),
    "wide": lambda rng, shape: rng.normal(0, 400, shape),
    "tied": lambda rng, shape: rng.integers(-1, 2, shape),
}


@pytest.mark.parametrize("one_class", [False, True])
@pytest.mark.parametrize("spread", LOGITS)
@pytest.mark.parametrize("kind", UNITS)
def test_a_run_s_history_says_the_same_of_the_same_images(kind, spread, one_class):
    """Also where a class has no image but is named (e), or neither (f); every metric that there is."""
    rng, count = np.random.default_rng(3), 80
    logits = np.asarray(LOGITS[spread](rng, (count, UNITS[kind])), np.float32)
    labels = rng.integers(0, 2 if kind == "binary" else 4, count) * (not one_class)
    if kind == "multilabel":
        labels = (rng.random((count, 6)) < [0.2, 0.4, 0.6, 0.2, 0, 0]) & (np.arange(6) != 0 if one_class else True)
        labels = labels.astype(np.float32)
    if kind != "binary":
        logits[:, 5] -= 5000
    task = TASKS[kind](("no", "yes") if kind == "binary" else tuple("abcdef")).for_loss("index")
    record = measure(Answers(task, [str(n) for n in range(count)], labels, logits), 0.0, [3])
    for name, parameters in named("metrics").items():
        part = registry.get("metric", name)
        if not task.fits(part):
            continue
        metric = part(task, name, **parameters)
        for half in (slice(0, 40), slice(40, None)):
            metric.update_state(task.targets(labels[half]), logits[half])
        said = {**record, **record["overall"], "top_k": record.get("top_k", {}).get("3")}[name]
        expected = float(metric.result())
        if np.isnan(expected):
            assert said is None
        else:
            assert said == pytest.approx(expected, abs=1e-6)
            assert expected > 0 or one_class


def test_what_the_scores_of_all_are_of_is_said():
    several = answers(
        "multiclass", tuple("wxyz"), [0, 0, 1, 1], [[5, 0, 0, 0], [0, 0, 5, 0], [0, 5, 0, 0], [0, 5, 0, 0]]
    )
    assert several.overall["of"] == "mean of the 3 of 4 classes that occur"
    assert several.overall["recall"] == pytest.approx((0.5 + 1 + 0) / 3)
    yes = answers("binary", ("no", "yes"), [0, 0, 1, 0], [[-1], [-1], [-1], [-1]])
    assert (yes.overall["of"], yes.overall["f1"]) == ("yes", 0)

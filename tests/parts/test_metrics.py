import numpy as np
import pytest

import framework.parts.metrics  # noqa: F401
from framework.core import registry
from framework.core.backend import keras
from framework.core.task import Task
from tests.parts.options import assert_contract, assert_described, assert_light, composed, named

OPTIONS = named("metrics")
CLASSES = tuple("abcde")
TASKS = {
    "one_hot": Task("multiclass", CLASSES, "one_hot"),
    "index": Task("multiclass", CLASSES, "index"),
    "binary": Task("binary", ("no", "yes"), "binary"),
    "multi_hot": Task("multilabel", CLASSES, "multi_hot"),
}
COUNT = 97


def build(name, labels, **changed):
    return registry.get("metric", name)(TASKS[labels], f"my_{name}", **{**OPTIONS[name], **changed})


def fits(name, labels):
    return TASKS[labels].kind in registry.get("metric", name).details["tasks"]


def made(labels, seed=0):
    """Labels as the task encodes them, their 0/1 columns, logits that are right more often than not, weights."""
    rng = np.random.default_rng(seed)
    units = TASKS[labels].units
    if labels in ("one_hot", "index"):
        index = rng.integers(0, units, COUNT)
        columns = np.eye(units)[index]
    else:
        columns = (rng.random((COUNT, units)) < 0.4).astype(float)
    logits = (rng.normal(0, 1.5, (COUNT, units)) + 2 * columns - 1).astype("float32")
    truth = index.astype("int32") if labels == "index" else columns.astype("float32")
    return truth, columns, logits, rng.random(COUNT).astype("float32") + 0.1


def answers(labels, logits):
    return np.eye(logits.shape[1])[logits.argmax(1)] if labels in ("one_hot", "index") else (logits > 0).astype(float)


def by_hand(name, labels, columns, logits, weights):
    """Each metric from its definition, one class at a time."""
    said = answers(labels, logits)
    if name == "accuracy":
        right = (said == columns).all(1) if labels in ("one_hot", "index") else (said == columns).mean(1)
        return np.average(right, weights=weights)
    if name == "top_k":
        best = np.argsort(-logits, axis=1)[:, : OPTIONS["top_k"]["k"]]
        return np.average([columns[row, best[row]].any() for row in range(len(columns))], weights=weights)
    scores = []
    for column in range(columns.shape[1]):
        there, called = columns[:, column], said[:, column]
        if name == "auc":
            score = logits[:, column]
            if labels in ("one_hot", "index"):
                others = np.delete(logits, column, axis=1)
                score = score - np.log(np.exp(others).sum(1))
            above = (score[:, None] > score[None]) + 0.5 * (score[:, None] == score[None])
            pairs = np.outer(weights * there, weights * (1 - there))
            scores.append((above * pairs).sum() / pairs.sum())
            continue
        right = (weights * there * called).sum()
        precision = right / (weights * called).sum()
        recall = right / (weights * there).sum()
        scores.append({"precision": precision, "recall": recall, "f1": 2 / (1 / precision + 1 / recall)}[name])
    return np.mean(scores)


CASES = [(name, labels) for name in sorted(OPTIONS) for labels in sorted(TASKS) if fits(name, labels)]


def test_contract():
    assert_contract("metric", OPTIONS)
    assert_described("metrics")
    assert_light("framework.parts.metrics")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("name", "labels"), CASES)
def test_in_batches_as_by_hand(name, labels, weighted):
    truth, columns, logits, weights = made(labels)
    metric = build(name, labels)
    for start in range(0, COUNT, 16):
        part = slice(start, start + 16)
        metric.update_state(truth[part], logits[part], weights[part] if weighted else None)
    expected = by_hand(name, labels, columns, logits, weights if weighted else np.ones(COUNT))
    assert 0 < expected < 1
    assert float(metric.result()) == pytest.approx(expected, abs=2e-3 if name == "auc" else 1e-5)
    assert metric.name == f"my_{name}"
    metric.reset_state()
    assert float(metric.result()) == 0


@pytest.mark.parametrize(("name", "labels"), CASES)
def test_perfect_is_one_and_worst_is_none(name, labels):
    truth, columns, _, _ = made(labels)
    right = (20 * columns - 10).astype("float32")
    metric = build(name, labels, **({"k": 1} if name == "top_k" else {}))
    metric.update_state(truth, right)
    assert float(metric.result()) == pytest.approx(1)
    metric.reset_state()
    metric.update_state(truth, -right)
    assert float(metric.result()) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("name", "labels"), CASES)
def test_comes_back_from_its_config(name, labels):
    truth, _, logits, _ = made(labels)
    metric = build(name, labels)
    again = keras.metrics.deserialize(keras.metrics.serialize(metric))
    metric.update_state(truth, logits)
    again.update_state(truth, logits)
    assert float(again.result()) == float(metric.result())
    assert again.name == metric.name


@pytest.mark.parametrize("name", ["auc", "f1", "precision", "recall"])
def test_classes_that_never_occur_do_not_count(name):
    metric = build(name, "index")
    metric.update_state(np.int32([0, 1, 0]), np.float32([[9, 0, -9, -9, -9], [0, 9, -9, -9, -9], [9, 0, -9, -9, -9]]))
    assert float(metric.result()) == pytest.approx(1)


def test_sure_answers_are_still_told_apart():
    metric = build("auc", "binary")
    metric.update_state(np.float32([[0], [1], [0], [1]]), np.float32([[7], [8], [9], [10]]))
    assert float(metric.result()) == pytest.approx(0.75)


def test_more_places_than_classes():
    metric = build("top_k", "index", k=7)
    metric.update_state(np.int32([4]), np.float32([[5, 4, 3, 2, 1]]))
    assert float(metric.result()) == 1


def test_blended_labels_count_as_the_nearest_class():
    metric = build("f1", "one_hot")
    metric.update_state(np.float32([[0.7, 0.3, 0, 0, 0]]), np.float32([[1, 0, 0, 0, 0]]))
    assert float(metric.result()) == 1


def test_work_in_fit():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5)])
    metrics = [build(name, "one_hot") for name in sorted(OPTIONS)]
    model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True), metrics=metrics)
    truth, _, _, weights = made("one_hot")
    history = model.fit(np.ones((COUNT, 4), "float32"), truth, sample_weight=weights, batch_size=16, verbose=0).history
    assert {f"my_{name}" for name in OPTIONS} <= set(history)


def test_options_compose():
    assert list(composed("+metrics=default")["metrics"]) == ["accuracy"]
    assert composed("+metrics=[accuracy,f1]")["metrics"] == {"accuracy": {"name": "accuracy"}, "f1": {"name": "f1"}}

"""Losses and metrics: what they make of given logits and labels."""

from __future__ import annotations

import numpy as np
import pytest

from tests.options.counted import effect, effects
from tests.options.made import TASKS, built, settings

LOGITS = np.float32([[2.0, 0.0, -0.5], [0.5, 0.0, 0.0]])
LABELS = {
    "one_hot": np.float32([[0, 1, 0], [1, 0, 0]]),
    "index": np.int32([1, 0]),
    "binary": np.float32([[1], [0]]),
    "multi_hot": np.float32([[1, 1, 0], [0, 0, 0]]),
}


def logits_of(labels):
    return LOGITS[:, :1] if labels == "binary" else LOGITS


def softmax_entropy(labels, gamma=0.0, alpha=1.0, smoothing=0.0):
    """Cross-entropy of a softmax by hand, each class's share of it made small by how sure the network is of it."""
    truth = np.eye(3)[LABELS["index"]] if labels == "index" else LABELS[labels]
    truth = truth * (1 - smoothing) + smoothing / 3
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
    return float(-(alpha * (1 - p) ** gamma * truth * np.log(p)).sum(1).mean())


def sigmoid_entropy(labels, gamma=0.0, alpha=None, smoothing=0.0):
    """Cross-entropy of a sigmoid by hand."""
    truth = LABELS[labels] * (1 - smoothing) + smoothing / 2
    p = 1 / (1 + np.exp(-logits_of(labels)))
    right = truth * p + (1 - truth) * (1 - p)
    weight = 1.0 if alpha is None else truth * alpha + (1 - truth) * (1 - alpha)
    entropy = -(truth * np.log(p) + (1 - truth) * np.log(1 - p))
    return float((weight * (1 - right) ** gamma * entropy).mean())


def lost(option, labels, **changed):
    return float(built("loss", "loss", option, TASKS[labels], **changed)(LABELS[labels], logits_of(labels)))


@effects("expected", {
    "loss=auto": {
        "one_hot": softmax_entropy("one_hot"),
        "binary": sigmoid_entropy("binary"),
        "multi_hot": sigmoid_entropy("multi_hot"),
    },
    "loss=categorical_crossentropy": {"one_hot": softmax_entropy("one_hot")},
    "loss=sparse_categorical_crossentropy": {"index": softmax_entropy("index")},
    "loss=binary_crossentropy": {"binary": sigmoid_entropy("binary"), "multi_hot": sigmoid_entropy("multi_hot")},
    "loss=focal": {
        "one_hot": softmax_entropy("one_hot", gamma=2.0),
        "binary": sigmoid_entropy("binary", gamma=2.0),
        "multi_hot": sigmoid_entropy("multi_hot", gamma=2.0),
    },
})  # fmt: skip
def test_each_loss_is_the_formula_of_its_name(expected, request):
    option = request.node.callspec.id.partition("=")[2]
    assert {labels: lost(option, labels) for labels in expected} == pytest.approx(expected, rel=1e-5)


@effects("option, changed, expected", {
    "loss.auto.label_smoothing": (
        "auto",
        {"label_smoothing": 0.3},
        {
            "one_hot": softmax_entropy("one_hot", smoothing=0.3),
            "binary": sigmoid_entropy("binary", smoothing=0.3),
            "multi_hot": sigmoid_entropy("multi_hot", smoothing=0.3),
        },
    ),
    "loss.categorical_crossentropy.label_smoothing": (
        "categorical_crossentropy",
        {"label_smoothing": 0.3},
        {"one_hot": softmax_entropy("one_hot", smoothing=0.3)},
    ),
    "loss.binary_crossentropy.label_smoothing": (
        "binary_crossentropy",
        {"label_smoothing": 0.3},
        {"binary": sigmoid_entropy("binary", smoothing=0.3)},
    ),
    "loss.focal.gamma": (
        "focal",
        {"gamma": 0.5},
        {"one_hot": softmax_entropy("one_hot", gamma=0.5), "binary": sigmoid_entropy("binary", gamma=0.5)},
    ),
    "loss.focal.alpha": (
        "focal",
        {"alpha": 0.25},
        {
            "one_hot": softmax_entropy("one_hot", gamma=2.0, alpha=0.25),
            "binary": sigmoid_entropy("binary", gamma=2.0, alpha=0.25),
        },
    ),
    "loss.focal.label_smoothing": (
        "focal",
        {"label_smoothing": 0.3},
        {
            "one_hot": softmax_entropy("one_hot", gamma=2.0, smoothing=0.3),
            "binary": sigmoid_entropy("binary", gamma=2.0, smoothing=0.3),
        },
    ),
})  # fmt: skip
def test_a_losss_key_is_in_its_formula(option, changed, expected):
    assert {labels: lost(option, labels, **changed) for labels in expected} == pytest.approx(expected, rel=1e-5)


# of four images two are blue; a green one is taken for blue, with green next, and red is never named
TRUTH = np.float32([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
ANSWERS = np.float32([[5, 1, 0], [4, 0, 1], [3, 2, 0], [1, 2, 0]])


def measured(option, truth=TRUTH, answers=ANSWERS, **changed):
    metric = built("metric", "metrics", option, TASKS["one_hot"], option, **changed)
    metric.update_state(truth, answers)
    return float(metric.result())


@effects("option, expected", {
    "metrics=accuracy": ("accuracy", 2 / 4),
    "metrics=precision": ("precision", (2 / 3 + 0 + 0) / 3),
    "metrics=recall": ("recall", (1 + 0 + 0) / 3),
    "metrics=f1": ("f1", (4 / 5 + 0 + 0) / 3),
    "metrics=auc": ("auc", (1 + 2 / 3 + 1) / 3),
})  # fmt: skip
def test_each_metric_is_what_its_name_says(option, expected):
    assert measured(option) == pytest.approx(expected, abs=1e-6)


@effect("metrics=top_k", "metrics.top_k.k")
def test_top_k_counts_the_k_likeliest():
    assert [measured("top_k", k=k) for k in (1, 2, 3)] == pytest.approx([2 / 4, 3 / 4, 1.0])
    assert measured("top_k") == 1.0


@effect("metrics=default")
def test_accuracy_alone_is_measured_unless_others_are_named():
    assert list(settings("metrics=default").metrics) == list(settings().metrics) == ["accuracy"]
    assert list(settings("metrics=[default,f1]").metrics) == ["accuracy", "f1"]

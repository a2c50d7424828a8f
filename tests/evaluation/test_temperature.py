"""One number that logits are divided by: found again where it was lost, for each kind of task; answers stay."""

from __future__ import annotations

import numpy as np
import pytest

from framework.core.task import Binary, Multiclass, Multilabel, sigmoid
from framework.evaluation.scores import calibration
from framework.evaluation.temperature import fitted, record

TASKS = (Multiclass(("a", "b", "c")), Binary(("no", "yes")), Multilabel(("a", "b", "c")))


def drawn(task, count=4000):
    """Logits that mean what they say, and labels drawn by their probabilities."""
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (count, task.units))
    if isinstance(task, Multiclass):
        shares = task.probabilities(logits).cumsum(axis=1)
        return logits, (rng.uniform(size=(count, 1)) > shares).sum(axis=1)
    labels = (rng.uniform(size=logits.shape) < sigmoid(logits)).astype(np.int32)
    return logits, labels[:, 0] if isinstance(task, Binary) else labels


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_what_was_done_to_logits_is_undone(task, temperature):
    logits, labels = drawn(task)
    found = record(task, logits * temperature, labels)
    assert found["temperature"] == pytest.approx(temperature, rel=0.12)
    assert found["images"] == len(labels)
    assert found["error"]["after"] < 0.03
    assert (
        found["error"]["before"] == pytest.approx(found["error"]["after"], abs=0.005) or found["error"]["before"] > 0.03
    )
    cooled = logits * temperature / found["temperature"]
    assert (task.answers(cooled) == task.answers(logits)).all()
    right = (task.answers(cooled) == labels).ravel()
    assert found["error"]["after"] == calibration(task.confidence(cooled).ravel(), right).error


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
def test_the_surprise_is_the_mean_negative_log_likelihood(task):
    logits, labels = drawn(task, 50)
    shares = task.probabilities(logits)
    of_each = np.where(labels == 1, shares, 1 - shares) if task.several else None
    likelihoods = shares[np.arange(len(labels)), labels] if of_each is None else of_each
    assert task.surprise(logits, labels) == pytest.approx(-np.log(likelihoods).mean(), rel=1e-9)


def test_a_few_images_that_are_all_right_make_it_sure_of_nothing():
    task, labels = TASKS[0], np.arange(12) % 3
    logits = np.eye(3)[labels]
    sure = task.confidence(logits / fitted(task, logits, labels))
    assert sure.max() < 0.97


def test_what_is_no_number_has_no_temperature():
    assert record(TASKS[0], np.full((3, 3), np.nan), np.arange(3)) is None


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
def test_the_mean_of_probabilities_as_logits(task):
    first, second = drawn(task, 20)[0], drawn(task, 20)[0][::-1] * 3
    mixed = np.asarray(task.mean([first.astype(np.float32), second.astype(np.float32)], [0.25, 0.75]))
    wanted = 0.25 * task.probabilities(first) + 0.75 * task.probabilities(second)
    np.testing.assert_allclose(task.probabilities(mixed), wanted, atol=1e-5)

"""Each kind of task: targets, answers, what is recorded of it and read back."""

import math

import numpy as np
import pytest

from framework.core.backend import keras
from framework.core.task import (
    TASKS,
    Binary,
    Multiclass,
    Multilabel,
    Regression,
    task_of_model,
    task_of_run,
)

CLASSES = {"multiclass": ("a", "b", "c"), "binary": ("no", "yes"), "multilabel": ("a", "b", "c")}

AGE = Regression(("age",), mean=(40.0,), deviation=(20.0,))


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (Multiclass(("a", "b", "c"), "index"), [1, 0]),
        (Multiclass(("a", "b", "c")), [[0, 1, 0], [1, 0, 0]]),
        (Binary(("no", "yes")), [[1], [0]]),
    ],
)
def test_targets(task, expected):
    targets = task.targets(np.asarray([1, 0], np.int32))
    assert targets.tolist() == expected
    assert targets.dtype == (np.int32 if task.labels == "index" else np.float32)


def test_several_labels_stay_or_are_refused():
    several = np.asarray([[1, 1]], np.float32)
    assert Multilabel(("a", "b")).targets(several).tolist() == [[1, 1]]
    for task in (Multiclass(("a", "b"), "index"), Binary(("a", "b"))):
        with pytest.raises(ValueError, match=task.labels):
            task.targets(several)


def test_probabilities_are_those_of_a_softmax_or_a_sigmoid():
    logits = np.array([[1.0, 2.0, 3.0], [1000.0, 0.0, 0.0]])
    many = Multiclass(("a", "b", "c")).probabilities(logits)
    np.testing.assert_allclose(many, [np.exp([1, 2, 3]) / np.exp([1, 2, 3]).sum(), [1, 0, 0]], atol=1e-12)
    yes = Binary(("no", "yes")).probabilities(np.array([[0.0], [800.0], [-800.0]]))
    assert yes.tolist() == [[0.5, 0.5], [0, 1], [1, 0]]
    labels = Multilabel(("a", "b", "c")).probabilities(logits)
    assert labels[0, 0] == pytest.approx(1 / (1 + math.exp(-1)))


def test_an_answer_is_what_is_likelier_than_not_and_its_confidence_the_probability_of_it():
    logits, binary = np.float32([[1e-20], [0], [-3]]), Binary(("no", "yes"))
    assert binary.answers(logits).tolist() == [1, 0, 0]
    np.testing.assert_allclose(binary.confidence(logits), [0.5, 0.5, 1 / (1 + math.exp(-3))])
    assert Multilabel(("a", "b")).answers(np.float32([[1, -1], [-1, 0]])).tolist() == [[1, 0], [0, 0]]
    many = Multiclass(("a", "b", "c"))
    assert many.answers(np.float32([[1e-20, 0, 2e-20]])).tolist() == [2]
    np.testing.assert_allclose(many.confidence(np.float32([[0, 0]] * 5000)), np.full(5000, 0.5))


@pytest.mark.parametrize("kind", TASKS)
def test_a_run_s_record_is_read_back(kind):
    task = AGE if kind == "regression" else TASKS[kind](CLASSES[kind])
    assert task_of_run(task.record()) == task
    assert task.record()["task"] == kind


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"task": "dreams", "classes": ["a"]},
        {"task": "binary", "classes": [1, 2]},
        {"task": "regression", "classes": ["a"]},
        {"task": "regression", "classes": ["a"], "scale": {"mean": [1.0], "deviation": [0.0]}},
        {"task": "regression", "classes": ["a"], "scale": {"mean": ["1"], "deviation": [1.0]}},
        {"task": "regression", "classes": ["a"], "scale": {"mean": [1.0, 2.0], "deviation": [1.0, 2.0]}},
    ],
)
def test_what_records_no_known_task_is_none(said):
    assert task_of_run(said) is None


def test_a_model_from_elsewhere_says_by_its_end_what_it_answers():
    assert task_of_model(["hat"], 1, "sigmoid") == Binary(("not hat", "hat"))
    assert task_of_model(["hat", "shoe"], 1, "sigmoid") == Binary(("hat", "shoe"))
    assert task_of_model(["hat", "shoe"], 2, "sigmoid") == Multilabel(("hat", "shoe"))
    assert task_of_model(["hat", "shoe"], 2, "softmax") == Multiclass(("hat", "shoe"))


def test_any_other_name_is_no_where_the_question_is_this_or_not():
    assert [Binary(("not hat", "hat")).number_of(name) for name in ("hat", "shoe", "not hat")] == [1, 0, 0]
    assert [Binary(("shoe", "hat")).number_of(name) for name in ("hat", "coat")] == [1, None]


def test_numbers_are_told_in_their_own_units():
    output = keras.Input((1,))
    model = keras.Model(output, AGE.finished(output))
    np.testing.assert_allclose(model(np.float32([[0], [1], [-2]])), [[40], [60], [0]])
    assert AGE.targets(np.float32([[33]])).tolist() == [[33]]
    assert AGE.said(np.float32([33.25]), 0) == "33.25"


def test_a_run_that_goes_on_keeps_its_scale():
    other = Regression(("age",), mean=(4.0,), deviation=(2.0,))
    assert other.as_begun(AGE.record()) == AGE
    assert other.as_begun(None) == other
    assert other.as_begun({"task": "regression", "classes": ["height"]}) == other
    assert Binary(("no", "yes")).as_begun(AGE.record()) == Binary(("no", "yes"))


def test_divergence_is_that_of_the_probabilities():
    wanted, found = np.float32([[1.0, 2.0, -1.0], [0.0, 0.5, 3.0]]), np.float32([[0.0, 2.5, -1.0], [0.0, 0.5, 3.0]])

    def of(task, wanted, found):
        return np.asarray(task.divergence(wanted, found))

    many, each, binary = Multiclass(("a", "b", "c")), Multilabel(("a", "b", "c")), Binary(("no", "yes"))
    p, q = many.probabilities(wanted), many.probabilities(found)
    np.testing.assert_allclose(of(many, wanted, found), (p * np.log(p / q)).sum(1), rtol=1e-5, atol=1e-7)
    p, q = each.probabilities(wanted), each.probabilities(found)
    both = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    np.testing.assert_allclose(of(each, wanted, found), both.mean(1), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(of(binary, wanted[:, :1], found[:, :1]), both[:, 0], rtol=1e-5, atol=1e-7)
    assert np.isfinite(of(many, wanted * 100, found)).all()
    assert np.isfinite(of(each, wanted * 100, found)).all()

"""Encodings and class weights."""

import numpy as np
import pytest

from framework.core.errors import BadInput
from framework.core.task import Task
from framework.data.labels import class_weights, encode


@pytest.mark.parametrize(
    ("kind", "labels", "expected"),
    [
        ("multiclass", "index", [1, 0]),
        ("multiclass", "one_hot", [[0, 1, 0], [1, 0, 0]]),
        ("binary", "binary", [[1], [0]]),
        ("multilabel", "multi_hot", [[0, 1, 0], [1, 0, 0]]),
    ],
)
def test_encodings(kind, labels, expected):
    encoded = encode(np.asarray([1, 0], np.int32), Task(kind, ("a", "b", "c"), labels))
    assert encoded.tolist() == expected
    assert encoded.dtype == (np.int32 if labels == "index" else np.float32)


def test_several_labels_stay_or_are_refused():
    several = np.asarray([[1, 1]], np.float32)
    assert encode(several, Task("multilabel", ("a", "b"), "multi_hot")).tolist() == [[1, 1]]
    with pytest.raises(ValueError, match="index"):
        encode(several, Task("multiclass", ("a", "b"), "index"))


def test_weights():
    labels = np.asarray([0, 0, 0, 1], np.int32)
    assert class_weights(None, labels, ("a", "b")) is None
    balanced = class_weights("balanced", labels, ("a", "b"))
    np.testing.assert_allclose(balanced, [2 / 3, 2])
    assert balanced[labels].mean() == pytest.approx(1)
    assert class_weights({"b": 3.0}, labels, ("a", "b")).tolist() == [1, 3]
    with pytest.raises(BadInput, match="no class 'shrt'"):
        class_weights({"shrt": 3.0}, labels, ("shirt", "b"))

"""Class weights."""

import numpy as np
import pytest

from framework.core.errors import BadInput
from framework.data.labels import class_weights


def test_weights():
    labels = np.asarray([0, 0, 0, 1], np.int32)
    assert class_weights(None, labels, ("a", "b")) is None
    balanced = class_weights("balanced", labels, ("a", "b"))
    np.testing.assert_allclose(balanced, [2 / 3, 2])
    assert balanced[labels].mean() == pytest.approx(1)
    assert class_weights({"b": 3.0}, labels, ("a", "b")).tolist() == [1, 3]
    with pytest.raises(BadInput, match="no class 'shrt'"):
        class_weights({"shrt": 3.0}, labels, ("shirt", "b"))

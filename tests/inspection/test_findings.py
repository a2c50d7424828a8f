"""What looks at files amount to."""

import numpy as np

from framework.data.images import Images, Split
from framework.inspection.findings import findings


def test_a_class_without_validation_images():
    none = Images(("cat", "dog"), {"validation": Split(("a",), np.zeros(1, np.int32))}, False, "here")
    assert [one.what for one in findings(none, [])] == ["no validation images of dog"]

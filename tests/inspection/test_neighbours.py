"""Labels that an image's neighbours contradict."""

import numpy as np

from framework.inspection.neighbours import suspects


def test_labels_by_neighbours():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 40)
    features = np.eye(3)[labels] + rng.normal(0, 0.1, (120, 3))
    told = labels.copy()
    told[[3, 50, 90]] = [2, 0, 1]
    found = suspects(features.astype(np.float32), told)
    assert {(one.position, one.suggested) for one in found} == {(3, 0), (50, 1), (90, 2)}
    assert not suspects(features.astype(np.float32), labels)


def test_fewer_images_than_neighbours_and_one_alone():
    features = np.float32([[1, 0], [1, 0.01], [0.99, 0]])
    assert [one.position for one in suspects(features, np.array([0, 0, 1]))] == [2]

"""Which runs are chosen, without networks: members are answers alone."""

from types import SimpleNamespace

import numpy as np
import pytest

from framework.core.task import Multiclass
from framework.sweeps import combining

TASK = Multiclass(("hat", "dress"))
LABELS = np.zeros(6, np.int32)


def member(*sure):
    """Answers that give the right class these probabilities."""
    right = np.asarray(sure, np.float32)
    logits = np.log(np.stack([right, 1 - right], axis=1))
    return SimpleNamespace(task=TASK, kept=SimpleNamespace(logits=logits, labels=LABELS))


def chosen(members, most=8, by_loss=False):
    return combining._ensemble(members, by_loss, most)


FIRST = member(0.71, 0.56, 0.93, 0.43, 0.94, 0.42)
SECOND, THIRD = member(0.82, 0.17, 0.52, 0.41, 0.76, 0.47), member(0.16, 0.6, 0.29, 0.4, 0.21, 0.74)


def test_a_step_that_makes_nothing_better_may_lead_to_one_that_does():
    steps = chosen([FIRST, SECOND, THIRD])
    worth = [(step.accuracy, -step.loss) for step in steps]
    assert worth[1] <= worth[0]
    assert worth[-1] == max(worth)
    assert (steps[0].accuracy, steps[-1].accuracy) == pytest.approx((4 / 6, 5 / 6))


def test_of_equals_the_shortest_stands():
    assert [step.place for step in chosen([FIRST, FIRST])] == [0]
    assert [step.place for step in chosen([FIRST, member(0.1, 0.1, 0.1, 0.1, 0.1, 0.1)])] == [0]


@pytest.mark.parametrize("most", [1, 2, 3])
def test_no_more_than_so_many_join(most):
    assert len(chosen([FIRST, SECOND, THIRD], most)) <= most


def test_by_loss_the_loss_decides():
    unsure = member(0.6, 0.7, 0.6, 0.6, 0.6, 0.6)
    steps = chosen([FIRST, unsure], by_loss=True)
    assert steps[-1].loss == min(step.loss for step in steps)
    assert steps[-1].loss < steps[0].loss

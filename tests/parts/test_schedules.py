import math
from itertools import pairwise

import pytest

import framework.parts.schedules  # noqa: F401
from framework.core import registry
from tests.parts.options import assert_contract, assert_described, assert_light, single

OPTIONS = single("optim/schedule")
EPOCHS, STEPS = 10, 20


def rates(name, epochs=EPOCHS, steps=STEPS, **changed):
    """Learning rate of every step of a stage that begins with rate 1, and of the step after its last."""
    made = registry.get("schedule", name)(1.0, epochs, steps, **{**OPTIONS[name], **changed})
    if isinstance(made, float):
        return [made] * (epochs * steps + 1)
    return [float(made(step)) for step in range(epochs * steps + 1)]


def test_contract():
    assert_contract("schedule", OPTIONS)
    assert_described("optim/schedule")
    assert_light("framework.parts.schedules")


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_every_rate_is_between_nothing_and_the_rate_given(name):
    for epochs, steps in ((1, 1), (1, 20), (10, 20)):
        assert all(0 <= rate <= 1 + 1e-6 for rate in rates(name, epochs, steps))


def test_only_constant_leaves_the_rate_to_callbacks():
    assert [part.name for part in registry.parts("schedule") if part.details["constant"]] == ["constant"]
    assert rates("constant") == [1.0] * (EPOCHS * STEPS + 1)


def test_exponential_is_told_in_epochs():
    found = rates("exponential", decay_rate=0.5, decay_epochs=2.0)
    assert found[0] == 1
    assert found[2 * STEPS] == pytest.approx(0.5)
    assert found[STEPS] == pytest.approx(0.5**0.5)


def test_cosine_ends_with_the_stage():
    found = rates("cosine", alpha=0.1)
    assert found[0] == 1
    assert found[EPOCHS * STEPS // 2] == pytest.approx(0.55)
    assert found[-1] == pytest.approx(0.1)


def test_warmup_climbs_and_then_falls():
    found = rates("warmup_cosine", warmup_epochs=2.0, alpha=0.0)
    top = 2 * STEPS
    assert found[0] == pytest.approx(1 / (top + 1))
    assert found[top] == pytest.approx(1)
    assert all(earlier < later for earlier, later in pairwise(found[: top + 1]))
    assert all(earlier > later for earlier, later in pairwise(found[top:]))
    assert found[-1] == pytest.approx(0, abs=1e-7)


def test_warmup_as_long_as_the_stage_climbs_to_its_last_step():
    found = rates("warmup_cosine", epochs=1, warmup_epochs=5.0)
    assert max(found) == pytest.approx(found[STEPS - 1]) == pytest.approx(1)


def test_no_warmup_is_cosine():
    assert rates("warmup_cosine", warmup_epochs=0.0) == rates("cosine")


def test_step_steps_between_epochs():
    found = rates("step", every=4, factor=0.1)
    assert found[4 * STEPS - 1] == 1
    assert found[4 * STEPS] == pytest.approx(0.1)
    assert math.isclose(found[8 * STEPS], 0.01, rel_tol=1e-5)


@pytest.mark.parametrize("steps", [1, 5, 20])
def test_parts_of_an_epoch_are_parts_of_an_epoch(steps):
    found = rates("exponential", steps=steps, decay_rate=0.5, decay_epochs=2.4)
    assert found == pytest.approx([0.5 ** (step / (2.4 * steps)) for step in range(EPOCHS * steps + 1)], rel=1e-5)
    assert rates("exponential", steps=1, decay_rate=0.5, decay_epochs=0.25)[1] == pytest.approx(0.5**4)

    top, total = 2.4 * steps, EPOCHS * steps
    first = 1 / (top + 1)
    climb = [first + (1 - first) * step / top for step in range(math.ceil(top))]
    fall = [0.5 + 0.5 * math.cos(math.pi * (step - top) / (total - top)) for step in range(math.ceil(top), total + 1)]
    assert rates("warmup_cosine", steps=steps, warmup_epochs=2.4, alpha=0.0) == pytest.approx(climb + fall, abs=1e-5)

"""The arithmetic behind docs/scale.md, against sums that can be done by hand."""

import pytest

from benchmarks.scale import SHARD, Image, cost, fitted, step

ONE = Image(file=125_000, features=1_000, row=1_100, seconds=0.0036)


def test_what_images_cost():
    found = cost(10**6, ONE, workers=10, gigabits=10)
    assert found["bytes"] == 125e9
    assert found["shards"] == -(-125e9 // SHARD)
    assert found["core_hours"] == pytest.approx(1.0)
    assert found["hours"] == pytest.approx(0.1)  # a thousand gigabits at ten a second are 100 s: computing takes longer
    assert cost(10**6, ONE, workers=1000, gigabits=10)["hours"] == pytest.approx(100 / 3600)  # and here reading does


def test_a_step_of_more_workers_is_faster_until_the_sum_is_all_of_it():
    assert step(1, 64, 0.01, 4e6, 1, 1e-4) == pytest.approx(0.64)
    # two send all bytes once, in two turns
    assert step(2, 64, 0.01, 4e6, 1, 1e-4) == pytest.approx(0.32 + 2e-4 + 0.032)
    assert step(3, 64, 0.0, 0, 1, 1e-4) == pytest.approx(4e-4)
    times = [step(2**power, 64, 0.01, 400e6, 1, 1e-4) for power in range(7)]
    assert times[0] < times[1]  # 400 MB over one gigabit are 3.2 s: two are slower than one


def test_turn_and_bandwidth_are_read_off_what_sums_take():
    sizes = (1 << 12, 1 << 18, 1 << 24)
    turn, gigabits = fitted([(size, 2 * 50e-6 + 8 * size / 2e9) for size in sizes])
    assert turn == pytest.approx(50e-6, rel=1e-3)
    assert gigabits == pytest.approx(2, rel=1e-3)

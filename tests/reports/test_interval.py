import statistics
from itertools import chain

import pytest
from scipy.stats import f_oneway

from framework.reports.interval import pooled, wilson


@pytest.mark.parametrize(
    ("share", "count", "low", "high"),
    # 0.83 of 341: about ±4 points; the others from Newcombe, Statistics in Medicine 17 (1998), table I
    [
        (0.83, 341, 0.787, 0.866),
        (81 / 263, 263, 0.2553, 0.3662),
        (15 / 148, 148, 0.0624, 0.1605),
        (0.0, 20, 0.0, 0.1611),
    ],
)
def test_wilson(share, count, low, high):
    assert wilson(share, count) == pytest.approx((low, high), abs=1e-3)


def test_wilson_stays_within_all_and_nothing():
    assert wilson(1.0, 10)[1] == pytest.approx(1.0)
    assert wilson(0.0, 10)[0] == pytest.approx(0.0)


def test_spread_is_the_pooled_interval():
    # s² = 1 on both sides, n = 5: standard error √(2/5), 8 degrees of freedom, whose 97.5 % point is 2.306
    values = [-1.2649110640673518, -0.6324555320336759, 0.0, 0.6324555320336759, 1.2649110640673518]
    spread = pooled(values, [values, [7.0]])
    assert spread.freedom == 8
    assert spread.half(5, 5) == pytest.approx(2.306 * (2 / 5) ** 0.5, abs=1e-3)


def test_the_spread_is_that_of_an_analysis_of_variance():
    groups = [[0.81, 0.83, 0.80], [0.77, 0.79], [0.70, 0.74, 0.73, 0.71]]
    within = pooled(groups[0], groups[1:])
    means, everything = [statistics.fmean(group) for group in groups], statistics.fmean(chain(*groups))
    between = sum(len(group) * (mean - everything) ** 2 for group, mean in zip(groups, means, strict=True)) / 2
    assert within.freedom == 6
    assert between / within.variance == pytest.approx(f_oneway(*groups).statistic)


def test_an_outlying_spread_is_left_out_unless_it_is_the_best():
    wild, steady = [0.1, 0.9], [[0.80, 0.81], [0.70, 0.712], [0.75, 0.758], [0.6, 0.61]]
    assert pooled(steady[0], [wild, *steady[1:]]) == pooled(steady[0], steady[1:])
    assert pooled(wild, steady).freedom == 5


def test_without_repeats_there_is_no_spread():
    assert pooled([0.8], [[0.7]]).half(1, 1) == 0.0
    assert pooled([0.8], [[0.7, 0.9]]).freedom == 1

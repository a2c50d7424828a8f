import pytest

from framework.reports.interval import student, welch, wilson


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


@pytest.mark.parametrize(
    ("freedom", "point"), [(1, 12.706), (4, 2.776), (4.7, 2.776), (10.5, 2.228), (12, 2.179), (30, 2.042), (1e6, 1.960)]
)
def test_student(freedom, point):
    assert student(freedom) == pytest.approx(point, abs=2e-3)


def test_welch_of_two_equal_spreads_is_the_pooled_interval():
    # s² = 1 on both sides, n = 5: standard error √(2/5), 8 degrees of freedom
    values = [-1.2649110640673518, -0.6324555320336759, 0.0, 0.6324555320336759, 1.2649110640673518]
    assert welch(values, values) == pytest.approx(2.306 * (2 / 5) ** 0.5)


def test_welch_needs_repeats():
    assert welch([0.8], [0.7, 0.9]) == 0.0
    assert welch([0.8, 0.8], [0.7, 0.7]) == 0.0

import numpy as np
import pytest
from scipy import stats

from framework.reports.interval import OUTSIDE, Spread, pooled, wilson
from framework.reports.paired import chance, chances_among, mcnemar, most_chance, over_seeds, right_alone

NO_SEEDS = Spread()


def answered(rng, repeats, images, skill, of_seeds=0.0, difficulty=0.6):
    """Whether variants of these skills are right, bool (repeats of each, images) a variant, by a probit model.

    Args:
        rng: draws.
        repeats: seeds of each variant.
        images: how many.
        skill: of each variant, the share that it has right.
        of_seeds: standard deviation over seeds, in units of the images' own.
        difficulty: share of the images' variance that all runs have in common.
    """
    hard = rng.normal(size=images) * difficulty**0.5
    shape = len(skill), repeats, images
    level = stats.norm.ppf(skill)[:, None, None] + rng.normal(size=(*shape[:2], 1)) * of_seeds
    return level + hard + rng.normal(size=shape) * (1 - difficulty) ** 0.5 > 0


def spread_of(first, second):
    return pooled(first.mean(axis=1).tolist(), [second.mean(axis=1).tolist()])


@pytest.mark.parametrize("first", [0, 1, 5, 12, 60])
@pytest.mark.parametrize("second", [0, 3, 12, 200])
def test_mcnemar_is_the_binomial_test_of_the_images_that_only_one_has_right(first, second):
    by_scipy = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar(first, second) == pytest.approx(by_scipy)


def test_images_that_only_one_has_right_are_counted():
    first, second = np.array([1, 1, 1, 0, 0], bool), np.array([1, 0, 0, 1, 0], bool)
    assert right_alone(first, second) == (2, 1)
    assert chance(first[None], second[None], NO_SEEDS) == mcnemar(2, 1)


def test_without_a_spread_of_seeds_it_is_the_paired_t_test():
    first, second = answered(np.random.default_rng(0), 3, 200, (0.85, 0.8))
    apart = stats.ttest_rel(first.mean(axis=0), second.mean(axis=0)).pvalue
    assert chance(first, second, Spread(0.0, 4)) == pytest.approx(apart)


def test_without_a_spread_over_images_it_is_students_t_test_of_the_seeds():
    first, second = [0.81, 0.83, 0.80], [0.77, 0.79]
    difference = sum(first) / 3 - sum(second) / 2
    found = over_seeds(difference, 0.0, 300, pooled(first, [second]), (3, 2))
    assert found == pytest.approx(stats.ttest_ind(first, second).pvalue)


def test_where_nothing_varies_only_equal_ones_are_tied():
    assert over_seeds(0.0, 0.0, 10, Spread(0.0, 2), (2, 2)) == 1
    assert over_seeds(1.0, 0.0, 10, Spread(0.0, 2), (2, 2)) == 0


@pytest.mark.parametrize("repeats", [1, 2, 3])
def test_scores_alone_say_how_much_chance_there_is_at_most(repeats):
    rng = np.random.default_rng(1)
    for _ in range(200):
        skill = rng.uniform(0.05, 0.95, 2)
        first, second = answered(rng, repeats, int(rng.integers(2, 400)), skill, 0.2, rng.uniform())
        seeds = spread_of(first, second)
        shares = [each.mean(axis=1).tolist() for each in (first, second)]
        most = most_chance(*shares, first.shape[1], seeds)
        assert chance(first, second, seeds) <= most + 1e-12


@pytest.mark.parametrize("images", [100, 200, 341])
@pytest.mark.parametrize("difficulty", [0.0, 0.3, 0.6])
def test_two_seeds_each_are_enough_for_a_difference_that_is_there(images, difficulty):
    # 0.823 ± 0.006 and 0.695 ± 0.050: the four scores alone can't tell
    scores = [[0.819, 0.827], [0.66, 0.73]]
    assert stats.ttest_ind(*scores).pvalue > OUTSIDE
    rng = np.random.default_rng(2)
    hard = rng.normal(size=images) * difficulty**0.5
    ease = hard + rng.normal(size=(2, 2, images)) * (1 - difficulty) ** 0.5
    cut = np.array([[np.quantile(ease[v, s], 1 - scores[v][s]) for s in range(2)] for v in range(2)])
    first, second = ease > cut[..., None]
    assert chance(first, second, spread_of(first, second)) < OUTSIDE


@pytest.mark.parametrize(
    ("repeats", "of_seeds", "most"),
    # the level is 0.05; of two seeds each, whose spread can't be known well, chance makes somewhat more
    [(1, 0.0, 0.055), (2, 0.0, 0.055), (2, 0.05, 0.08), (2, 0.2, 0.09), (3, 0.1, 0.06), (5, 0.2, 0.06)],
)
def test_of_equally_good_variants_few_are_told_apart(repeats, of_seeds, most):
    rng = np.random.default_rng(3)
    told, times = 0, 1000
    for _ in range(times):
        first, second = answered(rng, repeats, 341, (0.8, 0.8), of_seeds)
        told += chance(first, second, spread_of(first, second)) <= OUTSIDE
    assert 0 < told / times <= most


def test_a_difference_of_some_points_is_seen_more_often_than_by_the_interval_of_the_better():
    rng = np.random.default_rng(4)
    seen, outside = 0, 0
    for _ in range(200):
        first, second = answered(rng, 1, 341, (0.83, 0.78), difficulty=0.95)
        seen += chance(first, second, NO_SEEDS) <= OUTSIDE
        outside += second.mean() < wilson(first.mean(), 341)[0]
    assert seen > 1.15 * outside


@pytest.mark.parametrize(("repeats", "of_seeds"), [(1, 0.0), (3, 0.1)])
def test_the_bootstrap_of_two_is_the_test_of_two(repeats, of_seeds):
    rng = np.random.default_rng(6)
    for skill in ((0.85, 0.8), (0.85, 0.75), (0.82, 0.81)):
        first, second = answered(rng, repeats, 341, skill, of_seeds)
        seeds = spread_of(first, second)
        (found,) = chances_among([first, second], seeds)
        assert found == pytest.approx(chance(first, second, seeds), abs=0.05)


@pytest.mark.parametrize(("repeats", "of_seeds"), [(1, 0.0), (2, 0.1)])
def test_of_many_equally_good_variants_few_sets_lose_one_by_chance(repeats, of_seeds):
    rng, times = np.random.default_rng(7), 60
    by_pairs = together = 0
    for _ in range(times):
        right = sorted(answered(rng, repeats, 341, (0.8,) * 8, of_seeds), key=lambda each: -each.mean())
        seeds = pooled(right[0].mean(axis=1).tolist(), [each.mean(axis=1).tolist() for each in right[1:]])
        by_pairs += min(chance(right[0], other, seeds) for other in right[1:]) <= OUTSIDE
        together += min(chances_among(right, seeds)) <= OUTSIDE
    assert by_pairs > 0.25 * times
    assert together <= 0.15 * times  # 5 of 100 of each variant that is as good as the best


def test_of_many_those_that_are_worse_are_told_apart_more_often_than_by_shares_of_the_level():
    rng, times = np.random.default_rng(8), 40
    by_shares = together = 0
    for _ in range(times):
        best, *others = answered(rng, 1, 341, (0.86, *[0.8] * 9), difficulty=0.9)
        together += sum(found <= OUTSIDE for found in chances_among([best, *others], NO_SEEDS))
        by_shares += sum(chance(best, other, NO_SEEDS) <= OUTSIDE / 9 for other in others)
    assert together > by_shares


def test_equal_answers_are_tied_and_the_draws_are_always_the_same():
    right = [np.ones((1, 50), bool), np.ones((1, 50), bool), np.zeros((1, 50), bool)]
    assert chances_among(right, NO_SEEDS)[0] == 1
    assert chances_among(right, NO_SEEDS)[1] < 0.001
    many = list(answered(np.random.default_rng(9), 1, 200, (0.8,) * 5))
    assert chances_among(many, NO_SEEDS) == chances_among(many, NO_SEEDS)

"""Paired statistics against scipy and plain loops, and the cases in which they must decline to answer."""

import itertools

import numpy as np
import pytest
from scipy import stats

from asmil.errors import AsmilError
from asmil.evaluation.paired import (
    corrected_mean,
    effect_sizes,
    holm,
    rank_correlation,
    rank_methods,
    signed_rank_p,
)

RNG = np.random.default_rng(3)


def test_without_overlap_the_corrected_interval_is_the_t_interval():
    values = RNG.normal(0.3, 1, 12)
    result = corrected_mean(values, test_to_train=0)
    expected = stats.ttest_1samp(values, 0)
    assert result.p == pytest.approx(expected.pvalue)
    assert (result.low, result.high) == pytest.approx(tuple(expected.confidence_interval()))


def test_overlap_widens_the_interval_by_nadeau_and_bengios_factor():
    values = RNG.normal(0.3, 1, 25)
    plain, corrected = (corrected_mean(values, test_to_train=r) for r in (0, 0.25))
    assert (corrected.high - corrected.low) / (plain.high - plain.low) == pytest.approx(
        np.sqrt((1 / 25 + 0.25) / (1 / 25))
    )
    assert corrected.mean == plain.mean
    assert corrected.p > plain.p


def test_corrected_interval_holds_its_level_where_the_plain_one_does_not():
    """Values that share a part, as overlapping training sets do: correlation 1/5 between splits (Bouckaert)."""
    misses = {0: 0, 0.25: 0}
    for _ in range(400):
        values = RNG.normal(0, np.sqrt(0.2)) + RNG.normal(0, np.sqrt(0.8), 25)
        for ratio in misses:
            result = corrected_mean(values, test_to_train=ratio)
            misses[ratio] += result.low > 0 or result.high < 0
    assert misses[0] > 0.25 * 400
    assert misses[0.25] < 0.09 * 400


@pytest.mark.parametrize("values", [[], [0.4], [0.4, 0.4, 0.4], [np.nan, 0.2]])
def test_no_spread_no_interval(values):
    result = corrected_mean(np.array(values), test_to_train=0.2)
    assert np.isnan([result.low, result.high, result.p]).all()


def test_equal_methods_differ_by_nothing():
    result = corrected_mean(np.array([0.0, 0.0, np.nan]), test_to_train=0.2)
    assert (result.mean, result.low, result.high, result.p, result.n, result.dropped) == (0, 0, 0, 1, 2, 1)
    assert effect_sizes(np.zeros(4), test_to_train=0.2).rank_biserial == 0


@pytest.mark.parametrize("n", [1, 4, 7])
def test_signed_rank_equals_the_enumeration_of_all_signs(n):
    values = np.round(RNG.normal(0.4, 1, n), 0 if n > 4 else 3)
    ranks = stats.rankdata(np.abs(values))
    observed = abs((np.sign(values) * ranks).sum())
    others = [abs((np.array(s) * np.abs(np.sign(values)) * ranks).sum()) for s in itertools.product((-1, 1), repeat=n)]
    assert signed_rank_p(values) == pytest.approx(np.mean(np.array(others) >= observed - 1e-9))


def test_signed_rank_equals_scipys_exact_test():
    values = RNG.normal(0.3, 1, 20)
    assert signed_rank_p(values) == pytest.approx(stats.wilcoxon(values, method="exact").pvalue)
    assert signed_rank_p(np.arange(1.0, 6.0)) == pytest.approx(2 / 2**5)
    assert signed_rank_p(np.zeros(3)) == 1
    assert np.isnan(signed_rank_p(np.array([np.nan])))


def test_holm_by_hand_and_with_gaps():
    assert holm([0.01, np.nan, 0.04, 0.03, 0.005]) == pytest.approx([0.03, np.nan, 0.06, 0.06, 0.02], nan_ok=True)
    assert holm([0.6, 0.7]).tolist() == [1.0, 1.0]
    assert holm([]).shape == (0,)


def test_effect_sizes_by_their_definitions():
    values = np.array([0.3, -0.1, 0.2, 0.5, 0.4, np.nan])
    sizes = effect_sizes(values, test_to_train=0)
    assert sizes.d_z == pytest.approx(values[:5].mean() / values[:5].std(ddof=1))
    assert sizes.rank_biserial == pytest.approx((14 - 1) / 15)  # ranks of the positive sum to 14, of the negative to 1
    assert sizes.d_z_low < sizes.d_z < sizes.d_z_high
    assert -1 <= sizes.rank_biserial_low < sizes.rank_biserial < sizes.rank_biserial_high <= 1
    wider = effect_sizes(values, test_to_train=0.5)
    assert wider.d_z_low < sizes.d_z_low
    assert wider.rank_biserial_low < sizes.rank_biserial_low


def test_rank_biserial_interval_covers_as_often_as_it_says():
    covered = 0
    for _ in range(300):
        sizes = effect_sizes(RNG.normal(0, 1, 30), test_to_train=0)
        covered += sizes.rank_biserial_low < 0 < sizes.rank_biserial_high
    assert 0.91 < covered / 300 < 0.99


def test_ranks_and_friedman_equal_scipy_and_demsars_table():
    values = RNG.normal(0, 1, (8, 5)) + np.arange(5)
    ranking = rank_methods(values, list("abcde"))
    assert ranking.names[0] == "e"
    assert ranking.mean_ranks == tuple(sorted(np.mean([stats.rankdata(-row) for row in values], axis=0)))
    assert ranking.friedman_p == pytest.approx(stats.friedmanchisquare(*values.T).pvalue)
    assert ranking.critical_difference == pytest.approx(2.728 * np.sqrt(5 * 6 / (6 * 8)), abs=2e-3)
    assert rank_methods(-values, list("abcde"), higher_is_better=False).mean_ranks == ranking.mean_ranks


def test_cliques_join_exactly_what_is_closer_than_the_critical_difference():
    values = RNG.normal(0, 1, (30, 6)) + np.array([0, 0.1, 0.2, 4, 4.1, 9])
    ranking = rank_methods(values, list("abcdef"))
    joined = {frozenset(p) for a, b in ranking.cliques for p in itertools.combinations(range(a, b + 1), 2)}
    close = {
        frozenset((i, j))
        for i, j in itertools.combinations(range(6), 2)
        if abs(ranking.mean_ranks[i] - ranking.mean_ranks[j]) < ranking.critical_difference
    }
    assert joined == close
    assert 0 < len(close) < 15


@pytest.mark.parametrize(
    ("shape", "word"), [((1, 5), "two datasets"), ((4, 2), "fewer than 3 methods"), ((0, 4), "two datasets")]
)
def test_a_ranking_says_why_it_does_not_test(shape, word):
    ranking = rank_methods(RNG.normal(size=shape), list("abcde")[: shape[1]])
    assert word in ranking.reason
    assert np.isnan(ranking.critical_difference)
    assert ranking.cliques == ()


def test_incomplete_datasets_are_dropped_and_counted():
    values = RNG.normal(size=(5, 3))
    values[1, 2] = np.nan
    ranking = rank_methods(values, list("abc"))
    assert (ranking.n_datasets, ranking.dropped) == (4, 1)
    with pytest.raises(AsmilError, match="one name per method"):
        rank_methods(values, ["a"])


def test_correlation_over_all_rows_is_spearmans():
    x = np.round(RNG.normal(size=60), 1)
    y = np.round(x + RNG.normal(size=60), 1)
    y[3] = np.nan
    result = rank_correlation(x, y, clusters=np.arange(60))
    assert result.rho == pytest.approx(stats.spearmanr(x, y, nan_policy="omit").statistic)
    assert result.low < result.rho < result.high
    assert (result.n, result.dropped, result.clusters) == (59, 1, 59)


def test_a_difference_between_groups_does_not_pose_as_a_correlation():
    groups = np.repeat(np.arange(8), 25)
    x, y = groups + RNG.normal(0, 0.1, 200), -groups + RNG.normal(0, 0.1, 200)
    assert rank_correlation(x, y, clusters=groups).rho < -0.9
    inside = rank_correlation(x, y, clusters=groups, within=groups)
    assert inside.low < 0 < inside.high
    assert abs(inside.rho) < 0.2
    assert inside.groups == 8


def test_correlation_within_groups_by_a_plain_loop_and_its_bootstrap_by_repeating_rows():
    groups = np.repeat(np.arange(4), [5, 9, 7, 6])
    x, y = np.round(RNG.normal(size=27)), np.round(RNG.normal(size=27))

    def plain(rows, names):
        a, b = np.zeros(len(rows)), np.zeros(len(rows))
        for name in set(names):
            own = names == name
            for values, out in ((x[rows], a), (y[rows], b)):
                ranks = stats.rankdata(values[own])
                out[own] = (ranks - ranks.mean()) / own.sum()
        return (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())

    result = rank_correlation(x, y, clusters=groups, within=groups, n=60, seed=5)
    assert result.rho == pytest.approx(plain(np.arange(27), groups))
    counts = np.random.default_rng(5).multinomial(4, np.full(4, 1 / 4), size=60)
    values = []
    for own in counts:
        rows = np.repeat(np.arange(27), own[groups])
        values.append(plain(rows, groups[rows]))
    assert (result.low, result.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))


def test_one_cluster_has_no_interval_and_nothing_has_no_correlation():
    result = rank_correlation(np.arange(5.0), np.arange(5.0), clusters=np.zeros(5))
    assert result.rho == pytest.approx(1)
    assert np.isnan(result.low)
    assert np.isnan(rank_correlation(np.ones(5), np.arange(5.0), clusters=np.arange(5)).rho)
    empty = rank_correlation(np.array([np.nan]), np.array([1.0]), clusters=np.array(["a"]), within=np.array(["b"]))
    assert (empty.n, empty.dropped) == (0, 1)
    with pytest.raises(AsmilError, match="one value per row"):
        rank_correlation(np.ones(3), np.ones(3), clusters=np.ones(2))


def test_signs_that_all_agree_still_leave_an_interval():
    few, many = (effect_sizes(RNG.uniform(1, 2, n), test_to_train=0) for n in (5, 50))
    assert few.rank_biserial == many.rank_biserial == few.rank_biserial_high == 1
    assert 0 < few.rank_biserial_low < many.rank_biserial_low < 1

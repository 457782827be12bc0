"""The covariance mixture: the naive twin, laws, missing values."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mixture_rows import constants, duplicates, fed, halted, holes, market, newcomer, returns, same_bits
from naive_mixture import NaiveMixture

from stream_allocator.moments import mixture
from stream_allocator.moments.experts import unit_ratios
from stream_allocator.moments.mixture import CovarianceMixture

# -- the definition


@pytest.mark.parametrize(
    "rows",
    [
        market(84, 4),
        market(84, 1),
        holes(market(84, 4), 0.3),
        duplicates(),
        constants(),
        newcomer(),
        halted(),
    ],
    ids=["complete", "one asset", "holes", "duplicate", "constant", "newcomer", "halted"],
)
def test_estimate_is_that_of_the_definition(rows):
    agree(rows, CovarianceMixture(rows.shape[1]), NaiveMixture(rows.shape[1]))


@pytest.mark.parametrize("rows", [market(84, 4), holes(market(84, 4), 0.3)], ids=["complete", "holes"])
def test_estimate_of_many_assets_makes_do_with_older_factors(rows, monkeypatch):
    monkeypatch.setattr(mixture, "FRESH", 3)
    agree(rows, CovarianceMixture(4), NaiveMixture(4, many=True))


def agree(rows, found, naive):
    for t, row in enumerate(rows):
        found.update(row)
        naive.update(row)
        if t % 4 == 0 or t == len(rows) - 1:
            np.testing.assert_allclose(found.weights, naive.weights(), atol=5e-4, err_msg=f"bar {t}")
            np.testing.assert_allclose(
                found.matrix(), naive.matrix(), rtol=2e-3, atol=1e-9 * np.nanmax(rows**2)
            )
            before = naive.p  # with the same weights the rest is exact
            naive.p = found.weights
            exact = naive.mixed(naive.present(), naive.p)
            np.testing.assert_allclose(
                found.matrix(), exact, rtol=1e-8, atol=1e-12 * np.nanmax(rows**2), err_msg=f"bar {t}"
            )
            naive.p = found._weights.p
            holdings = np.arange(1.0, 1.0 + naive.n)
            assert found.deviation(holdings) == pytest.approx(naive.deviation(holdings), rel=1e-8), t
            naive.p = before


# -- laws


@settings(max_examples=60, deadline=None)
@given(returns())
def test_matrix_is_symmetric_finite_and_definite_where_assets_moved_whatever_the_returns(rows):
    estimate = fed(rows)
    matrix = estimate.matrix()
    assert np.isfinite(matrix).all()
    assert np.array_equal(matrix, matrix.T)
    scale = np.sqrt(np.diag(matrix))
    moving = scale > 0.0
    if moving.any():
        correlation = matrix[np.ix_(moving, moving)] / np.outer(scale[moving], scale[moving])
        assert np.linalg.eigvalsh(correlation)[0] > 0.0
    assert not matrix[~moving].any()
    assert (estimate.weights >= 0.0).all()


@settings(max_examples=8, deadline=None)
@given(st.lists(st.sampled_from([1e-6, 0.03, 1.0, 7.0, 1e9]), min_size=5, max_size=5))
def test_a_change_of_one_assets_unit_scales_its_row_and_column(units):
    rows = market(120)
    rows[65:] = holes(rows[65:], 0.1)  # complete until all assets stand on their own
    units = np.array(units)
    expected = fed(rows).matrix() * np.outer(units, units)
    np.testing.assert_allclose(fed(rows * units).matrix(), expected, rtol=1e-7)


@pytest.mark.parametrize("unit", [2.0**-40, 2.0**30])
@pytest.mark.parametrize("bars", [1, 2, 15, 39])
def test_a_change_of_all_units_is_exact_from_the_first_bar(unit, bars):
    rows = market(bars)
    np.testing.assert_allclose(fed(unit * rows).matrix(), unit**2 * fed(rows).matrix(), rtol=1e-12)


def test_a_change_of_sign_of_one_asset_changes_the_sign_of_its_covariances():
    rows = holes(market(200), 0.05)
    signs = np.array([1.0, -1.0, 1.0, 1.0, -1.0])
    np.testing.assert_allclose(
        fed(rows * signs).matrix(), fed(rows).matrix() * np.outer(signs, signs), rtol=1e-7
    )


def test_the_order_of_the_assets_hardly_matters():
    rows = market(300, 6)
    order = np.array([2, 0, 5, 3, 1, 4])
    a, b = fed(rows[:, order]).matrix(), fed(rows).matrix()[np.ix_(order, order)]
    np.testing.assert_allclose(np.sqrt(np.diag(a)), np.sqrt(np.diag(b)), rtol=0.05)


def test_the_future_changes_nothing():
    rows = holes(market(200), 0.05)
    other = rows.copy()
    other[120:] = 5.0 * other[120:][::-1]
    a, b = CovarianceMixture(5), CovarianceMixture(5)
    for t in range(120):
        a.update(rows[t])
        b.update(other[t])
        assert a.matrix().tobytes() == b.matrix().tobytes()


def test_asking_for_the_matrix_changes_nothing():
    rows = holes(market(150), 0.05)
    asked, silent = CovarianceMixture(5), CovarianceMixture(5)
    for row in rows:
        asked.update(row)
        asked.matrix()[:] = 0.0
        asked.volatility()
        silent.update(row)
    same_bits(asked, silent)


# -- what it finds


@pytest.mark.parametrize("rows", [market(), duplicates(), constants(), newcomer(), halted()])
def test_deviation_of_holdings_is_near_that_of_the_matrix_whoever_asks_first(rows):
    estimate, other = fed(rows), fed(rows)
    holdings = np.random.default_rng(2).normal(size=estimate.n)
    alone = estimate.deviation(holdings)
    matrix = other.matrix()
    assert alone == pytest.approx(math.sqrt(holdings @ matrix @ holdings), rel=0.03)
    assert other.deviation(holdings) == alone
    assert np.array_equal(estimate.matrix(), matrix)
    assert estimate.deviation(np.zeros(estimate.n)) == 0.0


@given(st.integers(0, 5), st.integers(0, 2**32 - 1))
def test_units_of_the_first_expert_in_those_of_each(n, seed):
    rng = np.random.default_rng(seed)
    deviations = rng.random((3, n)) * (rng.random(n) < 0.8)  # some assets never moved
    ratios = np.empty((4, n))
    unit_ratios(deviations, mixture.KINDS, ratios)
    for k, kind in enumerate(mixture.KINDS):
        for i in range(n):
            first = deviations[mixture.KINDS[0], i]
            assert ratios[k, i] == (first / deviations[kind, i] if first > 0.0 else 1.0)


def test_covariance_of_stationary_returns_is_found():
    rng = np.random.default_rng(3)
    truth = np.array([[1.0, 0.5, 0.3], [0.5, 1.0, 0.2], [0.3, 0.2, 1.0]]) * np.outer([1, 2, 3], [1, 2, 3])
    rows = rng.multivariate_normal(np.zeros(3), truth, 1500)
    estimate = CovarianceMixture(3)
    average = []
    for t, row in enumerate(rows):
        estimate.update(row)
        if t >= 500 and t % 10 == 0:
            average.append(estimate.matrix())
    # a little above: what is forecast includes that it is not known exactly
    np.testing.assert_allclose(np.mean(average, axis=0) / (rows[500:].T @ rows[500:] / 1000), 1.1, atol=0.15)


def test_volatility_that_trebles_is_found_within_weeks():
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(560, 8)) + rng.normal(size=(560, 1))
    rows[540:] *= 3.0
    before, after = fed(rows[:540]), fed(rows)
    ratio = np.median(after.volatility() / before.volatility())
    assert 2.0 < ratio < 4.0


def test_weights_are_equal_until_there_is_something_to_learn_from():
    rows = market(300)
    np.testing.assert_array_equal(fed(rows[:60]).weights, np.full(4, 0.25))
    assert np.ptp(fed(rows).weights) > 0.01


def test_one_wrong_price_does_not_make_everything_look_volatile():
    rows = market(300, 10, seed=11)
    wrong = rows.copy()
    wrong[250, 0] *= 1e6
    ratio = fed(wrong).volatility()[1:] / fed(rows).volatility()[1:]
    assert 0.8 < ratio.min() <= ratio.max() < 1.25


def test_learnt_weights_are_more_likely_than_equal_ones():
    rows = market(600, 6, seed=9)
    gain = 0.0
    estimate = CovarianceMixture(6)
    equal = CovarianceMixture(6)
    equal._weights.update = lambda *_: None  # what is compared is not what is replaced
    for t, row in enumerate(rows):
        if t >= 300:
            gain += log_likelihood(row, estimate.matrix()) - log_likelihood(row, equal.matrix())
        estimate.update(row)
        equal.update(row)
    assert gain > 0.0


def log_likelihood(x, covariance):
    factor = np.linalg.cholesky(covariance)
    z = np.linalg.solve(factor, x)
    return -np.log(np.diag(factor)).sum() - 0.5 * (z @ z)


# -- missing values


def test_a_bar_without_any_return_changes_nothing():
    estimate, same = fed(market(100)), fed(market(100))
    estimate.update([math.nan, math.inf, -math.inf, 1e100, -1e200])
    same_bits(estimate, same)
    assert estimate.bars == 100


def test_before_the_first_return_there_is_no_covariance():
    estimate = CovarianceMixture(2)
    assert not estimate.matrix().any()
    estimate.update([0.0, 0.0])
    assert estimate.bars == 0
    estimate.update([0.01, 0.02])
    assert estimate.bars == 1
    assert (estimate.volatility() > 0.0).all()


def test_an_asset_that_was_never_seen_is_as_volatile_as_the_others_and_uncorrelated():
    rows = market(200, 4)
    rows[:, 3] = math.nan
    estimate = fed(rows)
    volatility = estimate.volatility()
    assert volatility[:3].min() < volatility[3] < volatility[:3].max()
    assert np.abs(estimate.correlation()[3, :3]).max() == 0.0


def test_missing_returns_do_not_bias_variance_or_correlation_down():
    rng = np.random.default_rng(6)
    rows = rng.normal(size=(1500, 4)) + rng.normal(size=(1500, 1))
    full, sparse = CovarianceMixture(4), CovarianceMixture(4)
    sums = np.zeros((2, 4, 4))
    for row, gappy in zip(rows, holes(rows, 0.4), strict=True):
        full.update(row)
        sparse.update(gappy)
        if full.bars > 500 and full.bars % 25 == 0:
            sums += [full.matrix(), sparse.matrix()]
    np.testing.assert_allclose(sums[1] / sums[0], 1.0, atol=0.15)


def test_an_asset_that_falls_silent_keeps_its_correlations():
    rows = market(900, 4, seed=4)
    estimate = fed(rows[:600])
    correlation = estimate.correlation()[3, :3]
    for row in rows[600:]:
        estimate.update([*row[:3], math.nan])
    np.testing.assert_allclose(estimate.correlation()[3, :3], correlation, atol=0.2)


def test_an_asset_that_was_constant_is_measured_once_it_moves():
    rows = market(400, 3)
    rows[:200, 1] = 0.0
    volatility = fed(rows).volatility()[1]
    assert 0.5 < volatility / np.std(rows[300:, 1]) < 2.0


def test_a_bar_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="shape"):
        CovarianceMixture(2).update([0.1])
    with pytest.raises(ValueError, match="n must"):
        CovarianceMixture(0)

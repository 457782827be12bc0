"""Scores and tests of forecasts against integrals, simulations and naive twins."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.stats import norm, t

from stream_allocator.backtest.forecasts import Forecasts
from stream_allocator.backtest.scores import (
    berkowitz,
    compare_scores,
    crps_normal,
    fit_degrees_of_freedom,
    histogram,
    log_density,
    surprises,
    transform,
    uniformity,
)

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("x", "mean", "deviation"), [(0.0, 0.0, 1.0), (2.5, 0.3, 0.7), (-0.02, 0.0, 0.01), (9.0, 0.0, 1.0)]
)
def test_the_score_is_the_integral_of_the_squared_error_of_the_distribution(x, mean, deviation):
    def error(y):
        return (norm.cdf(y, mean, deviation) - (y >= x)) ** 2

    far = 40.0 * deviation
    ends = min(x, mean) - far, max(x, mean) + far
    exact = sum(quad(error, a, b, limit=500)[0] for a, b in ((ends[0], x), (x, ends[1])))
    found = crps_normal(np.array([x]), np.array([mean]), np.array([deviation]))
    assert found[0] == pytest.approx(exact, rel=1e-6)


def test_a_forecast_without_spread_scores_its_absolute_error():
    found = crps_normal(np.array([0.3]), np.array([0.1]), np.array([1e-12]))
    assert found[0] == pytest.approx(0.2, abs=1e-11)


@given(st.floats(0.3, 3.0), st.floats(-1.0, 1.0))
def test_scores_are_proper_the_truth_is_best_on_average(wrong, shift):
    x = np.random.default_rng(5).standard_normal(20_000)
    zero, one = np.zeros_like(x), np.ones_like(x)
    best = crps_normal(x, zero, one).mean(), -log_density(x).mean()
    z = (x - shift) / wrong
    other = crps_normal(x, zero + shift, wrong * one).mean(), (math.log(wrong) - log_density(z)).mean()
    assert best[0] <= other[0] + 2e-4
    assert best[1] <= other[1] + 2e-4


@pytest.mark.parametrize("df", [3.0, 7.5, math.inf])
def test_the_density_integrates_to_one_with_variance_one_and_to_the_transform(df):
    def density(z):
        return float(np.exp(log_density(np.array(z), df)))

    assert quad(density, -np.inf, np.inf)[0] == pytest.approx(1.0, abs=1e-6)
    assert quad(lambda z: z * z * density(z), -np.inf, np.inf)[0] == pytest.approx(1.0, abs=1e-3)
    below = quad(density, -np.inf, -0.7)[0]
    assert transform(np.array([-0.7]), df)[0] == pytest.approx(below, abs=1e-7)


def test_many_degrees_of_freedom_are_the_normal_distribution():
    z = np.linspace(-4, 4, 33)
    np.testing.assert_allclose(transform(z, 1e7), transform(z), atol=1e-6)
    np.testing.assert_allclose(log_density(z, 1e7), log_density(z), atol=1e-4)


def test_a_t_without_variance_is_refused():
    with pytest.raises(ValueError, match="above 2"):
        transform(np.zeros(3), 2.0)


def test_the_fitted_degrees_of_freedom_are_those_of_the_sample():
    z = t.rvs(5.0, size=40_000, random_state=RNG) * math.sqrt(3.0 / 5.0)
    assert fit_degrees_of_freedom(z) == pytest.approx(5.0, rel=0.06)
    assert fit_degrees_of_freedom(norm.rvs(size=20_000, random_state=RNG)) > 40.0


def test_right_forecasts_are_uniform_and_wrong_ones_are_found_out():
    z = norm.rvs(size=4000, random_state=np.random.default_rng(6))
    right, wide = transform(z), transform(z * 0.7)
    assert uniformity(right)[1] > 0.05
    assert berkowitz(right).p_value > 0.05
    assert histogram(right).outside <= 3
    assert uniformity(wide)[1] < 1e-6
    assert berkowitz(wide).p_value < 1e-6
    assert berkowitz(wide).deviation == pytest.approx(0.7, rel=0.05)
    assert histogram(wide).outside >= 10


def test_the_test_finds_dependence_that_a_histogram_cannot_see():
    rng = np.random.default_rng(7)
    z = np.empty(3000)
    z[0] = rng.standard_normal()
    for i in range(1, 3000):
        z[i] = 0.3 * z[i - 1] + math.sqrt(1 - 0.09) * rng.standard_normal()
    found = berkowitz(transform(z))
    assert found.p_value < 1e-6
    assert found.autocorrelation == pytest.approx(0.3, abs=0.05)


def test_the_likelihood_ratio_is_the_one_of_a_numerical_maximum():
    u = np.random.default_rng(8).random(80) ** 1.3
    z = norm.ppf(u)

    def minus(p):
        residual = z[1:] - p[0] - p[1] * z[:-1]
        return -norm.logpdf(residual, 0.0, math.exp(p[2])).sum()

    best = minimize(minus, [0.0, 0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-11})
    exact = 2.0 * (-best.fun - norm.logpdf(z[1:]).sum())
    assert berkowitz(u).statistic == pytest.approx(exact, abs=1e-6)


def test_the_likelihood_ratio_has_its_limits_distribution():
    rng = np.random.default_rng(9)
    found = [berkowitz(rng.random(300)).p_value for _ in range(600)]
    assert abs(np.mean(np.array(found) < 0.1) - 0.1) < 0.04


def test_certain_forecasts_that_fail_are_no_infinity():
    u = np.array([0.0, 1.0, 0.5, 0.4, 0.6])
    assert math.isfinite(berkowitz(u).statistic)
    with pytest.raises(ValueError, match="four"):
        berkowitz(u[:3])


def test_a_histogram_counts_every_bar_and_knows_its_band():
    found = histogram(np.concatenate((np.linspace(0, 1, 1000), [0.0, 1.0])), bins=10)
    assert found.counts.sum() == 1002
    assert found.expected == pytest.approx(100.2)
    draws = np.random.default_rng(1).binomial(1002, 0.1, 20_000)
    assert np.mean((draws >= found.low) & (draws <= found.high)) >= 0.95
    assert found.outside == 0


def forecasts(bars=3000):
    """The truth beside two worse ones, with bars that only the truth speaks of."""
    rng = np.random.default_rng(11)
    deviation = 0.01 * np.exp(0.5 * rng.standard_normal(bars))
    mean = np.full(bars, 5e-4)
    static = np.full(bars, 0.0115)
    static[:100] = np.nan
    noisy = deviation * np.exp(0.05 * rng.standard_normal(bars))
    realised = mean + deviation * rng.standard_normal(bars)
    return Forecasts(np.arange(bars), realised, mean, deviation, noisy, static, rng.random(bars))


def test_the_sharper_forecast_scores_better_and_the_interval_says_so():
    market, rolling, expanding = compare_scores(forecasts(), resamples=200)
    assert (market.name, market.crps_gain, market.log_gain) == ("market", None, None)
    assert market.crps < expanding.crps
    assert expanding.crps_gain.low > 0.0
    assert expanding.log_gain.low > 0.0
    assert expanding.log_gain.estimate == pytest.approx(expanding.log_score - market.log_score)
    assert abs(rolling.log_gain.estimate) < 0.01


def test_scores_are_of_the_bars_that_all_speak_of():
    made = forecasts()
    kept = made.select(np.arange(3000) >= 100)
    assert compare_scores(made, resamples=20) == compare_scores(kept, resamples=20)
    z = (kept.realised - kept.mean) / kept.deviation
    naive = np.mean([-norm.logpdf(x) + math.log(s) for x, s in zip(z, kept.deviation, strict=True)])
    assert compare_scores(made, resamples=20)[0].log_score == pytest.approx(naive)
    with pytest.raises(ValueError, match="no bar"):
        compare_scores(made.select(np.arange(3000) < 100))


def test_surprises_are_counted_by_confidence():
    made = forecasts()
    found = surprises(made, bins=4)
    assert [s.bars for s in found] == [750] * 4
    assert all(a.high <= b.low for a, b in itertools.pairwise(found))
    assert all(s.scale == pytest.approx(1.0, abs=0.1) for s in found)
    assert all(s.beyond == pytest.approx(0.0455, abs=0.025) for s in found)
    order = np.argsort(made.confidence)[:750]
    z = made.standardised[order]
    assert found[0].scale == pytest.approx(math.sqrt(np.mean(z**2)))
    assert found[0].beyond == np.mean(np.abs(z) > 2)


def test_fewer_bars_than_bins_leave_bins_out():
    assert len(surprises(forecasts().select(np.arange(3000) < 3), bins=10)) == 3

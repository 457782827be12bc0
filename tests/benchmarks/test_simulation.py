"""The estimators against closed forms; the reference likelihoods against the package and SciPy."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats

from benchmarks import likelihoods
from benchmarks.simulation import (
    CHANGES,
    NOISES,
    average_run_length,
    calibrated_threshold,
    changed,
    jackknife_error,
    log_odds,
    mean_delay,
    noise,
    quiet_steps,
    records,
)
from stream_allocator.regime import RunLengthPanel


def independent_statistic(seed, steps, paths):
    """Uniform and independent: above u with probability 1 - u at each step, so the waits are geometric."""
    statistic = np.random.default_rng(seed).random((1 + steps, paths)).astype(np.float32)
    statistic[0] = 0.0
    return statistic


def naive_average_run_length(statistic, threshold):
    at_risk = alarms = 0
    for path in statistic.T:
        if path[0] > threshold:
            continue
        for value in path[1:]:
            at_risk += 1
            if value > threshold:
                alarms += 1
                break
    return at_risk / alarms if alarms else math.inf


@pytest.mark.parametrize("arl", [20.0, 100.0, 400.0])
def test_the_average_run_length_of_geometric_waits_is_one_over_their_probability(arl):
    statistic = independent_statistic(1, 300, 3000)
    record = records(statistic)
    threshold = 1.0 - 1.0 / arl
    found = average_run_length(record, threshold)
    alarms = 3000 * (1.0 - (1.0 - 1.0 / arl) ** 300)
    assert found == pytest.approx(arl, rel=4.0 / math.sqrt(alarms))


def test_the_jackknife_finds_the_error_of_a_censored_geometric_mean():
    arl, paths, steps = 100.0, 4000, 150
    record = records(independent_statistic(2, steps, paths))
    error = jackknife_error(
        lambda mask: {"arl": average_run_length(record[:, mask], 1.0 - 1.0 / arl)}, paths, number=40
    )["arl"]
    alarms = paths * (1.0 - (1.0 - 1.0 / arl) ** steps)
    assert error == pytest.approx(arl / math.sqrt(alarms), rel=0.35)


def test_the_jackknife_of_a_mean_is_the_standard_error_of_its_groups():
    x = np.random.default_rng(3).standard_normal(200)
    error = jackknife_error(lambda mask: {"mean": float(x[mask].mean())}, 200, number=200)["mean"]
    assert error == pytest.approx(x.std(ddof=1) / math.sqrt(200), rel=1e-9)


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 8), st.floats(-0.1, 1.1))
@settings(max_examples=60, deadline=None)
def test_the_average_run_length_equals_a_count_step_by_step(seed, steps, paths, threshold):
    statistic = np.random.default_rng(seed).random((1 + steps, paths)).round(1).astype(np.float32)
    found = average_run_length(records(statistic), threshold)
    if (statistic[0] > threshold).all():
        assert math.isnan(found)
    else:
        assert found == naive_average_run_length(statistic, threshold)


def test_quiet_steps_are_counted_up_to_the_alarm_or_the_end():
    record = records(np.array([[0, 0, 0], [5, 0, 0], [1, 0, 7], [9, 0, 1]], np.float32))
    assert quiet_steps(record, 4.0).tolist() == [0, 3, 1]


def test_a_path_in_alarm_before_the_run_does_not_count():
    statistic = np.array([[9, 0], [0, 0], [0, 9]], np.float32)
    assert average_run_length(records(statistic), 5.0) == 2.0
    assert math.isnan(average_run_length(records(statistic[:, :1]), 5.0))


def test_a_run_without_alarm_has_an_infinite_average():
    assert average_run_length(records(np.zeros((5, 3), np.float32)), 1.0) == math.inf


def test_the_calibrated_threshold_is_the_quantile_of_a_geometric_wait():
    record = records(independent_statistic(4, 400, 4000))
    assert calibrated_threshold(record, 200.0) == pytest.approx(1.0 - 1.0 / 200.0, abs=5e-4)


@given(st.integers(0, 2**32), st.floats(1.5, 30.0), st.floats(1.0, 4.0))
@settings(max_examples=30, deadline=None)
def test_a_longer_run_length_never_asks_for_a_lower_threshold(seed, arl, factor):
    record = records(independent_statistic(seed, 30, 20))
    low, high = calibrated_threshold(record, arl), calibrated_threshold(record, arl * factor)
    assert low <= high
    assert average_run_length(record, low) >= arl
    assert average_run_length(record, low - 1e-5) < arl


def test_a_delay_counts_from_one_and_stops_at_the_end_of_the_watch():
    statistic = np.zeros((30, 4), np.float32)
    statistic[25, 0] = 1.0  # the first changed observation
    statistic[28, 1] = 1.0
    statistic[10, 3] = statistic[25, 3] = 1.0  # false alarm before: left out
    assert mean_delay(statistic, 25, 0.5) == pytest.approx((1 + 4 + 5) / 3)
    assert math.isnan(mean_delay(statistic[:, 3:], 25, 0.5))


def test_an_alarm_long_before_the_change_does_not_leave_a_path_out():
    statistic = np.zeros((60, 1), np.float32)
    statistic[5] = statistic[50] = 1.0
    assert mean_delay(statistic, 40, 0.5) == 11.0


@pytest.mark.parametrize(
    ("kind", "variance", "tolerance"),
    [("gaussian", 1.0, 0.02), ("t4", 1.0, 0.1), ("outliers", 0.99 + 0.01 * 100.0, 0.1), ("garch", 1.0, 0.06)],
)
def test_noise_has_mean_zero_and_its_variance(kind, variance, tolerance):
    x = noise(kind, 400, 1000, np.random.default_rng(5))
    assert x.shape == (400, 1000)
    assert x.mean() == pytest.approx(0.0, abs=0.01)
    assert x.var() == pytest.approx(variance, rel=tolerance)


def test_each_noise_has_its_own_tails():
    share = {k: np.mean(np.abs(noise(k, 400, 1000, np.random.default_rng(6))) > 4.0) for k in NOISES}
    assert share["gaussian"] == pytest.approx(2 * stats.norm.sf(4.0), rel=0.5)
    assert share["t4"] == pytest.approx(2 * stats.t.sf(4.0 * math.sqrt(2.0), 4), rel=0.1)
    assert share["outliers"] == pytest.approx(0.01 * 2 * stats.norm.sf(0.4), rel=0.1)


def test_garch_squares_are_correlated_as_the_recursion_says():
    x = noise("garch", 2000, 400, np.random.default_rng(7)) ** 2
    a, b = x[:-1] - x.mean(), x[1:] - x.mean()
    shock, persistence = 0.08, 0.98
    first_lag = shock * (1 - persistence * (persistence - shock)) / (1 - persistence**2 + shock**2)
    assert (a * b).mean() / x.var() == pytest.approx(first_lag, rel=0.15)


def test_an_unknown_noise_is_named():
    with pytest.raises(ValueError, match="cauchy"):
        noise("cauchy", 1, 1, np.random.default_rng(0))


def test_a_change_shifts_and_scales():
    assert changed(np.array([-1.0, 2.0]), "shift 2 sigma").tolist() == [1.0, 4.0]
    assert changed(np.array([-1.0, 2.0]), "volatility /2").tolist() == [-0.5, 1.0]
    assert len(CHANGES) == 5


def test_log_odds_are_finite_at_zero_and_one():
    assert np.isfinite(log_odds(np.array([0.0, 1.0]))).all()
    assert log_odds(np.array([0.5, 0.75])) == pytest.approx([0.0, math.log(3.0)], abs=1e-6)


@pytest.mark.parametrize(("name", "outlier_df"), [("gaussian", math.inf), ("shared weight", 8.0)])
def test_the_reference_engine_without_thinning_is_the_package(name, outlier_df):
    x = noise("t4", 300, 4, np.random.default_rng(8))
    x[200:] *= 3.0
    panel = RunLengthPanel(
        4, hazard=0.004, max_run=301, warmup=0, location=0.0, scale=1.0, outlier_df=outlier_df
    )
    expected = np.empty_like(x)
    for i, row in enumerate(x):
        panel.update(row)
        expected[i] = panel.probability_at_most(60)
    found = likelihoods.recent_change(name, x, 0.004, 60, thinned=False)
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", likelihoods.LIKELIHOODS)
def test_thinning_hardly_moves_the_posterior(name):
    x = noise("gaussian", 400, 6, np.random.default_rng(9))
    x[300:] += 1.0
    whole = likelihoods.recent_change(name, x, 0.004, 60, thinned=False)
    thinned = likelihoods.recent_change(name, x, 0.004, 60)
    assert np.abs(whole - thinned).mean() < 0.01


@pytest.mark.parametrize("name", likelihoods.LIKELIHOODS)
def test_every_likelihood_sees_a_large_shift(name):
    x = noise("gaussian", 300, 6, np.random.default_rng(10))
    x[200:] += 3.0
    found = likelihoods.recent_change(name, x, 0.004, 60)
    assert (found[199] < 0.5).all()
    assert (found[240] > 0.9).all()


@pytest.mark.parametrize("df", [2.0, 3.0, 8.0, 50.0, 2000.0])
def test_the_student_density_is_scipys(df):
    spread, z = 2.5, 1.3
    found = likelihoods.log_student(z * z, df, spread)
    assert found == pytest.approx(
        stats.t.logpdf(z * math.sqrt(spread), df, scale=math.sqrt(spread)), abs=2e-6
    )


def test_the_gamma_ratio_is_scipys():
    for a in (0.5, 1.0, 2.5, 40.0):
        exact = math.exp(special.gammaln(a + 0.5) - special.gammaln(a))
        assert likelihoods.gamma_ratio(a) == pytest.approx(exact, rel=1e-5)


def test_the_beta_score_holds_the_integral_of_the_density():
    df, spread, beta, x = 3.0, 2.0, 0.15, 0.7
    density = stats.t(df, scale=math.sqrt(spread)).pdf
    integral = integrate.quad(lambda u: density(u) ** (1.0 + beta), -np.inf, np.inf)[0]
    expected = (density(x) ** beta - 1.0) / beta - integral / (1.0 + beta)
    assert likelihoods.beta_score(math.log(density(x)), df, spread, beta) == pytest.approx(expected, abs=1e-6)


def test_huber_is_consistent_for_the_variance_of_normal_data():
    found = likelihoods.clipped_second_moment(2.5)
    inside = integrate.quad(lambda z: z * z * stats.norm.pdf(z), -2.5, 2.5)[0]
    assert found == pytest.approx(inside + 2.5**2 * 2.0 * stats.norm.sf(2.5), rel=1e-12)

"""Slopes know how sure they are; lag is back when it stays back."""

import numpy as np
import pytest

from benchmarks.soak.trend import growth, recoveries, slope


def test_a_slope_is_an_hour_s_and_its_interval_holds_it():
    rng = np.random.default_rng(1)
    t = np.arange(1800.0)
    noise = np.convolve(rng.standard_normal(1829), np.ones(30) / 30, mode="valid")  # neighbours agree
    found = slope(t, 200.0 + 12.0 * t / 3600.0 + noise, block=120.0)
    assert found.low < 12.0 < found.high
    assert found.value == pytest.approx(12.0, abs=2.0)
    assert not found.is_flat


def test_memory_that_wanders_without_a_trend_is_flat_nineteen_times_in_twenty():
    t = np.arange(600.0)
    flat = 0
    for seed in range(60):
        noise = np.convolve(np.random.default_rng(seed).standard_normal(619), np.ones(20) / 20, mode="valid")
        found = slope(t, 200.0 + noise, block=60.0, seed=seed)
        flat += found.low <= 0.0 <= found.high
    assert flat >= 50


def test_a_constant_has_no_slope_and_two_points_have_none_to_speak_of():
    assert slope([0.0, 1.0, 2.0, 3.0], [5.0] * 4, block=1.0).value == 0.0
    assert np.isnan(slope([0.0, 1.0], [1.0, 2.0], block=1.0).value)


def test_growth_compares_medians_of_both_ends():
    t = np.arange(100.0)
    values = np.where(t < 50, 20.0, 23.0)
    values[[3, 97]] = 1000.0
    assert growth(t, values, stretch=10.0) == 3.0


def test_lag_is_back_when_it_stays_below_the_limit_for_as_long_as_is_asked():
    t = list(range(22))
    lag = [0, 0, 90, 0, 90, 0, 0, 0, 0, 0, None, None, 80, 5, 0, 0, 0, 0, 90, 90, 0, 0]
    found = recoveries(t, lag, [1.5, 9.5, 17.5], limit=10, hold=2.0)
    assert found[0] == 3.5  # the second rise came too soon after the first
    assert found[1] == 3.5  # a broker that does not say is not back
    assert np.isnan(found[2])  # the samples end before it is sure
    assert recoveries(t, [0] * 22, [3.0], limit=10, hold=2.0) == [0.0]

"""Metrics against closed forms."""

import math

import numpy as np
import pytest

from stream_allocator.backtest.metrics import (
    conditional_value_at_risk,
    drawdown,
    metrics,
)


def path(returns):
    return np.concatenate(([1.0], np.cumprod(1.0 + np.asarray(returns))))


def test_constant_growth_has_its_rate_and_no_risk():
    m = metrics(path([0.001] * 504), np.zeros(505))
    assert m.annual_return == pytest.approx(1.001**252 - 1.0)
    assert m.volatility == pytest.approx(0.0, abs=1e-12)
    assert m.max_drawdown == 0.0
    assert m.calmar == math.inf


def test_two_valued_returns_have_their_textbook_moments():
    up, down, n = 0.02, -0.01, 1000
    m = metrics(path([up, down] * (n // 2)), np.full(10, 0.3), periods_per_year=250.0)
    spread = (up - down) / 2 * math.sqrt(n / (n - 1))
    assert m.volatility == pytest.approx(spread * math.sqrt(250))
    assert m.sharpe == pytest.approx((up + down) / 2 / spread * math.sqrt(250))
    assert m.max_drawdown == pytest.approx(0.01)
    assert m.turnover == pytest.approx(3.0 / (n / 250))
    assert m.cvar == pytest.approx(0.01)
    assert m.calmar == pytest.approx(m.annual_return / 0.01)


def test_a_wealth_that_never_moves_has_no_sharpe_ratio():
    assert metrics(np.ones(10), np.zeros(10)).sharpe == 0.0


def test_drawdown_is_measured_from_the_peak_so_far():
    np.testing.assert_allclose(drawdown(np.array([1.0, 2.0, 1.0, 3.0, 1.5])), [0, 0, 0.5, 0, 0.5])


def test_the_tail_mean_takes_the_edge_by_its_fraction():
    returns = -np.arange(1.0, 31.0)  # worst: -30, -29, ...; 5 % of 30 is one and a half
    assert conditional_value_at_risk(returns) == pytest.approx((30 + 0.5 * 29) / 1.5)
    assert conditional_value_at_risk(np.array([-0.2])) == pytest.approx(0.2)


def test_the_tail_mean_of_a_normal_sample_is_near_its_formula():
    x = np.random.default_rng(0).standard_normal(200_000)
    assert conditional_value_at_risk(x) == pytest.approx(2.0627, abs=0.02)  # phi(1.645) / 0.05


def test_a_path_needs_two_points():
    with pytest.raises(ValueError, match="two points"):
        metrics(np.ones(1), np.zeros(1))


def test_a_rate_that_never_changes_has_no_sharpe_ratio():
    assert metrics(path([0.001] * 504), np.zeros(505)).sharpe == 0.0

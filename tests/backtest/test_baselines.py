"""Static rules against closed forms, and the path that follows one against a naive loop."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from stream_allocator.backtest.account import Delisting, Ledger
from stream_allocator.backtest.baselines import (
    RULES,
    SILENT,
    WINDOW,
    eligible,
    equal_weight,
    inverse_volatility,
    minimum_variance,
    run_rule,
)
from stream_allocator.backtest.metrics import metrics
from stream_allocator.backtest.prices import bundled


def returns(bars=400, n=4, seed=0):
    rng = np.random.default_rng(seed)
    scale = np.linspace(0.005, 0.02, n)
    return 0.006 * rng.standard_normal((bars, 1)) + scale * rng.standard_normal((bars, n))


def test_inverse_volatility_is_what_its_name_says():
    x = np.tile([[0.01, -0.02, 0.0], [-0.01, 0.02, 0.0]], (100, 1))
    np.testing.assert_allclose(inverse_volatility(x), [2 / 3, 1 / 3, 0.0])
    np.testing.assert_allclose(inverse_volatility(np.zeros((5, 2))), [0.5, 0.5])


@pytest.mark.parametrize("seed", range(4))
def test_minimum_variance_agrees_with_a_general_solver(seed):
    x = returns(seed=seed, n=5)
    s = np.cov(x[-252:], rowvar=False) * 1e4
    w = minimum_variance(x)
    other = minimize(
        lambda v: v @ s @ v,
        np.full(5, 0.2),
        jac=lambda v: 2 * s @ v,
        bounds=[(0, 1)] * 5,
        constraints={"type": "eq", "fun": lambda v: v.sum() - 1},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert w.sum() == pytest.approx(1.0)
    assert (w >= 0).all()
    assert w @ s @ w <= other.fun * (1 + 1e-8)


def test_minimum_variance_of_uncorrelated_assets_is_inverse_variance():
    raw = np.random.default_rng(3).standard_normal((252, 4))
    uncorrelated, _ = np.linalg.qr(raw - raw.mean(axis=0))
    variances = np.array([1.0, 4.0, 9.0, 16.0])
    expected = 1.0 / variances
    weights = minimum_variance(uncorrelated * np.sqrt(variances))
    np.testing.assert_allclose(weights, expected / expected.sum(), rtol=1e-6)


def test_minimum_variance_survives_duplicates_constants_and_short_histories():
    x = returns(n=2)
    twice = np.column_stack((x, x[:, 0], np.zeros(len(x))))
    w = minimum_variance(twice)
    assert w[3] == 0.0
    assert w.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(w[0] + w[2], minimum_variance(x)[0], atol=1e-4)
    np.testing.assert_array_equal(minimum_variance(x[:3]), equal_weight(x))


@pytest.mark.parametrize("name", RULES)
def test_every_rule_is_fully_invested_and_long_only(name):
    for bars in (1, 2, 30, 400):
        w = RULES[name](returns(bars))
        assert w.sum() == pytest.approx(1.0)
        assert (w >= 0).all()


def test_a_path_fills_one_bar_after_the_question():
    x = np.array([[0.5], [0.5], [0.1], [0.1], [math.nan], [0.1]])
    path = run_rule(equal_weight, x, start=0, every=10, cost_bps=0.0)
    np.testing.assert_allclose(path.wealth, [1, 1, 1.1, 1.21, 1.21, 1.331])
    np.testing.assert_allclose(path.traded, [0, 1, 0, 0, 0, 0])


def test_no_rule_sees_the_bar_that_fills_it():
    x = returns(200)
    seen = []
    run_rule(lambda h: (seen.append(len(h)), equal_weight(h))[1], x, start=50, every=30)
    assert seen == [51, 81, 111, 141, 171]


def test_a_path_agrees_with_a_naive_loop():
    x = returns(120)
    path = run_rule(inverse_volatility, x, start=20, every=7, cost_bps=10.0)
    ledger, wealth = Ledger(4, 1.0, 10.0), []
    for t in range(20, 120):
        ledger.mark(x[t])
        if t > 20 and (t - 21) % 7 == 0:
            ledger.rebalance(inverse_volatility(x[:t]))
        wealth.append(ledger.nav)
    np.testing.assert_allclose(path.wealth, wealth, rtol=1e-13)


def test_a_rule_is_asked_about_what_has_been_listed_and_still_reports():
    seen = np.ones((WINDOW + 50, 5), dtype=bool)
    seen[:51, 1] = False  # listed for less than the window
    seen[:50, 2] = False  # just long enough
    seen[-SILENT:, 3] = False
    seen[-SILENT:-1, 4] = False
    assert eligible(seen).tolist() == [True, False, True, False, True]
    early = np.ones((60, 2), dtype=bool)
    early[:SILENT, 1] = False
    assert eligible(early).tolist() == [True, False]


@pytest.mark.parametrize("name", RULES)
def test_no_rule_buys_the_quiet_before_a_listing_or_after_the_end(name):
    x = returns(700)
    x[:400, 0] = math.nan
    x[300:, 1] = math.nan
    asked = []
    run_rule(lambda h: (asked.append((h.shape[1], RULES[name](h))), asked[-1][1])[1], x, start=100, every=10)
    widths = [width for width, _ in asked]
    assert widths[:20] == [3] * 20  # the first asset not yet, the second still
    assert widths[21:55] == [2] * 34
    assert widths[-4:] == [3] * 4
    for _, weights in asked:
        assert weights.sum() == pytest.approx(1.0)


def test_a_rule_that_may_hold_nothing_stays_in_cash():
    x = returns(40)
    x[20:] = math.nan
    path = run_rule(equal_weight, x, start=0, every=5)
    assert path.wealth[-1] == path.wealth[20]


def test_a_path_waits_over_a_bar_without_closes_and_pays_out_what_ended():
    x = np.zeros((40, 2))
    x[1] = math.nan
    x[5:, 0] = math.nan
    path = run_rule(equal_weight, x, start=0, every=100, cost_bps=0.0, delisting=Delisting(21, -0.5))
    np.testing.assert_array_equal(path.traded[:4], [0, 0, 1, 0])
    np.testing.assert_allclose(path.wealth, np.where(np.arange(40) < 5 + 20, 1.0, 0.75))


def test_the_published_anchor_is_met():
    """20 US large caps from 1993 at 10 bp: 1/N has a Sharpe ratio of .878 and a drawdown of .493."""
    path = run_rule(equal_weight, bundled().returns(), start=750)
    m = metrics(path.wealth, path.traded)
    assert m.sharpe == pytest.approx(0.878, abs=0.002)
    assert m.max_drawdown == pytest.approx(0.493, abs=0.002)

"""Every path answers, and none trades or breaks more than it may."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from programmes import KINDS, programme

from stream_allocator.allocate import (
    RUNGS,
    SolverSettings,
    certificate,
    decide,
    passes,
    static_weights,
    total_violation,
    towards,
    violations,
    volatility,
)
from stream_allocator.allocate.feasibility import least_violation

CUT_SHORT = SolverSettings(max_iter=1)


def drifted(kind, seed):
    """A programme whose limits are somewhat contradictory now and then."""
    p = programme(kind, seed)
    rng = np.random.default_rng([seed, 99])
    match seed % 4:
        case 1:
            return replace(p, current=p.current * 1.3 + rng.normal(size=len(p.assets)) * 0.04)
        case 2:
            return replace(p, turnover=float(rng.choice([0.0, 0.01, 0.05])))
        case 3:
            return replace(p, volatility=float(rng.choice([0.02, 0.08])))
    return p


@given(
    st.sampled_from(KINDS),
    st.integers(0, 400),
    st.sampled_from([None, *RUNGS]),
    st.sampled_from(["inverse_volatility", "equal_risk_contribution"]),
    st.booleans(),
)
@settings(max_examples=120)
@example("smooth", 120, None, "inverse_volatility", True)  # HiGHS left a limit broken by 1e-10
def test_every_path_keeps_to_turnover_and_liquidity_and_breaks_no_more_than_before(
    kind, seed, force, baseline, cut_short
):
    p = drifted(kind, seed)
    decision = decide(p, baseline=baseline, force=force, settings=CUT_SHORT if cut_short else None)
    w, trade = decision.weights, np.abs(decision.weights - p.current)
    assert np.isfinite(w).all()
    assert trade.sum() <= p.turnover + 1e-12
    assert (trade <= p.trade + 1e-12).all()
    assert total_violation(p, w) <= total_violation(p, p.current) + 1e-12
    linear = ("lower", "upper", "exit", "active", "cash", "group", "gross")
    if not any(x > 1e-12 and name.startswith(linear) for name, x in violations(p, p.current).items()):
        assert not any(x > 1e-12 and name.startswith(linear) for name, x in violations(p, w).items())
    if force:
        assert RUNGS.index(decision.rung) >= RUNGS.index(force)
    assert decision.reason
    again = decide(p, baseline=baseline, force=force, settings=CUT_SHORT if cut_short else None)
    assert again.weights.tobytes() == w.tobytes()
    assert (again.rung, again.reason) == (decision.rung, decision.reason)


@pytest.mark.parametrize("rung", RUNGS)
def test_each_rung_is_reached_by_force(rung):
    p = programme("cash", 5, n=6, volatility=np.inf)
    decision = decide(p, force=rung)
    assert decision.rung == rung
    assert (decision.solution is not None) == (rung in ("robust", "restore"))
    assert (decision.certificate is not None) == (rung in ("robust", "restore"))


def test_robust_is_taken_where_the_certificate_proves_it():
    p = programme("smooth", 1)
    decision = decide(p)
    assert decision.rung == "robust"
    assert decision.certificate == certificate(p, decision.weights, decision.solution.multipliers)
    assert passes(p, decision.weights, decision.certificate)
    moved = decision.weights + 0.01
    assert not passes(p, moved, certificate(p, moved, decision.solution.multipliers))


def test_restore_is_taken_where_the_cap_is_out_of_reach_within_the_turnover():
    p = programme("cash", 5, n=6, turnover=0.05, trade=np.full(6, np.inf), volatility=np.inf)
    p = replace(p, volatility=0.5 * volatility(p, p.current))
    decision = decide(p)
    assert decision.rung == "restore"
    assert "volatility" in decision.reason
    assert np.abs(decision.weights - p.current).sum() == pytest.approx(0.05, abs=1e-12)
    after = volatility(p, decision.weights)
    assert p.volatility < after < volatility(p, p.current)
    # no trade of that size lowers the volatility further
    rng = np.random.default_rng(0)
    for _ in range(300):
        step = rng.normal(size=6)
        step *= 0.05 / np.abs(step).sum()
        other = p.current + step
        if (other >= 0.0).all() and other.sum() <= 1.0 and (other <= p.upper).all():
            assert volatility(p, other) >= after - 1e-9
    assert decision.certificate.primal == pytest.approx(after - p.volatility)


def test_restore_brings_a_drifted_weight_back_as_fast_as_liquidity_allows():
    p = programme("cash", 5, n=4, current=np.array([0.5, 0.1, 0.1, 0.1]), upper=np.full(4, 0.3))
    p = replace(p, trade=np.array([0.05, 1.0, 1.0, 1.0]), turnover=np.inf, volatility=np.inf)
    decision = decide(p)
    assert decision.rung == "restore"
    assert decision.weights[0] == pytest.approx(0.45, abs=1e-15)
    assert "left broken: upper[A0]" in decision.reason


def test_limits_broken_by_drift_but_within_reach_are_restored_by_the_robust_answer():
    p = programme("cash", 5, n=4, current=np.array([0.35, 0.1, 0.1, 0.1]), upper=np.full(4, 0.3))
    p = replace(p, trade=np.full(4, np.inf), turnover=np.inf, volatility=np.inf)
    decision = decide(p)
    assert decision.rung == "robust"
    assert decision.weights[0] <= 0.3


def test_baseline_is_taken_where_the_solver_fails():
    p = programme("plain", 1, cash_upper=1.0)
    decision = decide(p, settings=CUT_SHORT)
    assert decision.rung == "baseline"
    assert "maximum_iterations_reached" in decision.reason
    np.testing.assert_array_equal(decision.weights, towards(p, static_weights(p, "inverse_volatility")))


def test_hold_is_taken_where_no_trade_is_allowed_and_a_limit_is_broken():
    p = programme("cash", 5, n=6, turnover=0.0, volatility=np.inf)
    p = replace(p, volatility=0.5 * volatility(p, p.current))
    decision = decide(p)
    assert decision.rung == "hold"
    assert decision.weights.tobytes() == p.current.tobytes()
    assert "no trade is allowed" in decision.reason


@given(
    st.sampled_from(["outside_the_box", "everything_binds", "plain", "overlapping_groups"]),
    st.integers(0, 200),
)
@settings(max_examples=25)
def test_no_trade_within_reach_breaks_the_linear_limits_less_than_the_least_violation(kind, seed):
    p = replace(drifted(kind, seed), volatility=np.inf)
    total, weights, broken = least_violation(p)
    assert abs(total_violation(p, weights) - total) <= 1e-9
    assert bool(broken) == (total > 1e-9)
    rng = np.random.default_rng(seed)
    for _ in range(100):
        other = p.current + rng.uniform(0.5, 1.5) * (weights - p.current)
        other += rng.normal(size=len(p.assets)) * rng.choice([0.0, 0.001, 0.03])
        step = np.clip(other - p.current, -p.trade, p.trade)
        traded = np.abs(step).sum()
        step *= min(1.0, p.turnover / traded) if traded > 0.0 else 0.0
        assert total_violation(p, p.current + step) >= total - 1e-9

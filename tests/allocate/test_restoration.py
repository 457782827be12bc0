"""Broken limits come back in the fewest bars that trades permit, and no bar makes them worse."""

from dataclasses import replace

import numpy as np
import pytest
from cone import solve_cone
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from programmes import KINDS, broken_programme, programme
from scipy.optimize import linprog

from stream_allocator.allocate import Group, decide, restore, total_violation, violations, volatility
from stream_allocator.allocate.feasibility import fewest_trades, least_violation

MOST = 9


def can_hold(p, trades):
    """Whether so many trades can meet all linear limits: a linear programme in w, u >= |w - w0|, s >= |w|."""
    n = len(p.assets)
    eye, none = np.eye(n), np.zeros((n, n))
    members = np.array([[i in g.members for i in range(n)] for g in p.groups], dtype=float).reshape(-1, n)
    nothing = np.zeros_like(members)
    ones, nil = np.ones((1, n)), np.zeros((1, n))
    rows = [
        (np.hstack([eye, -eye, none]), p.current),
        (np.hstack([-eye, -eye, none]), -p.current),
        (np.hstack([eye, none, -eye]), np.zeros(n)),
        (np.hstack([-eye, none, -eye]), np.zeros(n)),
        (np.hstack([nil, ones, nil]), [trades * p.turnover]),
        (np.hstack([ones, nil, nil]), [1.0 - p.cash_lower]),
        (np.hstack([-ones, nil, nil]), [p.cash_upper - 1.0]),
        (np.hstack([nil, nil, ones]), [p.gross]),
        (np.hstack([members, nothing, nothing]), [g.upper for g in p.groups]),
        (np.hstack([-members, nothing, nothing]), [-g.lower for g in p.groups]),
        (np.hstack([0.5 * members, nothing, 0.5 * members]), [g.long for g in p.groups]),
        (np.hstack([nothing, nothing, members]), [g.gross for g in p.groups]),
    ]
    a, b = np.vstack([x for x, _ in rows]), np.concatenate([np.asarray(x, dtype=float) for _, x in rows])
    w = np.stack(
        [
            np.maximum.reduce([p.lower, -p.holding, p.benchmark - p.active]),
            np.minimum.reduce([p.upper, p.holding, p.benchmark + p.active]),
        ],
        axis=1,
    )
    u = np.stack([np.zeros(n), trades * p.trade], axis=1)
    s = np.stack([np.zeros(n), np.full(n, np.inf)], axis=1)
    kept = np.isfinite(b)
    slack = 1e-9  # the count is over where no more than this is broken
    bounds = np.vstack([w + np.array([-slack, slack]), u, s])
    return linprog(np.zeros(3 * n), a[kept], b[kept] + slack, bounds=bounds, method="highs").status == 0


def bars_until_nothing_is_broken(p, most):
    """Decide again and again with the same grants; how often it took, or None if more than ``most``."""
    for bar in range(most + 1):
        before = total_violation(p, p.current)
        if before <= 1e-9:
            return bar
        w = decide(p).weights
        trade = np.abs(w - p.current)
        assert trade.sum() <= p.turnover + 1e-12
        assert (trade <= p.trade + 1e-12).all()
        assert total_violation(p, w) <= before + 1e-12
        p = replace(p, current=w)
    return None


def cone_can_hold(p, trades):
    """The same with both caps, by Clarabel; undecided where it is at the very edge."""
    try:
        return solve_cone(replace(p, turnover=trades * p.turnover, trade=trades * p.trade)) is not None
    except AssertionError:
        assume(False)


@given(st.sampled_from(KINDS), st.integers(0, 400))
@settings(max_examples=26)
def test_linear_limits_are_met_in_the_fewest_bars_that_trades_permit(kind, seed):
    p = broken_programme(kind, seed)
    fewest = next((bars for bars in range(1, MOST + 1) if can_hold(p, bars)), None)
    if total_violation(p, p.current) <= 1e-9:
        fewest = 0
    assert bars_until_nothing_is_broken(p, fewest or 3) == fewest


@given(st.sampled_from(["two_caps", "tracking", "gelbrich_capped", "plain", "gross"]), st.integers(0, 400))
@settings(max_examples=15)
def test_caps_on_volatility_and_tracking_error_are_met_in_the_fewest_bars_too(kind, seed):
    p = broken_programme(kind, seed, capped=True)
    fewest = next((bars for bars in range(1, MOST + 1) if cone_can_hold(p, bars)), None)
    if total_violation(p, p.current) <= 1e-9:
        fewest = 0
    assert bars_until_nothing_is_broken(p, fewest or 3) == fewest


@given(st.sampled_from(KINDS), st.integers(0, 400))
@settings(max_examples=40)
def test_the_count_of_trades_is_what_enumeration_finds(kind, seed):
    p = broken_programme(kind, seed)
    x = fewest_trades(p)
    assert can_hold(p, x * (1.0 + 1e-7) + 1e-9) if np.isfinite(x) else not can_hold(p, 1e6)
    assert x < 1e-6 or not can_hold(p, x * (1.0 - 1e-4) - 1e-7)


def paths_of_two(p, seed):
    """Random first trades from which one more can meet all limits."""
    rng = np.random.default_rng(seed)
    target = least_violation(replace(p, turnover=2.0 * p.turnover, trade=2.0 * p.trade))[1]
    for _ in range(100):
        share = np.clip(rng.uniform(-0.2, 1.2) + 0.3 * rng.normal(size=len(p.assets)), 0.0, 1.0)
        step = np.clip(share * (target - p.current), -p.trade, p.trade)
        w = p.current + step * min(1.0, p.turnover / max(np.abs(step).sum(), 1e-300))
        if can_hold(replace(p, current=w), 1):
            yield w


@given(
    st.sampled_from(["outside_the_box", "everything_binds", "plain", "overlapping_groups", "gross"]),
    st.integers(0, 300),
)
@settings(max_examples=6)
def test_of_all_trades_that_are_on_time_none_breaks_less(kind, seed):
    p = broken_programme(kind, seed)
    x = fewest_trades(p)
    assume(0.0 < x < np.inf)
    p = replace(p, turnover=p.turnover * x / 1.6, trade=p.trade * x / 1.6)  # it takes two
    found = restore(p)
    assert found.trades == 2
    total = total_violation(p, found.weights)
    assert total <= least_violation(p, after=1)[0] + 1e-9
    for w in paths_of_two(p, seed):
        assert total_violation(p, w) >= total - 1e-8


@pytest.mark.parametrize(
    ("kind", "seed", "capped"),
    [("market_neutral", 20, False), ("no_own_variance", 40, True), ("gelbrich_capped", 41, True)],
)
def test_the_objective_is_followed_only_as_far_as_time_permits(kind, seed, capped):
    p = broken_programme(kind, seed, capped)
    found = restore(p)
    assert found.trades > 1
    assert found.solution.multipliers == {}  # between two answers: the prices are those of neither
    can = cone_can_hold if capped else can_hold
    assert can(replace(p, current=found.weights), found.trades - 1)
    assert not can(p, found.trades - 1)
    assert bars_until_nothing_is_broken(p, MOST) == found.trades


@pytest.mark.parametrize(("kind", "seed"), [("tracking", 2), ("gelbrich_capped", 0)])
def test_where_the_least_linear_violation_would_raise_risk_the_straight_way_is_taken(kind, seed):
    p = broken_programme(kind, seed, capped=True)
    trades = restore(p).trades
    least = replace(p, current=least_violation(p, after=trades - 1)[1])
    late = not cone_can_hold(least, trades - 1)
    assert late or total_violation(p, least.current) > total_violation(p, p.current)
    assert bars_until_nothing_is_broken(p, MOST) == trades


@pytest.mark.parametrize(
    ("kind", "seed"),
    [("outside_the_box", 8), ("two_equal_assets", 14), ("market_neutral", 25), ("everything_binds", 40)],
)
def test_where_greed_is_late_the_trade_breaks_as_little_as_one_on_time_can(kind, seed):
    p = broken_programme(kind, seed)
    found = restore(p)
    least, weights, _ = least_violation(p, after=found.trades - 1)
    assert can_hold(replace(p, current=weights), found.trades - 1)
    assert total_violation(p, found.weights) == pytest.approx(least, abs=1e-9)


def test_greed_for_the_least_violation_alone_would_be_late():
    p = broken_programme("two_equal_assets", 14)
    greedy = p
    for _ in range(7):
        greedy = replace(greedy, current=least_violation(greedy)[1])
    assert total_violation(p, greedy.current) > 1e-3
    assert can_hold(p, 7)
    assert bars_until_nothing_is_broken(p, 9) == 7


def slow(**changes):
    """A0 is far too large and can be sold only slowly; the other four trade as they please."""
    p = programme("cash", 5, n=5, current=np.array([0.5, 0.1, 0.1, 0.1, 0.1]), upper=np.full(5, 0.3))
    trade = np.array([0.02, 1.0, 1.0, 1.0, 1.0])
    fields = {"trade": trade, "turnover": np.inf, "volatility": np.inf, "cash_upper": 1.0}
    return replace(p, **(fields | changes))


def test_what_takes_long_does_not_keep_the_rest_from_the_best():
    p = slow()
    decision = decide(p)
    assert decision.rung == "restore"
    assert decision.weights[0] == pytest.approx(0.48, abs=1e-15)
    assert decision.reason.endswith("left broken: upper[A0], for 9 more trades at least")
    rest = replace(p, lower=np.where(np.arange(5) == 0, 0.48, p.lower), upper=np.maximum(p.upper, 0.48))
    np.testing.assert_allclose(
        decision.weights[1:],
        decide(replace(rest, upper=p.upper + np.array([0.18, 0, 0, 0, 0]))).weights[1:],
        atol=1e-9,
    )


@pytest.mark.parametrize(
    ("limit", "changes"),
    [
        ("upper[A0]", {}),
        ("lower[A1]", {"lower": np.array([0, 0.3, 0, 0, 0]), "trade": np.full(5, 0.03), "upper": np.ones(5)}),
        ("exit[A0]", {"holding": np.full(5, 0.3), "upper": np.ones(5)}),
        ("active[A0]", {"active": np.full(5, 0.2), "upper": np.ones(5)}),
        ("gross", {"gross": 0.3, "upper": np.ones(5)}),
        ("cash_upper", {"cash_upper": 0.0, "trade": np.full(5, 0.01), "upper": np.ones(5)}),
        ("cash_lower", {"cash_lower": 0.5, "trade": np.full(5, 0.01), "upper": np.ones(5)}),
        ("group_upper[g]", {"groups": (Group("g", (0, 1), -1.0, 0.2),), "upper": np.ones(5)}),
        ("group_lower[g]", {"groups": (Group("g", (1, 2), 0.4, 1.0),), "trade": np.full(5, 0.02)}),
        ("group_long[g]", {"groups": (Group("g", (0, 1), long=0.2),), "upper": np.ones(5)}),
        ("group_gross[g]", {"groups": (Group("g", (0, 1), gross=0.2),), "upper": np.ones(5)}),
    ],
)  # fmt: skip
def test_every_kind_of_linear_limit_is_restored(limit, changes):
    p = slow(**changes)
    assert limit in violations(p, p.current)
    decision = decide(p)
    assert decision.rung == "restore"
    assert decision.solution is not None
    assert limit in decision.reason
    assert total_violation(p, decision.weights) < total_violation(p, p.current) - 1e-3


@pytest.mark.parametrize("cap", ["volatility", "tracking"])
def test_a_cap_out_of_reach_is_approached_until_it_holds(cap):
    p = programme("tracking", 4, n=6, turnover=0.1, tracking=np.inf)
    p = replace(p, current=np.maximum(p.benchmark - 0.1, 0.0) + 0.3 * np.eye(6)[0], upper=np.ones(6))
    p = replace(p, **{cap: 0.05}, cash_upper=1.0)
    assert violations(p, p.current)[cap] > 0.01
    bars = bars_until_nothing_is_broken(p, MOST)
    assert bars > 1
    assert cone_can_hold(p, bars)
    assert not cone_can_hold(p, bars - 1)


def test_limits_that_no_trade_can_mend_are_broken_as_little_as_possible_and_said_to_be():
    p = slow(cash_lower=0.0, cash_upper=0.0, upper=np.full(5, 0.1), turnover=0.5, trade=np.full(5, np.inf))
    assert fewest_trades(p) == np.inf  # five times 0.1 is never 1
    decision = decide(p)
    assert decision.rung == "restore"
    assert decision.reason.endswith("no number of such trades can mend all")
    assert total_violation(p, decision.weights) == pytest.approx(least_violation(p)[0], abs=1e-9)


def test_a_cap_that_no_trade_can_meet_is_approached_as_far_as_possible():
    p = slow(turnover=0.3, cash_upper=0.2, upper=np.ones(5), trade=np.full(5, np.inf))
    p = replace(p, volatility=1e-3)
    decision = decide(p)
    assert decision.rung == "restore"
    assert "no number of such trades can mend all" in decision.reason
    assert volatility(p, decision.weights) < volatility(p, p.current)


def test_limits_alone_are_restored_without_a_solver_for_the_objective():
    p = slow()
    found = restore(p, follow=False)
    assert (found.solution, found.trades) == (None, 10)
    np.testing.assert_allclose(found.weights, [0.48, 0.1, 0.1, 0.1, 0.1], atol=1e-12)

"""The minimum trade: what is traded is large enough, what is published is proven, and no limit is broken."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from programmes import KINDS, programme

from stream_allocator.allocate import (
    Infeasible,
    ProgramError,
    SolverSettings,
    certificate,
    limits_of,
    objective,
    passes,
    solve,
    violations,
    without_small_trades,
)

ALONE = SolverSettings(cross_check=False)


def proven(p):
    try:
        answer = solve(p, ALONE)
    except Infeasible:
        return None
    return answer if passes(p, answer.weights, certificate(p, answer.weights, answer.multipliers)) else None


def cautious(seed, **changes):
    """Many assets and a wide choice of trades."""
    wide = {"turnover": np.inf, "trade": np.full(20, 0.3), "volatility": np.inf, "cash_upper": 1.0}
    return programme("expensive", seed, n=20, **wide | changes)


@pytest.mark.parametrize("minimum", [0.001, 0.01, 0.05])
@pytest.mark.parametrize("seed", range(5))
def test_every_trade_is_zero_or_large_enough(seed, minimum):
    p = cautious(seed, linear_cost=np.full(20, 1e-4))
    first = proven(p)
    restricted, answer = without_small_trades(p, first, minimum, proven)
    trade = np.abs(answer.weights - p.current)
    assert ((trade == 0.0) | (trade >= minimum - 1e-12)).all()
    assert set(restricted.resting) <= set(np.flatnonzero(trade == 0.0))
    assert not violations(p, answer.weights) or max(violations(p, answer.weights).values()) <= 1e-12
    assert objective(p, answer.weights) >= first.objective - 1e-12


def test_some_of_these_trades_were_too_small():
    counts = []
    for seed in range(5):
        p = cautious(seed, linear_cost=np.full(20, 1e-4))
        counts.append(len(without_small_trades(p, proven(p), 0.01, proven)[0].resting))
    assert min(counts) > 0


@settings(max_examples=60)
@given(st.sampled_from(KINDS), st.integers(0, 200), st.sampled_from([1e-4, 0.003, 0.02, 0.3]))
def test_of_any_programme_the_answer_is_proven_and_inside_its_limits(kind, seed, minimum):
    p = programme(kind, seed)
    first = proven(p)
    if first is None:
        return
    restricted, answer = without_small_trades(p, first, minimum, proven)
    assert passes(restricted, answer.weights, certificate(restricted, answer.weights, answer.multipliers))
    assert max(violations(p, answer.weights).values(), default=0.0) <= 1e-12
    rest = list(restricted.resting)
    assert (answer.weights[rest] == p.current[rest]).all()


def test_where_the_limits_need_a_small_trade_it_is_made():
    p = replace(programme("fully_invested", 0, n=4), cash_lower=0.0, cash_upper=0.0)
    held = np.array([0.25, 0.25, 0.25, 0.245])  # half a percent of cash, which may not be
    p = replace(p, current=held, upper=np.ones(4), trade=np.ones(4), turnover=1.0, volatility=np.inf)
    p = replace(p, linear_cost=np.full(4, 9.0))
    restricted, answer = without_small_trades(p, proven(p), 0.02, proven)
    assert np.abs(answer.weights - held).sum() == pytest.approx(0.005, abs=1e-12)
    assert len(restricted.resting) < 4


def test_nothing_changes_where_every_trade_is_large():
    p = cautious(1)
    first = proven(p)
    assert without_small_trades(p, first, 0.0, proven) == (p, first)


def test_the_price_of_resting_is_what_the_first_bit_of_trade_would_be_worth():
    p = cautious(2, linear_cost=np.full(20, 1e-4))
    restricted, answer = without_small_trades(p, proven(p), 0.01, proven)
    checked, h = 0, 1e-6
    for i in restricted.resting:
        price = answer.multipliers.get(f"minimum_trade[{p.assets[i]}]", 0.0)
        trade = restricted.trade.copy()
        trade[i] = h
        rest = tuple(j for j in restricted.resting if j != i)
        better = solve(replace(restricted, trade=trade, resting=rest), ALONE).objective
        assert (answer.objective - better) / h <= price * (1 + 1e-3) + 1e-6
        checked += price > 1e-3
    assert checked


def test_limits_of_resting_assets_are_named_for_what_they_are():
    p = replace(cautious(3), resting=(2, 5))
    kinds = {x.name: x.kind for x in limits_of(p) if x.kind in ("minimum_trade", "liquidity")}
    assert kinds["minimum_trade[A2]"] == kinds["minimum_trade[A5]"] == "minimum_trade"
    assert "liquidity[A2]" not in kinds
    assert kinds["liquidity[A3]"] == "liquidity"
    assert p.trade[[2, 5]].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("resting", [(20,), (-1,)])
def test_resting_positions_must_exist(resting):
    with pytest.raises(ProgramError, match="resting: must be positions below 20"):
        replace(cautious(0), resting=resting)

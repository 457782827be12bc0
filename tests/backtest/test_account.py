"""The paper account: fills at the next bar, conserves money, never fills twice."""

import math

import decisions
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stream_allocator.backtest.account import Ledger, PaperAccount
from stream_allocator.codec import decode, encode
from stream_allocator.events import PositionEvent

DAY = decisions.DAY
WEIGHTS = arrays(float, 4, elements=st.floats(0.0, 0.25))
RETURNS = arrays(float, 4, elements=st.floats(-0.5, 0.5) | st.just(math.nan))


def account(n=2, **kwargs):
    return PaperAccount("u", "core", tuple(f"A{i}" for i in range(n)), nav=1000.0, **kwargs)


def test_a_decision_is_filled_at_the_next_bars_close_after_its_returns():
    paper = account(cost_bps=0.0)
    paper.close(DAY, np.array([0.5, 0.5]))
    assert paper.receive(decisions.allocation([0.6, 0.4], event_time=DAY))
    fill, snapshot = paper.close(2 * DAY, np.array([0.1, -0.1]))
    assert fill.turnover == pytest.approx(1.0)
    assert snapshot.market_values == pytest.approx((600.0, 400.0))  # the bar's own return came too early
    paper.close(3 * DAY, np.array([0.1, -0.1]))
    assert paper.ledger.nav == pytest.approx(660.0 + 360.0)


def test_a_decision_is_not_filled_at_its_own_bar():
    paper = account()
    paper.receive(decisions.allocation([0.5, 0.5], event_time=DAY))
    assert paper.fill(DAY) is None
    assert paper.fill(2 * DAY) is not None
    assert paper.fill(3 * DAY) is None


def test_a_stale_decision_is_dropped():
    paper = account()
    paper.receive(decisions.allocation([0.5, 0.5], event_time=DAY, valid_until=3 * DAY))
    assert paper.fill(3 * DAY + 1) is None
    assert paper.stale == 1
    assert paper.fill(4 * DAY) is None


def test_only_new_executable_decisions_of_the_portfolio_are_taken():
    paper = account()
    assert not paper.receive(decisions.allocation([0.5, 0.5], executable=False))
    assert not paper.receive(decisions.allocation([0.5, 0.5], portfolio="other"))
    assert not paper.receive(decisions.allocation([0.5, 0.5], universe="other"))
    assert paper.receive(decisions.allocation([0.5, 0.5], index=3))
    assert not paper.receive(decisions.allocation([0.1, 0.1], index=3))
    assert not paper.receive(decisions.allocation([0.1, 0.1], index=2))
    assert paper.receive(decisions.allocation([0.2, 0.2], index=4))
    paper.fill(2 * DAY)
    np.testing.assert_allclose(paper.ledger.weights, [0.2, 0.2])


def test_snapshots_come_after_the_first_bar_and_after_each_fill_with_their_own_sequence():
    paper = account()
    snapshots = []
    for bar in range(1, 6):
        snapshots.append(paper.close(bar * DAY, np.zeros(2))[1])
        if bar == 3:
            paper.receive(decisions.allocation([0.5, 0.5], event_time=bar * DAY))
    assert [s is not None for s in snapshots] == [True, False, False, True, False]
    assert [s.sequence for s in snapshots if s] == [0, 1]


def test_an_account_resumes_from_its_own_snapshot():
    paper = account()
    paper.close(DAY, np.zeros(2))
    paper.receive(decisions.allocation([0.3, 0.6], event_time=DAY))
    _, snapshot = paper.close(2 * DAY, np.zeros(2))
    twin = PaperAccount.resume(decode(PositionEvent, encode(snapshot)), paper.assets)
    for bar in (paper, twin):
        bar.mark(np.array([0.07, -0.02]))
    assert twin.position_event(3 * DAY) == paper.position_event(3 * DAY)


def test_a_missing_return_leaves_the_value_where_it_is():
    ledger = Ledger(2, 100.0, 0.0)
    ledger.rebalance(np.array([0.5, 0.5]))
    ledger.mark(np.array([math.nan, 0.1]))
    np.testing.assert_allclose(ledger.values, [50.0, 55.0])


@given(WEIGHTS, WEIGHTS, RETURNS, st.floats(0.0, 100.0))
def test_money_is_conserved_and_only_costs_leave(first, second, returns, bps):
    ledger = Ledger(4, 1000.0, bps)
    ledger.rebalance(first)
    ledger.mark(returns)
    before, held = ledger.nav, ledger.values.copy()
    fill = ledger.rebalance(second)
    traded = np.abs(ledger.values - held).sum()
    assert fill.turnover == pytest.approx(traded / before)
    assert before - ledger.nav == pytest.approx(bps * 1e-4 * traded, abs=1e-9)
    np.testing.assert_allclose(ledger.weights, second, atol=1e-12)  # of what is left after costs


def test_costs_never_make_a_fully_invested_account_borrow():
    ledger = Ledger(2, 1000.0, 50.0)
    ledger.rebalance(np.array([0.5, 0.5]))
    assert ledger.cash == pytest.approx(0.0, abs=1e-9)
    assert ledger.nav == pytest.approx(1000.0 / 1.005)


def test_a_snapshot_adds_up_as_the_engine_demands():
    paper = account()
    paper.receive(decisions.allocation([0.9, 0.1], event_time=DAY))
    _, event = paper.close(2 * DAY, np.array([0.3, 0.3]))
    assert event.cash + sum(event.market_values) == pytest.approx(event.nav, rel=1e-12)

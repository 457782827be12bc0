"""The paper account: fills at the next bar, conserves money, never fills twice."""

import math

import decisions
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stream_allocator.backtest.account import Delisting, Ledger, PaperAccount
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


def test_a_stale_decision_is_followed_by_a_snapshot_of_what_is_really_held():
    paper = account()
    paper.close(DAY, np.zeros(2))
    paper.receive(decisions.allocation([0.5, 0.5], event_time=DAY, valid_until=2 * DAY))
    assert paper.expecting
    fill, event = paper.close(3 * DAY, np.zeros(2))
    assert fill is None
    assert event.market_values == (0.0, 0.0)
    assert paper.close(4 * DAY, np.zeros(2)) == (None, None)


def test_no_snapshot_is_published_from_before_a_decision_that_waits():
    paper = account()
    paper.close(DAY, np.zeros(2))
    paper.receive(decisions.allocation([0.5, 0.5], event_time=DAY, index=0))
    paper.mark(np.zeros(2))
    assert paper.fill(2 * DAY) is not None
    paper.receive(decisions.allocation([0.1, 0.1], event_time=2 * DAY, index=1))
    assert paper.snapshot(2 * DAY) is None
    assert paper.expecting
    fill, event = paper.close(3 * DAY, np.zeros(2))
    assert fill is not None
    np.testing.assert_allclose(np.array(event.market_values) / event.nav, 0.1)
    assert event.sequence == 1
    assert paper.snapshot(3 * DAY) is None


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
    priced = np.isfinite(returns)
    np.testing.assert_array_equal(ledger.values[~priced], held[~priced])
    assert ledger.cash >= -1e-9
    if priced.all():
        np.testing.assert_allclose(ledger.weights, second, atol=1e-12)  # of what is left after costs
        assert fill.unfilled == 0


def naive_part_fill(values, cash, weights, priced, rate):
    """What an order without all closes comes to, by bisection on the NAV that is left."""
    nav = cash + values.sum()

    def reached(left):
        goal = np.where(priced, weights * left, values)
        lacking = goal.sum() - left
        bought = np.maximum(goal - values, 0.0)
        if lacking > 0 and bought.sum() > 0:
            goal = goal - bought * min(1.0, lacking / bought.sum())
        return goal

    low, high = 0.0, nav
    for _ in range(200):
        middle = (low + high) / 2.0
        paid = rate * np.abs(reached(middle) - values).sum()
        low, high = (middle, high) if middle < nav - paid else (low, middle)
    return reached(low)


@given(WEIGHTS, WEIGHTS, RETURNS, st.floats(0.0, 100.0))
def test_an_order_without_all_closes_agrees_with_a_naive_search(first, second, returns, bps):
    ledger = Ledger(4, 1000.0, bps)
    ledger.rebalance(first)
    ledger.mark(returns)
    expected = naive_part_fill(ledger.values, ledger.cash, second, np.isfinite(returns), bps * 1e-4)
    ledger.rebalance(second)
    np.testing.assert_allclose(ledger.values, expected, atol=1e-7)


def test_what_has_no_close_is_not_traded_and_its_sale_pays_for_nothing():
    ledger = Ledger(3, 100.0, 0.0)
    ledger.rebalance(np.array([0.6, 0.4, 0.0]))
    ledger.mark(np.array([math.nan, 0.0, 0.0]))
    fill = ledger.rebalance(np.array([0.0, 0.5, 0.5]))  # the 60 that should pay for it cannot be sold
    np.testing.assert_allclose(ledger.values, [60.0, 40.0, 0.0], atol=1e-9)
    assert fill.unfilled == 1
    ledger.mark(np.array([math.nan, 0.0, 0.0]))
    ledger.rebalance(np.array([0.0, 0.2, 0.5]))  # now a sale of 20 pays for 20 of the 50
    np.testing.assert_allclose(ledger.values, [60.0, 20.0, 20.0], atol=1e-9)
    assert ledger.cash == pytest.approx(0.0, abs=1e-9)


def test_a_leveraged_order_may_still_borrow_what_its_weights_ask_for():
    ledger = Ledger(2, 100.0, 0.0)
    ledger.rebalance(np.array([0.5, 0.5]))
    ledger.mark(np.array([math.nan, 0.0]))
    ledger.rebalance(np.array([0.5, 0.8]))
    np.testing.assert_allclose(ledger.values, [50.0, 80.0])
    assert ledger.cash == pytest.approx(-30.0)


def test_a_decision_waits_over_a_bar_without_any_close():
    paper = account(cost_bps=0.0)
    paper.close(DAY, np.zeros(2))
    paper.receive(decisions.allocation([0.6, 0.4], event_time=DAY))
    assert paper.close(2 * DAY, np.full(2, math.nan)) == (None, None)
    fill, _ = paper.close(3 * DAY, np.zeros(2))
    assert fill.turnover == pytest.approx(1.0)


def test_a_holding_whose_prices_end_is_paid_out_at_its_delisting_return():
    ledger = Ledger(2, 100.0, 0.0, Delisting(after=3, final_return=-0.3))
    ledger.rebalance(np.array([0.5, 0.3]))
    paid = [ledger.mark(np.array([math.nan, 0.0])) for _ in range(5)]
    assert paid == [0, 0, 1, 0, 0]
    np.testing.assert_allclose(ledger.values, [0.0, 30.0])
    assert ledger.cash == pytest.approx(20.0 + 0.7 * 50.0)
    assert ledger.delisted == 1


@given(
    WEIGHTS,
    st.lists(RETURNS, min_size=1, max_size=8),
    st.floats(-0.01, 0.01),
    st.integers(1, 3),
    st.floats(-1.0, 1.0),
)
def test_a_bar_adds_what_was_earned_and_moves_the_rest_to_cash(weights, bars, interest, after, final):
    ledger = Ledger(4, 1000.0, 0.0, Delisting(after, final))
    ledger.rebalance(weights)
    silent = [0] * 4
    for returns in bars:
        values, cash = ledger.values.tolist(), ledger.cash * (1.0 + interest)
        expected = []
        for i, (value, r) in enumerate(zip(values, returns.tolist(), strict=True)):
            silent[i] = silent[i] + 1 if math.isnan(r) else 0
            if silent[i] >= after:  # for the holding's last price, and no more after that
                cash += value * (1.0 + final)
                expected.append(0.0)
            else:
                expected.append(value * (1.0 + (0.0 if math.isnan(r) else r)))
        ledger.mark(returns, interest)
        np.testing.assert_allclose(ledger.values, expected, rtol=1e-12)
        assert ledger.cash == pytest.approx(cash, rel=1e-12, abs=1e-9)


def test_prices_that_come_back_in_time_delist_nothing():
    ledger = Ledger(1, 100.0, 0.0, Delisting(after=3))
    ledger.rebalance(np.ones(1))
    for _ in range(4):
        ledger.mark(np.array([math.nan]))
        ledger.mark(np.array([math.nan]))
        ledger.mark(np.array([0.0]))
    assert ledger.values[0] == 100.0


def test_without_a_rule_a_silent_holding_is_kept():
    ledger = Ledger(1, 100.0, 0.0)
    ledger.rebalance(np.ones(1))
    for _ in range(100):
        assert ledger.mark(np.array([math.nan])) == 0
    assert ledger.values[0] == 100.0


def test_a_short_is_bought_back_at_the_delisting_return():
    ledger = Ledger(1, 100.0, 0.0, Delisting(after=1, final_return=-1.0))
    ledger.rebalance(np.array([-0.5]))
    ledger.mark(np.array([math.nan]))
    assert ledger.nav == pytest.approx(150.0)


def test_a_pay_out_is_published_and_can_be_foreseen():
    paper = account(cost_bps=0.0, delisting=Delisting(after=2))
    paper.close(DAY, np.zeros(2))
    paper.receive(decisions.allocation([0.5, 0.5], event_time=DAY))
    paper.close(2 * DAY, np.zeros(2))
    assert not paper.expecting
    assert paper.close(3 * DAY, np.array([math.nan, 0.0])) == (None, None)
    assert paper.expecting
    fill, snapshot = paper.close(4 * DAY, np.array([math.nan, 0.0]))
    assert fill is None
    assert snapshot.market_values == pytest.approx((0.0, 500.0))
    assert snapshot.cash == pytest.approx(500.0)
    assert not paper.expecting


@pytest.mark.parametrize("wrong", [{"after": 0}, {"final_return": -1.1}, {"final_return": math.inf}])
def test_a_delisting_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError):
        Delisting(**wrong)


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

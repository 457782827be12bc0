"""Cash earns its yield, a debt pays it, and what it earned is no merit of a portfolio."""

import math

import numpy as np
import pytest
import worlds
from walks import DAY, prices, walk

from stream_allocator.backtest.account import Ledger
from stream_allocator.backtest.baselines import equal_weight, run_rule
from stream_allocator.backtest.cash import interest_of, read_interest
from stream_allocator.backtest.metrics import metrics
from stream_allocator.backtest.summary import summarise
from stream_allocator.errors import ConfigurationError, DataError

DAYS = np.arange(5, dtype=np.int64) * DAY


def constant(annual, bars):
    return np.full(bars, float(interest_of(annual)))


def test_a_years_interest_is_the_yield():
    ledger = Ledger(1, 100.0)
    for _ in range(252):
        ledger.mark(np.zeros(1), float(interest_of(0.05)))
    assert ledger.cash == pytest.approx(105.0, rel=1e-12)
    assert float(interest_of(0.05, 12)) == pytest.approx(1.05 ** (1 / 12) - 1)


def test_a_debt_pays_what_cash_would_earn():
    ledger = Ledger(1, 100.0, 0.0)
    ledger.rebalance(np.array([1.5]))
    ledger.mark(np.zeros(1), 0.01)
    assert ledger.cash == pytest.approx(-50.5)
    assert ledger.nav == pytest.approx(99.5)


def test_interest_comes_before_the_fill_of_its_bar():
    ledger = Ledger(1, 100.0, 0.0)
    ledger.mark(np.zeros(1), 0.1)
    ledger.rebalance(np.ones(1))
    assert ledger.values[0] == pytest.approx(110.0)


def test_a_half_invested_path_earns_half_of_each():
    """One asset without moves, half in cash: the closed form of the drifting mix."""
    bars = 100
    half = run_rule(
        lambda h: np.array([0.5]),
        np.zeros((bars, 1)),
        start=0,
        every=bars,
        cost_bps=0.0,
        interest=constant(0.05, bars),
    )
    rate = float(interest_of(0.05))
    expected = [1.0, 1.0 + rate, *((1.0 + rate) * (0.5 + 0.5 * (1.0 + rate) ** np.arange(1, bars - 1)))]
    np.testing.assert_allclose(half.wealth, expected, rtol=1e-13)


def test_a_fully_invested_rule_gains_nothing_from_cash_but_its_first_bar():
    x = worlds.returns(60)
    plain = run_rule(equal_weight, x, start=0, cost_bps=0.0)
    with_cash = run_rule(equal_weight, x, start=0, cost_bps=0.0, interest=constant(0.05, 60))
    growth = with_cash.wealth[1:] / plain.wealth[1:]
    np.testing.assert_allclose(growth, 1.0 + float(interest_of(0.05)), rtol=1e-12)


def test_cash_alone_has_no_sharpe_ratio_and_excess_returns_have_that_of_their_own():
    rate = constant(0.04, 300)
    cash = np.concatenate(([1.0], np.cumprod(1.0 + rate)))
    assert metrics(cash, np.zeros(1), interest=rate).sharpe == pytest.approx(0.0, abs=1e-6)
    assert metrics(cash, np.zeros(1)).annual_return == pytest.approx(0.04, rel=1e-9)
    x = worlds.returns(300)[:, 0]
    risky = np.concatenate(([1.0], np.cumprod(1.0 + x + rate)))
    alone = np.concatenate(([1.0], np.cumprod(1.0 + x)))
    found = metrics(risky, np.zeros(1), interest=rate).sharpe
    assert found == pytest.approx(metrics(alone, np.zeros(1)).sharpe, rel=1e-9)


def test_the_walk_forward_and_the_baselines_are_paid_by_the_same_ledger():
    history = prices(worlds.returns(80))
    rate = constant(0.05, 80)
    run = walk(history, interest=rate)
    book = run.portfolios[0]
    earned = (book.held[:-1] * run.returns[1:]).sum(axis=1)
    cash = 1.0 - book.held[:-1].sum(axis=1)
    expected = (1.0 + earned + cash * rate[1:]) * (1.0 - 1e-3 * book.traded[1:]) - 1.0
    np.testing.assert_allclose(book.nav[1:] / book.nav[:-1] - 1.0, expected, atol=2e-6)
    assert (cash * rate[1:]).min() > 1e-5  # more than the tolerance: it would be missed
    summary = summarise(run, book)
    np.testing.assert_array_equal(summary.interest, rate[summary.start + 1 :])
    best = summary.baselines[0]
    direct = run_rule(equal_weight, run.returns, start=summary.start, every=10, interest=rate)
    np.testing.assert_array_equal(best.path.wealth, direct.wealth)


def test_decisions_start_from_holdings_to_which_interest_is_booked():
    run = walk(prices(worlds.returns(80)), interest=constant(0.5, 80))
    book = run.portfolios[0]
    times = run.times.tolist()
    for decision in book.decisions[1:]:
        held = book.held[times.index(decision.event_time)]
        current = np.array([w.current for w in decision.weights])
        # it knows all interest but that of its own bar
        np.testing.assert_allclose(current, held, rtol=2.0 * float(interest_of(0.5)))


def test_a_yield_of_nothing_is_the_run_without_one():
    assert read_interest("0", DAYS) is None
    history = prices(worlds.returns(60))
    assert walk(history, interest=None).chain == walk(history).chain


def test_a_constant_is_read_for_each_bar():
    np.testing.assert_array_equal(read_interest("0.05", DAYS), constant(0.05, 4))
    for wrong in ("-1", "inf", "nan"):
        with pytest.raises(ConfigurationError, match="--cash-yield"):
            read_interest(wrong, DAYS)


def test_a_files_yield_is_the_last_that_was_known_when_the_bar_began(tmp_path):
    path = tmp_path / "bills.csv"
    path.write_text("date,bills\n1969-12-01,0.01\n1970-01-02,0.02\n1970-01-04T12:00,0.03\n")
    expected = interest_of([0.01, 0.02, 0.02, 0.02])  # bars begin on 1, 2, 3 and 4 January
    np.testing.assert_array_equal(read_interest(str(path), DAYS), expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1"),
        ("date,a,b\n", "line 1"),
        ("date,y\n1969-01-01,x\n", "line 2, column y: 'x'"),
        ("date,y\n1969-01-01,-1\n", "line 2, column y: '-1'"),
        ("date,y\n1969-01-01,0.1\n\n1969-01-01,0.1\n", "line 4, column date: 1969-01-01 is not after"),
        ("date,y\n1969-01-01\n", "line 2: 1 cells"),
        ("date,y\nlast week,0\n", "line 2, column date: 'last week' is not a date"),
        ("date,y\n1970-01-02,0.1\n", "no yield is known when the first bar begins"),
        ("date,y\n", "no yield is known"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path, text, message):
    path = tmp_path / "bills.csv"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_interest(str(path), DAYS)
    assert message in str(caught.value)
    assert "bills.csv" in str(caught.value)


def test_what_is_neither_a_number_nor_a_file_says_so(tmp_path):
    with pytest.raises(DataError, match="neither a number nor a file"):
        read_interest("2%", DAYS)


def test_interest_of_many_yields_keeps_their_shape():
    found = interest_of([0.0, 0.05])
    assert found.shape == (2,)
    assert found[0] == 0.0
    assert math.isclose((1 + found[1]) ** 252, 1.05)

"""The turnover bucket holds whatever comes, and holdings drift as wealth does."""

import numpy as np
import pytest
import worlds
from hypothesis import given
from hypothesis import strategies as st

from stream_allocator.book import MICROSECONDS_PER_YEAR, Book, TokenBucket, distance

YEAR = round(MICROSECONDS_PER_YEAR)


@given(
    st.lists(st.tuples(st.integers(0, YEAR), st.floats(0, 1)), max_size=30),
    st.floats(0.1, 2),
    st.floats(0.1, 3),
    st.floats(0.1, 1),
)
def test_turnover_over_any_stretch_never_exceeds_capacity_plus_refill(steps, capacity, refill, start):
    bucket = TokenBucket(capacity, refill, start)
    time, spent = 0, []
    for wait, share in steps:
        time += wait
        bucket.advance(time)
        spend = share * bucket.level
        bucket.take(spend)
        spent.append((time, spend))
    for i in range(len(spent)):
        for j in range(i, len(spent)):
            total = sum(s for _, s in spent[i : j + 1])
            allowed = capacity + refill * (spent[j][0] - spent[i][0]) / MICROSECONDS_PER_YEAR
            assert total <= allowed + (start if i == 0 else 0.0) + 1e-9


def test_the_start_grant_is_gone_after_the_first_decision():
    bucket = TokenBucket(1.0, 2.0, 1.0)
    bucket.take(0.25)
    assert bucket.level == 1.0


def test_a_year_refills_the_rate():
    bucket = TokenBucket(5.0, 2.0, 0.0)
    bucket.advance(0)
    bucket.take(5.0)
    bucket.advance(YEAR)
    assert bucket.level == pytest.approx(2.0, rel=1e-12)


def book(mode="active"):
    return Book("core", 3, worlds.policy(), mode)


def test_holdings_drift_as_wealth_does():
    b = book()
    b.hold(np.array([0.5, 0.2, 0.1]), 1000.0)
    r = np.array([0.1, -0.5, np.nan])
    b.drift(r)
    values = np.array([500 * 1.1, 200 * 0.5, 100.0])
    nav = values.sum() + 200.0
    assert b.weights == pytest.approx(values / nav, rel=1e-14)
    assert b.nav == pytest.approx(nav, rel=1e-14)


def test_losing_everything_leaves_nothing_to_hold():
    b = book()
    b.hold(np.array([1.0, 0.0, 0.0]), 1000.0)
    b.drift(np.array([-1.0, 0.0, 0.0]))
    assert b.nav == 0.0
    assert not b.weights.any()


def ask(b, bar, *, ready=True, switched=False, volatility=0.1):
    return b.trigger(bar, ready=ready, switched=switched, volatility=lambda: volatility, cap=0.2)


@given(st.lists(st.tuples(*[st.floats(-2.0, 2.0) | st.just(float("nan"))] * 2), max_size=30))
def test_the_distance_of_holdings_and_target_is_the_sum_of_absolute_differences(pairs):
    weights, target = np.array(pairs).reshape(-1, 2).T.copy()
    expected = sum(abs(w - t) for w, t in zip(weights, target, strict=True))
    np.testing.assert_equal(distance(weights, target), expected)


def test_triggers_are_named_by_the_first_reason_that_holds():
    b = book()
    assert ask(b, 5, ready=False) is None
    assert ask(b, 5) == "start"
    b.decided(5, "d")
    assert ask(b, 6) is None
    assert ask(b, 6, switched=True) == "regime_switch"
    assert ask(b, 15) == "schedule"
    b.control_pending = True
    assert ask(b, 15, switched=True) == "control"
    b.mode = "halted"
    assert ask(b, 15, switched=True) is None


def test_drift_calls_only_after_its_wait():
    b = book()
    b.decided(0, "d")
    b.executed(np.array([0.3, 0.3, 0.3]), 0.9)
    b.weights = np.array([0.5, 0.3, 0.1])
    assert ask(b, 4) is None
    assert ask(b, 5) == "drift"


def test_ex_ante_volatility_above_the_budget_calls_for_a_decision():
    b = book()
    b.decided(0, "d")
    assert ask(b, 6, volatility=0.2 * 1.1) is None
    assert ask(b, 6, volatility=0.2 * 1.1 + 1e-9) == "drift"


def test_a_restored_book_is_the_same():
    b = book()
    b.hold(np.array([0.5, 0.2, 0.1]), 1000.0)
    b.decided(3, "d")
    twin = book("halted")
    twin.load(b.state())
    assert twin.state().keys() == b.state().keys()
    assert all(np.array_equal(twin.state()[k], b.state()[k]) for k in b.state())

"""Each switch is held against the budgets that applied, and followed until what it moved is back."""

import json
from dataclasses import replace

import decisions
import numpy as np
import pytest
import worlds
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from test_turnover_law import naive_level
from test_walkforward import prices

from stream_allocator.backtest.run import Breach, PortfolioRun, Regimes, Run
from stream_allocator.backtest.text import WIDTH, transition_table
from stream_allocator.backtest.transitions import (
    AFTER,
    BEFORE,
    exposure_paths,
    levels,
    share_of,
    summarise_transitions,
    transition_rows,
    transitions,
    worst_share,
)
from stream_allocator.backtest.walkforward import walk_forward

DAY = decisions.DAY
REFILL = 365.25 / 100  # a hundredth a day
POLICY = worlds.policy(turnover={"capacity": 1.0, "refill_per_year": REFILL, "start": 1.0})


def made_up(exposure, switches, trades, *, confidence=None, policy=POLICY):
    """A run of two assets by its exposure, switched bars, and {bar: (traded, granted)} of its decisions."""
    bars = len(exposure)
    half = np.array(exposure, dtype=float) / 2.0
    sure = np.full(bars, 0.8) if confidence is None else np.array(confidence, dtype=float)
    made, filled = [], np.zeros(bars)
    for i, (bar, (traded, granted)) in enumerate(sorted(trades.items())):
        decision = decisions.allocation([0.3 + traded, 0.3], current=[0.3, 0.3], index=i)
        turnover = replace(decision.turnover, granted=granted)
        made.append(replace(decision, event_time=(bar + 1) * DAY, turnover=turnover))
        if bar + 1 < bars:
            filled[bar + 1] = traded
    marked = np.isin(np.arange(bars), switches)
    label = tuple("stressed" if marked[: t + 1].any() else "calm" for t in range(bars))
    regimes = Regimes(label, marked, np.zeros(bars), sure, np.ones(bars), np.ones(bars), np.ones(bars))
    book = PortfolioRun(
        name="core",
        policy=policy,
        nav=np.ones(bars),
        held=np.column_stack((half, half)),
        traded=filled,
        cost=0.0,
        stale=0,
        delisted=0,
        unfilled=0,
        decisions=tuple(made),
        breaches=tuple(Breach(0.0, 0.0, 0.0, 0.1, 0.2) for _ in made),
        last=None,
        largest=None,
    )
    times = (np.arange(bars, dtype=np.int64) + 1) * DAY
    return Run(
        universe=worlds.universe(("A0", "A1")),
        times=times,
        returns=np.zeros((bars, 2)),
        regimes=regimes,
        portfolios=(book,),
        cost_bps=10.0,
        interest=np.zeros(bars),
        delisting=None,
        chain="c" * 64,
    )


def only(run):
    (found,) = transitions(run, run.portfolios[0])
    return found


def test_a_switch_is_held_against_its_grant_and_against_what_the_bucket_had():
    trades = {1: (0.9, 2.0), 10: (0.2, 0.4), 12: (0.1, 0.4), 50: (0.3, 0.4)}
    found = only(made_up([0.9] * 30, [10], {k: v for k, v in trades.items() if k < 30}))
    assert (found.bar, found.before, found.after) == (10, "calm", "stressed")
    assert found.level == pytest.approx(1.0)  # 1.1 was left of the start's 2.0, and no more is kept than 1
    assert (found.traded, found.granted, found.filled) == (pytest.approx(0.2), 0.4, pytest.approx(0.2))
    assert (found.decisions, found.bars) == (2, 20)
    assert found.traded_after == pytest.approx(0.3)
    assert found.budget_after == pytest.approx(1.0 + 0.19)
    assert found.share == pytest.approx(0.5)
    assert (found.volatility_before, found.volatility_after) == (0.2, 0.1)
    assert found.cap == POLICY.budgets["stressed"].turnover


def test_what_follows_is_added_up_until_the_next_switch_and_no_longer_than_a_window():
    trades = {1: (0.9, 2.0), 10: (0.1, 0.4), 14: (0.1, 0.4), 80: (0.1, 0.4), 95: (0.1, 0.4)}
    run = made_up([0.9] * 100, [10, 15], trades)
    first, second = transitions(run, run.portfolios[0])
    assert (first.bars, first.decisions) == (5, 2)
    assert (second.bars, second.decisions, second.traded, second.rung) == (AFTER, 0, 0.0, None)
    assert second.share == 0.0


def test_a_trade_above_its_grant_is_above_one():
    found = only(made_up([0.9] * 30, [10], {1: (0.9, 2.0), 10: (0.5, 0.4)}))
    assert found.share == pytest.approx(1.25)
    assert summarise_transitions([found])["above_budget"] == 1


def test_many_trades_within_their_grants_are_above_what_the_bucket_had():
    trades = {1: (0.9, 2.0)} | dict.fromkeys(range(10, 16), (0.4, 0.4))
    found = only(made_up([0.9] * 17, [10], trades))
    assert found.share == pytest.approx(2.4 / 1.06)


def test_recovery_counts_from_the_switch_until_exposure_is_back_within_five_per_cent():
    fall = [0.8] * 11 + [0.6] * 5 + [0.77] * 14
    found = only(made_up(fall, [10], {1: (0.9, 2.0), 10: (0.2, 0.4)}))
    assert found.exposure_recovery == 6
    assert (found.gross_before, found.gross_at, found.gross_after, found.gross_least) == (0.8, 0.8, 0.6, 0.6)
    assert only(made_up(fall[:16], [10], {1: (0.9, 2.0)})).exposure_recovery is None
    assert only(made_up([0.8] * 11 + [0.9] * 9, [10], {1: (0.9, 2.0)})).exposure_recovery == 0


def test_confidence_is_back_when_it_is_what_it_was_in_the_bars_before():
    sure = [0.8] * 8 + [0.3] * 6 + [0.75] * 2 + [0.78] * 4
    found = only(made_up([0.8] * 20, [10], {1: (0.9, 2.0)}, confidence=sure))
    assert (found.confidence_before, found.confidence_at) == (0.8, 0.3)
    assert found.confidence_recovery == 6


def test_switches_before_the_first_decision_move_nothing():
    run = made_up([0.0] * 5 + [0.9] * 15, [2, 4, 12], {4: (0.9, 2.0)})
    assert only(run).bar == 12
    assert transitions(made_up([0.0] * 9, [3], {}), made_up([0.0] * 9, [3], {}).portfolios[0]) == ()


@given(
    st.lists(st.tuples(st.integers(1, 400), st.floats(0.0, 0.02)), min_size=1, max_size=20),
    st.lists(st.integers(0, 8000), max_size=20),
)
@settings(max_examples=60)
def test_the_level_is_the_buckets_by_its_definition(steps, asked):
    days = np.cumsum([wait for wait, _ in steps]).tolist()
    trades = {day - 1: (traded, 1.0) for day, (_, traded) in zip(days, steps, strict=True)}
    book = made_up([0.9] * 3, [], trades).portfolios[0]
    history = [(d.event_time, sum(abs(w.trade) for w in d.weights)) for d in book.decisions]
    times = np.array(sorted(day * DAY for day in asked), dtype=np.int64)
    for time, level in zip(times.tolist(), levels(book, times), strict=True):
        before = [x for x in history if x[0] < time]
        assert level == pytest.approx(naive_level(before, 1.0, REFILL, 1.0, time), abs=1e-9)


def test_nothing_traded_of_nothing_granted_is_no_share_and_anything_is_all_too_much():
    assert share_of(0.0, 0.0) == 0.0
    assert share_of(1e-3, 0.0) == float("inf")
    assert share_of(0.2, 0.4) == 0.5
    assert share_of(0.4 + 1e-13, 0.4) == 1.0
    assert share_of(0.4 + 1e-11, 0.4) > 1.0


@pytest.fixture(scope="module")
def run():
    returns = worlds.returns(260, shift=110)
    returns[180:] /= 4.0
    policy = worlds.policy(regime={"horizon": 30, "cooldown": 31})
    return walk_forward(prices(returns), worlds.universe(), {"core": policy})


@pytest.fixture(scope="module")
def found(run):
    return transitions(run, run.portfolios[0])


def test_the_engines_own_switches_keep_their_budgets(run, found):
    assert len(found) >= 2
    assert 0.0 < worst_share(found) <= 1.0 + 1e-12
    assert all(t.rung is not None for t in found)
    for t in found:
        assert t.granted <= min(t.cap, t.level) + 1e-12
        own = next(d for d in run.portfolios[0].decisions if d.event_time == t.event_time)
        assert own.turnover.bucket == pytest.approx(t.level - t.traded, abs=1e-12)


def test_paths_are_aligned_at_the_switch(run, found):
    book = run.portfolios[0]
    paths = exposure_paths(book, found)
    assert paths.shape == (len(found), BEFORE + 1 + AFTER)
    for t, path in zip(found, paths, strict=True):
        assert path[BEFORE] == t.gross_at
        assert path[BEFORE - 1] == t.gross_before
        assert np.isnan(path[BEFORE + len(run.times) - t.bar :]).all()


def test_rows_and_summary_are_json(found):
    rows = json.loads(json.dumps(transition_rows(found), allow_nan=False))
    assert [r["bar"] for r in rows] == [t.bar for t in found]
    total = json.loads(json.dumps(summarise_transitions(found), allow_nan=False))
    assert total["worst_transition_share_of_budget"] == worst_share(found)
    assert summarise_transitions(())["median_traded"] is None


def test_a_trade_of_nothing_granted_is_above_budget_and_still_json():
    found = [only(made_up([0.9] * 30, [10], {1: (0.9, 2.0), 10: (0.2, 0.0)}))]
    assert worst_share(found) == float("inf")
    total = json.loads(json.dumps(summarise_transitions(found), allow_nan=False))
    assert total["above_budget"] == 1
    assert total["worst_transition_share_of_budget"] is None
    assert transition_rows(found)[0]["share"] is None


def lines(found, **kwargs):
    console = Console(width=WIDTH, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(transition_table(found, **kwargs))
    text = console.export_text()
    assert "…" not in text
    return [line for line in text.splitlines() if line.startswith(" 19")]


def test_the_table_has_a_line_for_each_switch_or_for_those_that_used_most(found):
    assert len(lines(found)) == len(found)
    (line,) = lines(found, most=1)
    assert f"{worst_share(found):.0%}" in line

"""Every scenario keeps its bounds, whatever the policy; and each bound breaks when it must."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import worlds
from hypothesis import given, settings
from hypothesis import strategies as st
from test_walkforward import prices

from stream_allocator.backtest.account import PaperAccount
from stream_allocator.backtest.bounds import Bound, judge
from stream_allocator.backtest.scenarios import SCENARIOS, Scenario, Tape
from stream_allocator.backtest.stress import Replay, replay
from stream_allocator.policy import load_policy
from stream_allocator.shipped import shipped_policy

POLICY = load_policy(shipped_policy())


@pytest.fixture(scope="module")
def replays():
    """The shipped policy's replays, each made once."""
    kept = {}

    def of(name):
        if name not in kept:
            kept[name] = replay(SCENARIOS[name], POLICY)
        return kept[name]

    return of


def broken(replayed):
    return {b.name for b in judge(replayed) if not b.holds}


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_shipped_policy_keeps_every_bound(replays, name):
    replayed = replays(name)
    assert len(replayed.run.portfolios[0].decisions) > 5
    assert broken(replayed) == set()


# -- laws: the bounds follow from the policy, whichever it is ----------------------------------------

SYNTHETIC = [name for name in SCENARIOS if not name.startswith("crisis")]
budgets = st.fixed_dictionaries({"volatility": st.floats(0.03, 0.4), "turnover": st.floats(0.02, 1.0)})


@given(
    name=st.sampled_from(SYNTHETIC),
    seed=st.integers(0, 1000),
    calm=budgets,
    stressed=budgets,
    turnover=st.fixed_dictionaries(
        {
            "capacity": st.floats(0.05, 2.0),
            "refill_per_year": st.floats(0.1, 5.0),
            "start": st.floats(0.1, 1.5),
        }
    ),
    every=st.integers(10, 80),
    wait=st.integers(3, 30),
    cooldown=st.integers(1, 60),
    upper=st.floats(0.3, 1.0),
)
@settings(max_examples=6)
def test_any_policy_keeps_every_bound(name, seed, calm, stressed, turnover, every, wait, cooldown, upper):
    policy = worlds.policy(
        regime={"cooldown": cooldown},
        schedule={"every": every, "drift_wait": wait},
        turnover=turnover,
        limits={"upper": upper},
        budgets={"calm": calm, "normal": calm, "transition": stressed, "stressed": stressed},
        solver={"cross_check": False},
    )
    assert broken(replay(SCENARIOS[name], policy, seed=seed, universe=worlds.universe())) == set()


def test_a_pay_out_at_the_bar_of_a_decision_is_heard_after_it():
    policy = worlds.policy(schedule={"every": 2}, solver={"cross_check": False})
    replayed = replay(SCENARIOS["asset-to-zero"], policy, universe=worlds.universe())
    run, lost = replayed.run, replayed.tape.lost
    paid = replayed.tape.shocks[0] + run.delisting.after
    assert book_of(replayed).held[paid - 1, lost] > 0.0 == book_of(replayed).held[paid, lost]
    (decision,) = (d for d in book_of(replayed).decisions if d.event_time == run.times[paid])
    assert decision.weights[lost].current > 0.0
    (later,) = (d for d in book_of(replayed).decisions if d.event_time == run.times[paid + 2])
    assert later.weights[lost].current == 0.0
    assert broken(replayed) == set()


# -- each bound breaks -------------------------------------------------------------------------------


def with_book(replayed: Replay, **changes) -> Replay:
    book = replace(replayed.run.portfolios[0], **changes)
    return replace(replayed, run=replace(replayed.run, portfolios=(book,)))


def with_decision(replayed, which, change):
    """One decision changed: the first after the start that ``which`` picks."""
    decisions = list(replayed.run.portfolios[0].decisions)
    at = next(i for i, d in enumerate(decisions) if i > 0 and which(d))
    decisions[at] = change(decisions[at])
    return with_book(replayed, decisions=tuple(decisions))


def trading(more):
    """As much more of every asset, whatever the decision says of it."""

    def change(d):
        moved = [replace(w, target=w.target + more, trade=w.trade + more) for w in d.weights]
        return replace(d, weights=tuple(moved))

    return change


def any_decision(d):
    return True


def granting(more):
    return lambda d: replace(d, turnover=replace(d.turnover, granted=d.turnover.granted + more))


def spoil(array, at, change):
    changed = array.copy()
    changed[at] = change(changed[at])
    return changed


def book_of(replayed):
    return replayed.run.portfolios[0]


def a_fill(replayed):
    return int(np.flatnonzero(book_of(replayed).traded > 1e-3)[3])


def a_held_bar(replayed):
    """A bar of a decision before which nothing was pending."""
    times = replayed.run.times.tolist()
    bars = [times.index(d.event_time) for d in book_of(replayed).decisions]
    return next(b for a, b in pairwise(bars[2:]) if b > a + 1)


def at_once(replayed):
    """Two switches at neighbouring bars."""
    regimes = replayed.run.regimes
    switched = spoil(regimes.switched, [300, 301], lambda _: True)
    return replace(replayed, run=replace(replayed.run, regimes=replace(regimes, switched=switched)))


def by_drift_at_once(replayed):
    """Every scheduled decision is said to be by drift, and one comes right after another."""
    decisions = list(book_of(replayed).decisions)
    time = int(replayed.run.times[replayed.run.times.tolist().index(decisions[5].event_time) + 1])
    decisions.insert(6, replace(decisions[5], event_time=time, trigger="drift"))
    breaches = list(book_of(replayed).breaches)
    breaches.insert(6, breaches[5])
    return with_book(replayed, decisions=tuple(decisions), breaches=tuple(breaches))


def many_more(replayed):
    one, measured = book_of(replayed).decisions[-1], book_of(replayed).breaches[-1]
    still = replace(one, weights=tuple(replace(w, target=w.current, trade=0.0) for w in one.weights))
    times = replayed.run.times[-120:].tolist()
    more = tuple(replace(still, event_time=t) for t in times)
    book = book_of(replayed)
    kept = [(d, b) for d, b in zip(book.decisions, book.breaches, strict=True) if d.event_time < times[0]]
    decisions = tuple(d for d, _ in kept) + more
    return with_book(replayed, decisions=decisions, breaches=tuple(b for _, b in kept) + (measured,) * 120)


def breached(**changes):
    def tamper(replayed):
        breaches = list(book_of(replayed).breaches)
        at = next(i for i, d in enumerate(book_of(replayed).decisions) if i > 0 and d.rung == "robust")
        breaches[at] = replace(breaches[at], **changes)
        return with_book(replayed, breaches=tuple(breaches))

    return tamper


def too_late(replayed):
    """A decision whose validity ended before the bar that filled it."""
    fill = a_fill(replayed)
    time = int(replayed.run.times[fill - 1])
    return with_decision(replayed, lambda d: d.event_time == time, lambda d: replace(d, valid_until=time + 1))


TAMPERED = {
    "decisions not proven": lambda r: replace(r, refuted=("some id",)),
    "trade above its grant": lambda r: with_decision(r, any_decision, trading(0.05)),
    "grant above the policy's": lambda r: with_decision(r, any_decision, granting(1.0)),
    "turnover of any stretch": lambda r: with_decision(r, any_decision, trading(0.15)),
    "switch's share of its budget": lambda r: with_decision(
        r, lambda d: d.trigger == "regime_switch", trading(0.05)
    ),
    "fill above trade and drift": lambda r: with_book(
        r, traded=spoil(book_of(r).traded, a_fill(r), lambda x: x + 0.05)
    ),
    "bars between switches": at_once,
    "bars before a drift decision": by_drift_at_once,
    "decisions": many_more,
    "decisions by other rungs": lambda r: with_decision(
        r, any_decision, lambda d: replace(d, rung="baseline")
    ),
    "trade limits broken": breached(trade=1e-6),
    "limits broken by the robust rung": breached(volatility=1e-6),
    "holdings that the engine had wrong": lambda r: with_book(
        r, held=spoil(book_of(r).held, a_held_bar(r) - 1, lambda x: x + 1e-3)
    ),
    "filled after its validity": too_late,
    "largest exposure": lambda r: with_book(r, held=spoil(book_of(r).held, -1, lambda x: x + 0.1)),
    "loss of a bar beyond its exposure": lambda r: with_book(
        r, nav=spoil(book_of(r).nav, slice(200, None), lambda x: 0.7 * x)
    ),
    "loss by the shock": lambda r: with_book(
        r, nav=spoil(book_of(r).nav, slice(r.tape.shocks[0], None), lambda x: 0.9 * x)
    ),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_run_that_breaks_a_bound_is_found_out(replays, name):
    assert name in broken(TAMPERED[name](replays("gap-1987")))


def test_every_bound_of_the_run_is_tampered_with(replays):
    assert {b.name for b in judge(replays("gap-1987"))} == set(TAMPERED)


def test_a_loss_that_nobody_sold_for_at_the_bottom_is_found_out(replays):
    replayed = replays("flash-crash")
    nav = spoil(book_of(replayed).nav, slice(replayed.tape.shocks[-1], None), lambda x: 0.97 * x)
    assert "loss by the way down and back" in broken(with_book(replayed, nav=nav))


def test_too_much_of_what_was_lost_and_a_trade_in_it_are_found_out(replays):
    replayed = replays("asset-to-zero")
    name = replayed.run.universe.assets[replayed.tape.lost]
    held = spoil(book_of(replayed).held, (replayed.tape.shocks[0] - 1, replayed.tape.lost), lambda x: x + 0.2)
    assert f"held of {name} when it was lost" in broken(with_book(replayed, held=held))
    late = replayed.run.times[replayed.tape.shocks[0] + POLICY.schedule.stale_bars]
    traded = with_decision(replayed, lambda d: d.event_time >= late, trading(0.001))
    assert f"traded of {name} once it is silent" in broken(traded)


def test_a_stale_decision_that_is_not_counted_is_found_out(replays):
    assert book_of(replays("feed-gap")).stale >= 1
    assert "stale decisions dropped" in broken(with_book(replays("feed-gap"), stale=0))


def test_an_account_that_keeps_silent_about_a_stale_decision_is_found_out(monkeypatch):
    fill = PaperAccount.fill

    def silent(self, event_time):
        before = self.stale
        filled = fill(self, event_time)
        self._due = self._due and self.stale == before
        return filled

    monkeypatch.setattr(PaperAccount, "fill", silent)
    assert "holdings that the engine had wrong" in broken(replay(SCENARIOS["feed-gap"], POLICY))


def test_an_account_that_tells_what_was_before_a_decision_that_waits_is_found_out(monkeypatch):
    """Three decisions at neighbouring bars: the second one's is the snapshot that the third must not see."""

    def hasty(self, event_time):
        return self.position_event(event_time) if self._due else None

    policy, universe = worlds.policy(schedule={"every": 1}), worlds.universe()
    scenario = Scenario("short", "Sixty quiet bars.", lambda *_: Tape(prices(worlds.returns(60))))
    assert broken(replay(scenario, policy, universe=universe)) == set()
    monkeypatch.setattr(PaperAccount, "snapshot", hasty)
    assert "holdings that the engine had wrong" in broken(replay(scenario, policy, universe=universe))


def test_a_number_that_is_none_keeps_no_bound():
    assert not Bound("x", float("nan"), 1.0, "").holds
    assert not Bound("x", float("nan"), 1.0, "", least=True).holds
    assert Bound("x", 1.0 + 1e-12, 1.0, "").holds
    assert not Bound("x", 0.9, 1.0, "", least=True).holds

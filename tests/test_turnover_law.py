"""Over any stretch of event time the turnover traded is within its budget, whatever happens in between.

The budget of a stretch [s, t] is the bucket's capacity and what flows in from s to t; the grant of the start
comes on top of it where the portfolio's first executable decision is inside.
"""

from importlib import import_module
from unittest import mock

import numpy as np
import pytest
import scipy.optimize
import worlds
from hypothesis import event, given, settings
from hypothesis import strategies as st

from stream_allocator.allocate import dual
from stream_allocator.book import MICROSECONDS_PER_YEAR, TokenBucket
from stream_allocator.engine import Engine
from stream_allocator.market import Market

ASSETS = worlds.ASSETS[:3]
TURNOVER = {"capacity": 0.3, "refill_per_year": 4.0, "start": 0.6}
BUDGET = {"volatility": 0.15, "turnover": 0.25}
QUICK = {
    "regime": {"warmup": 4, "horizon": 3, "mean_run": 8, "max_run": 16, "evidence": 2}
    | {"dwell": 1, "cooldown": 1, "threshold": 0.6},
    "schedule": {"every": 2, "drift_wait": 1, "drift_band": 0.02},
    "limits": {"upper": 0.6, "lower": -0.2},
    "turnover": TURNOVER,
    "budgets": dict.fromkeys(("calm", "normal", "stressed", "transition"), BUDGET),
}


def failing(*args, **kwargs):
    raise RuntimeError("injected")


def unknown(market):
    return np.full((len(ASSETS), len(ASSETS)), np.nan)


FAULTS = {
    "newton": lambda: mock.patch.object(dual, "solve_cold", failing),
    "osqp": lambda: mock.patch.object(
        import_module("stream_allocator.allocate.solve"), "solve_quadratic", failing
    ),
    "highs": lambda: mock.patch.object(scipy.optimize, "linprog", failing),
    "moments": lambda: mock.patch.object(Market, "covariance", unknown),
}

bars = st.tuples(
    st.just("bar"),
    st.sampled_from([1, 1, 1, 2, 20, 400]),  # days since the last
    st.sampled_from([0.003, 0.02, 0.2]),  # how wild
    st.sampled_from([None, None, None, 0, 2]),  # an asset that does not report
)
others = st.one_of(
    st.tuples(st.just("position"), st.sampled_from(["cash", "one asset", "short", "too much"])),
    st.tuples(st.just("control"), st.sampled_from(["active", "active", "baseline", "shadow", "halted"])),
    st.tuples(st.just("fault"), st.sampled_from([None, *FAULTS])),
    st.tuples(st.just("restart")),
)
streams = st.lists(st.one_of(bars, bars, bars, others), min_size=10, max_size=45)

POSITIONS = {
    "cash": [0.0, 0.0, 0.0],
    "one asset": [1000.0, 0.0, 0.0],
    "short": [-400.0, 900.0, 100.0],
    "too much": [900.0, 900.0, -100.0],
}


def play(stream, seed, **sections):
    """Every allocation that the engine publishes on the way."""
    rng = np.random.default_rng(seed)
    universe = worlds.universe(assets=ASSETS)
    machine = Engine(universe, {"core": worlds.policy(**(QUICK | sections))})
    day, published = 0, []

    def enter(happening, number):
        outputs = machine.apply(happening, number)
        published.extend(worlds.allocations(outputs))

    fault = None
    for number, (kind, *what) in enumerate([("bar", 1, 0.01, None)] * 5 + list(stream)):
        if kind == "restart":
            machine = Engine.restore(universe, machine.policies, machine.snapshot())
        elif kind == "fault":
            fault = what[0]
        elif kind == "control":
            enter(worlds.control(day, number, what[0]), number)
        elif kind == "position":
            values = POSITIONS[what[0]]
            enter(worlds.position(day, number, values, cash=1000.0 - sum(values)), number)
        else:
            wait, wild, missing = what
            day += wait
            x = np.maximum(wild * rng.standard_normal(len(ASSETS)), -0.9)
            if missing is not None:
                x[missing] = np.nan
            with FAULTS[fault]() if fault else mock.patch.dict({}):
                enter(worlds.tick(day, x, sequence=number), number)
    return published


def spending(published):
    """Event time and turnover of each executable decision."""
    return [(a.event_time, sum(abs(w.trade) for w in a.weights)) for a in published if a.executable]


def worst_excess(spent, capacity, refill_per_year, start):
    """By how much the turnover of some stretch is above its budget at most; negative where it never is."""
    worst = -np.inf
    for i, (since, _) in enumerate(spent):
        budget = capacity + (start if i == 0 else 0.0)
        traded = 0.0
        for until, turnover in spent[i:]:
            traded += turnover
            worst = max(worst, traded - budget - refill_per_year * (until - since) / MICROSECONDS_PER_YEAR)
    return worst


@given(streams, st.integers(0, 1000), st.sampled_from([0.0, 0.05]))
@settings(max_examples=24)
def test_no_stretch_of_any_stream_trades_more_than_its_budget(stream, seed, minimum):
    published = play(stream, seed, limits={"upper": 0.6, "lower": -0.2, "minimum_trade": minimum})
    for rung in sorted({a.rung for a in published}):
        event(rung)
    assert worst_excess(spending(published), **TURNOVER) <= 1e-9
    for a in published:
        assert a.turnover.traded <= a.turnover.granted + 1e-12
        assert 0.0 <= a.turnover.bucket <= TURNOVER["capacity"] + TURNOVER["start"]


def test_a_stream_that_wants_all_it_can_get_is_held_to_the_budget_and_uses_it():
    jumps = [("position", "one asset"), ("bar", 1, 0.02, None), ("position", "short"), ("bar", 1, 0.02, None)]
    published = play(jumps * 10, 0)
    spent = spending(published)
    assert -0.05 < worst_excess(spent, **TURNOVER) <= 1e-9
    free = spending(play(jumps * 10, 0, turnover={"capacity": 100.0}))
    assert worst_excess(free, **TURNOVER) > 1.0


def test_the_streams_reach_every_rung_and_every_trigger():
    calm, wild = ("bar", 1, 0.01, None), ("bar", 1, 0.2, None)
    stream = [calm] * 6 + [wild] * 6
    for fault in FAULTS:
        stream += [("fault", fault), ("position", "too much"), calm, calm, ("position", "cash"), calm, calm]
    stream += [("fault", None), ("control", "baseline"), calm, calm, ("restart",), calm]
    published = play(stream, 1)
    assert {a.rung for a in published} == {"robust", "restore", "baseline", "hold"}
    assert {a.trigger for a in published} >= {"start", "schedule", "regime_switch", "control", "drift"}
    assert worst_excess(spending(published), **TURNOVER) <= 1e-9


def test_a_shadow_that_becomes_active_has_the_start_and_no_more():
    calm = ("bar", 1, 0.01, None)
    stream = [("control", "shadow"), *[calm] * 8, ("control", "active")]
    stream += [("position", "cash"), calm, ("position", "one asset"), calm] * 5
    spent = spending(play(stream, 2))
    assert len(spent) > 5
    assert worst_excess(spent, **TURNOVER) <= 1e-9


# -- the bucket alone ------------------------------------------------------------------------------


def naive_level(history, capacity, refill_per_year, start, now):
    """The level by its definition: the least, over all moments of the past, of a full bucket then and since.

    ``history`` holds (time, turnover) of all that was taken; before the first it holds the start as well.
    """
    if not history:
        return capacity + start
    levels = [capacity]
    for k, (since, first) in enumerate(history):
        full = capacity if k else min(capacity + first, capacity + start)
        taken = sum(turnover for _, turnover in history[k:])
        levels.append(full + refill_per_year * (now - since) / MICROSECONDS_PER_YEAR - taken)
    return min(levels)


@given(
    st.lists(
        st.tuples(st.integers(0, round(MICROSECONDS_PER_YEAR)), st.floats(0.0, 1.0)), min_size=1, max_size=25
    ),
    st.floats(0.01, 3.0),
    st.floats(0.01, 10.0),
    st.floats(0.01, 2.0),
)
@settings(max_examples=150)
def test_the_bucket_is_what_its_definition_says(steps, capacity, refill, start):
    bucket, history, now = TokenBucket(capacity, refill, start), [], 0
    for wait, share in steps:
        now += wait
        bucket.advance(now)
        assert bucket.level == pytest.approx(naive_level(history, capacity, refill, start, now), abs=1e-9)
        taken = share * bucket.level
        bucket.take(taken)
        history.append((now, taken))
    assert worst_excess(history, capacity, refill, start) <= 1e-9

"""Bars close in order, on event time alone, and nothing enters a closed bar."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream_allocator.bars import BarAssembly


def index(*assets):
    return np.array(assets, dtype=np.int64)


def add(bars, time, *assets):
    bars.add(time, index(*assets), np.full(len(assets), 0.01), None)
    return [(b.time, b.reported.tolist()) for b in bars.close()]


def test_a_complete_bar_closes_at_once():
    bars = BarAssembly(2, 0)
    assert add(bars, 10, 0) == []
    assert add(bars, 10, 1) == [(10, [True, True])]


def test_an_incomplete_bar_closes_when_a_later_time_arrives():
    bars = BarAssembly(2, 0)
    add(bars, 10, 0)
    assert add(bars, 20, 0) == [(10, [True, False])]


def test_grace_keeps_an_incomplete_bar_open_and_later_bars_wait_for_it():
    bars = BarAssembly(2, 15)
    add(bars, 10, 0)
    assert add(bars, 20, 0, 1) == []
    assert add(bars, 25, 0) == [(10, [True, False]), (20, [True, True])]


def test_the_missing_asset_in_time_closes_the_waiting_bars():
    bars = BarAssembly(2, 100)
    add(bars, 10, 0)
    add(bars, 20, 0)
    assert bars.late(10, index(1)) is None
    assert [t for t, _ in add(bars, 10, 1)] == [10]


def test_a_closed_bar_and_an_asset_that_has_moved_on_are_late():
    bars = BarAssembly(2, 100)
    add(bars, 10, 0, 1)
    assert bars.late(10, index(0)) == -1
    add(bars, 30, 0)
    assert bars.late(20, index(0)) == 0
    assert bars.late(20, index(1)) is None


EVENTS = st.lists(st.tuples(st.integers(1, 12), st.sets(st.integers(0, 2), min_size=1)), max_size=25)


@given(EVENTS, st.integers(0, 4), st.integers(0, 24))
def test_bars_close_in_order_once_and_a_restored_assembly_goes_on_the_same(events, grace, cut):
    bars, twin = BarAssembly(3, grace), BarAssembly(3, grace)
    closed, twins = [], []
    for i, (time, assets) in enumerate(events):
        if i == cut:
            twin = BarAssembly.from_state(3, grace, twin.state())
        if bars.late(time, index(*sorted(assets))) is None:
            closed += add(bars, time, *sorted(assets))
        if twin.late(time, index(*sorted(assets))) is None:
            twins += add(twin, time, *sorted(assets))
    assert closed == twins
    times = [t for t, _ in closed]
    assert times == sorted(set(times))

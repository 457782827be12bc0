"""Periods take a path apart, and what they say adds up to the whole."""

import itertools
from datetime import date

import numpy as np
import pytest

from stream_allocator.backtest.baselines import Path
from stream_allocator.backtest.metrics import metrics
from stream_allocator.backtest.periods import PERIODS, Period, period_metrics


def days(first, count):
    return (np.datetime64(first, "us") + np.arange(count) * np.timedelta64(1, "D")).astype(np.int64)


@pytest.fixture(scope="module")
def path():
    rng = np.random.default_rng(3)
    steps = 0.01 * rng.standard_normal(4000) + 3e-4
    return Path(np.concatenate(([1.0], np.cumprod(1.0 + steps))), np.concatenate(([0.0], rng.random(4000))))


def test_growth_and_turnover_of_the_periods_add_up_to_the_whole(path):
    times = days("1995-03-01", len(path.wealth))  # into 2006
    found = period_metrics(times, path)
    assert list(found) == ["1990s", "2000s"]
    counts = [np.count_nonzero(times[1:] < np.datetime64("2000-01-01", "us").astype(np.int64))]
    counts.append(len(times) - 1 - counts[0])
    growth = [(1.0 + m.annual_return) ** (k / 252) for m, k in zip(found.values(), counts, strict=True)]
    assert np.prod(growth) == pytest.approx(path.wealth[-1], rel=1e-12)
    traded = sum(m.turnover * k / 252 for m, k in zip(found.values(), counts, strict=True))
    assert traded == pytest.approx(path.traded.sum(), rel=1e-12)


def test_a_period_is_a_path_of_its_own(path):
    times = days("1999-12-25", 40)
    short = Path(path.wealth[:40], path.traded[:40])
    found = period_metrics(times, short)["2000s"]
    inside = [t for t in range(40) if times[t] >= np.datetime64("2000-01-01", "us").astype(np.int64)]
    assert inside[0] == 7
    assert found == metrics(short.wealth[6:], short.traded[7:])
    interest = np.linspace(0.0, 1e-3, 39)  # of bars 1 to 39
    paid = period_metrics(times, short, interest=interest)["2000s"]
    assert paid == metrics(short.wealth[6:], short.traded[7:], interest=interest[6:])


def test_one_period_over_everything_is_the_path(path):
    times = days("2001-01-01", len(path.wealth))
    everything = (Period("all", date(2001, 1, 1), date(2100, 1, 1)),)
    assert period_metrics(times, path, 250.0, everything)["all"] == metrics(
        path.wealth, path.traded[1:], 250.0
    )


def test_a_period_without_bars_or_with_a_single_return_says_nothing(path):
    times = days("2009-12-30", 3)
    assert period_metrics(times, Path(path.wealth[:3], path.traded[:3])) == {}


def test_the_shipped_periods_follow_each_other():
    assert all(a.end == b.first for a, b in itertools.pairwise(PERIODS))

"""Each tape is what its story says, and a pure function of its seed."""

from functools import cache

import numpy as np
import pytest
import worlds

from stream_allocator.backtest.prices import bundled
from stream_allocator.backtest.scenarios import HALF_YEAR, SCENARIOS, YEAR, detection_delay
from stream_allocator.backtest.stress import stress_universe
from stream_allocator.policy import load_policy
from stream_allocator.shipped import shipped_policy

POLICY = load_policy(shipped_policy())
ASSETS = stress_universe().assets
LEAD = POLICY.regime.warmup + YEAR
HISTORY = ("crisis-2008", "crisis-2020")
DAY = worlds.DAY


@cache
def tape(name, seed=0):
    return SCENARIOS[name].build(seed, POLICY, ASSETS)


def quiet(seed=0):
    """A tape's returns before anything happens, and what would have come in place of a stuck price."""
    return tape("stuck-prices", seed).prices


def test_the_library_has_what_a_committee_asks_for():
    assert list(SCENARIOS) == [
        "gap-1987",
        "crisis-2008",
        "crisis-2020",
        "flash-crash",
        "ping-pong-delay",
        "ping-pong-cooldown",
        "correlated-jump",
        "asset-to-zero",
        "feed-gap",
        "stuck-prices",
    ]
    assert all(len(s.story) > 30 for s in SCENARIOS.values())


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_tape_is_a_pure_function_of_its_seed(name):
    first, other = tape(name).prices, tape(name, 1).prices
    again = SCENARIOS[name].build(0, POLICY, ASSETS).prices
    assert first.digest == again.digest
    assert (first.digest == other.digest) == (name in HISTORY)
    assert first.assets == ASSETS
    assert (np.diff(first.times) > 0).all()
    assert not (first.closes <= 0.0).any()
    assert first.bars >= LEAD + HALF_YEAR


@pytest.mark.parametrize("name", [n for n in SCENARIOS if n not in HISTORY])
def test_before_the_shock_all_synthetic_tapes_are_the_same_quiet_world(name):
    returns = tape(name).prices.returns()[:LEAD]
    np.testing.assert_allclose(returns, quiet().returns()[:LEAD], atol=1e-12)
    assert 0.10 < returns.mean(axis=1).std() * 252**0.5 < 0.20


def test_the_gap_takes_a_fifth_of_everything_at_once():
    found = tape("gap-1987")
    (bar,) = found.shocks
    returns = found.prices.returns()
    np.testing.assert_allclose(returns[bar], -0.2)
    assert returns[bar + 1 : bar + 22].std() > 2.0 * returns[:bar].std()


def test_the_flash_crash_ends_where_it_began():
    found = tape("flash-crash")
    returns = found.prices.returns()[list(found.shocks)]
    np.testing.assert_allclose(np.prod(1.0 + returns, axis=0), 1.0)
    np.testing.assert_allclose(returns[0], -0.12)
    np.testing.assert_allclose(returns[1], 0.0, atol=1e-15)


def test_in_the_correlated_jump_correlation_is_near_one():
    found = tape("correlated-jump")
    returns = found.prices.returns()

    def correlation(rows):
        return np.corrcoef(rows.T)[np.triu_indices(len(ASSETS), 1)].mean()

    first, second = found.shocks
    assert correlation(returns[first + 1 : second]) > 0.9 > 0.6 > correlation(returns[:first])
    assert returns[first].max() < -0.05 < 0.03 < returns[second].min()


def test_the_lost_asset_is_the_calmest_and_never_trades_again():
    found = tape("asset-to-zero")
    (bar,), returns = found.shocks, found.prices.returns()
    assert returns[bar, found.lost] == pytest.approx(-0.9999)
    assert np.isnan(returns[bar + 1 :, found.lost]).all()
    assert np.isfinite(np.delete(returns, found.lost, axis=1)).all()
    assert found.lost == np.argmin(returns[:bar].std(axis=0))


@pytest.mark.parametrize("every", [1, 5, 21, 63])
def test_the_feed_has_two_gaps_of_five_weekdays_the_first_after_a_scheduled_decision(every):
    policy = POLICY.model_copy(update={"schedule": POLICY.schedule.model_copy(update={"every": every})})
    found = SCENARIOS["feed-gap"].build(0, policy, ASSETS)
    ends = found.prices.times[1:]
    wide = np.flatnonzero(np.diff(ends) > 4 * DAY) + 1
    assert tuple(wide.tolist()) == found.gaps
    assert set(np.diff(ends)[wide - 1]) <= {8 * DAY, 10 * DAY}  # with one weekend or two
    decided = found.gaps[0] - 1 - (policy.regime.warmup - 1)
    assert decided % every == 0
    assert found.prices.bars - found.gaps[1] >= HALF_YEAR // 2


def test_stuck_prices_are_later_where_they_would_have_been():
    found = tape("stuck-prices").prices
    other = tape("flash-crash").prices  # it too is back on the path of the quiet world, but for three days
    assert (found.closes[LEAD : LEAD + 21] == found.closes[LEAD]).all()
    growth = found.closes[-1] / found.closes[LEAD + 21]
    np.testing.assert_allclose(growth, other.closes[-1] / other.closes[LEAD + 21])


@pytest.mark.parametrize("name", ["ping-pong-delay", "ping-pong-cooldown"])
def test_volatility_alternates_at_the_detectors_own_time_scale(name):
    half = {
        "ping-pong-delay": detection_delay(0, POLICY, len(ASSETS)),
        "ping-pong-cooldown": POLICY.regime.cooldown,
    }[name]
    watched = np.abs(tape(name).prices.returns()[LEAD:])
    halves = [watched[k : k + half].mean() for k in range(0, len(watched) - half + 1, half)]
    assert len(halves) >= 6
    assert min(halves[0::2]) > 1.5 * max(halves[1::2])


def test_the_delay_is_the_detectors():
    delay = detection_delay(0, POLICY, len(ASSETS))
    assert POLICY.regime.dwell <= delay < POLICY.regime.horizon
    slow = POLICY.model_copy(update={"regime": POLICY.regime.model_copy(update={"dwell": delay + 5})})
    assert detection_delay(0, slow, len(ASSETS)) >= delay + 5


@pytest.mark.parametrize("name", HISTORY)
def test_the_crises_are_cut_from_the_bundled_closes(name):
    found, whole = tape(name).prices, bundled().select(ASSETS)
    start = int(np.searchsorted(whole.times, found.times[0]))
    np.testing.assert_array_equal(found.closes, whole.closes[start : start + len(found.times)])
    market = found.returns()[LEAD:].mean(axis=1)
    assert market.min() < -0.08

"""Decisions are judged by what was held after them, and closed forms say what to expect."""

import math

import decisions
import numpy as np
import pytest
import worlds
from test_run import update
from walks import prices, walk

from stream_allocator.backtest.account import Delisting
from stream_allocator.backtest.calibration import (
    SHORTEST,
    SURE,
    calibration,
    earned,
    held_returns,
    mean_worst_loss,
    outcomes,
    penalties,
    promised_coverage,
    worst_loss_bound,
)
from stream_allocator.backtest.run import Recorder

DAY = decisions.DAY


@pytest.fixture(scope="module")
def run():
    return walk(prices(worlds.returns(420, shift=200)))


def recorded(returns, decided, **settings):
    """A run by hand: decisions by bar, filled at the next one."""
    universe = worlds.universe(tuple(f"A{i}" for i in range(returns.shape[1])))
    recorder = Recorder(universe, {"core": worlds.policy()}, nav=100.0, **settings)
    for bar, row in enumerate(returns):
        recorder.bar(row.tolist(), update(bar), [decided[bar]] if bar in decided else [])
    return recorder.run("c" * 64)


def records(targets, bar, **changes):
    made = decisions.allocation(targets, event_time=(bar + 1) * DAY, valid_until=(bar + 6) * DAY, **changes)
    return made, decisions.evidence(targets)


def judged(returns, decided):
    found = recorded(returns, decided)
    return outcomes(found, found.portfolios[0])


def test_a_decision_is_judged_from_its_fill_to_the_next():
    x = np.full((60, 2), np.nan)
    x[:] = 0.5  # what must not count
    x[7:23] = np.random.default_rng(0).normal(0.0, 0.01, (16, 2))  # filled at 6, the next fill at 22
    first, second = judged(x, {5: records([0.3, 0.4], 5), 21: records([0.1, 0.1], 21, index=1)})
    held, naive = np.array([0.3, 0.4]), []
    cash = 1.0 - held.sum()
    for row in x[7:23]:
        grown = held * (1.0 + row)
        naive.append((grown.sum() + cash) / (held.sum() + cash) - 1.0)
        held = grown
    assert first.bars == 16
    assert first.realised == pytest.approx(math.sqrt(np.mean(np.square(naive)) * 252), rel=1e-12)
    assert first.worst_loss == pytest.approx(max(0.0, 1.0 - np.cumprod(1.0 + np.array(naive)).min()))
    assert second.bars == 60 - 1 - 22  # until the history ends


def test_a_decision_says_its_volatility_its_worst_case_and_its_losses():
    x = np.full((40, 2), 0.001)
    (found,) = judged(x, {3: records([0.3, 0.4], 3)})
    assert found.predicted == pytest.approx(0.2 * 0.5)
    assert found.bound == pytest.approx(0.1 + math.sqrt(0.001) * 0.5)
    assert found.promised == promised_coverage(0.001, 0.5, 0.1, 90.0, found.bars)
    assert found.expected_loss == pytest.approx(0.1 / math.sqrt(252) * mean_worst_loss(found.bars))
    assert found.loss_bound == pytest.approx(found.bound / math.sqrt(252) * worst_loss_bound(found.bars))
    assert found.worst_loss == 0.0
    assert found.confidence == 0.8


def test_what_was_not_filled_or_held_long_enough_is_not_judged():
    x = np.full((80, 2), 0.001)
    stale = decisions.allocation([0.5, 0.5], event_time=21 * DAY, valid_until=21 * DAY, index=1)
    decided = {
        0: records([0.3, 0.4], 0),
        20: (stale, decisions.evidence([0.5, 0.5])),
        30: records([0.2, 0.2], 30, index=2, executable=False),
        40: records([0.2, 0.3], 40, index=3),
        40 + SHORTEST - 1: records([0.3, 0.2], 40 + SHORTEST - 1, index=4),
        79: records([0.1, 0.1], 79, index=5),
    }
    found = judged(x, decided)
    assert [o.event_time // DAY - 1 for o in found] == [0, 40 + SHORTEST - 1]
    assert found[0].bars == 40


def test_holding_nothing_says_nothing():
    assert judged(np.full((40, 2), 0.01), {3: records([0.0, 0.0], 3)}) == ()


def test_the_growth_allocators_ball_is_not_taken_for_the_covariances():
    (found,) = judged(np.full((40, 2), 0.001), {3: records([0.3, 0.4], 3, allocator="growth-v1")})
    assert math.isnan(found.bound)
    assert math.isnan(found.promised)
    assert found.predicted == pytest.approx(0.1)


def test_held_returns_are_those_of_the_held_weights_whatever_cash_and_costs_do():
    x = np.random.default_rng(3).normal(0.0, 0.02, (60, 2))
    x[20, 0] = np.nan
    decided = {bar: records([0.1 + bar / 100, 0.5], bar, index=bar // 10) for bar in range(0, 60, 10)}
    interest = np.linspace(0.0, 1e-3, 60)
    found = recorded(x, decided, cost_bps=50.0, interest=interest)
    book = found.portfolios[0]
    assert np.count_nonzero(book.traded) == 6
    expected = (book.held[:-1] * np.nan_to_num(x[1:])).sum(axis=1)
    np.testing.assert_allclose(held_returns(found, book), expected, atol=1e-14)


def test_a_delisting_is_a_return_of_what_was_held():
    x = np.full((60, 2), 0.001)
    x[30:, 0] = np.nan
    found = recorded(x, {0: records([0.5, 0.5], 0)}, delisting=Delisting(5, -0.4))
    book = found.portfolios[0]
    assert book.delisted == 1
    paid = held_returns(found, book)[33]  # the fifth silent bar is 34
    assert paid == pytest.approx(book.held[33, 0] * -0.4 + book.held[33, 1] * 0.001)


def test_a_fill_waits_for_a_bar_with_closes():
    x = np.full((60, 2), 0.001)
    x[4:6] = np.nan
    (found,) = judged(x, {3: records([0.3, 0.4], 3)})
    assert found.bars == 60 - 1 - 6  # filled at bar 6
    x[4:10] = np.nan
    assert judged(x, {3: records([0.3, 0.4], 3)}) == ()  # by then it is stale


def test_bins_are_sorted_by_confidence_and_count_each_decision_once(run):
    book = run.portfolios[0]
    every = outcomes(run, book)
    bins = calibration(run, book, bins=2)
    assert sum(b.decisions for b in bins) == len(every)
    assert bins[0].low <= bins[0].high <= bins[1].low <= bins[1].high
    mean_square = sum(b.decisions * b.realised**2 for b in bins) / len(every)
    assert mean_square == pytest.approx(np.mean([o.realised**2 for o in every]))
    assert calibration(run, book, bins=100) == ()


def test_a_bin_is_the_naive_summary_of_its_decisions(run):
    book = run.portfolios[0]
    every = sorted(outcomes(run, book), key=lambda o: o.confidence)
    half = every[: (len(every) + 1) // 2]
    found = calibration(run, book, bins=2)[0]
    assert found.error == pytest.approx(np.median([abs(math.log(o.realised / o.predicted)) for o in half]))
    assert found.rms_error == pytest.approx(math.sqrt(np.mean([o.error**2 for o in half])))
    assert found.covered == pytest.approx(sum(o.realised <= o.bound for o in half) / len(half))
    assert found.promised == pytest.approx(sum(o.promised for o in half) / len(half))
    assert found.bound == pytest.approx(math.sqrt(np.mean([o.bound**2 for o in half])))
    assert found.loss_covered == pytest.approx(sum(o.worst_loss <= o.loss_bound for o in half) / len(half))


def test_earned_confidence_goes_with_small_errors():
    confidence = np.linspace(0.1, 0.9, 40)
    rng = np.random.default_rng(0)
    confidence = rng.permutation(confidence)
    sure = earned(confidence, 0.9 - confidence, resamples=100)
    assert sure.correlation == pytest.approx(-1.0)
    assert sure.p_value < 1e-6
    assert sure.gap.low > 0.0
    boastful = earned(confidence, confidence, resamples=100)
    assert boastful.correlation == pytest.approx(1.0)
    assert boastful.p_value > 0.99
    assert boastful.gap.high < 0.0
    with pytest.raises(ValueError, match="takes ten"):
        earned(confidence[:9], confidence[:9])


def test_the_gap_is_the_least_sure_fifths_mean_error_above_the_others():
    rng = np.random.default_rng(1)
    confidence, error = rng.random(100), rng.random(100)
    order = np.argsort(confidence)
    naive = error[order[:20]].mean() - error[order[20:]].mean()
    assert earned(confidence, error, resamples=20).gap.estimate == pytest.approx(naive)


def test_confidences_that_mean_nothing_are_found_to_mean_nothing():
    rng = np.random.default_rng(2)
    held = [earned(rng.random(80), rng.random(80), block=1, resamples=100).gap for _ in range(100)]
    assert 0.8 <= np.mean([g.low <= 0.0 <= g.high for g in held]) <= 0.97


def test_one_unsure_decision_among_many_can_be_missing_from_a_resample():
    confidence = np.array([0.1] + [0.9] * 9)
    found = earned(confidence, np.linspace(1.0, 2.0, 10), share=0.01, resamples=50)
    assert np.isfinite([found.gap.low, found.gap.high]).all()


def test_penalties_are_what_the_decisions_published(run):
    book = run.portfolios[0]
    found = penalties(book)
    assert found.times.tolist() == [d.event_time for d in book.decisions if d.executable]
    np.testing.assert_allclose(found.mean + found.covariance, found.total, atol=1e-15)
    assert found.total.max() > 0.0
    np.testing.assert_array_equal(found.radius, [d.uncertainty.radius for d in book.decisions])


# -- closed forms


@pytest.mark.parametrize("bars", [1, 5, 21])
def test_expected_and_rare_worst_losses_are_those_of_simulated_walks(bars):
    walks = np.cumsum(np.random.default_rng(1).standard_normal((60_000, bars)), axis=1)
    worst = np.maximum(0.0, -walks.min(axis=1))
    assert worst.mean() == pytest.approx(mean_worst_loss(bars), rel=0.015)
    if bars > 1:  # one bar has no inside
        assert np.mean(worst <= worst_loss_bound(bars)) == pytest.approx(SURE, abs=0.006)


def test_the_coverage_of_a_realised_volatility_is_the_simulated_one():
    rng = np.random.default_rng(2)
    n, m, size, radius = 60, 21, 0.5, 0.0004
    estimated = np.sqrt(np.mean(rng.standard_normal((20_000, n)) ** 2, axis=1)) * 0.1
    realised = np.sqrt(np.mean(rng.standard_normal((20_000, m)) ** 2, axis=1)) * 0.1
    covered = np.mean(realised <= estimated + math.sqrt(radius) * size)
    assert covered == pytest.approx(promised_coverage(radius, size, 0.1, n, m), abs=0.015)


def test_the_coverage_of_the_budget_has_the_known_limits():
    # uncorrelated assets of one variance: v |w|^2 = sd^2, so Phi(sqrt(2 budget))
    endless = 10**12
    assert promised_coverage(1.0 / 90.0, 1.0, 1.0, 90.0, endless) == pytest.approx(0.92135, abs=1e-4)
    assert promised_coverage(0.0, 1.0, 1.0, 90.0, 21) == 0.5
    assert promised_coverage(100.0, 1.0, 1.0, 90.0, 21) == pytest.approx(1.0)
    assert promised_coverage(0.01, 1.0, 1.0, 0.2, 21) == promised_coverage(0.01, 1.0, 1.0, 1.0, 21)

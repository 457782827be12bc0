"""The walk-forward knows no future, repeats, and keeps every limit."""

import decisions
import numpy as np
import pytest
import worlds

from stream_allocator.backtest.prices import Prices
from stream_allocator.backtest.walkforward import walk_forward
from stream_allocator.codec import encode
from stream_allocator.errors import DataError

BARS = 140


def prices(returns, assets=worlds.ASSETS):
    closes = 100.0 * np.vstack((np.ones(len(assets)), np.cumprod(1.0 + returns, axis=0)))
    times = np.arange(len(closes), dtype=np.int64) * decisions.DAY
    return Prices("made up", tuple(assets), times, closes)


def walk(history, **kwargs):
    return walk_forward(history, worlds.universe(), {"core": worlds.policy()}, **kwargs)


@pytest.fixture(scope="module")
def run():
    return walk(prices(worlds.returns(BARS, shift=90)))


def test_the_same_prices_give_the_same_run(run):
    again = walk(prices(worlds.returns(BARS, shift=90)))
    assert again.chain == run.chain
    assert again.portfolios[0].nav.tobytes() == run.portfolios[0].nav.tobytes()


@pytest.mark.parametrize("cut", [25, 70, 120])
def test_the_future_does_not_move_the_past(run, cut):
    changed = worlds.returns(BARS, shift=90)
    changed[cut:] = worlds.returns(BARS, seed=9)[cut:] * 3.0
    other = walk(prices(changed))

    def before(r):
        return [encode(d) for d in r.portfolios[0].decisions if d.event_time <= cut * decisions.DAY]

    def after(r):
        return [encode(d) for d in r.portfolios[0].decisions if d.event_time > cut * decisions.DAY]

    assert len(before(run)) > 0
    assert before(other) == before(run)
    assert after(other) != after(run)
    np.testing.assert_array_equal(other.portfolios[0].nav[:cut], run.portfolios[0].nav[:cut])
    assert other.regimes.label[:cut] == run.regimes.label[:cut]


def test_no_decision_breaks_a_limit_and_the_certificates_agree(run):
    book = run.portfolios[0]
    assert len(book.decisions) > 10
    for decision, measured in zip(book.decisions, book.breaches, strict=True):
        assert measured.trade <= 1e-12
        assert measured.worst == pytest.approx(decision.certificate.primal, abs=1e-12)


def test_decisions_start_from_the_positions_that_the_paper_account_published(run):
    book = run.portfolios[0]
    times = run.times.tolist()
    for decision in book.decisions[1:]:
        held = book.held[times.index(decision.event_time)]
        current = np.array([w.current for w in decision.weights])
        previous = [d for d in book.decisions if d.event_time < decision.event_time][-1]
        if times.index(decision.event_time) > times.index(previous.event_time) + 1:
            np.testing.assert_allclose(current, held, atol=1e-12)


def test_offsets_count_from_zero_on_each_topic(run):
    last = run.portfolios[0].decisions[-1]
    fills = int(np.count_nonzero(run.portfolios[0].traded[: last.inputs.returns]))
    assert last.inputs.returns == run.times.tolist().index(last.event_time)
    assert last.inputs.positions == fills  # the opening snapshot is number 0


def test_every_executable_decision_is_filled_once_at_the_next_bar(run):
    book = run.portfolios[0]
    times = run.times.tolist()
    decided = {times.index(d.event_time) + 1 for d in book.decisions if d.turnover.traded > 1e-9}
    filled = set(np.flatnonzero(book.traded > 1e-9).tolist())
    assert decided - {len(times)} <= filled


def test_wealth_is_what_the_held_weights_earned_less_costs(run):
    book = run.portfolios[0]
    earned = (book.held[:-1] * run.returns[1:]).sum(axis=1)
    growth = book.nav[1:] / book.nav[:-1] - 1.0
    np.testing.assert_allclose(growth, (1 + earned) * (1 - 1e-3 * book.traded[1:]) - 1, atol=2e-6)


def test_gaps_in_prices_are_walked_over():
    history = prices(worlds.returns(60))
    history.closes[10:14, 0] = np.nan
    history.closes[:5, 1] = np.nan
    run = walk(history)
    assert np.isfinite(run.portfolios[0].nav).all()
    assert len(run.portfolios[0].decisions) > 0


def test_progress_hears_of_every_bar_and_decision():
    heard = []
    run = walk(prices(worlds.returns(40)), progress=lambda u, d: heard.append((u.bar, len(d))))
    assert [bar for bar, _ in heard] == list(range(40))
    assert sum(n for _, n in heard) == len(run.portfolios[0].decisions)


def test_two_portfolios_share_a_market_and_have_books_of_their_own():
    universe = worlds.universe(portfolios=("core", "other"))
    cautious = worlds.policy(limits={"upper": 0.1})
    run = walk_forward(prices(worlds.returns(60)), universe, {"core": worlds.policy(), "other": cautious})
    assert run.portfolio("other").targets().max() <= 0.1 + 1e-12
    assert run.portfolio("core").targets().max() > 0.1
    first = {name: run.portfolio(name).decisions[0].event_time for name in ("core", "other")}
    assert first["core"] == first["other"]


def test_prices_must_cover_the_universe():
    with pytest.raises(DataError, match="no column for DDD"):
        walk(prices(worlds.returns(5, n=3), assets=worlds.ASSETS[:3]))

"""The walk-forward knows no future, repeats, and keeps every limit."""

import decisions
import numpy as np
import pytest
import worlds
from walks import prices, walk

from stream_allocator.backtest.baselines import RULES, run_rule
from stream_allocator.backtest.walkforward import walk_forward
from stream_allocator.codec import encode
from stream_allocator.errors import DataError

BARS = 140


@pytest.fixture(scope="module")
def run():
    return walk(prices(worlds.returns(BARS, shift=90)))


def test_the_same_prices_give_the_same_run(run):
    again = walk(prices(worlds.returns(BARS, shift=90)))
    assert again.chain == run.chain
    assert again.portfolios[0].nav.tobytes() == run.portfolios[0].nav.tobytes()


def shifted(x, cut):
    """Another future: other returns, three times as volatile."""
    return np.vstack((x[:cut], worlds.returns(BARS, seed=9)[cut:] * 3.0))


def permuted(x, cut):
    """The same future in another order: every statistic of the whole file stays what it was."""
    return np.vstack((x[:cut], np.random.default_rng(5).permutation(x[cut:])))


def dealt(x, cut):
    """The same future dealt to other assets."""
    return np.vstack((x[:cut], np.roll(x[cut:], 1, axis=1)))


def delisted(x, cut):
    """No future: the first asset's prices end, the second's have a hole."""
    gone = x.copy()
    gone[cut:, 0] = np.nan
    gone[cut : cut + 30, 1] = np.nan
    return gone


FUTURES = [shifted, permuted, dealt, delisted]


@pytest.mark.parametrize("future", FUTURES)
@pytest.mark.parametrize("cut", [25, 70, 120])
def test_the_future_does_not_move_the_past(run, cut, future):
    changed = prices(np.nan_to_num(future(worlds.returns(BARS, shift=90), cut)))
    changed.closes[1:][np.isnan(future(worlds.returns(BARS, shift=90), cut))] = np.nan
    other = walk(changed)

    def before(r):
        return [encode(d) for d in r.portfolios[0].decisions if d.event_time <= cut * decisions.DAY]

    def after(r):
        return [encode(d) for d in r.portfolios[0].decisions if d.event_time > cut * decisions.DAY]

    assert len(before(run)) > 0
    assert before(other) == before(run)
    assert after(other) != after(run)
    np.testing.assert_array_equal(other.portfolios[0].nav[:cut], run.portfolios[0].nav[:cut])
    np.testing.assert_array_equal(other.portfolios[0].held[:cut], run.portfolios[0].held[:cut])
    assert other.regimes.label[:cut] == run.regimes.label[:cut]


@pytest.mark.parametrize("future", FUTURES)
@pytest.mark.parametrize("name", RULES)
def test_no_baseline_sees_the_future_either(name, future):
    x, cut = worlds.returns(BARS, shift=90), 70
    first, other = (run_rule(RULES[name], y, start=20, every=5) for y in (x, future(x, cut)))
    np.testing.assert_array_equal(other.wealth[: cut - 20], first.wealth[: cut - 20])
    np.testing.assert_array_equal(other.traded[: cut - 20], first.traded[: cut - 20])
    assert (other.wealth[cut - 20 :] != first.wealth[cut - 20 :]).any()


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

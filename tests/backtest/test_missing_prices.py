"""Names that start late, end, pause or all stop for a day: nothing is traded that has no price."""

import numpy as np
import pytest
import worlds
from walks import prices, walk

from stream_allocator.backtest.account import DELISTING, Delisting
from stream_allocator.backtest.summary import summarise
from stream_allocator.backtest.text import lacking, table

BARS, CUT = 140, 70


def holed(*holes):
    """Prices of which some closes are missing."""
    history = prices(worlds.returns(BARS))
    for bars, asset in holes:
        history.closes[bars, asset] = np.nan
    return history


def ending():
    return holed((slice(CUT, None), 0))


@pytest.mark.parametrize("final", [0.0, -0.3])
def test_a_name_that_ends_is_held_at_its_last_price_and_then_paid_out(final):
    run = walk(ending(), delisting=Delisting(final_return=final), cost_bps=0.0)
    book = run.portfolios[0]
    last = CUT - 1  # row of the first missing return
    paid = last + DELISTING.after - 1
    value = book.held[:, 0] * book.nav
    np.testing.assert_allclose(value[last:paid], value[last - 1])
    assert value[last] > 0
    assert (value[paid:] == 0).all()
    rest = (book.held[paid - 1, 1:] * run.returns[paid, 1:]).sum()
    moved = book.nav[paid] / book.nav[paid - 1] - 1.0
    assert moved == pytest.approx(rest + final * book.held[paid - 1, 0], abs=1e-12)
    assert book.delisted == 1


def test_after_the_pay_out_the_engine_knows_that_the_name_is_gone():
    run = walk(ending())
    book = run.portfolios[0]
    later = [d for d in book.decisions if d.event_time > run.times[CUT + DELISTING.after]]
    assert len(later) > 2
    for decision in later:
        assert decision.weights[0].current == decision.weights[0].target == 0.0
    assert book.held[-1].sum() > 0.3  # the others are still held


def test_a_pause_of_five_days_sells_nothing_and_costs_nothing_afterwards():
    run = walk(holed((slice(CUT, CUT + 5), 0)))
    whole = walk(holed())
    book = run.portfolios[0]
    assert book.delisted == 0
    gap = slice(CUT - 1, CUT + 4)
    values = book.held[gap, 0] * book.nav[gap]
    np.testing.assert_allclose(values, values[0])
    # the return after it spans the gap, so the close is where it would have been
    spanned = np.prod(1.0 + whole.returns[CUT - 1 : CUT + 5, 0]) - 1.0
    assert run.returns[CUT + 4, 0] == pytest.approx(spanned)
    assert book.held[CUT + 4, 0] == pytest.approx(whole.portfolios[0].held[CUT + 4, 0], abs=2e-3)


def test_a_name_that_starts_late_is_held_only_after_its_first_return():
    run = walk(holed((slice(0, CUT), 0)))
    book = run.portfolios[0]
    assert (book.held[: CUT + 1, 0] == 0).all()  # its first close is at CUT, its first return a bar later
    assert book.held[-1, 0] > 0
    early = [d for d in book.decisions if d.event_time <= run.times[CUT - 1]]
    assert early
    assert all(d.weights[0].target == 0.0 for d in early)


def test_a_day_without_any_price_moves_nothing_and_the_decision_is_filled_a_day_later():
    whole = walk(holed())
    decided = whole.times.tolist().index(whole.portfolios[0].decisions[3].event_time)
    empty = decided + 1
    run = walk(holed((empty + 1, slice(None))))
    book = run.portfolios[0]
    assert whole.portfolios[0].traded[empty] > 0
    assert book.traded[empty] == 0
    assert book.nav[empty] == book.nav[empty - 1]
    assert book.traded[empty + 1] > 0
    assert np.isfinite(book.nav).all()


def test_nothing_is_ever_traded_without_a_close():
    rng = np.random.default_rng(3)
    history = prices(worlds.returns(BARS, shift=60))
    history.closes[rng.random(history.closes.shape) < 0.15] = np.nan
    run = walk(history, cost_bps=0.0)
    book = run.portfolios[0]
    value = book.held * book.nav[:, None]
    moved = np.abs(value[1:] - value[:-1])
    assert moved[np.isnan(run.returns[1:])].max() < 1e-6
    assert book.unfilled > 0
    assert book.traded.sum() > 1.0


def test_the_terminal_and_the_summary_say_what_was_missing():
    run = walk(holed((slice(CUT, None), 0), (slice(0, 10), 1), (slice(50, 55), 2), (30, slice(None))))
    summary = summarise(run, run.portfolios[0])
    said = lacking(summary)
    assert said.startswith("Of 4 assets 1 start late, 1 end early and 0 have no prices; ")
    assert "the longest gap 5 bars, 1 bars without any; 1 holdings paid out as delisted" in said
    assert said in table(summary).caption
    told = summary.as_json()
    assert told["coverage"]["ended"] == told["delisted"] == 1
    whole = walk(holed())
    assert "paid out" not in table(summarise(whole, whole.portfolios[0])).caption

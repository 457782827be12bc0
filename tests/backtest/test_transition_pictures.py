"""The picture shows every switch, repeats, and says in words what it shows."""

import pytest
import worlds
from test_walkforward import prices

from stream_allocator.backtest.charts import REGIMES
from stream_allocator.backtest.transition_pictures import exposure_round_switches
from stream_allocator.backtest.transitions import transitions, worst_share
from stream_allocator.backtest.walkforward import walk_forward


@pytest.fixture(scope="module")
def book():
    returns = worlds.returns(260, shift=110)
    returns[180:] /= 4.0
    policy = worlds.policy(regime={"horizon": 30, "cooldown": 31})
    run = walk_forward(prices(returns), worlds.universe(), {"core": policy})
    return run.portfolios[0], transitions(run, run.portfolios[0])


def test_the_picture_repeats_and_takes_its_colours_from_the_page(book):
    picture = exposure_round_switches(*book)
    assert picture == exposure_round_switches(*book)
    assert picture.svg.startswith("<svg")
    assert all(f"var(--{t.after})" in picture.svg for t in book[1])
    assert not any(colour in picture.svg for colour in REGIMES.values())


def test_the_words_say_how_many_and_how_much(book):
    text = exposure_round_switches(*book).text
    assert f"{len(book[1])} regime switches" in text
    assert f"{worst_share(book[1]):.0%}" in text


def test_a_run_without_switches_has_an_empty_picture(book):
    picture = exposure_round_switches(book[0], ())
    assert "<svg" in picture.svg
    assert picture.text.endswith("there was none.")

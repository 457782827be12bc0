"""The record of a run: what is held when, and whether limits were kept."""

import decisions
import numpy as np
import pytest
import worlds

from stream_allocator.backtest.run import Recorder, breach
from stream_allocator.events import DataQuality, GroupLimit, Matrix, RegimeUpdate

DAY = decisions.DAY


def update(bar, decided=()):
    quality = DataQuality(0, 0, 0, ())
    return RegimeUpdate(
        "u",
        (bar + 1) * DAY,
        bar,
        "calm",
        bar == 1,
        0.1,
        9,
        9.0,
        9.0,
        0.1,
        0.2,
        0.5,
        (),
        decided,
        quality,
        bar,
    )


def test_weights_inside_the_programme_breach_nothing():
    found = breach(decisions.allocation([0.3, 0.4]), decisions.evidence([0.3, 0.4]))
    assert found.worst == 0.0
    assert found.predicted == pytest.approx(0.2 * 0.5)
    assert found.held == 0.0


def test_the_risk_of_what_was_held_is_judged_by_the_same_covariance():
    found = breach(
        decisions.allocation([0.3, 0.4], current=[0.6, 0.8]),
        decisions.evidence([0.3, 0.4], current=[0.6, 0.8]),
    )
    assert found.held == pytest.approx(0.2)
    assert found.predicted == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("limits", "field", "amount"),
    [
        ({"turnover": 0.5}, "trade", 0.2),
        ({"trade": (0.3, 0.3)}, "trade", 0.1),
        ({"upper": (1.0, 0.35)}, "holdings", 0.05),
        ({"lower": (0.4, 0.0)}, "holdings", 0.1),
        ({"cash_upper": 0.1}, "holdings", 0.2),
        ({"cash_lower": 0.4}, "holdings", 0.1),
        ({"groups": (GroupLimit("g", (0, 1), 0.0, 0.6),)}, "holdings", 0.1),
        ({"groups": (GroupLimit("g", (1,), 0.45, 1.0),)}, "holdings", 0.05),
        ({"volatility": 0.08}, "volatility", 0.02),
        ({"factors": Matrix(2, 0, ()), "idiosyncratic": (1.0, 1.0)}, "volatility", 0.2),
    ],
)
def test_each_limit_is_measured_on_the_published_numbers(limits, field, amount):
    found = breach(decisions.allocation([0.3, 0.4]), decisions.evidence([0.3, 0.4], **limits))
    assert getattr(found, field) == pytest.approx(amount)
    assert found.worst == pytest.approx(amount)


def test_a_bars_decisions_are_filled_at_the_next_bar():
    universe = worlds.universe(("A0", "A1"))
    recorder = Recorder(universe, {"core": worlds.policy()}, nav=100.0, cost_bps=0.0)
    records = (decisions.allocation([0.5, 0.5], event_time=DAY), decisions.evidence([0.5, 0.5]))
    published = [
        recorder.bar([0.5, 0.5], update(0), [records]),
        recorder.bar([0.1, 0.1], update(1), []),
        recorder.bar([0.2, 0.0], update(2), []),
    ]
    assert [len(p) for p in published] == [0, 1, 0]  # the first would be from before the decision
    run = recorder.run("c" * 64)
    book = run.portfolio("core")
    np.testing.assert_allclose(book.nav, [100.0, 100.0, 110.0])
    np.testing.assert_allclose(book.held, [[0, 0], [0.5, 0.5], [60 / 110, 50 / 110]])
    np.testing.assert_allclose(book.traded, [0, 1, 0])
    np.testing.assert_array_equal(book.targets(), [[0.5, 0.5]])
    assert run.times.tolist() == [DAY, 2 * DAY, 3 * DAY]
    assert run.regimes.switched.tolist() == [False, True, False]
    assert book.worst_primal == 0.0

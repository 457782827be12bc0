"""One-step forecasts are the engine's own, and static covariances are the textbook's."""

import copy
import dataclasses
import math

import numpy as np
import pytest
import worlds
from walks import prices, walk

from stream_allocator.backtest import walkforward
from stream_allocator.backtest.forecasts import WINDOW, one_step_forecasts, sample_deviation
from stream_allocator.engine import Engine
from stream_allocator.errors import DataError

BARS = 140


def history():
    """One asset enters late, one misses bars, and a bar is missing altogether."""
    made = prices(worlds.returns(BARS, shift=90))
    made.closes[:50, 3] = np.nan
    made.closes[101:104, 1] = np.nan
    made.closes[110] = np.nan
    return made


@pytest.fixture(scope="module")
def run():
    return walk(history())


@pytest.fixture(scope="module")
def forecasts(run):
    return one_step_forecasts(run, run.portfolios[0])


def test_volatility_and_mean_are_what_the_engines_market_says_after_each_bar(run, forecasts, monkeypatch):
    engines, markets = [], []

    class Kept(Engine):
        def __init__(self, *args):
            super().__init__(*args)
            engines.append(self)

    monkeypatch.setattr(walkforward, "Engine", Kept)
    walk(history(), progress=lambda *_: markets.append(copy.deepcopy(engines[0]._market)))
    held = dict(zip(run.times.tolist(), run.portfolios[0].held, strict=True))
    at = {time: i for i, time in enumerate(run.times.tolist())}
    assert len(forecasts.times) > 100
    for i, time in enumerate(forecasts.times.tolist()):
        before = at[time] - 1
        weights = held[int(run.times[before])]
        assert forecasts.deviation[i] == markets[before].volatility(weights) * 252**-0.5
        assert forecasts.mean[i] == float(weights @ markets[before].mean()[0]) / 252


def test_to_ask_the_market_at_every_bar_changes_no_decision(run, monkeypatch):
    class Asked(Engine):
        def apply(self, *args):
            outputs = super().apply(*args)
            self._market.volatility(np.full(len(self.universe.assets), 0.25))
            self._market.mean()
            return outputs

    monkeypatch.setattr(walkforward, "Engine", Asked)
    assert walk(history()).chain == run.chain


def test_a_forecast_knows_nothing_of_its_own_bar_or_later(forecasts):
    changed = history()
    changed.closes[121:] *= 1.5
    again = one_step_forecasts(*(lambda r: (r, r.portfolios[0]))(walk(changed)))
    early = int(
        np.searchsorted(forecasts.times, changed.times[121])
    )  # made before the change, realised with it
    np.testing.assert_array_equal(again.deviation[: early + 1], forecasts.deviation[: early + 1])
    np.testing.assert_array_equal(again.realised[:early], forecasts.realised[:early])
    assert again.realised[early] != forecasts.realised[early]


def test_only_what_was_held_is_forecast(run, forecasts):
    held = run.portfolios[0].held[:-1].any(axis=1)
    assert forecasts.times.tolist() == run.times[1:][held].tolist()
    assert (forecasts.deviation > 0.0).all()
    np.testing.assert_array_equal(forecasts.confidence, run.regimes.confidence[:-1][held])
    since = int(run.times[100])
    assert (forecasts.since(since).times >= since).all()
    np.testing.assert_allclose(
        forecasts.standardised * forecasts.deviation + forecasts.mean, forecasts.realised, atol=1e-15
    )


def test_a_run_of_another_release_is_refused(run):
    said = run.regimes.effective_sample_size.copy()
    said[70] *= 1.0 + 1e-15
    other = dataclasses.replace(run, regimes=dataclasses.replace(run.regimes, effective_sample_size=said))
    with pytest.raises(DataError, match="bar 70: the run has"):
        one_step_forecasts(other, other.portfolios[0])


def naive_deviation(returns, held, window):
    out = []
    for t in range(len(returns)):
        if t + 1 < (window or WINDOW) or not held[t].any():
            out.append(math.nan)
            continue
        seen = returns[max(0, t + 1 - window) : t + 1] if window else returns[: t + 1]
        total = 0.0
        for i, a in enumerate(held[t]):
            for j, b in enumerate(held[t]):
                both = [(x[i], x[j]) for x in seen if math.isfinite(x[i]) and math.isfinite(x[j])]
                if len(both) > 1:
                    total += a * b * float(np.cov(np.array(both).T)[0, 1])
        out.append(math.sqrt(max(total, 0.0)))
    return out


@pytest.mark.parametrize("window", [20, 60, None])
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_static_deviations_agree_with_a_naive_twin(window, missing, monkeypatch):
    monkeypatch.setattr("stream_allocator.backtest.forecasts.WINDOW", 40)
    monkeypatch.setattr("test_forecasts.WINDOW", 40)
    rng = np.random.default_rng(3)
    returns = rng.standard_normal((70, 3)) * [0.01, 0.02, 0.5] + 0.001
    returns[rng.random(returns.shape) < missing] = np.nan
    returns[5, 1] = np.inf
    returns[:, 2] = np.where(np.arange(70) < 35, np.nan, returns[:, 2])
    held = rng.random((70, 3))
    held[50] = 0.0
    found = sample_deviation(returns, held, window)
    np.testing.assert_allclose(found, naive_deviation(returns, held, window), rtol=1e-9)


def test_one_asset_has_its_own_sample_deviation():
    x = np.random.default_rng(4).standard_normal((300, 1))
    found = sample_deviation(x, np.full((300, 1), 0.5), WINDOW)
    assert found[299] == pytest.approx(0.5 * x[48:, 0].std(ddof=1), rel=1e-12)
    assert np.isnan(found[: WINDOW - 1]).all()

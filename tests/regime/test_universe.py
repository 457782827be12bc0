"""What the regime of a universe promises: few factors, fixed once, and the posterior on them."""

import numpy as np
import pytest

from stream_allocator.regime import MultivariateRunLength, RunLengthPanel, UniverseRegime
from stream_allocator.regime.universe import principal_portfolios

HAZARD = 1 / 100


def returns(seed=0, bars=160, assets=6):
    rng = np.random.default_rng(seed)
    beta, sector = rng.uniform(0.5, 1.5, assets), np.sign(np.arange(assets) - assets / 2 + 0.5)
    noise = rng.normal(size=(bars, assets)) * 0.005
    return 0.01 * (rng.normal(size=(bars, 1)) * beta + 0.7 * rng.normal(size=(bars, 1)) * sector) + noise


def regime(assets=6, **changes):
    settings = {"factors": 3, "hazards": (HAZARD,), "max_run": 80, "warmup": 40, "outlier_df": 8.0}
    return UniverseRegime(assets, **(settings | changes))


def run(universe, rows):
    for row in rows:
        universe.update(row)
    return universe


def same_bits(a, b):
    return all(x.tobytes() == y.tobytes() for x, y in zip(a.posterior(), b.posterior(), strict=True))


def test_the_posterior_is_that_of_the_market_and_the_residuals_leading_directions():
    x = returns()
    market = x.mean(axis=1, keepdims=True)
    residual = x[:40] - market[:40]
    vectors = np.linalg.eigh(residual.T @ residual)[1][:, ::-1][:, :2]
    vectors /= np.abs(vectors).sum(axis=0)
    vectors *= np.sign(vectors[np.abs(vectors).argmax(axis=0), [0, 1]])
    naive = MultivariateRunLength(3, hazards=(HAZARD,), max_run=80, warmup=40, outlier_df=8.0)
    for row in np.hstack([market, (x - market) @ vectors]):
        naive.update(row)
    found = run(regime(), x).posterior
    assert found.dimension == 3
    np.testing.assert_allclose(found.posterior()[1], naive.posterior()[1], rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(found.segment_covariance(), naive.segment_covariance(), rtol=1e-9, atol=1e-18)


@pytest.mark.parametrize("bars", [0, 1, 25, 39])
def test_during_the_warm_up_it_is_the_markets_own(bars):
    x = returns()[:bars]
    alone = MultivariateRunLength(1, hazards=(HAZARD,), max_run=80, warmup=40, outlier_df=8.0)
    for row in x:
        alone.update([row.mean()])
    assert same_bits(run(regime(), x).posterior, alone)


def test_one_factor_is_the_panels_posterior_of_the_mean_return():
    x = returns()
    panel = RunLengthPanel(1, hazard=HAZARD, max_run=80, warmup=40, outlier_df=8.0)
    for row in x:
        panel.update([row.mean()])
    found = run(regime(factors=1), x).posterior
    np.testing.assert_allclose(found.posterior()[1], panel.posterior(0)[1], rtol=1e-9, atol=1e-13)


def test_portfolios_are_fixed_by_the_warm_up_alone():
    x, other = returns(), returns()
    other[40:] = returns(seed=9)[40:]
    a, b = run(regime(), x), run(regime(), other)
    assert a.state()["portfolios"].tobytes() == b.state()["portfolios"].tobytes()
    assert not same_bits(a.posterior, b.posterior)


@pytest.mark.parametrize(
    ("x", "dimension"),
    [
        (returns(assets=1), 1),
        (np.repeat(returns(assets=1), 4, axis=1), 1),
        (returns(assets=2), 2),
        (np.hstack([returns(assets=2), returns(assets=2)]), 2),
        (returns(), 3),
    ],
    ids=["one asset", "one asset four times", "two assets", "two assets twice", "six assets"],
)
def test_there_are_no_more_factors_than_directions(x, dimension):
    universe = run(regime(assets=x.shape[1]), x)
    assert universe.posterior.dimension == dimension
    assert universe.posterior.detecting()


def test_a_missing_return_counts_as_the_mean_of_the_others():
    x = returns()
    x[5::7, 2] = np.nan
    x[100:, 0] = np.inf
    filled = np.where(np.isfinite(x), x, np.nan)
    filled = np.where(np.isnan(filled), np.nanmean(filled, axis=1, keepdims=True), filled)
    a, b = run(regime(), x).posterior, run(regime(), filled).posterior
    np.testing.assert_allclose(a.posterior()[1], b.posterior()[1], rtol=1e-9, atol=1e-13)


def test_a_bar_without_returns_changes_nothing():
    x = returns()
    a, b = run(regime(), x[:30]), run(regime(), x[:30])
    a.update(np.full(6, np.nan))
    assert same_bits(run(a, x[30:]).posterior, run(b, x[30:]).posterior)


@pytest.mark.parametrize("at", [0, 20, 39, 40, 41, 100])
def test_a_loaded_state_goes_on_with_the_same_bits(at):
    x = returns()
    universe = run(regime(hazards=(0.005, 0.02)), x[:at])
    loaded = regime(hazards=(0.005, 0.02))
    loaded.load(universe.state())
    assert same_bits(run(universe, x[at:]).posterior, run(loaded, x[at:]).posterior)


@pytest.mark.parametrize("at", [10, 60])
def test_assets_that_stay_keep_the_posterior_and_newcomers_count_in_the_market(at):
    x = returns()
    before = run(regime(), x[:at])
    other = before.reindex([5, 0, -1, 2, 1, 3, 4])
    assert same_bits(before.posterior, other.posterior)
    whole = np.hstack([x[:, [5, 0]], np.full((len(x), 1), np.nan), x[:, [2, 1, 3, 4]]])
    a, b = run(before, x[at:]).posterior, run(other, whole[at:]).posterior
    np.testing.assert_allclose(a.posterior()[1], b.posterior()[1], rtol=1e-9, atol=1e-13)
    arrived = before.reindex([0, 1, 2, 3, 4, 5, -1])
    arrived.update(np.full(7, 0.05))  # nobody deviates from the market
    before.update(np.full(6, 0.05))
    np.testing.assert_allclose(arrived.posterior.segment_mean(), before.posterior.segment_mean(), atol=1e-15)
    for index in ([], [6], [-2], [[0]]):
        with pytest.raises(ValueError, match="index"):
            before.reindex(index)


def test_what_does_not_fit_is_named():
    for changes, word in (({"assets": 0}, "assets"), ({"factors": 0}, "factors"), ({"warmup": 3}, "warmup")):
        with pytest.raises(ValueError, match=word):
            regime(**changes)
    with pytest.raises(ValueError, match="shape"):
        regime().update([0.1])
    with pytest.raises(ValueError, match="recent"):
        regime(assets=5).load(regime().state())


def test_principal_portfolios_have_unit_absolute_weight_and_a_positive_leader():
    x = returns() - returns().mean(axis=1, keepdims=True)
    portfolios = principal_portfolios(x, 3, 1.0)
    np.testing.assert_allclose(np.abs(portfolios).sum(axis=1), 1.0, rtol=1e-14)
    assert (portfolios[np.arange(3), np.abs(portfolios).argmax(axis=1)] > 0.0).all()
    assert principal_portfolios(x, 0, 1.0).shape == (0, 6)
    assert principal_portfolios(np.zeros((9, 4)), 2, 1.0).shape == (0, 4)

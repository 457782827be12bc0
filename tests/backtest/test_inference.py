"""Bootstrap and deflation against naive twins, closed forms and the papers' own numbers."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from stream_allocator.backtest.baselines import Path
from stream_allocator.backtest.inference import (
    COMPARED,
    bootstrap,
    deflated_sharpe,
    expected_maximum_sharpe,
    mean_difference,
    metric_differences,
    probabilistic_sharpe,
    sharpe_difference,
    stationary_indices,
)
from stream_allocator.backtest.metrics import metrics, sharpe_ratio

SEED = 20


def generator(seed=SEED):
    return np.random.Generator(np.random.PCG64(seed))


def naive_indices(bars, block, rng):
    """Bar by bar: on to the next one, or at a new one with probability 1/block."""
    restart = rng.random(bars)
    begins = [t == 0 or restart[t] < 1.0 / block for t in range(bars)]
    fresh = iter(rng.integers(0, bars, sum(begins)).tolist())
    index = []
    for t in range(bars):
        index.append(next(fresh) if begins[t] else (index[-1] + 1) % bars)
    return index


@given(st.integers(1, 60), st.sampled_from([1.0, 1.5, 4.0, 30.0, 1e6]), st.integers(0, 10**6))
def test_a_resample_is_the_naive_one(bars, block, seed):
    found = stationary_indices(bars, block, generator(seed))
    assert found.tolist() == naive_indices(bars, block, generator(seed))


def test_blocks_of_one_bar_are_independent_draws():
    rng = generator()
    rng.random(500)
    np.testing.assert_array_equal(stationary_indices(500, 1.0, generator()), rng.integers(0, 500, 500))


def test_one_endless_block_is_a_rotation_and_no_mean_moves():
    index = stationary_indices(300, 1e15, generator())
    np.testing.assert_array_equal(index, (index[0] + np.arange(300)) % 300)
    x, y = np.random.default_rng(0).standard_normal((2, 300))
    gap = mean_difference(x, y, block=1e15, resamples=40)
    assert gap.high - gap.low < 1e-15
    assert gap.estimate == pytest.approx(x.mean() - y.mean(), abs=1e-15)


def test_blocks_have_geometric_lengths_of_the_mean_that_was_asked_for():
    rng = generator()
    lengths = []
    for _ in range(200):
        index = stationary_indices(2000, 10.0, rng)
        begins = np.flatnonzero(np.diff(index, prepend=-5) % 2000 != 1)
        lengths += np.diff(begins).tolist()
    assert np.mean(lengths) == pytest.approx(10.0, rel=0.03)
    assert np.std(lengths) == pytest.approx(math.sqrt(90.0), rel=0.05)  # sqrt(1 - p) / p


def test_every_bar_is_drawn_as_often_as_any_other():
    counts = np.zeros(50)
    rng = generator()
    for _ in range(4000):
        counts += np.bincount(stationary_indices(50, 8.0, rng), minlength=50)
    np.testing.assert_allclose(counts, 4000.0, rtol=0.1)  # with the ends no less often than the middle


def test_no_bars_and_blocks_below_one_are_errors():
    with pytest.raises(ValueError, match="at least one"):
        stationary_indices(0, 5.0, generator())
    with pytest.raises(ValueError, match="at least one"):
        stationary_indices(10, 0.5, generator())


@pytest.mark.parametrize("block", [1.0, 5.0, 20.0])
def test_the_variance_of_a_mean_is_the_one_of_politis_and_romano(block):
    """Their lemma 1: circular autocovariances, weighted by (1 - i/n)(1-p)^i + (i/n)(1-p)^(n-i)."""
    rng = np.random.default_rng(4)
    n, p = 240, 1.0 / block
    x = np.convolve(rng.standard_normal(n + 9), np.ones(10) / 10, "valid")
    d = x - x.mean()
    covariance = [float(d @ np.roll(d, i)) / n for i in range(n)]
    weight = [(1 - i / n) * (1 - p) ** i + i / n * (1 - p) ** (n - i) for i in range(1, n)]
    exact = (covariance[0] + float(np.dot(weight, covariance[1:]))) / n
    draws = generator(1)
    means = [x[stationary_indices(n, block, draws)].mean() for _ in range(6000)]
    assert np.var(means) == pytest.approx(exact, rel=0.06)


def naive_interval(statistic, bars, block, resamples, level):
    rng = generator()
    drawn = sorted(statistic(naive_indices(bars, block, rng)) for _ in range(resamples))
    return np.quantile(drawn, ((1 - level) / 2, (1 + level) / 2))


def test_sharpe_differences_agree_with_a_naive_bootstrap():
    a, b = np.random.default_rng(5).standard_normal((2, 130)) * [[0.01], [0.02]] + 0.001

    def gap(index):
        return a[index].mean() / a[index].std(ddof=1) - b[index].mean() / b[index].std(ddof=1)

    found = sharpe_difference(a, b, 1.0, block=12, resamples=40, level=0.8)
    np.testing.assert_allclose((found.low, found.high), naive_interval(gap, 130, 12, 40, 0.8), rtol=1e-12)
    assert found.estimate == pytest.approx(gap(np.arange(130)), rel=1e-12)


def test_the_interval_has_about_the_width_of_the_asymptotic_formula():
    a, b = np.random.default_rng(2).standard_normal((2, 4000)) * 0.01
    gap = sharpe_difference(a, b, periods_per_year=1.0, block=1, resamples=800)
    # independent paths without drift: the variance of each Sharpe ratio is 1 / T
    assert gap.high - gap.low == pytest.approx(2 * 1.645 * math.sqrt(2 / 4000), rel=0.12)


def test_an_interval_repeats_and_holds_its_estimate():
    rng = np.random.default_rng(1)
    a = rng.standard_normal(1500) * 0.01 + 0.0005
    b = a + 0.002 * rng.standard_normal(1500)
    first = sharpe_difference(a, b, resamples=200)
    assert first == sharpe_difference(a, b, resamples=200)
    assert first.low < first.estimate < first.high
    own = sharpe_difference(a, a, resamples=50)
    assert (own.low, own.estimate, own.high) == (0.0, 0.0, 0.0)


def test_pairs_of_unequal_length_are_an_error():
    with pytest.raises(ValueError, match="one length"):
        sharpe_difference(np.zeros(5), np.zeros(6))
    with pytest.raises(ValueError, match="one length"):
        mean_difference(np.zeros(5), np.zeros(6))
    with pytest.raises(ValueError, match="same bars"):
        metric_differences(Path(np.ones(5), np.ones(5)), {"other": Path(np.ones(6), np.ones(6))})


def paths(count, bars=90, seed=7):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        growth = 1.0 + 0.01 * rng.standard_normal(bars) + 3e-4
        traded = np.where(rng.random(bars) < 0.1, rng.random(bars), 0.0)
        yield Path(np.concatenate(([1.0], np.cumprod(growth))), np.concatenate(([0.0], traded)))


@pytest.mark.parametrize("name", COMPARED)
def test_each_metrics_difference_agrees_with_a_naive_bootstrap(name):
    own, one, two = paths(3)

    def metric(path, index):
        wealth = [1.0]
        for t in index:
            wealth.append(wealth[-1] * path.wealth[t + 1] / path.wealth[t])
        return getattr(metrics(np.array(wealth), path.traded[np.array(index) + 1]), name)

    found = metric_differences(own, {"one": one, "two": two}, block=7, resamples=30)
    for other, path in (("one", one), ("two", two)):
        ends = naive_interval(lambda i, path=path: metric(own, i) - metric(path, i), 90, 7, 30, 0.9)
        got = found[other][name]
        np.testing.assert_allclose((got.low, got.high), ends, rtol=1e-9, atol=1e-13)
        assert got.estimate == pytest.approx(metric(own, range(90)) - metric(path, range(90)), abs=1e-12)


def test_what_cash_earned_is_taken_off_both_sharpe_ratios_on_the_bars_that_were_drawn():
    own, other = paths(2)
    interest = np.random.default_rng(6).random(90) * 1e-3
    steps = [p.wealth[1:] / p.wealth[:-1] - 1.0 - interest for p in (own, other)]
    expected = sharpe_difference(*steps, block=7, resamples=30)
    found = metric_differences(own, {"other": other}, interest=interest, block=7, resamples=30)
    got = found["other"]["sharpe"]
    np.testing.assert_allclose(
        (got.low, got.estimate, got.high), (expected.low, expected.estimate, expected.high), rtol=1e-9
    )
    without = metric_differences(own, {"other": other}, block=7, resamples=30)["other"]
    assert found["other"]["max_drawdown"] == without["max_drawdown"]


def test_a_path_differs_from_itself_by_nothing():
    (own,) = paths(1)
    for interval in metric_differences(own, {"itself": own}, resamples=20)["itself"].values():
        assert (interval.low, interval.estimate, interval.high) == (0.0, 0.0, 0.0)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    """AR(1) returns; the mean's interval at 90 % with blocks well above its memory."""
    rng = np.random.default_rng(8)
    covered = 0
    for _ in range(150):
        noise = rng.standard_normal(700)
        x = np.empty(700)
        x[0] = noise[0]
        for t in range(1, 700):
            x[t] = 0.5 * x[t - 1] + noise[t]
        found = mean_difference(x, np.zeros(700), block=25, resamples=150)
        covered += found.low <= 0.0 <= found.high
    assert 0.8 <= covered / 150 <= 0.96


def test_the_bootstrap_gives_an_interval_for_each_statistic():
    x = np.arange(20.0)
    low, high = bootstrap(lambda i: np.array([x[i].min(), x[i].max()]), 20, block=3, resamples=50)
    assert (low.estimate, high.estimate) == (0.0, 19.0)
    assert high.low > low.high


# -- Sharpe ratios after a search


def test_the_worked_example_of_the_paper():
    """Bailey & Lopez de Prado (2014): 2.5 a year, 1,250 daily returns, skewness -3, kurtosis 10, V = 1/2."""
    daily = 2.5 / math.sqrt(250)
    spread = math.sqrt(0.5 / 250)

    def deflated(trials, **moments):
        return probabilistic_sharpe(daily, 1250, benchmark=expected_maximum_sharpe(trials, spread), **moments)

    assert expected_maximum_sharpe(100, spread) == pytest.approx(0.1132, abs=5e-5)
    assert deflated(100, skewness=-3.0, kurtosis=10.0) == pytest.approx(0.9004, abs=5e-5)
    assert deflated(46, skewness=-3.0, kurtosis=10.0) == pytest.approx(0.9505, abs=5e-5)
    assert deflated(88) == pytest.approx(0.9505, abs=5e-5)


@pytest.mark.parametrize("trials", [10, 46, 100, 1000])
def test_the_expected_maximum_is_near_the_integral(trials):
    def tail(x):
        return 1.0 - norm.cdf(x) ** trials

    exact = quad(tail, 0, 12)[0] - quad(lambda x: norm.cdf(x) ** trials, -12, 0)[0]
    assert expected_maximum_sharpe(trials, 1.0) == pytest.approx(exact, rel=0.025)


def test_of_a_single_try_nothing_is_taken_off():
    x = np.random.default_rng(9).standard_normal(600) * 0.01 + 5e-4
    found = deflated_sharpe(x, 1)
    assert found.benchmark == 0.0
    d = x - x.mean()
    ratio = x.mean() / x.std(ddof=1)
    spread = x.std()
    skewness, kurtosis = (d**3).mean() / spread**3, (d**4).mean() / spread**4
    error = math.sqrt((1 - skewness * ratio + (kurtosis - 1) / 4 * ratio**2) / 599)
    assert found.probability == pytest.approx(norm.cdf(ratio / error), rel=1e-12)
    assert found.sharpe == pytest.approx(float(sharpe_ratio(x)) * math.sqrt(252), rel=1e-12)


def test_more_tries_and_a_wider_spread_ask_for_more():
    x = np.random.default_rng(9).standard_normal(600) * 0.01 + 5e-4
    tries = [deflated_sharpe(x, n) for n in (1, 2, 10, 100)]
    assert all(a.benchmark < b.benchmark for a, b in itertools.pairwise(tries))
    assert all(a.probability > b.probability for a, b in itertools.pairwise(tries))
    assert deflated_sharpe(x, 10, spread=1.0).benchmark == pytest.approx(expected_maximum_sharpe(10, 1.0))
    assert deflated_sharpe(x, 10, spread=0.0).probability == tries[0].probability


def test_the_probability_is_uniform_where_there_is_no_skill():
    rng = np.random.default_rng(10)
    found = [deflated_sharpe(rng.standard_normal(400), 1).probability for _ in range(400)]
    assert abs(np.mean(np.array(found) < 0.1) - 0.1) < 0.045
    assert abs(np.mean(found) - 0.5) < 0.05


def test_impossible_searches_are_errors():
    with pytest.raises(ValueError, match="at least once"):
        expected_maximum_sharpe(0, 1.0)
    with pytest.raises(ValueError, match="two returns"):
        deflated_sharpe(np.zeros(1), 3)

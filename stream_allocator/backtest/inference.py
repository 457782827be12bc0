"""How sure a comparison of two histories is: bootstrap intervals, and Sharpe ratios after a search.

Both are a page of own code: the package ``arch`` has the first, but would bring pandas and statsmodels into
the worker's image.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kurtosis, norm, skew

from stream_allocator.backtest.baselines import Path
from stream_allocator.backtest.metrics import metrics, sharpe_ratio

__all__ = [
    "COMPARED",
    "Deflated",
    "Interval",
    "bootstrap",
    "deflated_sharpe",
    "expected_maximum_sharpe",
    "mean_difference",
    "metric_differences",
    "probabilistic_sharpe",
    "sharpe_difference",
    "stationary_indices",
]

Array = NDArray[np.float64]
Index = NDArray[np.int64]

#: Mean length of a block, bars: a quarter of trading days.
BLOCK = 63
RESAMPLES = 1000
LEVEL = 0.9
SEED = 20

#: What :func:`metric_differences` compares, by field of :class:`~stream_allocator.backtest.metrics.Metrics`.
#: Not Calmar: a resample without a drawdown has no finite one.
COMPARED = ("annual_return", "volatility", "sharpe", "max_drawdown", "turnover", "cvar")


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with a bootstrap interval."""

    estimate: float
    low: float
    high: float


def stationary_indices(bars: int, block: float, rng: np.random.Generator) -> Index:
    """One resample of the stationary bootstrap, shape (bars,): blocks of random length, round the end.

    Each bar follows its predecessor with probability ``1 - 1/block`` and is drawn afresh otherwise, so block
    lengths are geometric and, unlike with blocks of one length, the resampled series is stationary.

    Parameters
    ----------
    bars : int
    block : float
        Mean length of a block, at least 1; 1 is the bootstrap of independent draws.
    rng : numpy.random.Generator
        Gives ``bars`` uniform numbers, which decide where blocks begin, and then one index for each block.

    Raises
    ------
    ValueError
        If there is no bar, or the mean length is below 1.

    References
    ----------
    D. N. Politis, J. P. Romano, The Stationary Bootstrap, JASA 89 (1994), 1303-1313.
    """
    if bars < 1 or not block >= 1.0:
        raise ValueError(f"need at least one bar and blocks of at least one, got {bars} and {block}")
    begins = rng.random(bars) * block < 1.0
    begins[0] = True
    at = np.flatnonzero(begins)
    first = rng.integers(0, bars, at.size)
    return (np.repeat(first - at, np.diff(at, append=bars)) + np.arange(bars)) % bars


def bootstrap(
    statistic: Callable[[Index], Array],
    bars: int,
    *,
    block: float = BLOCK,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> list[Interval]:
    """Percentile intervals of some statistics of the same bars.

    Series that are read at the same indices stay paired, so what they have in common cancels in their
    difference. The generator has a fixed seed: the answer repeats.

    Parameters
    ----------
    statistic : callable
        Indices of bars, shape (bars,) -> shape (k,).
    bars : int
    block : float
        Mean length of a block.
    resamples : int
    level : float
        Coverage of the intervals.

    Returns
    -------
    list of Interval
        One for each of the k; the estimate is of the bars as they are.
    """
    rng = np.random.Generator(np.random.PCG64(SEED))
    drawn = np.array([statistic(stationary_indices(bars, block, rng)) for _ in range(resamples)])
    tail = (1.0 - level) / 2.0
    ends = np.quantile(drawn, (tail, 1.0 - tail), axis=0)
    estimates = statistic(np.arange(bars))
    return [Interval(*map(float, triple)) for triple in zip(estimates, *ends, strict=True)]


def mean_difference(
    first: Array, second: Array, *, block: float = BLOCK, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval:
    """Mean of the first minus the second over the same bars, with an interval; see :func:`bootstrap`."""
    gap = _paired(first, second)
    (found,) = bootstrap(
        lambda index: np.atleast_1d(gap[index].mean()),
        gap.size,
        block=block,
        resamples=resamples,
        level=level,
    )
    return found


def sharpe_difference(
    first: Array,
    second: Array,
    periods_per_year: float = 252.0,
    *,
    block: float = BLOCK,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Difference of two Sharpe ratios over the same bars, with an interval; see :func:`bootstrap`.

    Parameters
    ----------
    first, second : ndarray, shape (T,)
        Returns of the two paths, in excess of what cash earned.
    periods_per_year : float
    block, resamples, level
        As for :func:`bootstrap`.
    """
    _paired(first, second)
    pair = np.stack((first, second))

    def gap(index: Index) -> Array:
        ratios = sharpe_ratio(pair[:, index])
        return np.asarray((ratios[:1] - ratios[1:]) * periods_per_year**0.5)

    (found,) = bootstrap(gap, pair.shape[1], block=block, resamples=resamples, level=level)
    return found


def metric_differences(
    own: Path,
    others: Mapping[str, Path],
    periods_per_year: float = 252.0,
    *,
    interest: Array | None = None,
    block: float = BLOCK,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> dict[str, dict[str, Interval]]:
    """Metrics of one path minus those of others, with intervals.

    A resample takes returns and turnover of the same bars from every path and strings them together to new
    paths, whose metrics are computed as those of any other. A fall that takes longer than a block is cut up,
    so resampled drawdowns are of a market whose memory ends there.

    Parameters
    ----------
    own : Path
    others : mapping of str to Path
        Over the same bars.
    periods_per_year : float
    interest : ndarray, shape (T,), optional
        Return of cash over each bar, for the Sharpe ratios; nothing when not given.
    block, resamples, level
        As for :func:`bootstrap`.

    Returns
    -------
    dict of dict
        Other -> name in :data:`COMPARED` -> interval.

    Raises
    ------
    ValueError
        If the paths are not of one length.
    """
    paths = (own, *others.values())
    lengths = sorted({len(p.wealth) for p in paths} | {len(p.traded) for p in paths})
    if len(lengths) > 1:
        raise ValueError(f"paths must be over the same bars, got lengths {lengths}")
    cash = np.zeros(lengths[0] - 1) if interest is None else interest
    steps = [(p.wealth[1:] / p.wealth[:-1], p.traded[1:]) for p in paths]

    def gaps(index: Index) -> Array:
        rows = []
        for growth, traded in steps:
            wealth = np.concatenate(([1.0], np.cumprod(growth[index])))
            found = metrics(wealth, traded[index], periods_per_year, interest=cash[index])
            rows.append([getattr(found, name) for name in COMPARED])
        table = np.array(rows)
        return np.asarray(table[0] - table[1:]).ravel()

    found = bootstrap(gaps, lengths[0] - 1, block=block, resamples=resamples, level=level)
    k = len(COMPARED)
    return {
        other: dict(zip(COMPARED, found[i * k : (i + 1) * k], strict=True)) for i, other in enumerate(others)
    }


@dataclass(frozen=True, slots=True)
class Deflated:
    """A Sharpe ratio beside what the search for it would have found without any skill.

    Attributes
    ----------
    sharpe : float
        Observed, a year.
    benchmark : float
        Expected maximum of the tries' Sharpe ratios if each were worth nothing, a year.
    trials : int
    probability : float
        That the true Sharpe ratio is above the benchmark: the deflated Sharpe ratio.
    """

    sharpe: float
    benchmark: float
    trials: int
    probability: float


def probabilistic_sharpe(
    sharpe: float, bars: int, *, skewness: float = 0.0, kurtosis: float = 3.0, benchmark: float = 0.0
) -> float:
    """Probability that a true Sharpe ratio is above a benchmark, given the observed one.

    ``Phi((s - s*) sqrt(T - 1) / sqrt(1 - g3 s + (g4 - 1) / 4 s^2))``, with all ratios by bar.

    Parameters
    ----------
    sharpe : float
        Of T returns, a bar.
    bars : int
        T, at least 2.
    skewness, kurtosis : float
        Of the returns; the normal distribution has 0 and 3.
    benchmark : float
        Sharpe ratio to be above, a bar.

    References
    ----------
    D. H. Bailey, M. Lopez de Prado, The Sharpe Ratio Efficient Frontier, Journal of Risk 15 (2012).
    """
    spread = 1.0 - skewness * sharpe + (kurtosis - 1.0) / 4.0 * sharpe * sharpe
    return float(norm.cdf((sharpe - benchmark) * math.sqrt(bars - 1) / math.sqrt(spread)))


def expected_maximum_sharpe(trials: int, spread: float) -> float:
    """Expected maximum of the Sharpe ratios of some independent tries that are worth nothing.

    ``spread ((1 - e) Phi^-1(1 - 1/N) + e Phi^-1(1 - 1/(N exp 1)))`` with Euler's constant e: the mean of the
    extreme value distribution that the maximum of N normal variables tends to. One try has 0.

    Parameters
    ----------
    trials : int
        N, at least 1.
    spread : float
        Standard deviation of the tries' Sharpe ratios; the answer is in its unit.

    Raises
    ------
    ValueError
        If there is no try.
    """
    if trials < 1:
        raise ValueError(f"a policy was tried at least once, got {trials} trials")
    if trials == 1:
        return 0.0
    e = np.euler_gamma
    return float(
        spread * ((1.0 - e) * norm.ppf(1.0 - 1.0 / trials) + e * norm.ppf(1.0 - 1.0 / (trials * math.e)))
    )


def deflated_sharpe(
    returns: Array, trials: int, *, spread: float | None = None, periods_per_year: float = 252.0
) -> Deflated:
    """Deflated Sharpe ratio of the best of some policies that were tried.

    Parameters
    ----------
    returns : ndarray, shape (T,)
        Of the chosen policy, in excess of what cash earned.
    trials : int
        Policies tried, this one among them. Tries that resemble each other count as fewer.
    spread : float, optional
        Standard deviation of the tries' Sharpe ratios, a year; by default that of T returns without any
        skill, ``sqrt(year / (T - 1))``, as if the tries had nothing in common.
    periods_per_year : float

    Raises
    ------
    ValueError
        For fewer than two returns.

    References
    ----------
    D. H. Bailey, M. Lopez de Prado, The Deflated Sharpe Ratio: Correcting for Selection Bias, Backtest
    Overfitting and Non-Normality, Journal of Portfolio Management 40 (2014), 94-107.
    """
    bars = returns.size
    if bars < 2:
        raise ValueError(f"a Sharpe ratio needs two returns, got {bars}")
    year = math.sqrt(periods_per_year)
    by_bar = 1.0 / math.sqrt(bars - 1) if spread is None else spread / year
    benchmark = expected_maximum_sharpe(trials, by_bar)
    sharpe = float(sharpe_ratio(returns))
    probability = probabilistic_sharpe(
        sharpe,
        bars,
        skewness=float(skew(returns)),
        kurtosis=float(kurtosis(returns, fisher=False)),
        benchmark=benchmark,
    )
    return Deflated(sharpe * year, benchmark * year, trials, probability)


def _paired(first: Array, second: Array) -> Array:
    """The first minus the second.

    Raises
    ------
    ValueError
        If they are not of one shape.
    """
    if first.shape != second.shape:
        raise ValueError(f"pairs need one length, got {first.shape} and {second.shape}")
    return first - second

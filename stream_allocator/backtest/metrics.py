"""What a wealth path was worth, net of costs.

Returns are simple returns of one bar. Cash earns nothing in the paper account, so no risk-free rate is
taken off.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Interval",
    "Metrics",
    "conditional_value_at_risk",
    "drawdown",
    "metrics",
    "sharpe_difference",
]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Metrics:
    """One path in numbers.

    Attributes
    ----------
    annual_return : float
        ``(W_T / W_0) ** (year / T) - 1``.
    volatility : float
        ``sd(r) sqrt(year)``, sample standard deviation.
    sharpe : float
        ``mean(r) / sd(r) sqrt(year)``; 0 where nothing moved.
    max_drawdown : float
        Largest fall from a peak, as a fraction of the peak.
    calmar : float
        ``annual_return / max_drawdown``; infinite without any drawdown.
    turnover : float
        ``sum |trade|`` in units of NAV, a year.
    cvar : float
        Mean loss of the worst 5 % of the bars, positive.
    """

    annual_return: float
    volatility: float
    sharpe: float
    max_drawdown: float
    calmar: float
    turnover: float
    cvar: float


def drawdown(wealth: Array) -> Array:
    """Fall from the highest wealth so far, shape of ``wealth``, in [0, 1]."""
    return 1.0 - wealth / np.maximum.accumulate(wealth)


def conditional_value_at_risk(returns: Array, tail: float = 0.05) -> float:
    """Mean loss of the worst share ``tail`` of the returns.

    The bar at the edge counts with the fraction that is left, as in Rockafellar & Uryasev (2002),
    Conditional value-at-risk for general loss distributions.
    """
    worst = np.sort(returns)
    size = tail * len(worst)
    whole = min(int(size), len(worst) - 1)
    return -float(worst[:whole].sum() + (size - whole) * worst[whole]) / size


def metrics(wealth: Array, traded: Array, periods_per_year: float = 252.0) -> Metrics:
    """Metrics of a wealth path.

    Parameters
    ----------
    wealth : ndarray, shape (T + 1,)
        Net of costs, positive; the first is where the path starts.
    traded : ndarray
        Turnover of each fill within the path, in units of NAV.
    periods_per_year : float

    Raises
    ------
    ValueError
        For a path of fewer than two points.
    """
    if len(wealth) < 2:
        raise ValueError(f"a path needs two points, got {len(wealth)}")
    returns = wealth[1:] / wealth[:-1] - 1.0
    years = len(returns) / periods_per_year
    growth = float(wealth[-1] / wealth[0]) ** (1.0 / years) - 1.0
    spread = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
    worst = float(drawdown(wealth).max())
    return Metrics(
        annual_return=growth,
        volatility=spread * periods_per_year**0.5,
        sharpe=float(returns.mean()) / spread * periods_per_year**0.5 if spread > 0 else 0.0,
        max_drawdown=worst,
        calmar=growth / worst if worst > 0 else float("inf"),
        turnover=float(traded.sum()) / years,
        cvar=conditional_value_at_risk(returns),
    )


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with a bootstrap interval."""

    estimate: float
    low: float
    high: float


def sharpe_difference(
    first: Array,
    second: Array,
    periods_per_year: float = 252.0,
    *,
    block: int = 63,
    resamples: int = 1000,
    level: float = 0.9,
) -> Interval:
    """Difference of two Sharpe ratios over the same bars, with a percentile interval.

    Circular block bootstrap of the pair (Politis & Romano 1992): blocks keep the clustering of
    volatility, pairs keep the correlation. A resample is as many whole blocks as cover the bars, so its
    moments are sums of block sums. The generator has a fixed seed, so the answer repeats.

    Parameters
    ----------
    first, second : ndarray, shape (T,)
        Returns of the two paths.
    periods_per_year : float
    block : int
        Bars; a quarter of trading days by default.
    resamples : int
    level : float
        Coverage of the interval.
    """
    pair = np.stack((first, second))
    n = pair.shape[1]
    block = min(block, n)
    starts = np.random.Generator(np.random.PCG64(20)).integers(0, n, size=(resamples, -(-n // block)))
    size = block * starts.shape[1]
    sums = _block_sums(pair, block)[:, starts].sum(axis=-1)
    squares = _block_sums(pair * pair, block)[:, starts].sum(axis=-1)
    drawn = _sharpe_gap(sums, squares, size)
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(drawn, (tail, 1.0 - tail))
    year = periods_per_year**0.5
    estimate = float(_sharpe_gap(pair.sum(axis=-1), (pair * pair).sum(axis=-1), n))
    return Interval(estimate * year, float(low) * year, float(high) * year)


def _block_sums(x: Array, block: int) -> Array:
    """Sum of the ``block`` values from each bar on, round the end; shape of ``x``."""
    round_the_end = np.concatenate((x, x[:, : block - 1]), axis=1)
    sums: Array = np.lib.stride_tricks.sliding_window_view(round_the_end, block, axis=1).sum(axis=-1)
    return sums


def _sharpe_gap(sums: Array, squares: Array, size: int) -> Array:
    """First Sharpe ratio minus second, a bar, from sums over the last axis that is left."""
    mean = sums / size
    variance = np.maximum(squares / size - mean * mean, 0.0) * size / (size - 1)
    still = variance <= 1e-12 * squares / size  # rounding of a constant
    ratio = np.where(still, 0.0, mean / np.sqrt(np.where(still, 1.0, variance)))
    return np.asarray(ratio[0] - ratio[1])

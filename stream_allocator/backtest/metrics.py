"""What a wealth path was worth, net of costs.

Returns are simple returns of one bar. Sharpe ratios are in excess of what cash earned, which is nothing
unless the backtest is given a yield.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Metrics",
    "conditional_value_at_risk",
    "drawdown",
    "metrics",
    "returns_of",
    "sharpe_ratio",
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
        ``mean(e) / sd(e) sqrt(year)`` of returns in excess of cash's; 0 where nothing moved, or always by the
        same.
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


def returns_of(wealth: Array) -> Array:
    """Simple returns of a wealth path: one fewer than it has points."""
    return wealth[1:] / wealth[:-1] - 1.0


def drawdown(wealth: Array) -> Array:
    """Fall from the highest wealth so far, shape of ``wealth``, in [0, 1]."""
    return 1.0 - wealth / np.maximum.accumulate(wealth)


def sharpe_ratio(returns: Array) -> Array:
    """``mean(r) / sd(r)`` of a bar along the last axis; 0 where returns differ by no more than rounding."""
    mean, spread = returns.mean(axis=-1), returns.std(axis=-1, ddof=1)
    still = spread <= 1e-12 * np.abs(returns).max(axis=-1)
    return np.asarray(np.where(still, 0.0, mean / np.where(still, 1.0, spread)))


def conditional_value_at_risk(returns: Array, tail: float = 0.05) -> float:
    """Mean loss of the worst share ``tail`` of the returns.

    The bar at the edge counts with the fraction that is left, as in Rockafellar & Uryasev (2002),
    Conditional value-at-risk for general loss distributions.
    """
    worst = np.sort(returns)
    size = tail * len(worst)
    whole = min(int(size), len(worst) - 1)
    return -float(worst[:whole].sum() + (size - whole) * worst[whole]) / size


def metrics(
    wealth: Array, traded: Array, periods_per_year: float = 252.0, *, interest: Array | float = 0.0
) -> Metrics:
    """Metrics of a wealth path.

    Parameters
    ----------
    wealth : ndarray, shape (T + 1,)
        Net of costs, positive; the first is where the path starts.
    traded : ndarray
        Turnover of each fill within the path, in units of NAV.
    periods_per_year : float
    interest : ndarray, shape (T,), or float
        Return of cash over each bar.

    Raises
    ------
    ValueError
        For a path of fewer than two points.
    """
    if len(wealth) < 2:
        raise ValueError(f"a path needs two points, got {len(wealth)}")
    returns = returns_of(wealth)
    years = len(returns) / periods_per_year
    growth = float(wealth[-1] / wealth[0]) ** (1.0 / years) - 1.0
    spread = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
    excess = returns - interest
    worst = float(drawdown(wealth).max())
    return Metrics(
        annual_return=growth,
        volatility=spread * periods_per_year**0.5,
        sharpe=float(sharpe_ratio(excess)) * periods_per_year**0.5 if len(returns) > 1 else 0.0,
        max_drawdown=worst,
        calmar=growth / worst if worst > 0 else float("inf"),
        turnover=float(traded.sum()) / years,
        cvar=conditional_value_at_risk(returns),
    )

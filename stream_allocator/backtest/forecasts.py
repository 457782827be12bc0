"""One-step forecasts of a portfolio's return: by what the market knew at each bar, and by static covariances.

Nothing is recorded for this while a run goes: the engine's :class:`~stream_allocator.market.Market` is driven
over the recorded returns once more and asked, after each bar, for the volatility of what was then held. So a
run over Kafka can be judged as well as one over a price file, and the engine gives away nothing new.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_allocator.allocate.feasibility import FAULTS
from stream_allocator.backtest.calibration import held_returns
from stream_allocator.backtest.run import PortfolioRun, Run
from stream_allocator.bars import Bar
from stream_allocator.errors import DataError
from stream_allocator.market import Market

__all__ = ["Forecasts", "one_step_forecasts", "sample_deviation"]

Array = NDArray[np.float64]

#: Bars that a static covariance is estimated from: all of the last ones, or at least so many.
WINDOW = 252


@dataclass(frozen=True, slots=True, eq=False)
class Forecasts:
    """Forecasts of m bars, each made at the close of the bar before; all by bar, arrays of shape (m,).

    Attributes
    ----------
    times : ndarray of int64
        Of the bars that were forecast.
    realised : ndarray
        Return of what was held, before costs.
    mean : ndarray
        ``w'mu``, with the market's mean.
    deviation : ndarray
        ``sqrt(w' Sigma w)``, with the market's covariance.
    rolling, expanding : ndarray
        As ``deviation``, with the sample covariance of the last :data:`WINDOW` bars and of all bars; NaN
        before there are so many.
    confidence : ndarray
        Published after the bar at which the forecast was made.
    """

    times: NDArray[np.int64]
    realised: Array
    mean: Array
    deviation: Array
    rolling: Array
    expanding: Array
    confidence: Array

    @property
    def standardised(self) -> Array:
        """``(realised - mean) / deviation``."""
        return (self.realised - self.mean) / self.deviation

    def select(self, chosen: NDArray[np.bool_]) -> "Forecasts":
        """Some of the bars."""
        return Forecasts(*(getattr(self, name)[chosen] for name in self.__slots__))

    def since(self, time: int) -> "Forecasts":
        """The bars from an event time on."""
        return self.select(self.times >= time)


def one_step_forecasts(run: Run, portfolio: PortfolioRun) -> Forecasts:
    """Forecasts of every bar over which something was held.

    Raises
    ------
    DataError
        When the regime after a bar is not the recorded one to the last bit: the run is of another release.
    """
    policy = portfolio.policy
    year = policy.moments.periods_per_year
    market = Market(run.universe.assets, policy.regime, policy.moments, policy.limits.volume_half_life)
    recorded, steps = run.regimes, len(run.times) - 1
    mean, deviation = np.full(steps, np.nan), np.full(steps, np.nan)
    silence = np.full(run.returns.shape[1], np.nan)
    for bar in range(steps):
        returns = run.returns[bar]
        view = market.close(Bar(int(run.times[bar]), returns, silence, np.isfinite(returns)))
        again = (view.segment.switch_probability, view.effective_sample_size)
        then = (float(recorded.switch_probability[bar]), float(recorded.effective_sample_size[bar]))
        if again != then:
            raise DataError(
                f"bar {bar}: the run has switch probability, effective sample size = {then}, the market "
                f"{again}; the run is of another release: record it again"
            )
        held = portfolio.held[bar]
        if not held.any():
            continue
        try:
            deviation[bar] = market.volatility(held) * year**-0.5
        except FAULTS:  # as for the engine: nothing can be said of this bar
            continue
        mean[bar] = float(held @ market.mean()[0]) / year
    return Forecasts(
        times=run.times[1:],
        realised=held_returns(run, portfolio),
        mean=mean,
        deviation=deviation,
        rolling=sample_deviation(run.returns[:-1], portfolio.held[:-1], WINDOW),
        expanding=sample_deviation(run.returns[:-1], portfolio.held[:-1], None),
        confidence=recorded.confidence[:-1],
    ).select(deviation > 0.0)


def sample_deviation(returns: Array, held: Array, window: int | None) -> Array:
    """Standard deviation of each row's holdings under the sample covariance of the returns so far.

    The covariance of a pair of assets is over the bars in which both have a return, and 0 without two such
    bars.

    Parameters
    ----------
    returns, held : ndarray, shape (T, n)
        Row t may know returns up to its own.
    window : int or None
        Bars to look back on; None for all.

    Returns
    -------
    ndarray, shape (T,)
        NaN for the first ``window - 1`` rows (``WINDOW - 1`` without a window), and where nothing is held.
    """
    bars, n = returns.shape
    seen = np.isfinite(returns)
    moves, marks = np.where(seen, returns, 0.0), seen.astype(np.float64)
    products, sums, counts = np.zeros((3, n, n))
    result = np.full(bars, np.nan)
    for t in range(bars):
        x, m = moves[t], marks[t]
        products += np.outer(x, x)
        sums += np.outer(x, m)  # of the row's asset where the column's was seen
        counts += np.outer(m, m)
        if window is not None and t >= window:
            x, m = moves[t - window], marks[t - window]
            products -= np.outer(x, x)
            sums -= np.outer(x, m)
            counts -= np.outer(m, m)
        if t + 1 >= (window or WINDOW) and held[t].any():
            size = np.maximum(counts, 2.0)
            covariance = (products - sums * sums.T / size) / (size - 1.0)
            covariance[counts < 2.0] = 0.0
            result[t] = np.sqrt(max(float(held[t] @ covariance @ held[t]), 0.0))
    return result

"""Stretches of a history, by event time: what held in one decade need not hold in the next."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from stream_allocator.backtest.baselines import Path
from stream_allocator.backtest.metrics import Metrics, metrics

__all__ = ["PERIODS", "Period", "period_metrics"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Period:
    """Bars with ``first <= day < end``, in UTC."""

    name: str
    first: date
    end: date

    def bars(self, times: NDArray[np.int64]) -> slice:
        """Where its bars are among increasing event times in microseconds."""
        edges = np.array([self.first, self.end], dtype="datetime64[us]").astype(np.int64)
        start, stop = np.searchsorted(times, edges)
        return slice(int(start), int(stop))


#: The bundled history's decades, and the years of the plague and of rising rates.
PERIODS = (
    Period("1990s", date(1990, 1, 1), date(2000, 1, 1)),
    Period("2000s", date(2000, 1, 1), date(2010, 1, 1)),
    Period("2010s", date(2010, 1, 1), date(2020, 1, 1)),
    Period("2020–22", date(2020, 1, 1), date(2023, 1, 1)),
)


def period_metrics(
    times: NDArray[np.int64],
    path: Path,
    periods_per_year: float = 252.0,
    periods: Sequence[Period] = PERIODS,
    *,
    interest: Array | None = None,
) -> dict[str, Metrics]:
    """Metrics of each period: its returns count from the last bar before it, drawdowns from its own peaks.

    Parameters
    ----------
    times : ndarray of int64, shape (T,)
        Event times of the path's points.
    path : Path
    periods_per_year : float
    periods : sequence of Period
    interest : ndarray, shape (T - 1,), optional
        Return of cash over each bar after the first; nothing when not given.

    Returns
    -------
    dict of Metrics
        By name, in order; a period with fewer than two returns is left out.
    """
    found = {}
    for period in periods:
        bars = period.bars(times)
        start = max(bars.start, 1)  # the path's first point has no return
        if bars.stop - start >= 2:
            wealth = path.wealth[start - 1 : bars.stop]
            cash = 0.0 if interest is None else interest[start - 1 : bars.stop - 1]
            traded = path.traded[start : bars.stop]
            found[period.name] = metrics(wealth, traded, periods_per_year, interest=cash)
    return found

"""What samples say: slopes with their confidence, growth between two stretches, and how soon lag is gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Slope", "growth", "recoveries", "slope"]

HOUR = 3600.0
RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Slope:
    """A trend an hour, and the interval that holds it with 95%."""

    value: float
    low: float
    high: float

    @property
    def is_flat(self) -> bool:
        """Whether no trend is within the interval, or it falls."""
        return self.low <= 0.0


def slope(times: ArrayLike, values: ArrayLike, *, block: float, seed: int = 0) -> Slope:
    """Least-squares trend of a series, an hour.

    Neighbouring seconds are no independent witnesses (memory moves in steps), so the interval comes from a
    moving-block bootstrap of the residuals (Künsch 1989).

    Parameters
    ----------
    times : array_like
        Seconds, increasing.
    values : array_like
    block : float
        Seconds of a block: longer than what neighbouring values have in common.
    seed : int
    """
    t = (np.asarray(times, dtype=np.float64) - np.mean(times)) / HOUR
    v = np.asarray(values, dtype=np.float64)
    if len(t) < 3 or not t.any():
        return Slope(np.nan, np.nan, np.nan)
    fitted = float(t @ (v - v.mean()) / (t @ t))
    rest = v - v.mean() - fitted * t
    step = (t[-1] - t[0]) * HOUR / (len(t) - 1)
    size = int(np.clip(round(block / step), 1, max(1, len(t) // 3)))
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, len(t) - size + 1, (RESAMPLES, -(-len(t) // size)))
    drawn = rest[(starts[:, :, None] + np.arange(size)).reshape(RESAMPLES, -1)[:, : len(t)]]
    drawn -= drawn.mean(axis=1, keepdims=True)
    low, high = np.quantile(fitted + drawn @ t / (t @ t), (0.025, 0.975))
    return Slope(fitted, float(low), float(high))


def growth(times: ArrayLike, values: ArrayLike, *, stretch: float) -> float:
    """Median of the last ``stretch`` seconds less that of the first."""
    t, v = np.asarray(times, dtype=np.float64), np.asarray(values, dtype=np.float64)
    return float(np.median(v[t >= t[-1] - stretch]) - np.median(v[t <= t[0] + stretch]))


def recoveries(
    times: Sequence[float],
    lags: Sequence[float | None],
    faults: Sequence[float],
    *,
    limit: float,
    hold: float,
) -> NDArray[np.float64]:
    """Seconds from each fault until the lag is back: at most ``limit`` from then on for ``hold`` seconds.

    A second in which the broker did not say counts as above. NaN where the lag was not back before the
    next fault, or before the samples end.

    Parameters
    ----------
    times : sequence of float
        Of the samples, seconds.
    lags : sequence of float or None
    faults : sequence of float
        When each began, in order.
    limit : float
        Records.
    hold : float
        Seconds; longer than a fault needs until it is felt.
    """
    t = np.asarray(times, dtype=np.float64)
    above = np.array([lag is None or lag > limit for lag in lags], dtype=bool)
    found = []
    for i, begun in enumerate(faults):
        end = faults[i + 1] if i + 1 < len(faults) else np.inf
        within = np.flatnonzero((t >= begun) & (t < end))
        since, back = begun, np.nan
        for k in within:
            if above[k]:
                since = np.nan
            elif np.isnan(since):
                since = t[k]
            if t[k] - since >= hold:
                back = since - begun
                break
        found.append(back)
    return np.array(found)

"""The returns of the present segment, weighted by how likely they belong to it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stream_allocator.moments.mixture import FARTHEST
from stream_allocator.regime.elementary import in_place

FloatArray = NDArray[np.float64]
State = dict[str, NDArray[Any]]


@in_place
def keep(x: FloatArray, farthest: float, ring: FloatArray, row: int) -> None:
    """Put a bar's returns into a row of the ring; NaN for what is none."""
    for i in range(x.size):
        ring[row, i] = x[i] if abs(x[i]) < farthest else math.nan


@in_place
def average(ring: FloatArray, bars: int, omega: FloatArray, mean: FloatArray, share: FloatArray) -> None:
    """Weighted mean of what was seen, and its share of the weight, at most 1, asset by asset."""
    mean[:], share[:] = 0.0, 0.0
    for a in range(omega.size):
        row, weight = ring[(bars - 1 - a) % ring.shape[0]], omega[a]
        for i in range(mean.size):
            seen = row[i] == row[i]  # not NaN
            mean[i] += weight * row[i] if seen else 0.0
            share[i] += weight if seen else 0.0
    for i in range(mean.size):
        mean[i] = mean[i] / share[i] if share[i] > 0.0 else math.nan
        share[i] = min(share[i], 1.0)


class SegmentWindow:
    """The last returns, to be weighted by the survivor weights of a run-length posterior.

    Parameters
    ----------
    n : int
        Number of assets, at least 1.
    length : int
        Bars kept, at least 1: the posterior's ``max_run``.

    Raises
    ------
    ValueError
        If n or length is below 1.
    """

    def __init__(self, n: int, length: int = 256) -> None:
        if n < 1 or length < 1:
            raise ValueError(f"n and length must be at least 1, got {n} and {length}")
        self.n = n
        self.length = length
        self._ring = np.full((length, n), np.nan)
        self._bars = 0

    def __len__(self) -> int:
        """Bars kept so far."""
        return min(self._bars, self.length)

    def append(self, returns: ArrayLike) -> None:
        """Take the returns of one bar, of shape (n,); NaN, infinities and beyond 1e100 are missing.

        Raises
        ------
        ValueError
            If the shape is not (n,).
        """
        x = np.asarray(returns, np.float64)
        if x.shape != (self.n,):
            raise ValueError(f"returns must be of shape ({self.n},), got {x.shape}")
        keep(x, FARTHEST, self._ring, self._bars % self.length)
        self._bars += 1

    def latest(self, bars: int) -> FloatArray:
        """The last so many of the returns that are kept, newest first, of shape (at most bars, n)."""
        order = (self._bars - 1 - np.arange(min(bars, len(self)))) % self.length
        rows: FloatArray = self._ring[order]
        return rows

    def average(self, survivor_weights: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Mean and coverage of the returns under these weights, omega.

        Returns
        -------
        mean : (n,) array
            sum_a omega_a x_a over what was seen, by its share of the weight; NaN where nothing was.
        coverage : (n,) array
            Share of the weight whose returns were seen, in [0, 1].
        """
        mean, share = np.empty(self.n), np.empty(self.n)
        average(self._ring, self._bars, self._shares(survivor_weights), mean, share)
        return mean, share

    def _shares(self, survivor_weights: ArrayLike) -> FloatArray:
        """The weights of the bars that there are, newest first, summing to one if any is positive."""
        omega = np.asarray(survivor_weights, np.float64)
        extremes = (np.minimum.reduce(omega, initial=0.0), np.maximum.reduce(omega, initial=0.0))
        if omega.ndim != 1 or not (extremes[0] >= 0.0 and extremes[1] < math.inf):  # NaN is both
            raise ValueError("survivor_weights must be a vector, finite and not negative")
        omega = omega[: len(self)]
        mass = np.add.reduce(omega)
        return omega / mass if mass > 0.0 else omega.copy()

    def state(self) -> State:
        """The window as arrays; `from_state` continues from it with identical bits."""
        return {"ring": self._ring.copy(), "bars": np.array([self._bars], np.int64)}

    @classmethod
    def from_state(cls, state: State) -> SegmentWindow:
        """The window that `state` described.

        Raises
        ------
        ValueError
            If the ring is not two-dimensional or empty.
        """
        ring = np.asarray(state["ring"], np.float64)
        if ring.ndim != 2:
            raise ValueError(f"ring must be two-dimensional, got {ring.shape}")
        window = cls(ring.shape[1], ring.shape[0])
        window._ring[...] = ring
        window._bars = int(state["bars"][0])
        return window

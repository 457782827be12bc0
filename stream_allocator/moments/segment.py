"""The present segment's own moments, and their union with the long run's."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stream_allocator.moments.covariance import FARTHEST

FloatArray = NDArray[np.float64]
State = dict[str, NDArray[Any]]


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
        self._ring[self._bars % self.length] = np.where(np.abs(x) < FARTHEST, x, np.nan)
        self._bars += 1

    def latest(self) -> FloatArray:
        """The kept returns, newest first, of shape (len(self), n)."""
        order = (self._bars - 1 - np.arange(len(self))) % self.length
        rows: FloatArray = self._ring[order]
        return rows

    def coverage(self, survivor_weights: ArrayLike) -> FloatArray:
        """Share of the weight whose returns were seen, of shape (n,), in [0, 1]."""
        rows, omega = self._weighted(survivor_weights)
        share: FloatArray = np.minimum(omega @ np.isfinite(rows), 1.0)
        return share

    def mean(self, survivor_weights: ArrayLike) -> FloatArray:
        """sum_a omega_a x_a over what was seen, of shape (n,); NaN where nothing was."""
        rows, omega = self._weighted(survivor_weights)
        share = omega @ np.isfinite(rows)
        total = omega @ np.where(np.isfinite(rows), rows, 0.0)
        mean: FloatArray = np.divide(total, share, out=np.full(self.n, np.nan), where=share > 0.0)
        return mean

    def covariance(self, survivor_weights: ArrayLike, *, center: bool = False) -> FloatArray:
        """Second moments of the segment: sum_a omega_a x_a x_a', positive semi-definite.

        Parameters
        ----------
        survivor_weights : (m,) array_like
            omega_a >= 0 for the bar a steps ago, newest first; scaled to sum to one over the bars there are.
        center : bool, default False
            Subtract the weighted mean first (divisor one, as in maximum likelihood).

        Returns
        -------
        (n, n) array
            Zero before the first bar.  Missing returns: entry (i, j) is the sum over bars that have both,
            over sqrt(c_i c_j) with c the `coverage`: variances are averages over what was seen, covariances
            lean to zero, and the matrix stays semi-definite, as pairwise averages would not.  An asset that
            was never seen has zero rows: weigh it by its evidence in `blend`.

        Raises
        ------
        ValueError
            If a weight is negative or not finite.
        """
        rows, omega = self._weighted(survivor_weights)
        seen = np.isfinite(rows)
        share = omega @ seen
        deviations = np.where(seen, rows, 0.0)
        if center:
            middle = np.divide(omega @ deviations, share, out=np.zeros(self.n), where=share > 0.0)
            deviations = np.where(seen, rows - middle, 0.0)
        inverse = np.divide(1.0, np.sqrt(share), out=np.zeros(self.n), where=share > 0.0)
        scaled = np.sqrt(omega)[:, None] * deviations * inverse
        product = scaled.T @ scaled
        covariance: FloatArray = 0.5 * (product + product.T)
        return covariance

    def effective_sample_size(self, survivor_weights: ArrayLike) -> float:
        """1 / sum_a omega_a^2 over the bars there are; 0 before the first."""
        omega = self._weighted(survivor_weights)[1]
        squares = float(omega @ omega)
        return 1.0 / squares if squares > 0.0 else 0.0

    def _weighted(self, survivor_weights: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """The bars that have a weight, newest first, and their weights, summing to one if any is positive."""
        omega = np.asarray(survivor_weights, np.float64)
        if omega.ndim != 1 or not np.isfinite(omega).all() or (omega < 0.0).any():
            raise ValueError("survivor_weights must be a vector, finite and not negative")
        used = min(len(self), omega.size)
        omega = omega[:used]
        mass = omega.sum()
        return self.latest()[:used], omega / mass if mass > 0.0 else omega

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


def blend(
    long_run: FloatArray, segment: FloatArray, effective_sample_size: ArrayLike, prior_strength: float
) -> FloatArray:
    """The covariance that prices risk: the long run's, corrected by what the segment has shown.

    Sigma = (nu0 Sigma_long + n S_segment) / (nu0 + n), the shape of an inverse-Wishart posterior mean.  With
    evidence n_i per asset it is A Sigma_long A + B S_segment B with A_i^2 = nu0 / (nu0 + n_i) and
    B_i^2 = n_i / (nu0 + n_i): the same formula where the n_i agree, semi-definite in any case.

    Parameters
    ----------
    long_run, segment : (n, n) arrays
        Positive semi-definite, per bar.
    effective_sample_size : float or (n,) array_like
        n >= 0; for assets with missing returns their share of it.
    prior_strength : float
        nu0 > 0: the observations that the long run is worth.

    Returns
    -------
    (n, n) array

    Raises
    ------
    ValueError
        If the shapes differ, nu0 is not positive and finite, or n is negative or not finite.
    """
    prior, own = np.asarray(long_run, np.float64), np.asarray(segment, np.float64)
    if prior.ndim != 2 or prior.shape != own.shape or prior.shape[0] != prior.shape[1]:
        raise ValueError(f"long_run and segment must be square and alike, got {prior.shape} and {own.shape}")
    if not 0.0 < prior_strength < np.inf:
        raise ValueError(f"prior_strength must be positive and finite, got {prior_strength}")
    size = np.broadcast_to(np.asarray(effective_sample_size, np.float64), (len(prior),))
    if not np.isfinite(size).all() or (size < 0.0).any():
        raise ValueError("effective_sample_size must be finite and not negative")
    total = prior_strength + size
    geometric = np.sqrt(np.outer(total, total))
    return prior * (prior_strength / geometric) + own * (np.sqrt(np.outer(size, size)) / geometric)

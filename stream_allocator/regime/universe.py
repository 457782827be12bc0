"""How long the present regime of a universe has lasted: one posterior on a few market factors.

    x_1 = mean_i r_i                      the market: the mean of the returns that a bar has
    x_k = p_k' (r - x_1),  k = 2, 3, ...  what it leaves, in the leading directions

The p_k are the leading principal portfolios of r - x_1 over the warm-up, scaled to sum_i |p_ki| = 1, and
fixed from then on: no look-ahead, and a change of a factor's law is one of the market, not of its definition.
They are returns of portfolios, so they are as good as uncorrelated in time; a dispersion would say the same
with less noise, but it is autocorrelated, and a level that wanders is a change at every bar.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from stream_allocator.regime.elementary import FloatArray, in_place
from stream_allocator.regime.multivariate import MultivariateRunLength

#: A direction with less than this share of the warm-up's variation is none.
SMALLEST_SHARE = 1e-6


@in_place
def market_factors(
    returns: FloatArray, portfolios: FloatArray, residual: FloatArray, factors: FloatArray
) -> bool:
    """The market's return and what the portfolios of the residuals earn; False where there is no return."""
    total, seen = 0.0, 0
    for r in returns:
        if math.isfinite(r):
            total += r
            seen += 1
    if seen == 0:
        return False
    factors[0] = total / seen
    for i in range(returns.size):
        residual[i] = returns[i] - factors[0] if math.isfinite(returns[i]) else 0.0
    for k in range(portfolios.shape[0]):
        earned = 0.0
        for i in range(returns.size):
            earned += portfolios[k, i] * residual[i]
        factors[1 + k] = earned
    return True


class UniverseRegime:
    """The run-length posterior of a universe's market factors.

    Parameters
    ----------
    assets : int
        Number of assets n, at least 1.
    factors : int
        Number of market factors, at least 1.  Fewer are used where the warm-up shows fewer directions: one
        for a single asset.
    hazards : sequence of float
        Candidates for the probability of a change after any bar; one is a constant hazard, of several the
        posterior is learned.
    max_run : int
        Longest run length told apart, in bars.
    warmup : int
        Bars that set the principal portfolios and the prior, more than ``factors``.
    outlier_df : float
        Degrees of freedom of the robust weights; infinity is the Gaussian model.

    Attributes
    ----------
    posterior : MultivariateRunLength
        To be read.  During the warm-up that of the market alone.

    Raises
    ------
    ValueError
        If a parameter is outside its range.
    """

    def __init__(
        self,
        assets: int,
        *,
        factors: int,
        hazards: Sequence[float],
        max_run: int = 256,
        warmup: int = 60,
        outlier_df: float = math.inf,
    ) -> None:
        if assets < 1 or factors < 1:
            raise ValueError(f"assets and factors must be at least 1, got {assets} and {factors}")
        if warmup <= factors:
            raise ValueError(f"warmup must be above the number of factors {factors}, got {warmup}")
        self._factors = factors
        self._settings: dict[str, Any] = {
            "hazards": tuple(float(hazard) for hazard in hazards),
            "max_run": max_run,
            "warmup": warmup,
            "outlier_df": outlier_df,
        }
        self._recent = np.zeros((warmup, 1 + assets))  # the market and the residuals of the warm-up's bars
        self._bars = 0
        self._portfolios = np.zeros((0, assets))
        self.posterior = MultivariateRunLength(1, **self._settings)

    def update(self, returns: ArrayLike) -> float:
        """Take the returns of one bar, of shape (n,).

        What is not finite is missing and counts as the mean of the others; a bar without any changes nothing.

        Returns
        -------
        float
            The market's return; NaN of a bar without any.

        Raises
        ------
        ValueError
            If the shape is another.
        """
        r = np.ascontiguousarray(returns, np.float64)
        if r.shape != (self._recent.shape[1] - 1,):
            raise ValueError(f"returns must be of shape ({self._recent.shape[1] - 1},), got {r.shape}")
        factors, residual = np.empty(1 + len(self._portfolios)), np.empty(r.size)
        if not market_factors(r, self._portfolios, residual, factors):
            return math.nan
        market = float(factors[0])
        warmup = len(self._recent)
        if self._bars < warmup:
            self._recent[self._bars, 0], self._recent[self._bars, 1:] = market, residual
        self._bars += 1
        if self._bars == warmup:
            self._choose_factors()
        if self._bars != warmup or not len(self._portfolios):
            self.posterior.update(factors)
        return market

    def _choose_factors(self) -> None:
        """End the warm-up: fix the portfolios and begin again with all factors."""
        market, residuals = self._recent[:, :1], self._recent[:, 1:]
        self._portfolios = principal_portfolios(residuals, self._factors - 1, float(np.linalg.norm(market)))
        if len(self._portfolios):
            self.posterior = MultivariateRunLength(1 + len(self._portfolios), **self._settings)
            for row in np.hstack([market, residuals @ self._portfolios.T]):
                self.posterior.update(row)

    def reindex(self, index: ArrayLike) -> UniverseRegime:
        """The regime of another list of assets, for assets that enter or leave.

        Parameters
        ----------
        index : (m,) array_like of int
            For each new asset its place in this list, or -1 for one that enters.

        Returns
        -------
        UniverseRegime
            The posterior goes on.  An asset that enters counts in the market from now on; in the principal
            portfolios, which stay fixed, it has no weight, and one that leaves takes its own with it.

        Raises
        ------
        ValueError
            If the index is empty or names an asset that is not there.
        """
        places = np.asarray(index, np.int64)
        assets = self._portfolios.shape[1]
        if places.ndim != 1 or not places.size or places.min() < -1 or places.max() >= assets:
            raise ValueError(f"index must name assets in 0..{assets - 1}, or -1 for a newcomer")
        stays = places >= 0
        other = UniverseRegime(places.size, factors=self._factors, **self._settings)
        state = self.state()
        for name, first in (("recent", 1), ("portfolios", 0)):
            kept = np.zeros((len(state[name]), first + places.size))
            kept[:, :first] = state[name][:, :first]
            kept[:, first:][:, stays] = state[name][:, first + places[stays]]
            state[name] = kept
        other.load(state)
        return other

    def state(self) -> dict[str, Any]:
        """All that is known, as arrays; `load` continues from it with identical bits."""
        return {
            "posterior": self.posterior.state(),
            "recent": self._recent.copy(),
            "bars": np.array([self._bars], np.int64),
            "portfolios": self._portfolios.copy(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` described.

        Raises
        ------
        ValueError
            If it belongs to another number of assets or another warm-up.
        """
        recent = np.asarray(state["recent"], np.float64)
        if recent.shape != self._recent.shape:
            raise ValueError(f"recent must be of shape {self._recent.shape}, got {recent.shape}")
        self.posterior = MultivariateRunLength.from_state(state["posterior"])
        self._recent[...] = recent
        self._bars = int(state["bars"][0])
        self._portfolios = np.array(state["portfolios"], np.float64).reshape(-1, recent.shape[1] - 1)


def principal_portfolios(residuals: FloatArray, count: int, scale: float) -> FloatArray:
    """The leading principal portfolios of some residual returns.

    Parameters
    ----------
    residuals : (bars, n) array
        Returns less the market's.
    count : int
        How many, at least 0.
    scale : float
        A norm that the residuals are compared with: that of the market's returns.

    Returns
    -------
    (m, n) array
        m <= count portfolios, the one with the largest variation first, each with absolute weights that sum
        to one and a positive largest weight.  Directions with next to no variation are left out.
    """
    _, lengths, directions = np.linalg.svd(residuals, full_matrices=False)
    enough = lengths > SMALLEST_SHARE * max(scale, float(lengths[0]))
    chosen: FloatArray = directions[:count][enough[:count]]
    strongest = np.abs(chosen).argmax(axis=1)
    signs = np.sign(chosen[np.arange(len(chosen)), strongest])
    scaled: FloatArray = chosen * (signs / np.abs(chosen).sum(axis=1))[:, None]
    return scaled

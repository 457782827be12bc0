"""Volatility forecasts: a few exponential averages of winsorised squares, each asset in its own unit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
State = dict[str, NDArray[Any]]

# Half-lives in bars.  Positions in this tuple are what the names below mean.
HALF_LIVES = (3.0, 21.0, 63.0, 125.0, 200.0)
WEEK, MONTH, QUARTER, HALF_YEAR, YEAR = range(len(HALF_LIVES))
# Variance = .2 E3 + .33 E21 + .5 E125 M + .045 mean: more than one in all, because squares are winsorised.
COEFFICIENTS = (0.2, 0.33, 0.5, 0.045)
# Half-life of the common level M, in bars, and the most that one asset's x^2 / E125 counts in it.
LEVEL_HALF_LIFE = 2.0
LEVEL_CAP = 25.0
# Squares beyond this many standard deviations (of the quarter) count as that many, after so many returns.
WINSOR = 3.5
WINSOR_AFTER = 20
# The quarter's variance, for that bound, is at least this share of the mean square: after a halt prices move.
QUIET = 0.01
# No forecast is below this share of the mean square: an average of zeros would underflow in the end.
FLOOR = 1e-8
# Returns after which an asset stands on its own; before, its variance leans to that of the others.
MATURE = 60
LEAN = 10.0


class VolatilityForecasts:
    """Per-bar variance forecasts of n assets, of three kinds: blended, quarter and year.

        x2     = min(x^2, 3.5^2 E63)                                      winsorised square
        M      = EWMA_2(mean_i min(x_i^2 / E125_i, 25))                   level that the assets have in common
        blended: v = .2 E3 + .33 E21 + .5 E125 M + .045 (mean of all x2)
        quarter: v = E63
        year:    v = E200

    with E_h the exponential average of x2 with a half-life of h bars, over the returns that the asset had.
    Everything is in an asset's own unit, and M has none: a change of one asset's unit changes nothing else.

    Parameters
    ----------
    n : int
        Number of assets.

    Attributes
    ----------
    count : (n,) array of int
        Returns that each asset had.
    own : (3, n) array
        Standard deviations from each asset's own returns alone; 0 where there were none or all were 0.
    """

    KINDS = 3

    def __init__(self, n: int) -> None:
        self._decay = 0.5 ** (1.0 / np.array(HALF_LIVES))[:, None]
        self._level_decay = 0.5 ** (1.0 / LEVEL_HALF_LIFE)
        self.count = np.zeros(n, np.int64)
        self._squares = np.zeros((len(HALF_LIVES), n))
        self._weights = np.zeros((len(HALF_LIVES), n))
        self._total = np.zeros(n)
        self._level = np.zeros(2)
        self.own = np.zeros((self.KINDS, n))

    def update(self, x: FloatArray, seen: BoolArray) -> None:
        """Take the returns of the assets that were `seen`, of shape (n,); the others wait."""
        square = x[seen] ** 2
        squares, weights, total = self._squares[:, seen], self._weights[:, seen], self._total[seen]
        count = self.count[seen]
        before = weights[0] > 0.0
        average = np.divide(squares, weights, out=np.zeros_like(squares), where=before)
        known = average[HALF_YEAR] > 0.0
        if known.any():
            with np.errstate(over="ignore"):
                ratio = np.minimum(square[known] / average[HALF_YEAR, known], LEVEL_CAP)
            self._level = self._level_decay * self._level + np.array([ratio.mean(), 1.0])
        quarter = np.maximum(average[QUARTER], QUIET * total / np.maximum(count, 1))
        bounded = (count > WINSOR_AFTER) & (quarter > 0.0)
        square[bounded] = np.minimum(square[bounded], WINSOR**2 * quarter[bounded])
        self._squares[:, seen] = self._decay * squares + square
        self._weights[:, seen] = self._decay * weights + 1.0
        self._total[seen] = total + square
        self.count[seen] = count + 1
        self.own = self._deviations()

    def _deviations(self) -> FloatArray:
        average = np.divide(
            self._squares, self._weights, out=np.zeros_like(self._squares), where=self.count > 0
        )
        mean = self._total / np.maximum(self.count, 1)
        level = self._level[0] / self._level[1] if self._level[1] > 0.0 else 1.0
        a, b, c, d = COEFFICIENTS
        blended = a * average[WEEK] + b * average[MONTH] + c * level * average[HALF_YEAR] + d * mean
        variance = np.maximum(np.stack([blended, average[QUARTER], average[YEAR]]), FLOOR * mean)
        deviation: FloatArray = np.sqrt(variance)
        return deviation

    def leaning(self) -> FloatArray:
        """Forecasts: as `own`, but a young asset's variance leans to what is usual among the others, (3, n).

        That is worth 10 returns for an asset without any, less with each, and nothing after 60, so that from
        then on a change of the asset's unit is exactly that.
        """
        young = self.count < MATURE
        moving = self.own[0] > 0.0
        if not young.any() or not moving.any():
            return self.own
        own = self.own.copy()
        count = self.count[young]
        strength = LEAN * (1.0 - count / MATURE)
        for kind in range(self.KINDS):
            variance = own[kind] ** 2
            others = variance[moving]
            usual = np.minimum(others, 9.0 * np.median(others)).mean()
            own[kind, young] = np.sqrt((strength * usual + count * variance[young]) / (strength + count))
        return own

    def reindex(self, index: NDArray[np.int64]) -> VolatilityForecasts:
        """The same for another list of assets: `index[i]` is the old position, or -1 for a newcomer."""
        forecasts = VolatilityForecasts(len(index))
        stays = index >= 0
        old = index[stays]
        forecasts.count[stays] = self.count[old]
        forecasts._squares[:, stays] = self._squares[:, old]
        forecasts._weights[:, stays] = self._weights[:, old]
        forecasts._total[stays] = self._total[old]
        forecasts._level = self._level.copy()
        forecasts.own = forecasts._deviations()
        return forecasts

    def state(self) -> State:
        """All that it knows, as arrays."""
        return {
            "count": self.count.copy(),
            "squares": self._squares.copy(),
            "square_weights": self._weights.copy(),
            "square_total": self._total.copy(),
            "level": self._level.copy(),
        }

    def load(self, state: State) -> None:
        """Go on from what `state` described."""
        for name, target in (
            ("count", self.count),
            ("squares", self._squares),
            ("square_weights", self._weights),
            ("square_total", self._total),
            ("level", self._level),
        ):
            if np.shape(state[name]) != target.shape:
                raise ValueError(f"{name} must be of shape {target.shape}, got {np.shape(state[name])}")
            target[...] = state[name]
        self.own = self._deviations()

"""Volatility forecasts: a few exponential averages of winsorised squares, each asset in its own unit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_allocator.regime.elementary import in_place

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


@in_place
def take_squares(
    x: FloatArray,
    seen: BoolArray,
    decay: FloatArray,
    level_decay: float,
    squares: FloatArray,
    weights: FloatArray,
    total: FloatArray,
    count: NDArray[np.int64],
    level: FloatArray,
) -> None:
    """Take one bar into the averages of the assets that were `seen` and into the common level, in place."""
    ratios = 0.0
    known = 0
    for i in range(x.size):
        if seen[i] and weights[HALF_YEAR, i] > 0.0:
            average = squares[HALF_YEAR, i] / weights[HALF_YEAR, i]
            if average > 0.0:
                ratios += min(x[i] * x[i] / average, LEVEL_CAP)
                known += 1
    if known > 0:
        level[0] = level_decay * level[0] + ratios / known
        level[1] = level_decay * level[1] + 1.0
    for i in range(x.size):
        if not seen[i]:
            continue
        square = x[i] * x[i]
        if count[i] > WINSOR_AFTER:
            quarter = max(squares[QUARTER, i] / weights[QUARTER, i], QUIET * total[i] / count[i])
            if quarter > 0.0:
                square = min(square, WINSOR * WINSOR * quarter)
        for h in range(decay.size):
            squares[h, i] = decay[h] * squares[h, i] + square
            weights[h, i] = decay[h] * weights[h, i] + 1.0
        total[i] += square
        count[i] += 1


@in_place
def forecast(
    squares: FloatArray,
    weights: FloatArray,
    total: FloatArray,
    count: NDArray[np.int64],
    level: FloatArray,
    own: FloatArray,
) -> bool:
    """The standard deviations of the three kinds, into `own`; whether some asset is young, and one moves."""
    a, b, c, d = COEFFICIENTS
    young = moving = False
    common = level[0] / level[1] if level[1] > 0.0 else 1.0
    for i in range(total.size):
        young |= count[i] < MATURE
        if count[i] == 0:
            own[:, i] = 0.0
            continue
        mean = total[i] / count[i]
        week, month = squares[WEEK, i] / weights[WEEK, i], squares[MONTH, i] / weights[MONTH, i]
        half_year = squares[HALF_YEAR, i] / weights[HALF_YEAR, i]
        least = FLOOR * mean
        own[0, i] = np.sqrt(max(a * week + b * month + c * common * half_year + d * mean, least))
        own[1, i] = np.sqrt(max(squares[QUARTER, i] / weights[QUARTER, i], least))
        own[2, i] = np.sqrt(max(squares[YEAR, i] / weights[YEAR, i], least))
        moving |= own[0, i] > 0.0
    return young and moving


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
        self._decay = 0.5 ** (1.0 / np.array(HALF_LIVES))
        self._level_decay = 0.5 ** (1.0 / LEVEL_HALF_LIFE)
        self.count = np.zeros(n, np.int64)
        self._squares = np.zeros((len(HALF_LIVES), n))
        self._weights = np.zeros((len(HALF_LIVES), n))
        self._total = np.zeros(n)
        self._level = np.zeros(2)
        self.own = np.zeros((self.KINDS, n))
        self._leaning: FloatArray | None = self.own  # None until it is asked for

    def update(self, x: FloatArray, seen: BoolArray) -> None:
        """Take the returns of the assets that were `seen`, of shape (n,); the others wait."""
        take_squares(
            x,
            seen,
            self._decay,
            self._level_decay,
            self._squares,
            self._weights,
            self._total,
            self.count,
            self._level,
        )
        self._forecast()

    def _forecast(self) -> None:
        self.own = np.empty((self.KINDS, len(self.count)))
        leans = forecast(self._squares, self._weights, self._total, self.count, self._level, self.own)
        self._leaning = None if leans else self.own

    def leaning(self) -> FloatArray:
        """Forecasts: as `own`, but a young asset's variance leans to what is usual among the others, (3, n).

        That is worth 10 returns for an asset without any, less with each, and nothing after 60, so that from
        then on a change of the asset's unit is exactly that.
        """
        if self._leaning is None:
            self._leaning = self._leant()
        return self._leaning

    def _leant(self) -> FloatArray:
        young = self.count < MATURE
        moving = self.own[0] > 0.0
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
        forecasts._forecast()
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
        self._forecast()

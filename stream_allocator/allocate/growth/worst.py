r"""The robust growth of given weights, exactly, and the adversary who attains it.

By duality (Mohajerin Esfahani & Kuhn 2018)

.. math::
    U(w) = \max_{\lambda \ge 0} -\lambda\varepsilon
    + \sum_j p_j \min_x \bigl[\log(1 + w'x - c(w)) + \lambda \|x - X_j\|_1\bigr] .

Along each coordinate the inner term is concave on either side of :math:`X_{ji}`, so its minimum has each
return at the sample or at the bad end of its support.  A move of asset i buys a loss of :math:`|w_i|` per
unit of distance, so the adversary moves the largest weights first: each sample has as many candidates as
there are holdings, and U is the maximum of a concave, piecewise linear function of one number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_allocator.allocate.growth.problem import GrowthProgram
from stream_allocator.allocate.program import Array

__all__ = ["Scenarios", "WorstCase", "robust_growth", "scenarios"]

# More than enough: each step removes a line of a piecewise linear function.
STEPS = 200


@dataclass(frozen=True, slots=True, eq=False)
class Scenarios:
    """What the adversary can make of each sample.

    Attributes
    ----------
    growth : (T, k + 1) array
        Log growth with the m largest of k holdings moved to the bad end, m = 0 ... k.
    distance : (T, k + 1) array
        How far that is from the sample, in the l1 norm.
    """

    growth: Array
    distance: Array

    def cheapest(self, price: float) -> NDArray[np.intp]:
        """How many holdings the adversary moves in each sample where distance has this price."""
        chosen: NDArray[np.intp] = np.argmin(self.growth + price * self.distance, axis=1)
        return chosen


@dataclass(frozen=True, slots=True, eq=False)
class WorstCase:
    """The worst case at some weights.

    Attributes
    ----------
    value : float
        U(w); minus infinity where wealth can end at 0 or below.
    price : float
        lambda: how much growth falls per unit of radius.
    scenarios : Scenarios
    """

    value: float
    price: float
    scenarios: Scenarios


def scenarios(problem: GrowthProgram, weights: Array) -> Scenarios:
    """All candidates of the adversary at ``weights``."""
    held = np.flatnonzero(weights)
    order = held[np.argsort(-np.abs(weights[held]), kind="stable")]
    w = weights[order]
    at = problem.samples[:, order]
    bad = np.where(w > 0.0, problem.lowest[order], problem.highest[order])
    apart = np.abs(at - bad)
    none = np.zeros((len(at), 1))
    loss = np.concatenate([none, np.cumsum(apart * np.abs(w), axis=1)], axis=1)
    distance = np.concatenate([none, np.cumsum(apart, axis=1)], axis=1)
    wealth = 1.0 + (at @ w - problem.costs(weights))[:, None] - loss
    with np.errstate(divide="ignore", invalid="ignore"):
        growth = np.where(wealth > 0.0, np.log(wealth), -np.inf)
    return Scenarios(growth, distance)


def robust_growth(problem: GrowthProgram, weights: Array) -> WorstCase:
    """U(w) of :class:`GrowthProgram`, to rounding.

    Parameters
    ----------
    problem : GrowthProgram
    weights : (n,) array
        Any; the limits are not asked.

    Returns
    -------
    WorstCase
    """
    found = scenarios(problem, weights)
    growth, distance, p, radius = found.growth, found.distance, problem.probabilities, problem.radius
    if radius == 0.0:
        return WorstCase(float(p @ growth[:, 0]), _dearest(growth, distance), found)
    if not np.isfinite(growth).all():
        return WorstCase(-np.inf, np.inf, found)
    rows = np.arange(len(growth))

    def line(price: float) -> tuple[float, float]:
        """Value at a price, and slope there."""
        chosen = found.cheapest(price)
        spent = float(p @ distance[rows, chosen])
        return float(p @ growth[rows, chosen]) + price * (spent - radius), spent - radius

    low, high = 0.0, _dearest(growth, distance)
    value_low, slope_low = line(low)
    if slope_low <= 0.0:  # the ball reaches every bad end
        return WorstCase(value_low, low, found)
    value_high, slope_high = line(high)
    slope_high = min(slope_high, -radius)  # at the highest price staying is as good as moving
    best, price = max((value_low, low), (value_high, high))
    for step in range(STEPS):
        # where the two outermost lines meet; every third time the middle, should one end not move
        meet = (value_high - value_low + slope_low * low - slope_high * high) / (slope_low - slope_high)
        middle = 0.5 * (low + high) if step % 3 == 2 else min(max(meet, low), high)
        value, slope = line(middle)
        if value > best:
            best, price = value, middle
        if slope == 0.0 or not low < middle < high:
            break
        top = value_low + slope_low * (meet - low)
        if top <= best + 1e-16:
            break
        if slope > 0.0:
            low, value_low, slope_low = middle, value, slope
        else:
            high, value_high, slope_high = middle, value, slope
    return WorstCase(best, price, found)


def _dearest(growth: Array, distance: Array) -> float:
    """A price at which no move pays."""
    moved = distance > 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = np.where(moved, (growth[:, :1] - growth) / np.where(moved, distance, 1.0), 0.0)
    finite = gain[np.isfinite(gain)]
    return float(finite.max(initial=0.0))

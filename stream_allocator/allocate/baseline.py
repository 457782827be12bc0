"""Static risk-budget weights: what is held when nothing cleverer can be trusted."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from stream_allocator.allocate.limits import holding_interval
from stream_allocator.allocate.program import Array, Program
from stream_allocator.allocate.projection import project
from stream_allocator.allocate.robust import covariance, volatility

__all__ = ["BaselineKind", "equal_risk_contribution", "inverse_volatility", "static_weights"]

BaselineKind = Literal["inverse_volatility", "equal_risk_contribution"]

# An asset without variance counts as this small a share of the typical volatility.
FLOOR = 1e-3


def inverse_volatility(sigma: Array) -> Array:
    """Weights proportional to 1/volatility, adding up to 1.

    Parameters
    ----------
    sigma : (n, n) array
        Covariance; only its diagonal is read.

    Returns
    -------
    (n,) array
        Positive.
    """
    inverse = 1.0 / _volatilities(sigma)
    weights: Array = inverse / inverse.sum()
    return weights


def equal_risk_contribution(sigma: Array) -> Array:
    r"""Weights whose contributions :math:`w_i(\Sigma w)_i` to the variance are equal, adding up to 1.

    The minimiser of :math:`\tfrac12 x'Cx - \tfrac1n\sum_i \log x_i` over the correlations C, scaled back by
    the volatilities (Maillard, Roncalli & Teiletche 2010).  The function is self-concordant once scaled by n,
    so Newton's method with the damped step 1/(1 + decrement) converges from any point (Spinu 2013).

    Parameters
    ----------
    sigma : (n, n) array
        Covariance, positive semi-definite.

    Returns
    -------
    (n,) array
        Positive.
    """
    deviation = _volatilities(sigma)
    n = len(deviation)
    c = sigma / np.outer(deviation, deviation)
    c.flat[:: n + 1] = 1.0
    x = np.full(n, 1.0 / math.sqrt(float(np.abs(c).sum())))
    for _ in range(200):
        slope = n * (c @ x) - 1.0 / x
        curvature = n * c
        curvature.flat[:: n + 1] += 1.0 / (x * x)
        step = np.linalg.solve(curvature, slope)
        decrement = math.sqrt(max(0.0, float(slope @ step)))
        if decrement < 1e-13:
            break
        x = x - step / (1.0 + decrement if decrement > 0.25 else 1.0)
    weights: Array = x / deviation
    weights /= weights.sum()
    return weights


def static_weights(program: Program, kind: BaselineKind) -> Array:
    """The static portfolio that fits the programme's limits; it does not look at the mean or at w0.

    The risk-budget weights are scaled to the most that cash allows, then down to the volatility cap as far
    as cash allows, within the box all the way, and projected onto the groups.

    Parameters
    ----------
    program : Program
    kind : str
        ``inverse_volatility`` or ``equal_risk_contribution``.

    Returns
    -------
    (n,) array
    """
    sigma = covariance(program)
    shape = inverse_volatility(sigma) if kind == "inverse_volatility" else equal_risk_contribution(sigma)

    lower, upper = holding_interval(program)

    def scaled(level: float) -> Array:
        weights: Array = np.clip(level * shape, lower, upper)
        return weights

    def level_where(enough: float) -> float:
        """The level at which the weights add up to ``enough``, or all of them are at the box's end."""
        low, high = 0.0, 1.0
        while scaled(high).sum() < enough and (high * shape < upper).any() and high < 1e12:
            high *= 2.0
        for _ in range(200):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if scaled(middle).sum() < enough else (low, middle)
        return high

    most, least = level_where(1.0 - program.cash_lower), level_where(1.0 - program.cash_upper)
    if volatility(program, scaled(most)) > program.volatility:
        low, high = min(least, most), most
        for _ in range(200):
            middle = 0.5 * (low + high)
            over = volatility(program, scaled(middle)) > program.volatility
            low, high = (low, middle) if over else (middle, high)
        most = low
    return project(program, scaled(most))


def _volatilities(sigma: Array) -> Array:
    deviation: Array = np.sqrt(np.diag(sigma))
    positive = deviation[deviation > 0.0]
    if not positive.size:
        return np.ones_like(deviation)
    return np.maximum(deviation, FLOOR * float(np.median(positive)))

"""Proof of a decision, from its programme, weights and shadow prices alone.

Nothing here knows a solver.  The lower bound is rigorous for any weights and any multipliers: the objective's
convex part is not below its tangent, each limit's multiplier times its slack only helps, and what is left is
one small minimum for each asset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stream_allocator.allocate.limits import linear_rows, trade_interval, worst_violation
from stream_allocator.allocate.program import Array, Program
from stream_allocator.allocate.robust import gradient, kink, root_terms
from stream_allocator.allocate.terms import objective

__all__ = ["Certificate", "certificate", "reduced_costs", "shadow_prices"]

# A weight is at its bound where it is this near: published weights are exact to 1e-12.
AT_BOUND = 1e-12


@dataclass(frozen=True, slots=True)
class Certificate:
    """What is proven about some weights.

    Attributes
    ----------
    primal : float
        Worst violation of any limit, in the limit's own unit.
    dual : float
        Largest slope of the Lagrangian in a direction that an asset is free to move in, per year.
    gap : float
        objective - bound.  For weights that obey the limits it is not below 0 (but for rounding), and the
        weights are no further than this from the best.
    objective, bound : float
        The objective at the weights, and a proven lower bound on the optimum.
    """

    primal: float
    dual: float
    gap: float
    objective: float
    bound: float


@dataclass(frozen=True, slots=True, eq=False)
class _Lagrangian:
    """The linearised Lagrangian: slope'v + sum price_i |v_i - w0_i| + constant, over lower <= v <= upper."""

    slope: Array
    price: Array
    constant: float
    lower: Array
    upper: Array


def certificate(program: Program, weights: Array, multipliers: Mapping[str, float]) -> Certificate:
    r"""Check ``weights``.

    Parameters
    ----------
    program : Program
    weights : (n,) array
    multipliers : mapping of str to float
        Shadow prices by the limit's name; only those of cash, groups, turnover and volatility are read,
        negative ones count as 0.  Those of box and liquidity follow from them: see :func:`shadow_prices`.

    Returns
    -------
    Certificate

    Notes
    -----
    With g the slope of the convex part h at w, multipliers :math:`\lambda` of the rows :math:`Aw \le b`,
    :math:`\theta` of turnover and :math:`\pi` of volatility, any v within the limits has

    .. math::
        f(v) \ge h(w) + g'(v-w) + \sum_i c_i|v_i-w^0_i| + \lambda'(Av-b)
        + \theta(\|v-w^0\|_1-\tau) + \pi\bigl((\Sigma w)'v/\sigma(w) - V\bigr),

    since :math:`\sigma(v) \ge (\Sigma w)'v/\sigma(w)` by Cauchy and Schwarz.  The right side is separable
    and piecewise linear, so its least value over :math:`l_i \le v_i \le u_i` (box and liquidity, and no more
    than the whole turnover for one asset) is at :math:`l_i`, :math:`u_i` or :math:`w^0_i`.
    Where the limits contradict each other every bound is true, and this one says nothing.
    """
    lagrangian = _lagrangian(program, weights, multipliers)
    lower, upper, slope, price = lagrangian.lower, lagrangian.upper, lagrangian.slope, lagrangian.price
    middle = np.minimum(np.maximum(program.current, lower), upper)
    at = np.stack([lower, middle, upper])
    least = (slope * at + price * np.abs(at - program.current)).min(axis=0)
    bound = lagrangian.constant + float(least.sum())
    value = objective(program, weights)
    down, up = _slopes(program, weights, slope, price)
    can_fall = np.where(weights > lower + AT_BOUND, down, 0.0)
    can_rise = np.where(weights < upper - AT_BOUND, -up, 0.0)
    return Certificate(
        primal=worst_violation(program, weights),
        dual=max(0.0, float(can_fall.max()), float(can_rise.max())),
        gap=value - bound,
        objective=value,
        bound=bound,
    )


def reduced_costs(program: Program, weights: Array, multipliers: Mapping[str, float]) -> tuple[Array, Array]:
    """What a unit of room would be worth to each asset.

    Returns
    -------
    below, above : (n,) arrays
        Fall of the Lagrangian per unit that the asset moves down, or up; 0 where that does not pay.
    """
    lagrangian = _lagrangian(program, weights, multipliers)
    down, up = _slopes(program, weights, lagrangian.slope, lagrangian.price)
    return np.maximum(down, 0.0), np.maximum(-up, 0.0)


def shadow_prices(program: Program, weights: Array, multipliers: Mapping[str, float]) -> dict[str, float]:
    """Shadow prices of box and liquidity, from those of the rows.

    Returns
    -------
    dict of str to float
        For each asset at a bound of its interval; where box and liquidity coincide the box has the price.
    """
    below, above = reduced_costs(program, weights, multipliers)
    prices: dict[str, float] = {}
    for i, asset in enumerate(program.assets):
        room = program.trade[i]
        if weights[i] <= program.lower[i] + AT_BOUND:
            prices[f"lower[{asset}]"] = float(below[i])
        elif weights[i] <= program.current[i] - room + AT_BOUND:
            prices[f"liquidity[{asset}]"] = float(below[i])
        if weights[i] >= program.upper[i] - AT_BOUND:
            prices[f"upper[{asset}]"] = float(above[i])
        elif weights[i] >= program.current[i] + room - AT_BOUND:
            name = f"liquidity[{asset}]"
            prices[name] = max(prices.get(name, 0.0), float(above[i]))
    return prices


def _lagrangian(program: Program, weights: Array, multipliers: Mapping[str, float]) -> _Lagrangian:
    at = root_terms(program, weights)
    slope = gradient(program, weights, at)
    trade = weights - program.current
    smooth = (
        -float(program.mean @ weights)
        + at.k * at.sigma
        + 0.5 * program.risk_aversion * (at.sigma + at.r * at.norm) ** 2
        + float(program.quadratic_cost @ (trade * trade))
    )
    constant = smooth - float(slope @ weights)
    rows = linear_rows(program)
    prices = np.array([max(0.0, multipliers.get(name, 0.0)) for name in rows.names])
    slope = slope + prices @ rows.normals
    constant -= float(prices @ rows.bounds)
    theta = max(0.0, multipliers.get("turnover", 0.0)) if np.isfinite(program.turnover) else 0.0
    constant -= theta * program.turnover if theta > 0.0 else 0.0
    pi = max(0.0, multipliers.get("volatility", 0.0)) if np.isfinite(program.volatility) else 0.0
    if pi > 0.0:
        constant -= pi * program.volatility
        if at.sigma > 0.0:
            slope = slope + (pi / at.sigma) * at.marginal
    price = program.linear_cost + theta
    lower, upper = _interval(program)
    size = kink(program, at) + (pi if at.sigma == 0.0 else 0.0)
    if size > 0.0:
        slope = slope + _subgradient(program, weights, slope, price, lower, upper, size)
    return _Lagrangian(slope, price, constant, lower, upper)


def _interval(program: Program) -> tuple[Array, Array]:
    lower, upper = trade_interval(program)
    lower = np.maximum(lower, program.current - program.turnover)
    upper = np.minimum(upper, program.current + program.turnover)
    return np.minimum(lower, upper), np.maximum(lower, upper)


def _slopes(program: Program, weights: Array, slope: Array, price: Array) -> tuple[Array, Array]:
    """Left and right derivative of the separable Lagrangian at ``weights``."""
    down = slope + np.where(weights > program.current, price, -price)
    up = slope + np.where(weights >= program.current, price, -price)
    return down, up


def _subgradient(
    program: Program,
    weights: Array,
    slope: Array,
    price: Array,
    lower: Array,
    upper: Array,
    size: float,
) -> Array:
    """A subgradient ``size * Sigma x`` of size * sigma where sigma = 0, one that leaves little to gain.

    The steepest direction x of the rest solves min 1/2 size x'Sigma x + (its directional slope), over the
    directions that each asset can move in; if sigma(x) <= 1 nothing is to be gained, otherwise x is scaled
    back to 1 and a gain remains.  Any x with sigma(x) <= 1 gives a valid bound.
    """
    f, d = program.factors, program.idiosyncratic
    curvature = size * (np.einsum("ij,ij->i", f, f) + d)
    down, up = _slopes(program, weights, slope, price)
    can_fall, can_rise = weights > lower + AT_BOUND, weights < upper - AT_BOUND
    x = np.zeros_like(weights)
    y = np.zeros(f.shape[1])
    moving = np.flatnonzero((curvature > 0.0) & (can_fall | can_rise))
    for _ in range(1000):  # coordinate descent: the problem is convex and its kinks are separable
        largest = 0.0
        for i in moving:
            pull = size * (float(f[i] @ y) + d[i] * x[i]) - curvature[i] * x[i]
            new = 0.0
            if can_rise[i] and -(pull + up[i]) > 0.0:
                new = -(pull + up[i]) / curvature[i]
            elif can_fall[i] and pull + down[i] > 0.0:
                new = -(pull + down[i]) / curvature[i]
            step = new - x[i]
            if step != 0.0:
                x[i] = new
                y += step * f[i]
                largest = max(largest, abs(step) * np.sqrt(curvature[i]))
        if largest <= 1e-14:
            break
    y = f.T @ x
    sigma = float(np.sqrt(y @ y + x @ (d * x)))
    marginal: Array = f @ y + d * x
    return marginal * (size / max(1.0, sigma))

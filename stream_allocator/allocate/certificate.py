"""Proof of a decision, from its programme, weights and shadow prices alone.

Nothing here knows a solver.  The lower bound is rigorous for any weights and any multipliers: the objective's
convex part is not below its tangent, each limit's multiplier times its slack only helps, and what is left is
one small minimum for each asset.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from stream_allocator.allocate.limits import ends, rows_of, trade_interval, worst_violation
from stream_allocator.allocate.once import worked_out_once
from stream_allocator.allocate.program import Array, Program
from stream_allocator.allocate.robust import RootTerms, gradient, kink, root_terms, variances
from stream_allocator.allocate.terms import objective, objective_scale

__all__ = ["GAP", "PRIMAL", "Certificate", "certificate", "passes", "reduced_costs", "shadow_prices"]

# What a certificate must prove: violations in weights, the gap relative to the size of the objective's terms.
# Newton leaves 1e-14 and 1e-13, OSQP alone 1e-9 and 1e-6: nothing worse than Newton's answers passes.
PRIMAL, GAP = 1e-12, 1e-9
# A portfolio whose terms are smaller than this (all cash) is judged as if they were this large.
SMALL = 1e-6

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
    """slope'v + sum price_i |v_i - w0_i| + sum size_price_i |v_i| + constant, over lower <= v <= upper."""

    slope: Array
    price: Array
    size_price: Array
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
        Shadow prices by the limit's name; those of single assets are not read, negative ones count as 0.
        Those of single assets follow from the others: see :func:`shadow_prices`.

    Returns
    -------
    Certificate

    Notes
    -----
    With g the slope of the convex part h at w, multipliers :math:`\lambda` of the rows
    :math:`Aw + M|w| \le b`, :math:`\theta` of turnover, :math:`\pi` of volatility and :math:`\chi` of the
    tracking error, any v within the limits has

    .. math::
        f(v) \ge{}& h(w) + g'(v-w) + \sum_i c_i|v_i-w^0_i| + \lambda'(Av + M|v| - b)
        + \theta(\|v-w^0\|_1-\tau) \\
        &+ \pi\bigl((\Sigma w)'v/\sigma(w) - V\bigr)
        + \chi\bigl((\Sigma (w-\beta))'(v-\beta)/\sigma(w-\beta) - T\bigr),

    since :math:`\sigma(v) \ge (\Sigma w)'v/\sigma(w)` by Cauchy and Schwarz.  The right side is separable
    and piecewise linear, so its least value over :math:`l_i \le v_i \le u_i` (all limits on the asset alone,
    and no more than the whole turnover for one asset) is at :math:`l_i`, :math:`u_i`, :math:`w^0_i` or 0.
    Where the limits contradict each other every bound is true, and this one says nothing.
    """
    lagrangian = _lagrangian(program, weights, multipliers)
    lower, upper = lagrangian.lower, lagrangian.upper
    kinks = [np.minimum(np.maximum(kink_at, lower), upper) for kink_at in (program.current, 0.0)]
    at = np.concatenate([lower, *kinks, upper]).reshape(4, -1)
    least = lagrangian.slope * at + lagrangian.price * np.abs(at - program.current)
    least += lagrangian.size_price * np.abs(at)
    bound = lagrangian.constant + float(np.add.reduce(np.minimum.reduce(least)))
    value = objective(program, weights)
    down, up = _slopes(program, weights, lagrangian)
    can_fall = np.where(weights > lower + AT_BOUND, down, 0.0)
    can_rise = np.where(weights < upper - AT_BOUND, -up, 0.0)
    return Certificate(
        primal=worst_violation(program, weights),
        dual=max(0.0, float(can_fall.max()), float(can_rise.max())),
        gap=value - bound,
        objective=value,
        bound=bound,
    )


def allowed_gap(program: Program, weights: Array) -> float:
    """The largest gap that still proves ``weights`` the robust answer, in the objective's unit."""
    return GAP * max(objective_scale(program, weights), SMALL)


def passes(program: Program, weights: Array, proof: Certificate) -> bool:
    """Whether a certificate proves enough to publish ``weights`` as the robust answer."""
    return proof.primal <= PRIMAL and proof.gap <= allowed_gap(program, weights)


def reduced_costs(program: Program, weights: Array, multipliers: Mapping[str, float]) -> tuple[Array, Array]:
    """What a unit of room would be worth to each asset.

    Returns
    -------
    below, above : (n,) arrays
        Fall of the Lagrangian per unit that the asset moves down, or up; 0 where that does not pay.
    """
    lagrangian = _lagrangian(program, weights, multipliers)
    down, up = _slopes(program, weights, lagrangian)
    return np.maximum(down, 0.0), np.maximum(-up, 0.0)


def shadow_prices(program: Program, weights: Array, multipliers: Mapping[str, float]) -> dict[str, float]:
    """Shadow prices of the limits on single assets, from those of the others.

    Returns
    -------
    dict of str to float
        For each asset at an end of its interval; where several limits coincide the first of box, exit, active
        and liquidity has the price.
    """
    lower, upper = trade_interval(program)
    below, above = reduced_costs(program, weights, multipliers)
    prices: dict[str, float] = {}
    for sign, end, worth in ((1.0, lower, below), (-1.0, upper, above)):
        at_end = sign * (weights - end) <= AT_BOUND
        for name, bound in ends(program, is_upper=sign < 0.0):
            if not at_end.any():
                break
            here = at_end & (sign * (weights - bound) <= AT_BOUND)
            for i in here.nonzero()[0].tolist():
                kind = "minimum_trade" if name == "liquidity" and i in program.resting else name
                key = f"{kind}[{program.assets[i]}]"
                prices[key] = max(prices.get(key, 0.0), float(worth[i]))
            at_end &= ~here
    return prices


def _lagrangian(program: Program, weights: Array, multipliers: Mapping[str, float]) -> _Lagrangian:
    at, slope, constant = _tangent(program, weights)

    def price_of(name: str, cap: float) -> float:
        return max(0.0, multipliers.get(name, 0.0)) if math.isfinite(cap) else 0.0

    rows = rows_of(program)
    prices = np.array([max(0.0, multipliers.get(name, 0.0)) for name in rows.names])
    slope = slope + prices @ rows.normals
    constant -= float(prices @ rows.bounds)
    theta = price_of("turnover", program.turnover)
    constant -= theta * program.turnover if theta > 0.0 else 0.0
    pi = price_of("volatility", program.volatility)
    if pi > 0.0:
        constant -= pi * program.volatility
        if at.sigma > 0.0:
            slope = slope + (pi / at.sigma) * at.marginal
    chi = price_of("tracking", program.tracking)
    if chi > 0.0:
        constant -= chi * program.tracking
        away = root_terms(program, weights - program.benchmark)
        if away.sigma > 0.0:
            pull = (chi / away.sigma) * away.marginal
            slope = slope + pull
            constant -= float(pull @ program.benchmark)
    lagrangian = _Lagrangian(
        slope, program.linear_cost + theta, prices @ rows.magnitudes, constant, *_interval(program)
    )
    size = kink(program, at) + (pi if at.sigma == 0.0 else 0.0)
    ball = at.g if at.norm == 0.0 else 0.0
    if size > 0.0 or ball > 0.0:
        steepest = _subgradient(program, weights, lagrangian, size, ball)
        lagrangian = replace(lagrangian, slope=slope + steepest)
    return lagrangian


@worked_out_once
def _tangent(program: Program, weights: Array) -> tuple[RootTerms, Array, float]:
    """The root terms, and the convex part's slope at ``weights`` and its value less slope'weights."""
    at = root_terms(program, weights)
    slope = gradient(program, weights, at)
    trade = weights - program.current
    smooth = (
        -float(program.mean @ weights)
        + at.k * at.sigma
        + 0.5 * program.risk_aversion * (at.sigma + at.r * at.norm) ** 2
        + at.g * at.norm
        + float(program.quadratic_cost @ (trade * trade))
    )
    return at, slope, smooth - float(slope @ weights)


@lru_cache(maxsize=16)
def _interval(program: Program) -> tuple[Array, Array]:
    lower, upper = trade_interval(program)
    lower = np.maximum(lower, program.current - program.turnover)
    upper = np.minimum(upper, program.current + program.turnover)
    lower, upper = np.minimum(lower, upper), np.maximum(lower, upper)
    for end in (lower, upper):
        end.setflags(write=False)
    return lower, upper


def _slopes(program: Program, weights: Array, lagrangian: _Lagrangian) -> tuple[Array, Array]:
    """Left and right derivative of the separable Lagrangian at ``weights``."""
    slope, price, size = lagrangian.slope, lagrangian.price, lagrangian.size_price
    less, smaller = -price, -size
    down = slope + np.where(weights > program.current, price, less) + np.where(weights > 0.0, size, smaller)
    up = slope + np.where(weights >= program.current, price, less) + np.where(weights >= 0.0, size, smaller)
    return down, up


def _subgradient(
    program: Program, weights: Array, lagrangian: _Lagrangian, size: float, ball: float
) -> Array:
    """A subgradient of ``size * sigma + ball * norm`` where both are 0, one that leaves little to gain.

    The steepest direction x of the rest solves min 1/2 (size x'Sigma x + ball x'x) + (its directional slope),
    over the directions that each asset can move in.  If sigma(x) <= 1 and norm(x) <= 1 nothing is to be
    gained; otherwise x is scaled back and a gain remains.  Any such x gives a valid bound.
    """
    f, d = program.factors, program.idiosyncratic
    curvature = size * variances(program) + ball
    down, up = _slopes(program, weights, lagrangian)
    can_fall = weights > lagrangian.lower + AT_BOUND
    can_rise = weights < lagrangian.upper - AT_BOUND
    x = np.zeros_like(weights)
    y = np.zeros(f.shape[1])
    moving = np.flatnonzero((curvature > 0.0) & (can_fall | can_rise))
    for _ in range(1000):  # coordinate descent: the problem is convex and its kinks are separable
        largest = 0.0
        for i in moving:
            pull = size * (float(f[i] @ y) + d[i] * x[i]) + (ball - curvature[i]) * x[i]
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
    norm = float(np.sqrt(x @ x))
    return marginal * (size / max(1.0, sigma)) + x * (ball / max(1.0, norm))

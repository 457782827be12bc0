"""Nearest weights within box, cash and groups, and the safe trade towards a target."""

from __future__ import annotations

import math

import numpy as np

from stream_allocator.allocate.limits import linear_rows
from stream_allocator.allocate.program import Array, Program
from stream_allocator.allocate.robust import root_terms

__all__ = ["project", "towards"]

TOLERANCE = 1e-14
# Rounds over the rows; a few dozen where the limits are consistent, and no end of them where they are not.
ROUNDS = 400


def project(program: Program, target: Array) -> Array:
    """The nearest weights to ``target`` within box, cash and groups; turnover and liquidity do not count.

    Returns
    -------
    (n,) array
        Where the limits contradict each other: some weights in the box.
    """
    rows = linear_rows(program)
    return _nearest(target, program.lower, program.upper, rows.normals, rows.bounds)


def towards(program: Program, target: Array) -> Array:
    """The trade from w0 towards ``target``, as far as the limits allow.

    Each limit is widened just so much that w0 obeys it.  The target is projected onto what is left of box,
    liquidity, cash and groups, and the trade is shortened to fit turnover and the volatility cap.  All these
    sets are convex and hold w0, so every limit that w0 obeys is obeyed, and no other one is broken by more.

    Parameters
    ----------
    program : Program
    target : (n,) array

    Returns
    -------
    (n,) array
    """
    w0 = program.current
    lower, upper = np.minimum(program.lower, w0), np.maximum(program.upper, w0)
    rows = linear_rows(program)
    nearest = _nearest(
        target,
        np.maximum(lower, w0 - program.trade),
        np.minimum(upper, w0 + program.trade),
        rows.normals,
        np.maximum(rows.bounds, rows.normals @ w0),
    )
    move = nearest - w0
    length = 1.0
    traded = float(np.abs(move).sum())
    if traded > program.turnover:
        length = program.turnover / traded
    length = min(length, _until_cap(program, move))
    if length >= 1.0:
        return nearest
    weights: Array = np.clip(w0 + length * move, lower, upper)
    return weights


def _until_cap(program: Program, move: Array) -> float:
    """How far along ``move`` the volatility stays under the cap, or under w0's where that is more."""
    w0 = program.current
    at = root_terms(program, w0)
    room = max(program.volatility, at.sigma)
    if math.isinf(room):
        return 1.0
    a = root_terms(program, move).sigma ** 2
    b = float(at.marginal @ move)
    c = (room - at.sigma) * (room + at.sigma)
    if a == 0.0:
        return 1.0
    if c == 0.0:
        return max(0.0, min(1.0, -2.0 * b / a))
    root = math.sqrt(b * b + a * c)
    return min(1.0, c / (b + root) if b > 0.0 else (root - b) / a)


def _nearest(target: Array, lower: Array, upper: Array, normals: Array, bounds: Array) -> Array:
    """Euclidean projection onto lower <= v <= upper, normals v <= bounds.

    Ascent of the dual, one row at a time and each exactly: v = clip(target - normals' price).  It converges
    since the problem is strictly convex and its dual smooth (Hildreth 1957; Tseng 1990).
    """
    prices = np.zeros(len(bounds))
    shifted = np.array(target)
    weights: Array = np.clip(shifted, lower, upper)
    for _ in range(ROUNDS):
        worst = 0.0
        for j, (normal, bound) in enumerate(zip(normals, bounds, strict=True)):
            without = shifted + prices[j] * normal
            price = _price(without, lower, upper, normal, float(bound))
            worst = max(worst, abs(price - prices[j]))
            prices[j] = price
            shifted = without - price * normal
        weights = np.clip(shifted, lower, upper)
        if worst <= TOLERANCE:  # the prices, not the weights: these may rest while prices still move
            break
    return weights


def _price(x: Array, lower: Array, upper: Array, normal: Array, bound: float) -> float:
    """Least p >= 0 with normal'clip(x - p normal) <= bound; the left side is piecewise linear in p."""
    inside = np.flatnonzero(normal)
    x, sign, lower, upper = x[inside], normal[inside], lower[inside], upper[inside]

    def total(p: float) -> float:
        return float(sign @ np.clip(x - p * sign, lower, upper))

    if total(0.0) <= bound:
        return 0.0
    # the kinks: where a member meets an end of its interval
    kinks = np.concatenate([(x - lower) * sign, (x - upper) * sign])
    kinks = np.unique(kinks[kinks > 0.0])
    if not kinks.size:
        return 0.0
    if total(float(kinks[-1])) > bound:  # all members at their ends and still above: nothing more to give
        return float(kinks[-1])
    low, high = -1, len(kinks) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if total(float(kinks[middle])) > bound else (low, middle)
    start = float(kinks[low]) if low >= 0 else 0.0
    above, end = total(start), float(kinks[high])
    below = total(end)
    return end if above == below else start + (end - start) * (above - bound) / (above - below)

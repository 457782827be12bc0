"""Nearest weights within the limits on holdings, and the safe trade towards a target."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stream_allocator.allocate.limits import Rows, holding_interval, rows_of
from stream_allocator.allocate.program import Array, Program
from stream_allocator.allocate.robust import root_terms

__all__ = ["project", "towards"]

TOLERANCE = 1e-14
# Rounds over the rows; a few dozen where the limits are consistent, and no end of them where they are not.
ROUNDS = 400


def project(program: Program, target: Array) -> Array:
    """The nearest weights to ``target`` within the limits on holdings and on their sums.

    Those on trades, volatility and tracking error do not count.

    Returns
    -------
    (n,) array
        Where the limits contradict each other: some weights in the box.
    """
    rows = rows_of(program)
    return _nearest(target, *holding_interval(program), rows, rows.bounds)


def towards(program: Program, target: Array) -> Array:
    """The trade from w0 towards ``target``, as far as the limits allow.

    Each limit is widened just so much that w0 obeys it.  The target is projected onto what is left of box,
    liquidity and sums, and the trade is shortened to fit turnover and the caps on volatility and tracking
    error.  All these sets are convex and hold w0, so every limit that w0 obeys is obeyed, and no other one is
    broken by more.

    Parameters
    ----------
    program : Program
    target : (n,) array

    Returns
    -------
    (n,) array
    """
    w0 = program.current
    lower, upper = holding_interval(program)
    lower, upper = np.minimum(lower, w0), np.maximum(upper, w0)
    rows = rows_of(program)
    nearest = _nearest(
        target,
        np.maximum(lower, w0 - program.trade),
        np.minimum(upper, w0 + program.trade),
        rows,
        np.maximum(rows.bounds, rows.values(w0)),
    )
    move = nearest - w0
    length = 1.0
    traded = float(np.abs(move).sum())
    if traded > program.turnover:
        length = program.turnover / traded
    length = min(
        length,
        _until_cap(program, w0, move, program.volatility),
        _until_cap(program, w0 - program.benchmark, move, program.tracking),
    )
    if length >= 1.0:
        return nearest
    weights: Array = np.clip(w0 + length * move, lower, upper)
    return weights


def _until_cap(program: Program, start: Array, move: Array, cap: float) -> float:
    """How far from ``start`` along ``move`` sqrt(v' Sigma v) stays under the cap, or under its start."""
    at = root_terms(program, start)
    room = max(cap, at.sigma)
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


def _nearest(target: Array, lower: Array, upper: Array, rows: Rows, bounds: Array) -> Array:
    """Euclidean projection onto lower <= v <= upper, normals v + magnitudes |v| <= bounds.

    Ascent of the dual, one row at a time and each exactly: v is the target minus the normals' prices, shrunk
    towards 0 by the magnitudes' prices, clipped.  It converges since the problem is strictly convex and its
    dual smooth (Hildreth 1957; Tseng 1990).
    """
    prices = np.zeros(len(bounds))
    shifted, shrink = np.array(target), np.zeros(len(target))
    weights: Array = np.clip(shifted, lower, upper)
    for _ in range(ROUNDS):
        worst = 0.0
        for j, (normal, magnitude) in enumerate(zip(rows.normals, rows.magnitudes, strict=True)):
            without, less = shifted + prices[j] * normal, shrink - prices[j] * magnitude
            inside = np.flatnonzero((normal != 0.0) | (magnitude != 0.0))
            row = _Row(
                without[inside], less[inside], lower[inside], upper[inside], normal[inside], magnitude[inside]
            )
            price = row.price(float(bounds[j]))
            worst = max(worst, abs(price - prices[j]))
            prices[j] = price
            shifted, shrink = without - price * normal, less + price * magnitude
        weights = _shrunk(shifted, shrink, lower, upper)
        if worst <= TOLERANCE:  # the prices, not the weights: these may rest while prices still move
            break
    return weights


def _shrunk(x: Array, by: Array, lower: Array, upper: Array) -> Array:
    """argmin (v - x)^2 / 2 + by |v| over lower <= v <= upper."""
    weights: Array = np.clip(np.sign(x) * np.maximum(np.abs(x) - by, 0.0), lower, upper)
    return weights


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """One row's members: its value is a falling, piecewise linear function of its price."""

    x: Array
    shrink: Array
    lower: Array
    upper: Array
    normal: Array
    magnitude: Array

    def value(self, price: float) -> float:
        """normal'v + magnitude'|v| at the members' best v for this price."""
        v = _shrunk(
            self.x - price * self.normal, self.shrink + price * self.magnitude, self.lower, self.upper
        )
        return float(self.normal @ v + self.magnitude @ np.abs(v))

    def price(self, bound: float) -> float:
        """The least price >= 0 at which the value is not above ``bound``, or the last that changes it."""
        if self.value(0.0) <= bound:
            return 0.0
        kinks = self._kinks()
        if not kinks.size:
            return 0.0
        if self.value(float(kinks[-1])) > bound:  # all members at their ends and still above
            return float(kinks[-1])
        low, high = -1, len(kinks) - 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.value(float(kinks[middle])) > bound else (low, middle)
        start = float(kinks[low]) if low >= 0 else 0.0
        above, end = self.value(start), float(kinks[high])
        below = self.value(end)
        return end if above == below else start + (end - start) * (above - bound) / (above - below)

    def _kinks(self) -> Array:
        """Positive prices at which a member meets an end of its interval, or 0."""
        found: list[Array] = []
        for side in (1.0, -1.0):  # while v > 0, and while v < 0
            speed = self.normal + side * self.magnitude
            moving = speed != 0.0
            for end in (self.lower, self.upper, np.zeros_like(self.x)):
                found.append(((self.x - side * self.shrink - end)[moving]) / speed[moving])
        kinks = np.unique(np.concatenate(found))
        positive: Array = kinks[kinks > 0.0]
        return positive

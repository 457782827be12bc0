r"""Weights as a start and pieces of trades, so that every absolute value is linear.

An asset's weight is :math:`w_i = a_i + \sum_k \sigma_k z_k` with :math:`0 \le z_k \le \ell_k`: pieces that
lead away from the anchor, cut where the weight changes sign and, where cost is quadratic, where its
supporting lines meet.  Cost, turnover and gross weight grow ever faster along the pieces, so a linear
programme fills them in order, or else overstates what it must not exceed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_allocator.allocate.growth.problem import GrowthProgram
from stream_allocator.allocate.limits import rows_of, trade_interval
from stream_allocator.allocate.program import Array

__all__ = ["Moves", "Sums", "moves_of", "sums_of"]

Ints = NDArray[np.int64]

# Supporting lines of a quadratic cost are so near to each other that this many trades together are charged
# too little by no more than a tenth of the tolerance.
TRADES = 30
# No more of them than this for one asset and direction, and so many in all.
PIECES, ALL_PIECES = 1024, 200_000
# A piece that is longer than any trade: linear costs have one.
WHOLE = 1e6


@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """The pieces, K of them.

    Attributes
    ----------
    lower, upper : (n,) arrays
        The interval that all limits on the asset alone leave.
    anchor : (n,) array
        What is held, or the nearest weight that is allowed; where trading is free the one nearest to 0.
    paid : float
        Cost of going to the anchor, in units of NAV a bar.
    traded : float
        Turnover of it.
    asset : (K,) array of int
    direction, side : (K,) arrays
        +1 or -1: whether the piece buys or sells, and the sign of the weight on it.
    length : (K,) array
    cost : (K,) array
        Per unit, a bar; a quadratic cost's supporting line.
    key : (K,) array of int
        A name that the piece keeps from one programme to the next.
    """

    lower: Array
    upper: Array
    anchor: Array
    paid: float
    traded: float
    asset: Ints
    direction: Array
    side: Array
    length: Array
    cost: Array
    key: Ints

    def weights(self, pieces: Ints, amounts: Array) -> Array:
        """w where the given pieces are used by the given amounts; on a bound bit for bit."""
        weights = self.anchor.copy()
        np.add.at(weights, self.asset[pieces], self.direction[pieces] * amounts)
        for end in (self.lower, self.upper, self.anchor, np.zeros(len(weights))):
            allowed = (end >= self.lower) & (end <= self.upper)
            weights = np.where(allowed & (np.abs(weights - end) <= 1e-13), end, weights)
        return weights


def moves_of(problem: GrowthProgram, tolerance: float) -> Moves:
    """Anchor and pieces of a problem whose limits on single assets do not clash."""
    program, bars = problem.program, problem.bars_per_year
    lower, upper = trade_interval(program)
    upper = np.maximum(lower, upper)
    linear, quadratic = program.linear_cost / bars, program.quadratic_cost / bars
    free = np.isinf(program.turnover) and not linear.any() and not quadratic.any()
    origin = np.zeros_like(lower) if free else program.current
    anchor = np.minimum(np.maximum(origin, lower), upper)
    before = np.abs(anchor - origin)
    mesh = np.full(len(lower), WHOLE)
    curved = quadratic > 0.0
    most = max(16, min(PIECES, ALL_PIECES // (2 * len(lower))))
    mesh[curved] = np.sqrt(0.4 * tolerance / (TRADES * quadratic[curved]))
    found: list[tuple[Ints, Array, Array, Array, Array, Ints]] = []
    for direction in (1.0, -1.0):
        end = upper if direction > 0.0 else lower
        # where the weight is 0, as a distance from the anchor
        zero = np.clip(-direction * anchor, 0.0, np.abs(end - anchor))
        for side, start, stop in (
            (-direction, np.zeros_like(zero), zero),
            (direction, zero, np.abs(end - anchor)),
        ):
            found.append(_pieces(direction, side, start, stop, np.maximum(mesh, stop / most)))
    asset, way, sign, length, touch, key = (
        np.concatenate([part[field] for part in found]) for field in range(6)
    )
    order = np.argsort(key, kind="stable")
    asset = asset[order].astype(np.int64)
    slope = linear[asset] + 2.0 * quadratic[asset] * (before[asset] + touch[order])
    return Moves(
        lower=lower,
        upper=upper,
        anchor=anchor,
        paid=0.0 if free else problem.costs(anchor),
        traded=0.0 if free else float(before.sum()),
        asset=asset,
        direction=way[order],
        side=sign[order],
        length=length[order],
        cost=slope,
        key=key[order].astype(np.int64),
    )


def _pieces(
    direction: float, side: float, start: Array, stop: Array, mesh: Array
) -> tuple[Ints, Array, Array, Array, Array, Ints]:
    """Pieces of all assets in one direction and on one side of 0, as distances from the anchor.

    Of each its asset, direction, side, length, where its supporting line touches the cost, and its key.  The
    lines touch at multiples of the mesh; two neighbours meet half way.
    """
    first = np.floor(start / mesh + 0.5).astype(np.int64)
    last = np.where(stop > start, np.ceil(stop / mesh + 0.5).astype(np.int64), first)
    count = np.maximum(last - first, 0)
    asset = np.repeat(np.arange(len(start)), count)
    number = np.arange(len(asset)) - np.repeat(np.cumsum(count) - count, count) + first[asset]
    left = np.maximum(start[asset], (number - 0.5) * mesh[asset])
    right = np.minimum(stop[asset], (number + 0.5) * mesh[asset])
    key = ((asset * 2 + (direction > 0.0)) * 2 + (side > 0.0)) * (4 * PIECES) + number
    keep = right > left
    sizes = np.ones(len(asset))
    return (
        asset[keep],
        direction * sizes[keep],
        side * sizes[keep],
        (right - left)[keep],
        (number * mesh[asset])[keep],
        key[keep],
    )


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """The limits on sums over the pieces: least <= matrix @ z <= most.

    Attributes
    ----------
    matrix : (R, K) array
        Cash, groups and gross, two bounds on one sum together; turnover; last survival.
    least, most : (R,) arrays
    names : tuple of (str, str), R of them
        The limits that the lower and the upper bound belong to; empty where there is none.
    """

    matrix: Array
    least: Array
    most: Array
    names: tuple[tuple[str, str], ...]

    def multipliers(self, prices: Array) -> dict[str, float]:
        """Shadow prices by the limit's name, from those of the rows: negative at the lower bound."""
        found: dict[str, float] = {}
        for names, price in zip(self.names, prices.tolist(), strict=True):
            name = names[price > 0.0]
            if price and name:
                found[name] = found.get(name, 0.0) + abs(price)
        return found


def sums_of(problem: GrowthProgram, moves: Moves) -> Sums:
    """The sums of a problem in terms of its pieces."""
    program = problem.program
    rows = rows_of(program)
    matrix: list[Array] = []
    least: list[float] = []
    most: list[float] = []
    names: list[tuple[str, str]] = []
    room = rows.bounds - rows.values(moves.anchor)
    for j, (normal, magnitude) in enumerate(zip(rows.normals, rows.magnitudes, strict=True)):
        plain = not (magnitude.any() or rows.magnitudes[j - 1].any())
        if j and plain and least[-1] == -np.inf and np.array_equal(normal, -rows.normals[j - 1]):
            least[-1] = -room[j]  # the other bound of the same sum
            names[-1] = (rows.names[j], names[-1][1])
            continue
        matrix.append(moves.direction * (normal[moves.asset] + moves.side * magnitude[moves.asset]))
        least.append(-np.inf)
        most.append(room[j])
        names.append(("", rows.names[j]))
    if np.isfinite(program.turnover):
        matrix.append(np.ones(len(moves.asset)))
        least.append(-np.inf)
        most.append(program.turnover - moves.traded)
        names.append(("", "turnover"))
    for plane in problem.planes:
        matrix.append(moves.direction * plane.normal[moves.asset])
        least.append(-np.inf)
        most.append(plane.bound - float(plane.normal @ moves.anchor))
        names.append(("", plane.name))
    bad = np.where(moves.side > 0.0, problem.lowest[moves.asset], problem.highest[moves.asset])
    anchor = moves.anchor
    worst = np.minimum(anchor * problem.lowest, anchor * problem.highest).sum()
    matrix.append(moves.cost - moves.direction * bad)
    least.append(-np.inf)
    most.append(1.0 - problem.survival + float(worst) - moves.paid)
    names.append(("", ""))
    return Sums(np.array(matrix), np.array(least), np.array(most), tuple(names))

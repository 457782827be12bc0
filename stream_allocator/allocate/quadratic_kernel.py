"""OSQP's programme, written column by column into the form that it takes.

Rows of the constraints in this order: each weight's interval; y = F'w; the limits on sums;
-inf < w - u <= w0 and w0 <= w + u < inf for the assets that trade both ways; the same with 0 for |w|; the
turnover; and, without factors, a variable that is fixed at 0.  Columns: w, y, u, v, and that variable.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_allocator.regime.elementary import compiled

__all__ = ["constraints", "curvature", "orientation", "programme", "steepness"]

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
Index = NDArray[np.int32]
#: Entries, their rows, and where each column begins.
Matrix = tuple[Array, Index, Index]


@compiled
def programme(
    factors: Array,
    dense: bool,
    own: Array,
    current: Array,
    cost: Array,
    lower: Array,
    upper: Array,
    normals: Array,
    magnitudes: Array,
    least: Array,
    most: Array,
    turnover: float,
    risk: float,
    diagonal: Array,
    linear: Array,
) -> tuple[Matrix, Array, float, Matrix, Array, Array]:
    """All of it: see the functions that it is made of, and :mod:`stream_allocator.allocate.quadratic`.

    Parameters
    ----------
    factors, own, current, cost
        Of the :class:`~stream_allocator.allocate.program.Program`.
    dense : bool
        Whether the curvature is written with no variables y, and so not here: then it is left empty.
    lower, upper : (n,) arrays
        The weights' intervals; where rounding has crossed them, ``lower`` stands for both.
    normals, magnitudes, least, most
        As in `constraints`.
    turnover : float
        Infinite where there is no limit.
    risk, diagonal, linear
        a, b and m of the objective.

    Returns
    -------
    p : entries, rows, pointers
        Of the curvature, its upper triangle.
    q : array
        The slope.
    scale : float
        What p and q were divided by.
    a : entries, rows, pointers
        Of the constraints.
    low, high : arrays
        Their bounds.
    """
    n, k = len(current), 0 if dense else factors.shape[1]
    upper = np.maximum(lower, upper)
    direction, sign, traded, both, capped, cap = orientation(
        lower, upper, current, cost, magnitudes, turnover
    )
    value, row, pointer, low, high = constraints(
        factors[:, :k], lower, upper, current, traded, both, sign, normals, magnitudes, least, most,
        direction, capped, cap,
    )  # fmt: skip
    scale = steepness(factors, own, current, cost, lower, upper, risk, diagonal, linear)
    q = np.zeros(len(pointer) - 1)
    u = n + k
    for i in range(n):
        q[i] = (cost[i] * direction[i] - linear[i]) / scale
        if traded[i]:
            q[u] = cost[i] / scale
            u += 1
    p = curvature(own, risk, diagonal, k, len(q), scale)
    return p, q, scale, (value, row, pointer), low, high


@compiled
def orientation(
    lower: Array, upper: Array, current: Array, cost: Array, magnitudes: Array, turnover: float
) -> tuple[Array, Array, Bools, Bools, bool, float]:
    """Which way assets can trade and stand.

    Returns
    -------
    direction : (n,) array
        1 where an asset can only be bought, -1 where it can only be sold, 0 where it trades both ways.
    sign : (n,) array
        1 where it can only be long, -1 where only short, 0 where both.
    traded, both : (n,) arrays of bool
        Assets that need a variable for ``|w - w0|``, and for ``|w|``.
    capped : bool
        Whether turnover limits anything.
    cap : float
        Of the turnover, plus ``direction @ current``.
    """
    n = len(current)
    direction, sign = np.zeros(n), np.zeros(n)
    traded, both = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    reach, cap = 0.0, turnover
    for i in range(n):
        reach += max(upper[i] - current[i], current[i] - lower[i])
    capped = turnover < reach
    for i in range(n):
        if lower[i] >= current[i]:
            direction[i] = 1.0
        elif upper[i] <= current[i]:
            direction[i] = -1.0
        else:
            traded[i] = capped or cost[i] > 0.0
        cap += direction[i] * current[i]
        if lower[i] >= 0.0:
            sign[i] = 1.0
        elif upper[i] <= 0.0:
            sign[i] = -1.0
        else:
            for j in range(len(magnitudes)):
                both[i] = both[i] or magnitudes[j, i] != 0.0
    return direction, sign, traded, both, capped, cap


@compiled
def steepness(
    factors: Array,
    own: Array,
    current: Array,
    cost: Array,
    lower: Array,
    upper: Array,
    risk: float,
    diagonal: Array,
    linear: Array,
) -> float:
    """Size of the objective's slope where the way begins, at w0 or as near to it as the intervals allow.

    Not below the largest cost, nor a thousandth of a typical asset's curvature.
    """
    n, k = factors.shape
    y, variance = np.zeros(k), 0.0
    for i in range(n):
        start = min(max(current[i], lower[i]), upper[i])
        variance += own[i]
        for f in range(k):
            y[f] += factors[i, f] * start
            variance += factors[i, f] ** 2
    scale: float = max(1e-3 * risk * variance / n, 1e-12)
    for i in range(n):
        start = min(max(current[i], lower[i]), upper[i])
        marginal = own[i] * start
        for f in range(k):
            marginal += factors[i, f] * y[f]
        scale = max(scale, abs(risk * marginal + diagonal[i] * start - linear[i]), cost[i])
    return scale


@compiled
def curvature(own: Array, risk: float, diagonal: Array, k: int, size: int, scale: float) -> Matrix:
    """The diagonal in w and y, over ``scale``, of so many variables; empty where there are no factors."""
    entries = len(own) + k if k else 0
    value, row, pointer = np.empty(entries), np.empty(entries, np.int32), np.empty(size + 1, np.int32)
    for i in range(entries):
        value[i] = (risk * own[i] + diagonal[i] if i < len(own) else risk) / scale
        row[i] = i
    for i in range(size + 1):
        pointer[i] = min(i, entries)
    return value, row, pointer


@compiled
def constraints(
    factors: Array,
    lower: Array,
    upper: Array,
    current: Array,
    traded: Bools,
    both: Bools,
    sign: Array,
    normals: Array,
    magnitudes: Array,
    least: Array,
    most: Array,
    direction: Array,
    capped: bool,
    cap: float,
) -> tuple[Array, Index, Index, Array, Array]:
    """The constraints' matrix by its columns, and the bounds of its rows.

    Parameters
    ----------
    factors : (n, k) array
        Of no columns where the curvature is dense.
    lower, upper, current : (n,) arrays
        The weights' intervals, and w0.
    traded, both : (n,) arrays of bool
        Assets that need a variable for ``|w - w0|``, and for ``|w|``.
    sign : (n,) array
        Of the weights, 0 for those of ``both``.
    normals, magnitudes : (m, n) arrays
        Of the limits on sums, ``least <= normals @ w + magnitudes @ |w| <= most``.
    least, most : (m,) arrays
    direction : (n,) array
        Of the trades, 0 where an asset trades both ways.
    capped : bool
        Whether turnover is limited, to ``cap`` plus ``direction @ current``.
    cap : float

    Returns
    -------
    value, row, pointer : arrays
        Entries, their rows in rising order, and where each column begins.
    low, high : arrays
        Bounds of the rows.
    """
    n, k = factors.shape
    m = len(most)
    t, b = int(traded.sum()), int(both.sum())
    fixed = 0 if k else 1
    of_u = n + k + m
    of_v = of_u + 2 * t
    of_cap = of_v + 2 * b
    height = of_cap + int(capped) + fixed
    size = n * (2 + k + m) + k + 3 * t + b * (2 + m) + 2 * t + 2 * b + 1
    value, row = np.empty(size), np.empty(size, np.int32)
    pointer = np.empty(n + k + t + b + fixed + 1, np.int32)
    low, high = np.full(height, -np.inf), np.full(height, np.inf)
    e = u = v = 0
    for i in range(n):
        pointer[i] = e
        low[i], high[i] = lower[i], upper[i]
        value[e], row[e] = 1.0, i
        e += 1
        for j in range(k):
            value[e], row[e] = factors[i, j], n + j
            e += 1
        for j in range(m):
            normal = normals[j, i] + magnitudes[j, i] * sign[i]
            if normal != 0.0:
                value[e], row[e] = normal, n + k + j
                e += 1
        if traded[i]:
            value[e], row[e], high[of_u + u] = 1.0, of_u + u, current[i]
            value[e + 1], row[e + 1], low[of_u + t + u] = 1.0, of_u + t + u, current[i]
            e += 2
            u += 1
        if both[i]:
            value[e], row[e], high[of_v + v] = 1.0, of_v + v, 0.0
            value[e + 1], row[e + 1], low[of_v + b + v] = 1.0, of_v + b + v, 0.0
            e += 2
            v += 1
        if capped and direction[i] != 0.0:
            value[e], row[e] = direction[i], of_cap
            e += 1
    for j in range(k):
        pointer[n + j] = e
        value[e], row[e] = -1.0, n + j
        low[n + j] = high[n + j] = 0.0
        e += 1
    for j in range(m):
        low[n + k + j], high[n + k + j] = least[j], most[j]
    for u in range(t):
        pointer[n + k + u] = e
        value[e], row[e] = -1.0, of_u + u
        value[e + 1], row[e + 1] = 1.0, of_u + t + u
        e += 2
        if capped:
            value[e], row[e] = 1.0, of_cap
            e += 1
    v = 0
    for i in range(n):
        if not both[i]:
            continue
        pointer[n + k + t + v] = e
        for j in range(m):
            if magnitudes[j, i] != 0.0:
                value[e], row[e] = magnitudes[j, i], n + k + j
                e += 1
        value[e], row[e] = -1.0, of_v + v
        value[e + 1], row[e + 1] = 1.0, of_v + b + v
        e += 2
        v += 1
    if capped:
        high[of_cap] = cap
    if fixed:
        pointer[n + t + b] = e
        value[e], row[e] = 1.0, height - 1
        low[height - 1] = high[height - 1] = 0.0
        e += 1
    pointer[n + k + t + b + fixed] = e
    return value[:e], row[:e], pointer, low, high

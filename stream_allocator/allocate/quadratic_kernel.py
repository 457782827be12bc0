"""The constraints of OSQP's programme, written column by column into the form that it takes.

Rows in this order: each weight's interval; y = F'w; the limits on sums; -inf < w - u <= w0 and
w0 <= w + u < inf for the assets that trade both ways; the same with 0 for |w|; the turnover; and, without
factors, a variable that is fixed at 0.  Columns: w, y, u, v, and that variable.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_allocator.regime.elementary import compiled

__all__ = ["constraints"]

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
Index = NDArray[np.int32]


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

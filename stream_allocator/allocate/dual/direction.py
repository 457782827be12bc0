"""The rows' part of a Newton step: a small quadratic programme, solved by an active set.

With q the rows' residuals and S their Schur complement, both after the factors are eliminated,

    maximise    q'p - p'S p / 2
    subject to  eta + p keeps the sign of its support: >= 0 at an upper bound, <= 0 at a lower one,
                free for an equality.

S is singular where rows depend on each other on the free assets.  Where the maximum is infinite, an unbounded
direction of ascent is returned in its place.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_allocator.allocate.dual.curvature import eliminate, null_combination, solve_rows
from stream_allocator.regime.elementary import compiled

__all__ = ["row_step"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

# An ascent of a null direction is real only if it is above this part of the terms it is made of.
REAL = 1e-10


@compiled
def row_step(
    schur: FloatArray,
    size: int,
    own_curvature: FloatArray,
    eta: FloatArray,
    sense: FloatArray,
    tolerance: float,
    out: BoolArray,
    kept: BoolArray,
    reduced: FloatArray,
    current: FloatArray,
    x: FloatArray,
    p: FloatArray,
) -> bool:
    """Fill ``p`` (size,); True where it is an unbounded direction.

    Parameters
    ----------
    schur : (>= size, >= size + 1) array
        S in its upper triangle, q in column ``size``.
    own_curvature, eta, sense : (size,) arrays
        The diagonal before elimination; the multipliers; +1 at an upper bound, -1 at a lower, 0 an equality.
    tolerance : float
        An ascent below it is none.
    out, kept, reduced, current, x
        Work.
    """
    for r in range(size):
        out[r] = False
        p[r] = 0.0
    for i in range(size):
        for j in range(i, size):
            current[i, j] = schur[i, j]
        current[i, size] = schur[i, size]
    for _ in range(6 * size + 20):
        eliminate(current, size, own_curvature, out, kept, reduced)
        is_null, best = False, tolerance
        chosen, turn = -1, 1.0
        for r in range(size):
            if kept[r] or out[r]:
                continue
            null_combination(reduced, r, kept, x)
            ascent = current[r, size]
            scale = abs(ascent)
            for j in range(r):
                ascent -= x[j] * current[j, size]
                scale += abs(x[j] * current[j, size])
            if abs(ascent) > best and abs(ascent) > REAL * scale:
                best, chosen, is_null = abs(ascent), r, True
                turn = 1.0 if ascent > 0.0 else -1.0
        if is_null:
            null_combination(reduced, chosen, kept, x)
            for j in range(size):
                x[j] = -turn * x[j] if j < chosen and kept[j] and abs(x[j]) > 1e-9 else 0.0
            x[chosen] = turn
            for j in range(size):  # the coefficients are small fractions
                v = np.round(12.0 * x[j]) / 12.0
                if abs(v - x[j]) < 1e-6:
                    x[j] = v
        else:
            solve_rows(reduced, size, kept, x)
        longest, blocking = np.inf if is_null else 1.0, -1
        for j in range(size):
            if sense[j] * x[j] < 0.0:
                room = max(sense[j] * (eta[j] + p[j]), 0.0) / abs(x[j])
                if room < longest:
                    longest, blocking = room, j
        if is_null and blocking < 0:
            for j in range(size):
                p[j] = x[j]
            return True
        for j in range(size):
            p[j] += longest * x[j]
        if blocking >= 0:
            out[blocking] = True
            p[blocking] = -eta[blocking]
        for i in range(size):
            v = schur[i, size]
            for j in range(size):
                v -= (schur[i, j] if i <= j else schur[j, i]) * p[j]
            current[i, size] = v
        if blocking >= 0:
            continue
        released, most = -1, tolerance
        for j in range(size):
            if out[j] and sense[j] * current[j, size] > most:
                released, most = j, sense[j] * current[j, size]
        if released < 0:
            break
        out[released] = False
    return False

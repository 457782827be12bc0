"""The line search: a zero of the dual's derivative along a direction, a decreasing function of the step.

The derivative is piecewise linear in the assets and falls by a jump where a row's multiplier crosses zero
(its support changes from one bound to the other).  Between two crossings it is found by Newton steps inside
a bracket.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_allocator.allocate.dual.prox import slopes
from stream_allocator.regime.elementary import compiled

__all__ = ["search", "separates"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# A Newton step of the dual need not be searched exactly: its length is right once the active set is.
SLACK = 0.05
EVALUATIONS_A_PIECE = 200


@compiled
def search(
    eta: FloatArray,
    direction: FloatArray,
    support: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    constant: float,
    linear: float,
    exact: bool,
    ascent: float,
    guess: float,
    small: float,
    longest: float,
    a: FloatArray,
    p: FloatArray,
    g: FloatArray,
    da: FloatArray,
    dp: FloatArray,
    dg: FloatArray,
    w0: FloatArray,
    inverse: FloatArray,
    lb: FloatArray,
    ub: FloatArray,
    magnitudes: bool,
    first: FloatArray,
    second: FloatArray,
) -> tuple[float, int, int]:
    """The step, the row whose multiplier ends at zero (-1: none), and the number of evaluations.

    ``support`` (m,) holds the bound that each row's multiplier prices and is overwritten; the factors'
    part of the derivative is constant + linear t.  The step is infinite where even ``longest`` ascends.
    """
    evaluations = 0
    start, begin, ascent_here = guess, 0.0, ascent
    while True:
        end, row = np.inf, -1
        for j in range(len(eta)):
            if lower[j] != upper[j] and direction[j] * eta[j] < 0.0:
                x = -eta[j] / direction[j]
                if begin < x < end and support[j] == (upper[j] if eta[j] > 0.0 else lower[j]):
                    end, row = x, j
        rows = 0.0
        for j in range(len(eta)):
            if direction[j] != 0.0:
                rows += direction[j] * support[j]
        low, f_low, high, f_high, bracketed = begin, ascent_here, end, 0.0, False
        t = min(start, end) if start > begin else min(2.0 * begin, end)
        found = -1.0
        for trial in range(EVALUATIONS_A_PIECE):
            f, df = slopes(t, a, p, g, da, dp, dg, w0, inverse, lb, ub, magnitudes, first, second)
            f += constant + linear * t - rows
            df += linear
            evaluations += 1
            if exact:
                if abs(f) <= small or (f >= 0.0 and bracketed and high - low <= 1e-15 * high):
                    found = t
                    break
            elif (f >= 0.0 and t == 1.0) or (abs(f) <= SLACK * ascent and (f >= 0.0 or t <= 1.0)):
                found = t
                break
            if f > 0.0:
                low, f_low = t, f
                if t == end:
                    break
            else:
                high, f_high, bracketed = t, f, True
            following = t - f / df if df < 0.0 else -1.0
            if bracketed:
                if not low < following < high:
                    following = low + (high - low) * f_low / (f_low - f_high)
                    if trial % 3 == 2 or not low < following < high:
                        following = 0.5 * (low + high)
                if following <= low or following >= high:
                    found = low if low > begin else high
                    break
            else:
                if not following > low:
                    following = max(8.0 * low, 1e-300)
                if low > 0.0:
                    following = min(following, (16.0 if exact else 64.0) * low)
                following = min(following, end)
                if t > longest:
                    return np.inf, -1, evaluations
            t = following
        else:
            found = t
        if found >= 0.0:
            return found, (row if found == end else -1), evaluations
        # still ascending where row's multiplier reaches zero: go on with its other bound, if it has one
        other = lower[row] if direction[row] < 0.0 else upper[row]
        if not np.isfinite(other):
            return end, row, evaluations
        ascent_here = f_low - direction[row] * (other - support[row])
        if not ascent_here > 0.0:
            return end, row, evaluations
        support[row] = other
        begin, start = end, 1.0


@compiled
def separates(
    ray: FloatArray,
    alpha: FloatArray,
    beta: FloatArray,
    tau: FloatArray,
    pointer: IntArray,
    member: IntArray,
    lower: FloatArray,
    upper: FloatArray,
    w0: FloatArray,
    lb: FloatArray,
    ub: FloatArray,
) -> float:
    """By how much the rows, combined by ``ray``, cannot hold on the box; <= 0 where that proves nothing.

    min over the box of sum ray_j r_j(w), less the largest that the bounds allow: an infeasible programme
    has a ray for which it is positive (Farkas), and any such ray is a proof.
    """
    least, size = 0.0, 0.0
    for j in range(len(ray)):
        if ray[j] != 0.0:
            bound = upper[j] if ray[j] > 0.0 else lower[j]
            if not np.isfinite(bound):
                return -np.inf
            least -= ray[j] * bound
            size += abs(ray[j] * bound)
    for i in range(len(w0)):
        net, trade, gross = ray[0], ray[1], ray[2]
        for x in range(pointer[i], pointer[i + 1]):
            j = member[x]
            net += alpha[j] * ray[j]
            trade += tau[j] * ray[j]
            gross += beta[j] * ray[j]
        # convex and piecewise linear: a corner is least
        value = min(
            net * lb[i] + trade * abs(lb[i] - w0[i]) + gross * abs(lb[i]),
            net * ub[i] + trade * abs(ub[i] - w0[i]) + gross * abs(ub[i]),
        )
        kink = min(max(w0[i], lb[i]), ub[i])
        value = min(value, net * kink + trade * abs(kink - w0[i]) + gross * abs(kink))
        kink = min(max(0.0, lb[i]), ub[i])
        value = min(value, net * kink + trade * abs(kink - w0[i]) + gross * abs(kink))
        least += value
        size += abs(value)
    return least - 4e-16 * size

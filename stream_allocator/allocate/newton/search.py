"""The exact search along a direction of the dual, whose derivative is piecewise linear and falling."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_allocator.allocate.newton.place import position, total
from stream_allocator.regime.elementary import compiled

__all__ = ["directional", "search"]

Array = NDArray[np.float64]

MOST_EVALUATIONS = 200


@compiled
def directional(
    t: float,
    pull: Array,
    pull_rate: Array,
    cost: Array,
    trade_rate: float,
    size: Array,
    size_rate: Array,
    w0: Array,
    room: Array,
    lower: Array,
    upper: Array,
    constant: float,
    slope: float,
    values: Array,
    curvatures: Array,
) -> tuple[float, float]:
    """Derivative of the dual at step ``t`` of a direction, and its slope.

    ``constant + slope t`` is the part that does not depend on the weights; the two last arrays are scratch.
    """
    for i in range(len(pull)):
        rate = pull_rate[i]
        w, free = position(
            pull[i] - t * rate,
            cost[i] + t * trade_rate,
            size[i] + t * size_rate[i],
            w0[i],
            room[i],
            lower[i],
            upper[i],
        )
        values[i] = w * rate + trade_rate * abs(w - w0[i]) + size_rate[i] * abs(w)
        bend = (
            rate + (trade_rate if w > w0[i] else -trade_rate) + (size_rate[i] if w > 0.0 else -size_rate[i])
        )
        curvatures[i] = free * bend * bend * room[i]
    return constant + slope * t + total(values), slope - total(curvatures)


@compiled
def search(
    pull: Array,
    pull_rate: Array,
    cost: Array,
    size: Array,
    size_rate: Array,
    w0: Array,
    room: Array,
    lower: Array,
    upper: Array,
    eta: Array,
    step: Array,
    bound: Array,
    row_lower: Array,
    row_upper: Array,
    constant: float,
    slope: float,
    exact: bool,
    start_value: float,
    first: float,
    accuracy: float,
    farthest: float,
    count: Array,
    values: Array,
    curvatures: Array,
) -> tuple[float, int, bool]:
    """Where the derivative along a direction is 0, or where a one-sided row's price reaches 0 before that.

    Parameters
    ----------
    pull, cost, size : (n,) arrays
        Of each asset's one-dimensional step, at the start.
    pull_rate, size_rate : (n,) arrays
        How they change along the direction; cost changes by ``step[1]``.
    eta, step : (m,) arrays
        Prices of the rows, and the direction in them.
    bound : (m,) array
        Which bound each row's price counts for; changed where a price passes 0.
    constant, slope : float
        The factors' part of the derivative.
    exact : bool
        Whether the root is needed to rounding (null directions), or a 20th of the start value is enough.
    start_value : float
        The derivative at the start, positive.
    first : float
        First trial.
    accuracy, farthest : float
        Of the root's value; and beyond which the dual is taken to rise for ever.
    count : (1,) array
        Evaluations are added.
    values, curvatures : (n,) arrays
        Scratch.

    Returns
    -------
    t : float
    stopped : int
        The row whose price is 0 at t, or -1.
    endless : bool
        Whether the dual rises for ever.
    """
    m = len(eta)
    reached = 0.0
    begin = first
    shift = 0.0
    for j in range(m):
        if step[j] != 0.0:
            shift -= step[j] * bound[j]
    while True:
        end = np.inf
        stopping = -1
        for j in range(m):
            if row_lower[j] != row_upper[j] and step[j] != 0.0 and eta[j] * step[j] < 0.0:
                x = -eta[j] / step[j]
                if x > reached and x < end and bound[j] == (row_upper[j] if eta[j] > 0.0 else row_lower[j]):
                    end = x
                    stopping = j
        low = reached
        low_value = start_value
        high = end
        high_value = 0.0
        bracketed = False
        t = min(begin, end) if begin > reached else min(2.0 * reached, end)
        root = -1.0
        for k in range(MOST_EVALUATIONS):
            value, curvature = directional(
                t, pull, pull_rate, cost, step[1], size, size_rate, w0, room, lower, upper,
                constant + shift, slope, values, curvatures,
            )  # fmt: skip
            count[0] += 1.0
            if exact:
                if abs(value) <= accuracy or (value >= 0.0 and bracketed and high - low <= 1e-15 * high):
                    root = t
                    break
            elif (value >= 0.0 and t == 1.0) or (
                abs(value) <= 0.05 * start_value and (value >= 0.0 or t <= 1.0)
            ):
                root = t
                break
            if value > 0.0:
                low = t
                low_value = value
                if t == end:
                    break
            else:
                high = t
                high_value = value
                bracketed = True
            guess = t - value / curvature if curvature < 0.0 else -1.0
            if bracketed:
                if not (guess > low and guess < high):
                    if k % 3 != 2:
                        guess = low + (high - low) * low_value / (low_value - high_value)
                    else:
                        guess = 0.5 * (low + high)
                    if not (guess > low and guess < high):
                        guess = 0.5 * (low + high)
                if guess in (low, high):
                    root = low if low > reached else high
                    break
            else:
                if not guess > low:
                    guess = max(8.0 * low, 1e-300)
                if low > 0.0:
                    guess = min(guess, (16.0 if exact else 64.0) * low)
                guess = min(guess, end)
                if t > farthest and exact:
                    return t, -1, True
            t = guess
        else:
            root = t
        if root >= 0.0:
            return root, (stopping if root == end and stopping >= 0 else -1), False
        # still rising where a price reaches 0: that row's support goes to its other bound
        other = row_lower[stopping] if step[stopping] < 0.0 else row_upper[stopping]
        after = low_value - step[stopping] * (other - bound[stopping])
        if not after > 0.0:
            return end, stopping, False
        shift -= step[stopping] * (other - bound[stopping])
        bound[stopping] = other
        reached = end
        start_value = after
        begin = 1.0

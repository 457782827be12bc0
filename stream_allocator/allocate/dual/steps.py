"""The step of the outer Newton: its small linear system, and a multiplier's safeguard."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_allocator.regime.elementary import compiled

__all__ = ["eliminate_small", "next_multiplier"]

Array = NDArray[np.float64]


@compiled
def eliminate_small(system: Array, residual: Array) -> Array:
    """-system^-1 residual by elimination with row exchange; 0 where the system is singular."""
    size = len(residual)
    x = -residual
    for c in range(size):
        best = c
        for row in range(c + 1, size):
            if abs(system[row, c]) > abs(system[best, c]):
                best = row
        if not abs(system[best, c]) > 0.0:
            return np.zeros(size)
        for q in range(size):
            system[c, q], system[best, q] = system[best, q], system[c, q]
        x[c], x[best] = x[best], x[c]
        for row in range(c + 1, size):
            ratio = system[row, c] / system[c, c]
            for q in range(c, size):
                system[row, q] -= ratio * system[c, q]
            x[row] -= ratio * x[c]
    for c in range(size - 1, -1, -1):
        for q in range(c + 1, size):
            x[c] -= system[c, q] * x[q]
        x[c] /= system[c, c]
    return x


@compiled
def next_multiplier(
    now: float,
    step: float,
    over: bool,
    flat: bool,
    bracketed: bool,
    a: float,
    unit: float,
    least: Array,
    greatest: Array,
    which: int,
) -> float:
    """The next multiplier of a cap: Newton's, inside the bracket where that is known to hold."""
    if bracketed:
        if over:
            least[which] = max(least[which], now)
        else:
            greatest[which] = min(greatest[which], now)
    guess = now + step
    if over and (flat or guess < 0.0):
        guess = max(4.0 * now, unit)
    elif flat:  # no asset moves at this price: back to where some do
        guess = 0.25 * now
    if bracketed:
        if greatest[which] < np.inf:
            if guess <= 0.0 and least[which] < 0.0:
                return 0.0
            if not (least[which] < guess < greatest[which]):
                guess = 0.5 * (max(least[which], 0.0) + greatest[which])
        elif guess <= least[which]:
            guess = max(4.0 * now, unit)
    guess = max(guess, 0.0)
    return min(guess, 100.0 * max(now, a))

"""Where every asset stands, given the prices of everything it takes part in: a loop without branches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_allocator.regime.elementary import compiled, inlined

__all__ = ["place_all", "position", "total"]

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@inlined
def position(
    a: float, p: float, g: float, w0: float, room: float, lower: float, upper: float
) -> tuple[float, float]:
    """argmin w^2/(2 room) - a w + p |w - w0| + g |w| over lower <= w <= upper, for p, g >= 0.

    The slopes left of both kinks, between them and right of them give three parabolas, whose minima fall from
    left to right; each is clipped to where its slope holds.

    Returns
    -------
    w : float
        Exactly ``lower``, ``upper``, ``w0`` or 0 where it stands there.
    free : float
        1 where it moves with a, else 0.
    """
    first = w0 if w0 < 0.0 else 0.0
    second = 0.0 if w0 < 0.0 else w0
    jump = p if w0 < 0.0 else g
    left = (a + p + g) * room
    middle = (a + p + g - 2.0 * jump) * room
    right = (a - p - g) * room
    w = right if right > second else second
    w = middle if middle < w else w
    w = w if w > first else first
    w = left if left < w else w
    inside = w
    w = inside if inside > lower else lower
    w = w if w < upper else upper
    free = 1.0 if (w != first) & (w != second) & (w > lower) & (w < upper) else 0.0
    return w, free


@compiled
def place_all(
    pull: Array,
    price: Array,
    size: Array,
    w0: Array,
    room: Array,
    lower: Array,
    upper: Array,
    w: Array,
    free: Array,
    side: Array,
    sign: Array,
) -> None:
    """w, free, and the signs of w - w0 and of w, for all assets."""
    for i in range(len(pull)):
        wi, free[i] = position(pull[i], price[i], size[i], w0[i], room[i], lower[i], upper[i])
        w[i] = wi
        side[i] = 1.0 if wi > w0[i] else -1.0
        sign[i] = 1.0 if wi > 0.0 else -1.0


@compiled
def total(x: Array) -> float:
    """Sum in four lanes, always the same four: fast, and the same bits on every machine."""
    n = len(x)
    a = 0.0
    b = 0.0
    c = 0.0
    d = 0.0
    whole = n - n % 4
    for i in range(0, whole, 4):
        a += x[i]
        b += x[i + 1]
        c += x[i + 2]
        d += x[i + 3]
    for i in range(whole, n):
        a += x[i]
    return (a + b) + (c + d)

"""Where one asset stands, given the prices of everything it takes part in."""

from __future__ import annotations

from stream_allocator.regime.elementary import inlined

__all__ = ["place", "place_unsized"]


@inlined
def place_unsized(
    a: float, p: float, w0: float, room: float, lower: float, upper: float
) -> tuple[float, bool, float]:
    """argmin w^2/(2 room) - a w + p |w - w0| over lower <= w <= upper.

    Returns
    -------
    w : float
        Exactly ``lower``, ``upper`` or ``w0`` where it stands there.
    free : bool
        Whether it moves with a.
    side : float
        Sign of w - w0, +1 or -1, of a free w.
    """
    free = True
    side = 1.0
    w = (a - p) * room
    if w <= w0:
        w = (a + p) * room
        side = -1.0
        if w >= w0:
            w = w0
            free = False
    if w <= lower:
        w = lower
        free = False
    elif w >= upper:
        w = upper
        free = False
    return w, free, side


@inlined
def place(
    a: float, p: float, g: float, w0: float, room: float, lower: float, upper: float
) -> tuple[float, bool, float, float]:
    """argmin w^2/(2 room) - a w + p |w - w0| + g |w| over lower <= w <= upper.

    As :func:`place_unsized`, with the sign of w as a last number.
    """
    if w0 < 0.0:
        first = w0
        second = 0.0
        jump = p
    else:
        first = 0.0
        second = w0
        jump = g
    free = True
    w = (a + p + g) * room
    if w >= first:
        w = (a + p + g - 2.0 * jump) * room
        if w <= first:
            w = first
            free = False
        elif w >= second:
            w = (a - p - g) * room
            if w <= second:
                w = second
                free = False
    if w <= lower:
        w = lower
        free = False
    elif w >= upper:
        w = upper
        free = False
    return w, free, 1.0 if w > w0 else -1.0, 1.0 if w > 0.0 else -1.0

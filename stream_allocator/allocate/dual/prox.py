"""Each asset's own minimum, given the prices of the factors and the rows.

    w_i = argmin  h/2 w^2 - a w + p |w - w0| + g |w|   on [lb, ub]

with p = c + the multipliers of turnover rows and g = those of |w| rows.  The loops have no branches, so that
they vectorise; sums are taken from arrays, in a fixed order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_allocator.regime.elementary import compiled, inlined, serial_sum

__all__ = ["respond", "slopes", "spread"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@inlined
def nearest_two_kinks(a: float, p: float, g: float, w0: float, inverse: float, lb: float, ub: float) -> float:
    """The minimum with kinks at w0 and 0: three parabolas, of which the kinks choose one, or a kink."""
    first = w0 if w0 < 0.0 else 0.0
    second = 0.0 if w0 < 0.0 else w0
    at_first = p if w0 < 0.0 else g
    below = (a + p + g) * inverse
    between = (a + p + g - 2.0 * at_first) * inverse
    u = (a - p - g) * inverse
    u = second if u < second else u
    u = between if between < u else u
    u = first if u < first else u
    u = below if below < u else u
    u = lb if u < lb else u
    return ub if u > ub else u


@inlined
def nearest_one_kink(a: float, p: float, w0: float, inverse: float, lb: float, ub: float) -> float:
    """The minimum with a kink at w0 only (g = 0)."""
    above = (a - p) * inverse
    u = (a + p) * inverse
    u = w0 if w0 < u else u
    u = above if u < above else u
    u = lb if u < lb else u
    return ub if u > ub else u


@compiled
def respond(
    a: FloatArray,
    p: FloatArray,
    g: FloatArray,
    w0: FloatArray,
    inverse: FloatArray,
    lb: FloatArray,
    ub: FloatArray,
    magnitudes: bool,
    w: FloatArray,
    weight: FloatArray,
    side: FloatArray,
    sign: FloatArray,
) -> None:
    """Fill w, its derivative ``weight`` = dw/da (0 at a bound or kink), sgn(w - w0) and sgn(w)."""
    if magnitudes:
        for i in range(len(a)):
            u = nearest_two_kinks(a[i], p[i], g[i], w0[i], inverse[i], lb[i], ub[i])
            stuck = (u <= lb[i]) | (u >= ub[i]) | ((u == w0[i]) & (p[i] > 0.0)) | ((u == 0.0) & (g[i] > 0.0))
            w[i] = u
            weight[i] = 0.0 if stuck else inverse[i]
            side[i] = 1.0 if u > w0[i] else -1.0
            sign[i] = 1.0 if u > 0.0 else -1.0
    else:
        for i in range(len(a)):
            u = nearest_one_kink(a[i], p[i], w0[i], inverse[i], lb[i], ub[i])
            stuck = (u <= lb[i]) | (u >= ub[i]) | ((u == w0[i]) & (p[i] > 0.0))
            w[i] = u
            weight[i] = 0.0 if stuck else inverse[i]
            side[i] = 1.0 if u > w0[i] else -1.0


@compiled
def slopes(
    t: float,
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
) -> tuple[float, float]:
    """The assets' part of the dual's first and second derivative along (da, dp, dg), at step t."""
    if magnitudes:
        for i in range(len(a)):
            pi, gi = p[i] + t * dp[i], g[i] + t * dg[i]
            u = nearest_two_kinks(a[i] + t * da[i], pi, gi, w0[i], inverse[i], lb[i], ub[i])
            stuck = (u <= lb[i]) | (u >= ub[i]) | ((u == w0[i]) & (pi > 0.0)) | ((u == 0.0) & (gi > 0.0))
            first[i] = dp[i] * abs(u - w0[i]) + dg[i] * abs(u) - da[i] * u
            d = da[i] - (dp[i] if u > w0[i] else -dp[i]) - (dg[i] if u > 0.0 else -dg[i])
            second[i] = 0.0 if stuck else d * d * inverse[i]
    else:
        for i in range(len(a)):
            pi = p[i] + t * dp[i]
            u = nearest_one_kink(a[i] + t * da[i], pi, w0[i], inverse[i], lb[i], ub[i])
            stuck = (u <= lb[i]) | (u >= ub[i]) | ((u == w0[i]) & (pi > 0.0))
            first[i] = dp[i] * abs(u - w0[i]) - da[i] * u
            d = da[i] - (dp[i] if u > w0[i] else -dp[i])
            second[i] = 0.0 if stuck else d * d * inverse[i]
    return serial_sum(first), -serial_sum(second)


@compiled
def spread(
    price: FloatArray,
    alpha: FloatArray,
    beta: FloatArray,
    tau: FloatArray,
    pointer: IntArray,
    member: IntArray,
    plain: bool,
    net: FloatArray,
    trade: FloatArray,
    gross: FloatArray,
) -> None:
    """Add the rows' prices to each asset's ``net``; fill its ``trade`` and ``gross`` prices.

    ``plain``: all group rows are net rows.
    """
    if plain:
        for i in range(len(net)):
            total = price[0]
            for x in range(pointer[i], pointer[i + 1]):
                total += price[member[x]]
            net[i] += total
            trade[i] = price[1]
            gross[i] = price[2]
        return
    for i in range(len(net)):
        total, of_trade, of_gross = price[0], price[1], price[2]
        for x in range(pointer[i], pointer[i + 1]):
            j = member[x]
            total += alpha[j] * price[j]
            of_trade += tau[j] * price[j]
            of_gross += beta[j] * price[j]
        net[i] += total
        trade[i] = of_trade
        gross[i] = of_gross

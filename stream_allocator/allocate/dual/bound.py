"""The proof in compiled code: the same bound as :func:`stream_allocator.allocate.certificate.certificate`."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stream_allocator.allocate.dual.curvature import exposures, loadings
from stream_allocator.allocate.dual.problem import GROSS, LONG, NET
from stream_allocator.regime.elementary import compiled

__all__ = ["proof"]

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@compiled
def proof(
    mean: Array,
    factors: Array,
    own: Array,
    scalars: Array,
    cost: Array,
    quadratic: Array,
    w0: Array,
    lower: Array,
    upper: Array,
    benchmark: Array,
    kind: Index,
    pointer: Index,
    member: Index,
    row_lower: Array,
    row_upper: Array,
    eta: Array,
    w: Array,
    psi: float,
    chi: float,
    out: Array,
    work: Array,
) -> None:
    """out <- objective, gap to a rigorous lower bound, sum of the terms' sizes, worst violation.

    Where sigma is 0 its kink is left out of the bound, which is then only weaker.
    """
    gamma, k, r, g, cap, track_cap = scalars[0], scalars[1], scalars[2], scalars[3], scalars[4], scalars[5]
    n, kf = factors.shape
    m = len(eta)
    alpha = np.zeros(m)
    beta = np.zeros(m)
    for j in range(m):
        alpha[j] = 1.0 if kind[j] == NET else (0.5 if kind[j] == LONG else 0.0)
        beta[j] = 1.0 if kind[j] == GROSS else (0.5 if kind[j] == LONG else 0.0)
    y = np.empty(kf)
    marginal = work[0, :n]
    away = work[1, :n]
    away[:] = 0.0
    exposures(factors, w, y)
    loadings(factors, y, marginal)
    sigma = 0.0
    norm = 0.0
    earned = 0.0
    linear = 0.0
    impact = 0.0
    for f in range(kf):
        sigma += y[f] * y[f]
    for i in range(n):
        sigma += own[i] * w[i] * w[i]
        norm += w[i] * w[i]
        marginal[i] += own[i] * w[i]
        earned += mean[i] * w[i]
        linear += cost[i] * abs(w[i] - w0[i])
        impact += quadratic[i] * (w[i] - w0[i]) ** 2
    sigma = math.sqrt(sigma)
    norm = math.sqrt(norm)
    risk = k * sigma + 0.5 * gamma * (sigma + r * norm) ** 2 + g * norm
    by_sigma = (k + gamma * (sigma + r * norm)) / sigma if sigma > 0.0 else 0.0
    by_norm = (gamma * r * (sigma + r * norm) + g) / norm if norm > 0.0 else 0.0
    violation = 0.0
    # relaxed: the bound's loss beside the separable part
    loss = 0.0
    if psi > 0.0 and cap < np.inf:
        by_sigma += psi
        loss += psi * sigma * (cap - sigma)
    violation = max(violation, sigma - cap)
    if track_cap < np.inf:
        exposures(factors, benchmark, y)
        loadings(factors, y, away)
        error = 0.0
        for i in range(n):
            away[i] = marginal[i] - away[i] - own[i] * benchmark[i]
            error += away[i] * (w[i] - benchmark[i])
        error = math.sqrt(max(error, 0.0))
        violation = max(violation, error - track_cap)
        if chi > 0.0:
            loss += chi * error * (track_cap - error)
    value = np.zeros(m)
    separable = 0.0  # what the best v gains on w
    for i in range(n):
        slope = -mean[i] + 2.0 * quadratic[i] * (w[i] - w0[i]) + by_sigma * marginal[i] + by_norm * w[i]
        slope += chi * away[i] + eta[0]
        size = eta[2]
        value[0] += w[i]
        value[1] += abs(w[i] - w0[i])
        value[2] += abs(w[i])
        for q in range(pointer[i], pointer[i + 1]):
            j = member[q]
            slope += alpha[j] * eta[j]
            size += beta[j] * eta[j]
            value[j] += alpha[j] * w[i] + beta[j] * abs(w[i])
        price = cost[i] + eta[1]
        here = slope * w[i] + price * abs(w[i] - w0[i]) + size * abs(w[i])
        best = here
        for c in range(4):
            v = lower[i] if c == 0 else (upper[i] if c == 1 else (w0[i] if c == 2 else 0.0))
            v = min(max(v, lower[i]), upper[i])
            best = min(best, slope * v + price * abs(v - w0[i]) + size * abs(v))
        separable += here - best
        violation = max(violation, lower[i] - w[i], w[i] - upper[i])
    for j in range(m):
        if eta[j] > 0.0:
            loss += eta[j] * (row_upper[j] - value[j])
        elif eta[j] < 0.0:
            loss += eta[j] * (row_lower[j] - value[j])
        violation = max(violation, value[j] - row_upper[j], row_lower[j] - value[j])
    out[0] = -earned + risk + linear + impact
    out[1] = separable + loss
    out[2] = abs(earned) + risk + linear + impact
    out[3] = violation

"""How the answer moves with the data: the inverse of the reduced optimality conditions.

Where the active set stays as it is, a change x of b moves the answer by y = R x with

    R = H^-1 - H^-1 G' (G H^-1 G')^-1 G H^-1,   H = diag(h) + s F F' on the free assets,

G the derivatives of the rows that bind; y is 0 on the assets that are not free.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_allocator.allocate.dual.curvature import (
    cholesky,
    eliminate,
    eliminate_factors,
    exposures,
    loadings,
    recover_factors,
    solve_rows,
    update,
)
from stream_allocator.allocate.dual.problem import OPTIMAL
from stream_allocator.allocate.dual.prox import spread
from stream_allocator.allocate.dual.rows import coefficients, order
from stream_allocator.regime.elementary import compiled, serial_sum

__all__ = ["sensitivity"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@compiled
def sensitivity(
    factors: FloatArray,
    s: float,
    h: FloatArray,
    c: FloatArray,
    w: FloatArray,
    w0: FloatArray,
    lb: FloatArray,
    ub: FloatArray,
    kind: IntArray,
    pointer: IntArray,
    member: IntArray,
    lower: FloatArray,
    upper: FloatArray,
    eta: FloatArray,
    changes: FloatArray,
    answers: FloatArray,
) -> bool:
    """Fill ``answers`` = R ``changes``, both (q, n).

    Parameters
    ----------
    factors, s, h, c, w0, lb, ub, kind, pointer, member, lower, upper
        The programme, as for :func:`~stream_allocator.allocate.dual.kernel.solve`.
    w, eta : (n,) and (m,) arrays
        Its solution.  Rows that bind are the equalities and those with a multiplier.
    changes : (q, n) array
        Changes of b.
    answers : (q, n) array
        Out: the changes of w.

    Returns
    -------
    bool
        False where the curvature is not positive definite to rounding; ``answers`` is then zero.
    """
    n, k = factors.shape
    m = len(kind)
    answers[:] = 0.0
    of_assets = np.empty((11, n + 9))
    trade, gross, net = of_assets[0, :n], of_assets[1, :n], of_assets[2, :n]
    weight, side, sign = of_assets[3, :n], of_assets[4, :n], of_assets[5, :n]
    old_weight, old_side, old_sign = of_assets[6, :n], of_assets[7, :n], of_assets[8, :n]
    scaled, part = of_assets[9, :n], of_assets[10, :n]
    of_rows = np.zeros((8, m))
    alpha, beta, tau, price = of_rows[0], of_rows[1], of_rows[2], of_rows[3]
    own_curvature, derivative, x, inner = of_rows[4], of_rows[5], of_rows[6], of_rows[7]
    finite, out, kept = np.empty(m, np.bool_), np.zeros(m, np.bool_), np.empty(m, np.bool_)
    count, own, index = np.zeros(m, np.int64), np.empty(m, np.int64), np.empty(m, np.int64)
    m_factors, chol = np.zeros((k, k)), np.zeros((k, k))
    b_rows, c_rows = np.zeros((m, k)), np.zeros((m, m))
    status, plain, magnitudes = coefficients(kind, lower, upper, alpha, beta, tau, finite)
    if status != OPTIMAL:
        return False
    net[:] = 0.0
    spread(eta, alpha, beta, tau, pointer, member, plain, net, trade, gross)
    changed = np.empty(n, np.int64)
    free = 0
    for i in range(n):
        at_kink = (w[i] == w0[i] and c[i] + trade[i] > 0.0) or (magnitudes and w[i] == 0.0 and gross[i] > 0.0)
        weight[i] = 1.0 / h[i] if lb[i] < w[i] < ub[i] and not at_kink else 0.0
        side[i] = 1.0 if w[i] > w0[i] else -1.0
        sign[i] = 1.0 if w[i] > 0.0 else -1.0
        old_weight[i], old_side[i], old_sign[i] = 0.0, 1.0, 1.0
        if weight[i] > 0.0:
            changed[free] = i
            free += 1
    update(
        factors, weight, side, sign, old_weight, old_side, old_sign, changed, free, pointer, member,
        alpha, beta, tau, finite, m_factors, b_rows, c_rows, count, own, derivative,
    )  # fmt: skip
    size = 0
    for position in range(m):
        j = order(position, m)
        if finite[j] and (lower[j] == upper[j] or eta[j] != 0.0):
            index[size] = j
            size += 1
    right = np.empty((k, size + 1))
    schur, reduced = np.empty((size + 1, size + 1)), np.empty((size + 1, size + 1))
    y = np.empty(k)
    if not cholesky(m_factors, 1.0 / s, chol):
        return False
    for q in range(len(changes)):
        for i in range(n):
            scaled[i] = weight[i] * changes[q, i]
        exposures(factors, scaled, y)
        inner[:] = 0.0
        for i in range(n):
            if scaled[i] != 0.0:
                for t in range(pointer[i], pointer[i + 1]):
                    j = member[t]
                    inner[j] += scaled[i] * (alpha[j] + beta[j] * sign[i] + tau[j] * side[i])
        inner[0] = serial_sum(scaled)
        for i in range(n):
            part[i] = scaled[i] * side[i]
        inner[1] = serial_sum(part)
        for i in range(n):
            part[i] = scaled[i] * sign[i]
        inner[2] = serial_sum(part)
        eliminate_factors(chol, b_rows, c_rows, index, size, y, inner, right, schur, own_curvature)
        eliminate(schur, size, own_curvature, out, kept, reduced)
        solve_rows(reduced, size, kept, x)
        price[:] = 0.0
        for r in range(size):
            price[index[r]] = x[r]
        recover_factors(chol, right, size, x, y)
        loadings(factors, y, net)
        for i in range(n):
            if weight[i] > 0.0:
                v = net[i] + price[0] + side[i] * price[1] + sign[i] * price[2]
                for t in range(pointer[i], pointer[i + 1]):
                    j = member[t]
                    v += (alpha[j] + beta[j] * sign[i] + tau[j] * side[i]) * price[j]
                answers[q, i] = weight[i] * (changes[q, i] - v)
    return True

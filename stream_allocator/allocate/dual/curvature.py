"""The dual's curvature on the free assets, and the linear algebra of one Newton step.

With e_i = 1/h_i on the free assets (0 elsewhere) and D_ij the derivative of row j in asset i,

    M = F'EF  (k, k),   B = D'EF  (m, k),   C = D'ED  (m, m),

kept up to date by the assets whose state has changed.  The factors are eliminated by the Cholesky factor
U'U = M + I/s, which leaves the rows' Schur complement C - B (M + I/s)^-1 B'.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_allocator.regime.elementary import compiled, fma

__all__ = [
    "cholesky",
    "eliminate",
    "eliminate_factors",
    "exposures",
    "loadings",
    "null_combination",
    "recover_factors",
    "solve_rows",
    "update",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

# A row whose pivot is this small, relative to its own curvature, depends on those before it.
DEPENDENT = 1e-10


@compiled
def exposures(factors: FloatArray, w: FloatArray, y: FloatArray) -> None:
    """y = F'w."""
    n, k = factors.shape
    for c in range(k):
        y[c] = 0.0
    whole = n // 4 * 4
    for i in range(0, whole, 4):
        a, b, c_, d = w[i], w[i + 1], w[i + 2], w[i + 3]
        for c in range(k):
            left = fma(a, factors[i, c], b * factors[i + 1, c])
            right = fma(c_, factors[i + 2, c], d * factors[i + 3, c])
            y[c] += left + right
    for i in range(whole, n):
        for c in range(k):
            y[c] = fma(w[i], factors[i, c], y[c])


@compiled
def loadings(factors: FloatArray, z: FloatArray, out: FloatArray) -> None:
    """out = F z, eight assets at a time so that the processor need not wait for one sum."""
    n, k = factors.shape
    whole = n // 8 * 8
    for i in range(0, whole, 8):
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
        for x in range(k):
            v = z[x]
            s0 = fma(factors[i, x], v, s0)
            s1 = fma(factors[i + 1, x], v, s1)
            s2 = fma(factors[i + 2, x], v, s2)
            s3 = fma(factors[i + 3, x], v, s3)
            s4 = fma(factors[i + 4, x], v, s4)
            s5 = fma(factors[i + 5, x], v, s5)
            s6 = fma(factors[i + 6, x], v, s6)
            s7 = fma(factors[i + 7, x], v, s7)
        out[i], out[i + 1], out[i + 2], out[i + 3] = s0, s1, s2, s3
        out[i + 4], out[i + 5], out[i + 6], out[i + 7] = s4, s5, s6, s7
    for i in range(whole, n):
        s0 = 0.0
        for x in range(k):
            s0 = fma(factors[i, x], z[x], s0)
        out[i] = s0


@compiled
def update(
    factors: FloatArray,
    weight: FloatArray,
    side: FloatArray,
    sign: FloatArray,
    old_weight: FloatArray,
    old_side: FloatArray,
    old_sign: FloatArray,
    changed: IntArray,
    changes: int,
    pointer: IntArray,
    member: IntArray,
    alpha: FloatArray,
    beta: FloatArray,
    tau: FloatArray,
    finite: BoolArray,
    m_factors: FloatArray,
    b_rows: FloatArray,
    c_rows: FloatArray,
    count: IntArray,
    own: IntArray,
    derivative: FloatArray,
) -> None:
    """Bring M (upper triangle), B and C from the old states of the ``changed`` assets to the new ones."""
    k = factors.shape[1]
    for x in range(0, changes, 4):
        # four assets at a time; the last few are repeated with no weight
        i0 = changed[x]
        i1 = changed[min(x + 1, changes - 1)]
        i2 = changed[min(x + 2, changes - 1)]
        i3 = changed[min(x + 3, changes - 1)]
        d0 = weight[i0] - old_weight[i0]
        d1 = weight[i1] - old_weight[i1] if x + 1 < changes else 0.0
        d2 = weight[i2] - old_weight[i2] if x + 2 < changes else 0.0
        d3 = weight[i3] - old_weight[i3] if x + 3 < changes else 0.0
        for r in range(k):
            f0, f1, f2, f3 = (
                d0 * factors[i0, r],
                d1 * factors[i1, r],
                d2 * factors[i2, r],
                d3 * factors[i3, r],
            )
            for c in range(r, k):
                left = fma(f0, factors[i0, c], f1 * factors[i1, c])
                right = fma(f2, factors[i2, c], f3 * factors[i3, c])
                m_factors[r, c] += left + right
    for x in range(changes):
        i = changed[x]
        for turn in range(2):
            e = -old_weight[i] if turn == 0 else weight[i]
            if e == 0.0:
                continue
            of_side = old_side[i] if turn == 0 else side[i]
            of_sign = old_sign[i] if turn == 0 else sign[i]
            size = 0
            for j in range(3):
                if finite[j]:
                    own[size] = j
                    size += 1
            for q in range(pointer[i], pointer[i + 1]):
                if finite[member[q]]:
                    own[size] = member[q]
                    size += 1
            for q in range(size):
                j = own[q]
                d = alpha[j] + beta[j] * of_sign + tau[j] * of_side
                derivative[q] = d
                if d == 0.0:
                    continue
                count[j] += -1 if turn == 0 else 1
                ed = e * d
                for c in range(k):
                    b_rows[j, c] = fma(ed, factors[i, c], b_rows[j, c])
                for r in range(q):
                    l = own[r]  # noqa: E741
                    c_rows[j, l] += ed * derivative[r]
                    c_rows[l, j] = c_rows[j, l]
                c_rows[j, j] += ed * d
        old_weight[i] = weight[i]
        old_side[i] = side[i]
        old_sign[i] = sign[i]
    for j in range(len(count)):
        if count[j] == 0:  # exactly nothing, not the rounding of what has been taken out again
            for c in range(k):
                b_rows[j, c] = 0.0
            for r in range(len(count)):
                c_rows[j, r] = 0.0
                c_rows[r, j] = 0.0


@compiled
def cholesky(matrix: FloatArray, ridge: float, upper: FloatArray) -> bool:
    """U'U = matrix + ridge I from the upper triangle; False where it is not positive definite."""
    k = matrix.shape[0]
    for r in range(k):
        for c in range(r, k):
            upper[r, c] = matrix[r, c]
        upper[r, r] += ridge
    for r in range(k):
        if not upper[r, r] > 0.0:
            return False
        scale = 1.0 / np.sqrt(upper[r, r])
        for c in range(r, k):
            upper[r, c] *= scale
        for i in range(r + 1, k):
            f = upper[r, i]
            for c in range(i, k):
                upper[i, c] = fma(-f, upper[r, c], upper[i, c])
    return True


@compiled
def forward_substitute(upper: FloatArray, x: FloatArray, width: int) -> None:
    """Solve U'X = X in place, for the first ``width`` columns of x (k, columns) together."""
    k = upper.shape[0]
    for r in range(k):
        scale = 1.0 / upper[r, r]
        for c in range(width):
            x[r, c] *= scale
        for i in range(r + 1, k):
            f = upper[r, i]
            for c in range(width):
                x[i, c] = fma(-f, x[r, c], x[i, c])


@compiled
def back_substitute(upper: FloatArray, x: FloatArray) -> None:
    """Solve U x = x in place."""
    k = upper.shape[0]
    for r in range(k - 1, -1, -1):
        v = x[r]
        for c in range(r + 1, k):
            v -= upper[r, c] * x[c]
        x[r] = v / upper[r, r]


@compiled
def eliminate_factors(
    chol: FloatArray,
    b_rows: FloatArray,
    c_rows: FloatArray,
    index: IntArray,
    size: int,
    of_factors: FloatArray,
    of_rows: FloatArray,
    right: FloatArray,
    schur: FloatArray,
    own: FloatArray,
) -> None:
    """The system of the rows in ``index`` once the factors are gone.

    Fills ``right`` (k, size + 1) = U'^-1 [B', of_factors], ``schur`` (upper triangle) = C - B (M + I/s)^-1 B'
    with ``of_rows`` less the factors' part in column ``size``, and ``own`` = the diagonal of C.
    """
    k = len(of_factors)
    for r in range(size):
        own[r] = c_rows[index[r], index[r]]
        for q in range(k):
            right[q, r] = b_rows[index[r], q]
    for q in range(k):
        right[q, size] = of_factors[q]
    forward_substitute(chol, right, size + 1)
    for r in range(size):
        for c in range(r, size):
            schur[r, c] = c_rows[index[r], index[c]]
        schur[r, size] = of_rows[index[r]]
    for q in range(k):
        for r in range(size):
            f = right[q, r]
            for c in range(r, size + 1):
                schur[r, c] = fma(-f, right[q, c], schur[r, c])


@compiled
def recover_factors(chol: FloatArray, right: FloatArray, size: int, x: FloatArray, z: FloatArray) -> None:
    """The factors' unknowns, given the rows' ``x`` (size,)."""
    for q in range(len(z)):
        v = right[q, size]
        for r in range(size):
            v -= right[q, r] * x[r]
        z[q] = v
    back_substitute(chol, z)


@compiled
def eliminate(
    schur: FloatArray, size: int, own: FloatArray, out: BoolArray, kept: BoolArray, work: FloatArray
) -> None:
    """Gaussian elimination of ``schur`` (size rows, right side in column ``size``) into ``work``.

    Rows marked ``out`` are left out; rows whose pivot is nothing beside ``own`` (their own curvature) are
    passed over: ``kept`` tells which remain.
    """
    for r in range(size):
        for c in range(r, size + 1):
            work[r, c] = schur[r, c]
    for r in range(size):
        kept[r] = False
        if out[r]:
            continue
        pivot = work[r, r]
        if not (own[r] > 0.0 and pivot > DEPENDENT * own[r]):
            continue
        kept[r] = True
        scale = 1.0 / pivot
        for i in range(r + 1, size):
            if out[i]:
                continue
            f = work[r, i] * scale
            if f != 0.0:
                for c in range(i, size + 1):
                    work[i, c] = fma(-f, work[r, c], work[i, c])


@compiled
def solve_rows(work: FloatArray, size: int, kept: BoolArray, x: FloatArray) -> None:
    """The kept rows' unknowns after `eliminate`; 0 for the others."""
    for r in range(size - 1, -1, -1):
        x[r] = 0.0
        if kept[r]:
            v = work[r, size]
            for c in range(r + 1, size):
                v -= work[r, c] * x[c]
            x[r] = v / work[r, r]


@compiled
def null_combination(work: FloatArray, row: int, kept: BoolArray, x: FloatArray) -> None:
    """How a row that was passed over depends on the kept ones before it."""
    for r in range(row - 1, -1, -1):
        x[r] = 0.0
        if kept[r]:
            v = work[r, row]
            for c in range(r + 1, row):
                v -= work[r, c] * x[c]
            x[r] = v / work[r, r]

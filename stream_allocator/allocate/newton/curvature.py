"""The dual's curvature over the free assets: small dense systems in the factors and the active rows."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stream_allocator.regime.elementary import compiled

__all__ = ["back", "factorise", "forward", "pivoted", "row_products", "schur", "solve_pivoted"]

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Flags = NDArray[np.bool_]


@compiled
def factorise(m: Array, ridge: float, out: Array) -> None:
    """Cholesky factor of m + ridge I, lower triangles."""
    size = m.shape[0]
    for a in range(size):
        pivot = m[a, a] + ridge
        for b in range(a):
            v = m[a, b]
            for q in range(b):
                v -= out[a, q] * out[b, q]
            v /= out[b, b]
            out[a, b] = v
            pivot -= v * v
        out[a, a] = math.sqrt(pivot)


@compiled
def forward(factor: Array, x: Array) -> None:
    """x <- L^-1 x."""
    for a in range(len(x)):
        v = x[a]
        for q in range(a):
            v -= factor[a, q] * x[q]
        x[a] = v / factor[a, a]


@compiled
def back(factor: Array, x: Array) -> None:
    """x <- L'^-1 x."""
    for a in range(len(x) - 1, -1, -1):
        v = x[a] / factor[a, a]
        x[a] = v
        for q in range(a):
            x[q] -= factor[a, q] * v


@compiled
def row_products(
    factors: Array,
    room: Array,
    free: Index,
    count: int,
    side: Array,
    sign: Array,
    alpha: Array,
    beta: Array,
    pointer: Index,
    member: Index,
    active: Flags,
    with_factors: Array,
    with_rows: Array,
) -> None:
    """A_f E F and A_f E A_f' for the active rows A, over the free assets, with E = diag(room)."""
    m = len(active)
    k = factors.shape[1]
    with_factors[:] = 0.0
    with_rows[:] = 0.0
    rows = np.empty(m, np.int64)
    slopes = np.empty(m)
    for f in range(count):
        i = free[f]
        here = 0
        if active[0]:
            rows[here] = 0
            slopes[here] = 1.0
            here += 1
        if active[1]:
            rows[here] = 1
            slopes[here] = side[i]
            here += 1
        if active[2]:
            rows[here] = 2
            slopes[here] = sign[i]
            here += 1
        for q in range(pointer[i], pointer[i + 1]):
            j = member[q]
            if active[j]:
                rows[here] = j
                slopes[here] = alpha[j] + beta[j] * sign[i]
                here += 1
        for a in range(here):
            j = rows[a]
            v = slopes[a] * room[i]
            for q in range(k):
                with_factors[j, q] += v * factors[i, q]
            for b in range(a + 1):
                with_rows[j, rows[b]] += v * slopes[b]
    for j in range(m):  # rows of one asset come in any order: fold both triangles into one matrix
        for q in range(j):
            v = with_rows[j, q] + with_rows[q, j]
            with_rows[j, q] = v
            with_rows[q, j] = v


@compiled
def schur(with_rows: Array, reduced: Array, index: Index, count: int, out: Array) -> None:
    """A E A' - (L^-1 F'E A')'(L^-1 F'E A') over some rows."""
    k = reduced.shape[1]
    for a in range(count):
        j = index[a]
        for b in range(a + 1):
            q = index[b]
            v = with_rows[j, q]
            for f in range(k):
                v -= reduced[j, f] * reduced[q, f]
            out[j, q] = v
            out[q, j] = v


@compiled
def pivoted(s: Array, index: Index, count: int, scale: Array, out: Array, kept: Flags, least: float) -> None:
    """Cholesky of s[index, index], leaving out rows of which too little is left."""
    for a in range(count):
        j = index[a]
        pivot = s[j, j]
        for b in range(a):
            if not kept[b]:
                out[a, b] = 0.0
                continue
            v = s[j, index[b]]
            for q in range(b):
                if kept[q]:
                    v -= out[a, q] * out[b, q]
            v /= out[b, b]
            out[a, b] = v
            pivot -= v * v
        if pivot > least * scale[j, j] and scale[j, j] > 0.0:
            kept[a] = True
            out[a, a] = math.sqrt(pivot)
        else:
            kept[a] = False
            out[a, a] = 0.0


@compiled
def solve_pivoted(factor: Array, kept: Flags, count: int, right: Array, x: Array) -> None:
    """Solve with the first ``count`` rows of :func:`pivoted`'s factor; 0 for those left out."""
    for a in range(count):
        if not kept[a]:
            x[a] = 0.0
            continue
        v = right[a]
        for q in range(a):
            if kept[q]:
                v -= factor[a, q] * x[q]
        x[a] = v / factor[a, a]
    for a in range(count - 1, -1, -1):
        if not kept[a]:
            continue
        v = x[a]
        for q in range(a + 1, count):
            if kept[q]:
                v -= factor[q, a] * x[q]
        x[a] = v / factor[a, a]

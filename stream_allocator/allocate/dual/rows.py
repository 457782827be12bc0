"""The rows in arrays: whether the numbers can be used, what each kind of row is, and its value."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_allocator.allocate.dual.problem import (
    BAD_INPUT,
    CROSSED,
    GROSS,
    LONG,
    NET,
    OPTIMAL,
    TURNOVER,
)
from stream_allocator.regime.elementary import compiled, serial_sum

__all__ = ["TOUCHING", "check", "coefficients", "order", "row_values", "supports"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

# Bounds of an asset that cross by less than this stand for one point.
TOUCHING = 1e-13


@compiled
def check(
    b: FloatArray,
    s: float,
    h: FloatArray,
    c: FloatArray,
    w0: FloatArray,
    lb: FloatArray,
    ub: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    k: int,
) -> int:
    """OPTIMAL where the numbers can be used (F is judged by its sums), else BAD_INPUT or CROSSED."""
    if k > 0 and not 0.0 < s < np.inf:
        return BAD_INPUT
    bad, crossed = 0, 0
    for i in range(len(b)):
        # x - x is 0 for finite x only
        rest = (b[i] - b[i]) + (w0[i] - w0[i]) + (lb[i] - lb[i]) + (ub[i] - ub[i]) + (c[i] - c[i])
        good = (rest == 0.0) & (h[i] > 0.0) & (h[i] < np.inf) & (c[i] >= 0.0)
        bad += 0 if good else 1
        crossed += 1 if lb[i] > ub[i] + TOUCHING else 0
    for j in range(len(lower)):
        if not lower[j] < np.inf or not upper[j] > -np.inf:
            return BAD_INPUT
        if lower[j] > upper[j]:
            crossed += 1
    if bad > 0:
        return BAD_INPUT
    return CROSSED if crossed > 0 else OPTIMAL


@compiled
def coefficients(
    kind: IntArray,
    lower: FloatArray,
    upper: FloatArray,
    alpha: FloatArray,
    beta: FloatArray,
    tau: FloatArray,
    finite: BoolArray,
) -> tuple[int, bool, bool]:
    """Fill each row's (alpha, beta, tau) and whether it has a bound at all.

    Returns OPTIMAL or BAD_INPUT, whether all group rows are net rows, and whether any row has |w|.
    """
    plain, magnitudes, status = True, False, OPTIMAL
    if len(kind) < 3 or kind[0] != NET or kind[1] != TURNOVER or kind[2] != GROSS:
        return BAD_INPUT, plain, magnitudes
    for j in range(len(kind)):
        alpha[j] = 1.0 if kind[j] == NET else 0.5 if kind[j] == LONG else 0.0
        beta[j] = 1.0 if kind[j] == GROSS else 0.5 if kind[j] == LONG else 0.0
        tau[j] = 1.0 if kind[j] == TURNOVER else 0.0
        finite[j] = lower[j] > -np.inf or upper[j] < np.inf
        if kind[j] != NET:
            if lower[j] > -np.inf or kind[j] < 0 or kind[j] > LONG:
                status = BAD_INPUT
            plain = plain and (j < 3 or not finite[j])
            magnitudes = magnitudes or (finite[j] and kind[j] != TURNOVER)
    return status, plain, magnitudes


@compiled
def row_values(
    w: FloatArray,
    w0: FloatArray,
    alpha: FloatArray,
    beta: FloatArray,
    tau: FloatArray,
    pointer: IntArray,
    member: IntArray,
    plain: bool,
    magnitudes: bool,
    work: FloatArray,
    value: FloatArray,
) -> None:
    """The rows' left sides r_j(w)."""
    value[:] = 0.0
    if plain:
        for i in range(len(w)):
            for x in range(pointer[i], pointer[i + 1]):
                value[member[x]] += w[i]
    else:
        for i in range(len(w)):
            for x in range(pointer[i], pointer[i + 1]):
                j = member[x]
                value[j] += alpha[j] * w[i] + beta[j] * abs(w[i]) + tau[j] * abs(w[i] - w0[i])
    value[0] = serial_sum(w)
    for i in range(len(w)):
        work[i] = abs(w[i] - w0[i])
    value[1] = serial_sum(work)
    if magnitudes:
        for i in range(len(w)):
            work[i] = abs(w[i])
        value[2] = serial_sum(work)


@compiled
def order(position: int, m: int) -> int:
    """The row at a position of the fixed order net, groups, turnover, gross.

    Of rows that depend on each other the last is the one to be dropped.
    """
    if position == 0:
        return 0
    return position + 2 if position < m - 2 else position - m + 3


@compiled
def supports(
    value: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    eta: FloatArray,
    edge: float,
    active: BoolArray,
    support: FloatArray,
    slack: FloatArray,
) -> float:
    """Which rows are priced or broken by more than ``edge``, the bound each is held to, and its residual.

    Returns the largest residual or violation.
    """
    residual = 0.0
    for j in range(len(value)):
        active[j] = True
        if eta[j] > 0.0 or lower[j] == upper[j]:
            support[j] = upper[j]
        elif eta[j] < 0.0:
            support[j] = lower[j]
        elif value[j] > upper[j] + edge:
            support[j] = upper[j]
        elif value[j] < lower[j] - edge:
            support[j] = lower[j]
        else:
            active[j] = False
        slack[j] = value[j] - support[j] if active[j] else 0.0
        residual = max(residual, abs(slack[j]), value[j] - upper[j], lower[j] - value[j])
    return residual

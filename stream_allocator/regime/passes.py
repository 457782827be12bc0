"""The loops over the runs of one series: what an observation costs, run by run.

Each loop does little, because the processor overlaps the runs only where the chain of operations of one run
is short: that is worth a factor of 1.5 against one loop that does everything.  Rows are addressed in place,
by unsigned positions, because a signed position asks whether it is negative.

``j`` is the series, ``begin`` and ``width`` the range of positions (width a multiple of VECTOR), ``column``
the column of the tables that belongs to the first of them.
"""

from __future__ import annotations

import numpy as np

from stream_allocator.regime.elementary import (
    FloatArray,
    binary_exponent,
    exp2,
    fma,
    in_place,
    log2_of,
    mantissa,
    mantissa_ratio,
)
from stream_allocator.regime.likelihood import GAIN, HALF, NORMALISER, PRECISION, SHAPE

# Rows of a series' block
MEAN, RATE, STRENGTH, ANCHOR, WEIGHT, RATE_REST = 0, 1, 2, 3, 4, 5
ROWS = 6
# Rows of the scratch
RATIO, EXPONENT, STRENGTH_RATIO, STRENGTH_EXPONENT = 0, 1, 2, 3
SCRATCH = 4


@in_place
def absorb(
    z: float,
    runs: FloatArray,
    j: np.uint64,
    begin: np.uint64,
    width: np.uint64,
    tables: FloatArray,
    column: np.uint64,
    scratch: FloatArray,
) -> None:
    """Update every run with an observation of weight one (Welford); begin the logarithm of its variance."""
    for i in range(width):
        p, c = begin + i, column + i
        d = z - runs[j, MEAN, p]
        rate = fma(d * tables[HALF, c], d, runs[j, RATE, p])
        runs[j, MEAN, p] = fma(d, tables[GAIN, c], runs[j, MEAN, p])
        runs[j, RATE, p] = rate
        variance = rate * tables[PRECISION, c]
        scratch[RATIO, i] = mantissa_ratio(variance)
        scratch[EXPONENT, i] = binary_exponent(variance)


@in_place
def absorb_compensated(
    z: float,
    runs: FloatArray,
    j: np.uint64,
    begin: np.uint64,
    width: np.uint64,
    tables: FloatArray,
    column: np.uint64,
    scratch: FloatArray,
) -> None:
    """The same for long runs: what a sum loses of the rate is kept for the next (Kahan).

    A relative error of the rate counts alpha_n times in the log weight.
    """
    for i in range(width):
        p, c = begin + i, column + i
        d = z - runs[j, MEAN, p]
        old = runs[j, RATE, p]
        term = fma(d * tables[HALF, c], d, runs[j, RATE_REST, p])
        rate = old + term
        runs[j, RATE_REST, p] = term - (rate - old)
        runs[j, MEAN, p] = fma(d, tables[GAIN, c], runs[j, MEAN, p])
        runs[j, RATE, p] = rate
        variance = rate * tables[PRECISION, c]
        scratch[RATIO, i] = mantissa_ratio(variance)
        scratch[EXPONENT, i] = binary_exponent(variance)


@in_place
def absorb_weighted(
    z: float,
    given: float,
    runs: FloatArray,
    j: np.uint64,
    begin: np.uint64,
    width: np.uint64,
    tables: FloatArray,
    column: np.uint64,
    scratch: FloatArray,
) -> None:
    """Update every run with an observation of a given weight; begin its two logarithms."""
    for i in range(width):
        p, c = begin + i, column + i
        d = z - runs[j, MEAN, p]
        strength = runs[j, STRENGTH, p]
        grown = strength + given
        gain = given / grown * d
        runs[j, STRENGTH, p] = grown
        runs[j, MEAN, p] += gain
        rate = fma(0.5 * strength * gain, d, runs[j, RATE, p])
        runs[j, RATE, p] = rate
        scratch[STRENGTH_EXPONENT, i] = rate * tables[PRECISION, c]
    for i in range(width):
        variance, strength = scratch[STRENGTH_EXPONENT, i], runs[j, STRENGTH, begin + i]
        a, b = mantissa(variance), mantissa(strength)
        both = 1.0 / ((a + 1.0) * (b + 1.0))  # one division for two ratios
        scratch[RATIO, i] = (a - 1.0) * (b + 1.0) * both
        scratch[EXPONENT, i] = binary_exponent(variance)
        scratch[STRENGTH_RATIO, i] = (b - 1.0) * (a + 1.0) * both
        scratch[STRENGTH_EXPONENT, i] = binary_exponent(strength)


@in_place
def weigh(
    runs: FloatArray,
    j: np.uint64,
    begin: np.uint64,
    width: np.uint64,
    tables: FloatArray,
    column: np.uint64,
    scratch: FloatArray,
    origin: float,
) -> None:
    """Every run's weight: two to the power of its log weight less the origin."""
    for i in range(width):
        c = column + i
        variance = log2_of(scratch[RATIO, i], scratch[EXPONENT, i])
        level = fma(-tables[SHAPE, c], variance, tables[NORMALISER, c])
        scratch[RATIO, i] = level + (runs[j, ANCHOR, begin + i] - origin)
    for i in range(width):
        runs[j, WEIGHT, begin + i] = exp2(scratch[RATIO, i])


@in_place
def weigh_weighted(
    runs: FloatArray,
    j: np.uint64,
    begin: np.uint64,
    width: np.uint64,
    tables: FloatArray,
    column: np.uint64,
    scratch: FloatArray,
    origin: float,
) -> None:
    """The same where strengths depend on the weights given: their logarithm is not in the tables."""
    for i in range(width):
        strength = log2_of(scratch[STRENGTH_RATIO, i], scratch[STRENGTH_EXPONENT, i])
        scratch[STRENGTH_RATIO, i] = fma(-0.5, strength, runs[j, ANCHOR, begin + i] - origin)
    for i in range(width):
        c = column + i
        variance = log2_of(scratch[RATIO, i], scratch[EXPONENT, i])
        level = fma(-tables[SHAPE, c], variance, tables[NORMALISER, c])
        scratch[RATIO, i] = level + scratch[STRENGTH_RATIO, i]
    for i in range(width):
        runs[j, WEIGHT, begin + i] = exp2(scratch[RATIO, i])


@in_place
def total_weight(
    runs: FloatArray, j: np.uint64, begin: np.uint64, width: np.uint64, scratch: FloatArray
) -> float:
    """Sum of the weights."""
    half = width // np.uint64(2)
    for i in range(half):
        scratch[RATIO, i] = runs[j, WEIGHT, begin + i] + runs[j, WEIGHT, begin + half + i]
    return fold(scratch, half)


@in_place
def fold(scratch: FloatArray, size: np.uint64) -> float:
    """Sum of the first so many numbers (a multiple of eight) of the scratch's first row, which is used up.

    The far half is added to the near one, so that the order does not depend on the vector width.
    """
    eight = np.uint64(8)
    while size > eight:
        near = (size // eight + np.uint64(1)) // np.uint64(2) * eight
        for i in range(size - near):
            scratch[RATIO, i] += scratch[RATIO, near + i]
        size = near
    a = (scratch[RATIO, 0] + scratch[RATIO, 4]) + (scratch[RATIO, 1] + scratch[RATIO, 5])
    b = (scratch[RATIO, 2] + scratch[RATIO, 6]) + (scratch[RATIO, 3] + scratch[RATIO, 7])
    return float(a + b)


@in_place
def common_weight(
    z: float,
    outlier_df: float,
    runs: FloatArray,
    j: np.uint64,
    begin: np.uint64,
    width: np.uint64,
    tables: FloatArray,
    column: np.uint64,
    scratch: FloatArray,
) -> float:
    """Sum over runs of weight times (nu + 1) / (nu + z_i^2), z_i^2 under the run's own prediction."""
    for i in range(width):
        p = begin + i
        d = z - runs[j, MEAN, p]
        strength = runs[j, STRENGTH, p]
        spread = runs[j, RATE, p] * tables[PRECISION, column + i] * (1.0 + strength)
        scratch[RATIO, i] = runs[j, WEIGHT, p] * spread / fma(outlier_df, spread, d * d * strength)
    return (outlier_df + 1.0) * fold(scratch, width)

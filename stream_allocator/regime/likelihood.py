"""The Gaussian likelihood of a run, telescoped, and the elementary functions its kernel is made of.

A run of n observations under a normal-inverse-gamma prior (location 0, strength kappa0, shape alpha0, rate
beta0) has the closed form

    log p(x_1..n) = lgamma(alpha_n) - lgamma(alpha0) + alpha0 log beta0 - alpha_n log beta_n
                    + (log kappa0 - log kappa_n) / 2 - (n / 2) log(2 pi) + (1/2) sum log w_t

where every observation has precision w_t (1 in the Gaussian model).  All that depends on n alone is one
table, so a step costs one logarithm a run and no lgamma: the product of Student-t predictives telescopes.

Everything is in the prior's units: kernels see z = (x - location) / scale, so beta0 = alpha0 says that the
prior expects variance one, and neither 1e-200 nor 1e+200 as a unit can underflow or overflow a square.
Log weights are in bits, so that a power of two costs no constant.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import gammaln

from stream_allocator.regime.elementary import LN2, FloatArray

# Rows of the run tables
GAIN, HALF, PRECISION, NORMALISER, SHAPE = 0, 1, 2, 3, 4
# Kernels work on whole vectors of this many runs, so the tables go on so far beyond the longest run.
VECTOR = 16


def row_stride(width: int) -> int:
    """Columns of an array of up to five rows that a loop goes through at once, at least ``width``.

    A fifth of 4096 bytes, or a multiple, from row to row: rows a multiple of 2048 bytes apart share the same
    few sets of the processor's first cache and cost three times as much.
    """
    return next(m for m in range(width, width + 512) if m % 512 in (104, 208, 304, 408))


def bits_per_observation(hazard: float) -> float:
    """log2 of (1 - hazard) / sqrt(2 pi e): what the tables leave out of every observation's evidence.

    It is common to all runs.  Without it a run's log weight stays near zero however long it is, and so does
    its rounding error.
    """
    return (math.log1p(-hazard) - 0.5 * math.log(2.0 * math.pi * math.e)) / LN2


def run_tables(max_run: int, kappa0: float, alpha0: float, *, equal_weights: bool) -> FloatArray:
    """What a run owes to its length alone.

    Parameters
    ----------
    max_run : int
        The cap on the run length.
    kappa0, alpha0 : float
        Strength and shape of the prior, positive.  The rate is alpha0: unit variance.
    equal_weights : bool
        Whether every observation has precision 1, so that kappa_n = kappa0 + n is known beforehand.

    Returns
    -------
    (5, m) array
        Columns for the lengths n = m - 1 down to 0, because runs are kept in the order of their birth; m is
        at least VECTOR + max_run + 2.  Rows:

        * GAIN: 1 / (kappa0 + n), the weight of the last of n observations in the mean;
        * HALF: (kappa0 + n - 1) / (2 (kappa0 + n)), its squared deviation's in the rate;
        * PRECISION: 1 / alpha_n;
        * NORMALISER: lgamma(alpha_n) - alpha_n log alpha_n - lgamma(alpha0) + alpha0 log alpha0 + n / 2
          + (log kappa0 - log kappa_n) / 2 in bits, the last term only with equal weights;
        * SHAPE: alpha_n = alpha0 + n / 2.

        A run's log weight is anchor + NORMALISER - SHAPE log2(rate PRECISION) (- log2(strength) / 2), but for
        `bits_per_observation`.
    """
    length = np.arange(row_stride(VECTOR + max_run + 2) - 1, -1, -1, dtype=np.float64)
    shape = alpha0 + 0.5 * length
    strength = kappa0 + length
    normaliser = log_gamma_excess(shape) - log_gamma_excess(np.array([alpha0]))[0]
    normaliser += 0.5 * math.log(kappa0)
    if equal_weights:
        normaliser -= 0.5 * np.log(strength)
    tables = np.empty((5, length.size))
    tables[GAIN] = 1.0 / strength
    tables[HALF] = 0.5 * (strength - 1.0) / strength
    tables[PRECISION] = 1.0 / shape
    tables[NORMALISER] = normaliser / LN2
    tables[SHAPE] = shape
    return tables


def log_gamma_excess(x: FloatArray) -> FloatArray:
    """lgamma(x) - x log x + x, which is log(2 pi / x) / 2 + O(1 / x), without cancellation for large x.

    By Stirling's series from 20 on: its first term left out is below 1e-17 there.
    """
    large = np.maximum(x, 20.0)
    y = 1.0 / (large * large)
    series = (1 / 12 - y * (1 / 360 - y * (1 / 1260 - y * (1 / 1680 - y / 1188)))) / large
    small = np.minimum(x, 20.0)
    return np.where(
        x >= 20.0,
        0.5 * np.log(2.0 * math.pi / large) + series,
        gammaln(small) - small * np.log(small) + small,
    )

"""What the multivariate run-length posterior starts from: the sample's moments, hazards, tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from stream_allocator.regime.elementary import FloatArray, compiled, log
from stream_allocator.regime.likelihood import log_gamma_excess
from stream_allocator.regime.multivariate_kernel import (
    CORRELATION,
    HALF_DEGREES,
    HAZARD,
    HAZARD_ROWS,
    LENGTH,
    LOCATION,
    LOG_EVIDENCE,
    LOG_HAZARD,
    LOG_PRIOR,
    LOG_SURVIVAL,
    NORMALISER,
    PRECISION,
    SCALE,
    TABLE_ROWS,
)

# Less than this share of its variance not explained by the coordinates before it: the covariance is singular.
SINGULAR = 1e-10
# A smaller scale than this counts as no spread at all.
SMALLEST_SCALE = 1e-300


@compiled
def sample_frame(values: FloatArray, frame: FloatArray) -> bool:
    """Set location and scales to the sample's; False if its covariance is singular or has no finite scale.

    The covariance (divisor n - 1) is factored as that of standardised coordinates, so no unit is too small or
    too large.
    """
    count, dimension = values.shape
    if count < 2:
        return False
    standard = np.empty((count, dimension))
    for i in range(dimension):
        mean = 0.0
        for t in range(count):
            mean += values[t, i] / count
        reach, low, high = 0.0, values[0, i], values[0, i]
        for t in range(count):
            reach = max(reach, abs(values[t, i] - mean))
            low, high = min(low, values[t, i]), max(high, values[t, i])
        if not high > low or not reach < math.inf:
            return False
        squares = 0.0
        for t in range(count):
            standard[t, i] = (values[t, i] - mean) / reach
            squares += standard[t, i] * standard[t, i]
        deviation = math.sqrt(squares / (count - 1))
        if not SMALLEST_SCALE < deviation * reach < math.inf:
            return False
        for t in range(count):
            standard[t, i] /= deviation
        frame[LOCATION, i] = mean
        frame[SCALE, i] = deviation * reach
    matrix = frame[CORRELATION:]
    for i in range(dimension):
        for k in range(dimension):
            products = 0.0
            for t in range(count):
                products += standard[t, i] * standard[t, k]
            matrix[i, k] = products / (count - 1)
    return factorise(matrix)


@compiled
def factorise(matrix: FloatArray) -> bool:
    """Replace a correlation matrix by its lower Cholesky factor; False if it is singular."""
    for i in range(matrix.shape[0]):
        for k in range(i + 1):
            entry = matrix[i, k]
            for j in range(k):
                entry -= matrix[i, j] * matrix[k, j]
            if k < i:
                matrix[i, k] = entry / matrix[k, k]
            elif entry > SINGULAR:
                matrix[i, i] = math.sqrt(entry)
            else:
                return False
        for k in range(i + 1, matrix.shape[0]):
            matrix[i, k] = 0.0
    return True


@compiled
def sample_moments(values: FloatArray, mean: FloatArray, covariance: FloatArray) -> None:
    """Sample mean and covariance (divisor n - 1); NaN where there are too few observations for them."""
    count, dimension = values.shape
    for i in range(dimension):
        mean[i] = 0.0 if count > 0 else math.nan
        for t in range(count):
            mean[i] += values[t, i] / count
    for i in range(dimension):
        for k in range(dimension):
            covariance[i, k] = 0.0 if count > 1 else math.nan
            for t in range(count):
                covariance[i, k] += (values[t, i] - mean[i]) * (values[t, k] - mean[k]) / (count - 1)


@compiled
def logarithm(x: float) -> float:
    """Natural logarithm of a positive number, the same on every machine."""
    return log(x)


@compiled
def log_survival(hazard: float) -> float:
    """log(1 - hazard), to rounding also for a small hazard."""
    left = 1.0 - hazard
    return log(left) * (hazard / (1.0 - left)) if left < 1.0 else -hazard


def hazard_table(hazards: Sequence[float], weights: Sequence[float] | None) -> FloatArray:
    """What the step needs of each candidate hazard, of shape (HAZARD_ROWS, M)."""
    values = np.asarray(hazards, np.float64)
    if values.ndim != 1 or not values.size or not ((values > 0.0) & (values < 1.0)).all():
        raise ValueError(f"hazards must be one or more numbers strictly between 0 and 1, got {hazards}")
    prior = np.ones(values.size) if weights is None else np.asarray(weights, np.float64)
    if prior.shape != values.shape or not ((prior > 0.0) & (prior < math.inf)).all():
        raise ValueError(f"hazard_weights must be one positive number for each hazard, got {weights}")
    table = np.zeros((HAZARD_ROWS, values.size))
    whole = float(prior.sum())
    for m, (hazard, weight) in enumerate(zip(values.tolist(), prior.tolist(), strict=True)):
        table[HAZARD, m] = hazard
        table[LOG_HAZARD, m] = logarithm(hazard)
        table[LOG_SURVIVAL, m] = log_survival(hazard)
        table[LOG_PRIOR, m] = logarithm(weight / whole)
    table[LOG_EVIDENCE] = table[LOG_PRIOR]
    return table


def run_tables(dimension: int, max_run: int, kappa0: float, degrees0: float) -> FloatArray:
    """What a run's log likelihood owes to its length alone, for n = max_run + 1 down to 0.

    With Psi0 = nu0 I the log likelihood is NORMALISER - (nu_n / 2) log |Psi_n / nu_n| - (d / 2) log kappa_n
    - (n d / 2) log(2 pi e), where the last term is left out because it is common to all runs, and

        NORMALISER = (d / 2) log kappa0 + e_n - e_0,
        e_n = log Gamma_d(nu_n / 2) - (d nu_n / 2) log(nu_n / 2) + d nu_n / 2 (less a constant).

    e_n grows like log n: its large terms are cancelled on paper.

    Returns
    -------
    (TABLE_ROWS, max_run + 2) array
        NORMALISER, HALF_DEGREES nu_n / 2, PRECISION nu_n^-d and LENGTH n.
    """
    length = np.arange(max_run + 1, -1, -1, dtype=np.float64)
    degrees = degrees0 + length
    half = 0.5 * degrees
    excess = np.zeros(max_run + 2)
    for j in range(dimension):
        x = half - 0.5 * j
        excess += log_gamma_excess(x) + x * np.log1p(-j / degrees) - 0.5 * j * np.log(half)
    out = np.empty((TABLE_ROWS, max_run + 2))
    out[NORMALISER] = excess - excess[-1] + 0.5 * dimension * math.log(kappa0)
    out[HALF_DEGREES] = half
    out[PRECISION] = degrees ** float(-dimension)
    out[LENGTH] = length
    return out


def prior_frame(dimension: int, location: ArrayLike | None, scale: ArrayLike | None) -> FloatArray:
    """The frame of a prior that is given, of shape (CORRELATION + d, d)."""
    frame = np.zeros((CORRELATION + dimension, dimension))
    centre = np.zeros(dimension) if location is None else np.asarray(location, np.float64)
    if centre.shape != (dimension,) or not np.isfinite(centre).all():
        raise ValueError(f"location must be {dimension} finite numbers")
    covariance = np.eye(dimension) if scale is None else np.asarray(scale, np.float64)
    if covariance.shape != (dimension, dimension) or not np.isfinite(covariance).all():
        raise ValueError(f"scale must be {dimension} x {dimension} finite numbers")
    variance = np.diag(covariance)
    if not ((variance > 0.0).all() and np.array_equal(covariance, covariance.T)):
        raise ValueError("scale must be symmetric with a positive diagonal")
    frame[LOCATION] = centre
    frame[SCALE] = np.sqrt(variance)
    frame[CORRELATION:] = covariance / frame[SCALE] / frame[SCALE][:, None]
    if not factorise(frame[CORRELATION:]):
        raise ValueError("scale must be positive definite, also relative to its diagonal")
    return frame

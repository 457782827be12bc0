"""A covariance as a few factors and a diagonal: the form in which the programme is fast."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_allocator.regime.elementary import in_place

FloatArray = NDArray[np.float64]

# Least share of an asset's variance that stays its own: the programme divides by it.
IDIOSYNCRATIC_FLOOR = 1e-8


class Standardised(NamedTuple):
    """A covariance by its diagonal, the root of that and its inverse (0 for 0), and the correlations."""

    variance: FloatArray
    volatility: FloatArray
    inverse: FloatArray
    correlation: FloatArray


def standardised(covariance: FloatArray) -> Standardised:
    """The correlations of a covariance, and what takes them back to it.

    Raises
    ------
    ValueError
        If the matrix is not square, not finite, or has a negative diagonal.
    """
    sigma = np.asarray(covariance, np.float64)
    if sigma.ndim != 2 or sigma.shape[0] != sigma.shape[1] or sigma.shape[0] == 0:
        raise ValueError(f"covariance must be square and not empty, got {sigma.shape}")
    n = len(sigma)
    found = Standardised(np.empty(n), np.empty(n), np.empty(n), np.empty((n, n)))
    if not take_apart(np.ascontiguousarray(sigma), *found):
        raise ValueError("covariance must be finite with a non-negative diagonal")
    return found


@in_place
def take_apart(
    sigma: FloatArray,
    variance: FloatArray,
    volatility: FloatArray,
    inverse: FloatArray,
    correlation: FloatArray,
) -> bool:
    """Fill the parts of `Standardised`; False where a number is not finite or a variance negative."""
    n = variance.size
    good = True
    for i in range(n):
        variance[i] = sigma[i, i]
        good = good and variance[i] >= 0.0
        volatility[i] = math.sqrt(variance[i])
        inverse[i] = 1.0 / volatility[i] if volatility[i] > 0.0 else 0.0
    for i in range(n):
        for j in range(n):
            good = good and math.isfinite(sigma[i, j])
            correlation[i, j] = (sigma[i, j] * inverse[i]) * inverse[j]
    return good


def factor_form(covariance: FloatArray, factors: int) -> tuple[FloatArray, FloatArray]:
    """Sigma ~= F F' + diag(d), with the diagonal of Sigma kept.

    The factors are the leading principal components of the correlation matrix, scaled back by the
    volatilities: an asset counts by its correlations, not by its units.  d is the variance they leave.

    Parameters
    ----------
    covariance : (n, n) array
        Symmetric positive semi-definite; only the lower triangle is read.
    factors : int
        Number of factors k, at least 1; from n on the form is exact but for the floor on d.

    Returns
    -------
    F : (n, min(k, n)) array
        Loadings, the strongest factor first.  In each the largest entry is positive (of equals the first), so
        that the sign does not depend on the linear algebra library.
    d : (n,) array
        Idiosyncratic variances: at least 1e-8 of the asset's variance, and 0 only where that is 0.

    Raises
    ------
    ValueError
        If the matrix is not square, not finite, has a negative diagonal, or k < 1.
    """
    return principal_form(standardised(covariance), factors)


def principal_form(sigma: Standardised, factors: int) -> tuple[FloatArray, FloatArray]:
    """`factor_form` of what is standardised already."""
    if factors < 1:
        raise ValueError(f"factors must be at least 1, got {factors}")
    variance, volatility, _, correlation = sigma
    n = len(variance)
    kept = min(factors, n)
    eigenvalues, vectors = np.linalg.eigh(correlation)
    leading, vectors = eigenvalues[::-1][:kept], vectors[:, ::-1][:, :kept]
    strongest = np.abs(vectors).argmax(axis=0)
    sign = np.where(vectors[strongest, np.arange(kept)] < 0.0, -1.0, 1.0)
    loadings = volatility[:, None] * vectors * (sign * np.sqrt(np.maximum(leading, 0.0)))
    explained = np.einsum("ij,ij->i", loadings, loadings)
    most = (1.0 - IDIOSYNCRATIC_FLOOR) * variance
    # where factors explain all, their share shrinks a little rather than the variance growing
    over = explained > most
    loadings[over] *= np.sqrt(most[over] / explained[over])[:, None]
    own = np.where(over, IDIOSYNCRATIC_FLOOR * variance, variance - explained)
    return np.ascontiguousarray(loadings), own

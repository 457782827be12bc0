"""A covariance as a few factors and a diagonal, as near to it in likelihood as so many factors can be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_allocator.moments.factors import IDIOSYNCRATIC_FLOOR, principal_form, standardised
from stream_allocator.moments.leading import leading_components
from stream_allocator.regime.elementary import compiled

FloatArray = NDArray[np.float64]

# Steps of expectation-maximisation: the first few do nearly all.
STEPS = 10


def likely_factor_form(covariance: FloatArray, factors: int) -> tuple[FloatArray, FloatArray]:
    """Sigma ~= F F' + diag(d) by factor analysis, with the diagonal of Sigma kept.

    F and d maximise -log det(F F' + D) - tr((F F' + D)^-1 R) for the correlation matrix R, approached in ten
    steps of expectation-maximisation (Rubin & Thayer) from the leading components less their noise:

        B = F' (F F' + D)^-1,  C = I - B F + B R B',  F <- R B' C^-1,  D <- diag(R - F B R)

    Principal components alone explain variance, also each asset's own, and what they leave is not diagonal:
    an optimiser finds the directions whose risk that understates.

    Parameters
    ----------
    covariance : (n, n) array
        Symmetric positive semi-definite.
    factors : int
        Number of factors k, at least 1; from n on the form is `factor_form`, exact but for the floor on d.

    Returns
    -------
    F : (n, min(k, n)) array
        Loadings, orthogonal in the metric of R's own variances, the strongest first; in each the largest
        entry is positive.
    d : (n,) array
        Idiosyncratic variances: at least 1e-8 of the asset's variance, and 0 only where that is 0.

    Raises
    ------
    ValueError
        As `factor_form`.

    References
    ----------
    D. Rubin, D. Thayer, EM algorithms for ML factor analysis, Psychometrika 47, 1982.
    """
    sigma = standardised(covariance)
    if not 1 <= factors < len(sigma.variance):
        return principal_form(sigma, factors)
    np.fill_diagonal(sigma.correlation, 1.0)
    loadings, rest = likely(sigma.correlation, factors)
    loadings *= sigma.volatility[:, None]
    return loadings, rest * sigma.variance


@compiled
def likely(correlation: FloatArray, factors: int) -> tuple[FloatArray, FloatArray]:
    """F and d of a correlation matrix for k < n: see `likely_factor_form`."""
    n, k = len(correlation), factors
    strength, loadings = leading_components(correlation, k)
    strength = np.maximum(strength, 0.0)
    noise = max((n - strength.sum()) / (n - k), IDIOSYNCRATIC_FLOOR)
    share = np.maximum(1.0 - noise / np.maximum(strength, noise), IDIOSYNCRATIC_FLOOR)
    loadings *= np.sqrt(strength * share)
    rest = np.maximum(1.0 - (loadings * loadings).sum(axis=1), noise)
    climb(correlation, loadings, rest)
    # steps that have not converged leave the diagonal a little off
    part = 1.0 / ((loadings * loadings).sum(axis=1) + rest)
    loadings *= np.sqrt(part).reshape(n, 1)
    rest = np.maximum(rest * part, IDIOSYNCRATIC_FLOOR)
    axes = np.ascontiguousarray(np.linalg.eigh(np.dot(loadings.T, loadings))[1][:, ::-1])
    turned = np.dot(loadings, axes)
    for j in range(k):
        sign = -1.0 if turned[np.abs(turned[:, j]).argmax(), j] < 0.0 else 1.0
        for i in range(n):
            turned[i, j] *= sign
    return turned, rest


@compiled
def climb(correlation: FloatArray, loadings: FloatArray, rest: FloatArray) -> None:
    """Ten steps of expectation-maximisation: see `likely_factor_form`; F and D are overwritten."""
    n, k = loadings.shape
    for _ in range(STEPS):
        scaled = loadings / rest.reshape(n, 1)
        among = np.eye(k) + np.dot(loadings.T, scaled)
        inverse = inverted(among)
        back = np.dot(inverse, scaled.T)
        image = np.dot(correlation, back.T)
        loadings[:] = np.dot(image, inverted(inverse + np.dot(back, image)))
        for i in range(n):
            own = 1.0
            for j in range(k):
                own -= loadings[i, j] * image[i, j]
            rest[i] = max(own, IDIOSYNCRATIC_FLOOR)


@compiled
def inverted(matrix: FloatArray) -> FloatArray:
    """The inverse of a small symmetric positive definite matrix: Gauss-Jordan, which needs no pivots there.

    For ten rows LAPACK takes three times as long.
    """
    k = len(matrix)
    inverse = matrix.copy()
    for p in range(k):
        pivot = 1.0 / inverse[p, p]
        inverse[p, p] = 1.0
        for j in range(k):
            inverse[p, j] *= pivot
        for i in range(k):
            if i != p:
                times = inverse[i, p]
                inverse[i, p] = 0.0
                for j in range(k):
                    inverse[i, j] -= times * inverse[p, j]
    return inverse

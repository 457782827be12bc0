"""A covariance as a few factors and a diagonal, as near to it in likelihood as so many factors can be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_allocator.moments.factors import IDIOSYNCRATIC_FLOOR, principal_form, standardised
from stream_allocator.regime.elementary import compiled

FloatArray = NDArray[np.float64]

# Steps of expectation-maximisation: the first few do nearly all.
STEPS = 10


def likely_factor_form(covariance: FloatArray, factors: int) -> tuple[FloatArray, FloatArray]:
    """Sigma ~= F F' + diag(d) by factor analysis, with the diagonal of Sigma kept.

    F and d maximise -log det(F F' + D) - tr((F F' + D)^-1 R) for the correlation matrix R, approached in ten
    steps of expectation-maximisation (Rubin & Thayer) from principal components less their noise:

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
    principal, own = principal_form(sigma, factors)
    n, k = principal.shape
    if k >= n:
        return principal, own
    _, volatility, inverse, correlation = sigma
    np.fill_diagonal(correlation, 1.0)
    loadings = principal * inverse[:, None]
    strength = np.einsum("ij,ij->j", loadings, loadings)
    noise = max((n - strength.sum()) / (n - k), IDIOSYNCRATIC_FLOOR)
    loadings *= np.sqrt(np.maximum(1.0 - noise / np.maximum(strength, noise), IDIOSYNCRATIC_FLOOR))
    rest = np.maximum(1.0 - np.einsum("ij,ij->i", loadings, loadings), noise)
    climb(correlation, loadings, rest)
    explained = np.einsum("ij,ij->i", loadings, loadings)
    # steps that have not converged leave the diagonal a little off
    share = 1.0 / (explained + rest)
    loadings *= np.sqrt(share)[:, None]
    rest = np.maximum(rest * share, IDIOSYNCRATIC_FLOOR)
    _, axes = np.linalg.eigh(loadings.T @ loadings)
    turned = loadings @ axes[:, ::-1]
    strongest = np.abs(turned).argmax(axis=0)
    sign = np.where(turned[strongest, np.arange(k)] < 0.0, -1.0, 1.0)
    return np.ascontiguousarray(volatility[:, None] * turned * sign), rest * volatility**2


@compiled
def climb(correlation: FloatArray, loadings: FloatArray, rest: FloatArray) -> None:
    """Ten steps of expectation-maximisation: see `likely_factor_form`; F and D are overwritten."""
    n, k = loadings.shape
    for _ in range(STEPS):
        scaled = loadings / rest.reshape(n, 1)
        among = np.eye(k) + np.dot(loadings.T, scaled)
        inverse = np.linalg.inv(among)
        back = np.dot(inverse, scaled.T)
        image = np.dot(correlation, back.T)
        loadings[:] = np.dot(image, np.linalg.inv(inverse + np.dot(back, image)))
        for i in range(n):
            own = 1.0
            for j in range(k):
                own -= loadings[i, j] * image[i, j]
            rest[i] = max(own, IDIOSYNCRATIC_FLOOR)

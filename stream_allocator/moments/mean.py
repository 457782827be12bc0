"""The mean of the present segment, shrunk to a premium: sample means of returns are mostly noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def shrunk_mean(
    premium: ArrayLike,
    sample_mean: ArrayLike,
    effective_sample_size: ArrayLike,
    prior_strength: float,
) -> tuple[FloatArray, FloatArray]:
    """Posterior mean under a normal prior, and the evidence behind it.

    mu = (n0 premium + n xbar) / (n0 + n), elementwise; its covariance is Omega = Sigma / (n0 + n).

    Parameters
    ----------
    premium : array_like
        Prior mean per asset, in the units of the sample mean.
    sample_mean : array_like
        Mean of the present segment per asset; where it is NaN the prior stands alone.
    effective_sample_size : array_like
        n >= 0, of the universe or per asset; NaN counts as 0.
    prior_strength : float
        n0 > 0: the observations that the premium is worth.

    Returns
    -------
    mean, evidence : arrays of the broadcast shape
        mu and n0 + n.

    Raises
    ------
    ValueError
        If n0 is not positive and finite, n is negative, or the premium is not finite.
    """
    if not 0.0 < prior_strength < np.inf:
        raise ValueError(f"prior_strength must be positive and finite, got {prior_strength}")
    prior, sample = np.asarray(premium, np.float64), np.asarray(sample_mean, np.float64)
    size = np.asarray(effective_sample_size, np.float64)
    if not np.isfinite(prior).all():
        raise ValueError("premium must be finite")
    if (size < 0.0).any() or np.isinf(size).any():
        raise ValueError("effective_sample_size must be finite and not negative")
    seen = np.isfinite(sample) & np.isfinite(size)
    size = np.where(seen, size, 0.0)
    evidence = prior_strength + size
    share = size / evidence
    mean = prior + share * (np.where(seen, sample, 0.0) - prior)
    return mean, evidence if evidence.shape == mean.shape else np.broadcast_to(evidence, mean.shape)

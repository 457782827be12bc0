"""How far the moments may be wrong: the radius of the ambiguity set, and the confidence of a decision."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

# Evidence at which the first factor of the confidence is one half.
HALF_EVIDENCE = 20.0


def radius(budget: float, variances: ArrayLike, effective_sample_size: float) -> float:
    """Squared radius of the Wasserstein-2 ball of returns around the present segment.

    delta = budget * mean(variances) / max(n, 1): it is widest right after a switch and closes as 1 / n.

    Parameters
    ----------
    budget : float
        The policy's uncertainty budget, at least 0; 0 trusts the moments.
    variances : (n,) array_like
        Diagonal of the covariance that prices risk; the radius is in its units.
    effective_sample_size : float
        Of the present segment; below one observation, and NaN, counts as one.

    Returns
    -------
    float
        delta >= 0.

    Raises
    ------
    ValueError
        If the budget or a variance is negative or not finite, or there is no variance.

    References
    ----------
    J. Blanchet, L. Chen, X. Y. Zhou, Distributionally Robust Mean-Variance Portfolio Selection with
    Wasserstein Distances, Management Science 68 (2022): the radius that covers the truth is of order 1 / n.
    """
    diagonal = np.asarray(variances, np.float64)
    if not 0.0 <= budget < math.inf:
        raise ValueError(f"budget must be finite and not negative, got {budget}")
    if diagonal.size == 0 or not (
        np.minimum.reduce(diagonal) >= 0.0 and np.maximum.reduce(diagonal) < math.inf
    ):
        raise ValueError("variances must be finite, not negative and at least one")
    size = effective_sample_size if effective_sample_size >= 1.0 else 1.0
    return float(budget * (np.add.reduce(diagonal) / diagonal.size) / size)


def certainty(probabilities: ArrayLike) -> float:
    """One minus the entropy of a posterior, over the entropy of a uniform one: 1 for a point, 0 for uniform.

    Parameters
    ----------
    probabilities : (m,) array_like
        Not negative, not all zero; need not sum to one.

    Raises
    ------
    ValueError
        If an entry is negative or not finite, or all are zero.
    """
    p = np.asarray(probabilities, np.float64)
    mass = p.sum()
    if not (np.isfinite(p).all() and (p >= 0.0).all() and mass > 0.0):
        raise ValueError("probabilities must be finite, not negative and not all zero")
    if p.size == 1:
        return 1.0
    p = p[p > 0.0] / mass
    entropy = -float(p @ np.log(p))
    return min(max(1.0 - entropy / math.log(np.size(probabilities)), 0.0), 1.0)


def confidence(
    effective_sample_size: float,
    segment_certainty: float,
    observed_fraction: float,
    *,
    half_evidence: float = HALF_EVIDENCE,
) -> tuple[float, dict[str, float]]:
    """Confidence in [0, 1] of a decision, the product of named factors, with the factors.

    Parameters
    ----------
    effective_sample_size : float
        n of the present segment: the factor ``evidence`` is n / (n + half_evidence).
    segment_certainty : float
        The factor ``segment``: how sure it is which segment this is, for example 1 - P(switch), or
        `certainty` of the posterior.
    observed_fraction : float
        The factor ``data``: the fraction of the expected observations that came.
    half_evidence : float
        Effective sample size at which the first factor is one half, positive.

    Returns
    -------
    confidence : float
    factors : dict
        ``evidence``, ``segment`` and ``data``, in this order, each in [0, 1]; NaN counts as 0 and what is
        outside is brought to the nearer end.

    Raises
    ------
    ValueError
        If ``half_evidence`` is not positive and finite.
    """
    if not 0.0 < half_evidence < math.inf:
        raise ValueError(f"half_evidence must be positive and finite, got {half_evidence}")
    evidence = 1.0 / (1.0 + half_evidence / effective_sample_size) if effective_sample_size > 0.0 else 0.0
    factors = {
        "evidence": evidence,
        "segment": _unit(segment_certainty),
        "data": _unit(observed_fraction),
    }
    return math.prod(factors.values()), factors


def _unit(x: float) -> float:
    """x brought into [0, 1]; 0 for NaN."""
    return float(min(max(x, 0.0), 1.0)) if x == x else 0.0

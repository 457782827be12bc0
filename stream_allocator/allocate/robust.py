r"""The convex part of the objective: mean, the root terms, quadratic cost; its slope.

With :math:`\sigma = \sqrt{w'\Sigma w}`, :math:`\nu = \|w\|_2`, :math:`r = \sqrt\delta`,
:math:`k = \alpha + \kappa/\sqrt{\text{mean\_evidence}}` (:math:`\Omega` is a multiple of :math:`\Sigma`) and
:math:`g = r\sqrt{1+\alpha^2}` where :math:`\alpha > 0`, else 0,

.. math::
    h(w) = -\mu'w + k\sigma + \tfrac{\gamma}{2}(\sigma + r\nu)^2 + g\nu + \sum_i q_i (w_i - w^0_i)^2 .

The squared term is the worst case of the variance over a Wasserstein-2 ball of radius r around the returns
(Blanchet, Chen & Zhou 2022); the terms in alpha are the worst case of minus the mean plus alpha standard
deviations over a Gelbrich ball (Nguyen, Shafieezadeh-Abadeh, Filipovic & Kuhn 2021).  The kinks are where
:math:`\sigma = 0` and where :math:`\nu = 0`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from stream_allocator.allocate.once import worked_out_once
from stream_allocator.allocate.program import Array, Program

__all__ = [
    "RootTerms",
    "covariance",
    "gradient",
    "kink",
    "root_terms",
    "tracking_error",
    "typical_variance",
    "variances",
    "volatility",
]


@dataclass(frozen=True, slots=True, eq=False)
class RootTerms:
    """What the root terms need of w: Sigma w, sigma and the norm, with r, k and g beside them."""

    marginal: Array
    sigma: float
    norm: float
    r: float
    k: float
    g: float


def covariance(program: Program) -> Array:
    """Sigma = F F' + diag(d), dense, shape (n, n)."""
    sigma: Array = program.factors @ program.factors.T
    sigma.flat[:: len(sigma) + 1] += program.idiosyncratic
    return sigma


def variances(program: Program) -> Array:
    """The diagonal of Sigma, shape (n,), without the rest of it."""
    total: Array = np.einsum("ij,ij->i", program.factors, program.factors) + program.idiosyncratic
    return total


@lru_cache(maxsize=16)
def typical_variance(program: Program) -> float:
    """Of an asset of this programme: the mean of the variances."""
    squares = np.einsum("ij,ij->", program.factors, program.factors)
    return float(squares + np.add.reduce(program.idiosyncratic)) / len(program.assets)


def volatility(program: Program, weights: Array) -> float:
    """sqrt(w' Sigma w)."""
    y = program.factors.T @ weights
    return math.sqrt(float(y @ y) + float(weights @ (program.idiosyncratic * weights)))


def tracking_error(program: Program, weights: Array) -> float:
    """sqrt((w - b)' Sigma (w - b)), the volatility of what the portfolio earns beside its benchmark."""
    return volatility(program, weights - program.benchmark)


@worked_out_once
def root_terms(program: Program, weights: Array) -> RootTerms:
    """The pieces of the root terms at ``weights``."""
    y = program.factors.T @ weights
    alpha, r = program.deviation_aversion, math.sqrt(program.radius)
    return RootTerms(
        marginal=program.factors @ y + program.idiosyncratic * weights,
        sigma=math.sqrt(float(y @ y) + float(weights @ (program.idiosyncratic * weights))),
        norm=math.sqrt(float(weights @ weights)),
        r=r,
        k=alpha + program.mean_ambiguity / math.sqrt(program.mean_evidence),
        g=r * math.sqrt(1.0 + alpha * alpha) if alpha > 0.0 else 0.0,
    )


def kink(program: Program, at: RootTerms) -> float:
    """Size of the kink at sigma = 0: what multiplies sigma to first order there; 0 where h is smooth."""
    if at.sigma > 0.0:
        return 0.0
    return at.k + program.risk_aversion * at.r * at.norm


def gradient(program: Program, weights: Array, at: RootTerms) -> Array:
    """Slope of h, shape (n,); at sigma = 0 the slope of the part without the kink."""
    g: Array = -program.mean + 2.0 * program.quadratic_cost * (weights - program.current)
    robust = at.sigma + at.r * at.norm
    if at.sigma > 0.0:
        g += ((at.k + program.risk_aversion * robust) / at.sigma) * at.marginal
    if at.norm > 0.0:
        g += ((program.risk_aversion * robust * at.r + at.g) / at.norm) * weights
    return g

"""The objective as named terms that add up to it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stream_allocator.allocate.once import worked_out_once
from stream_allocator.allocate.program import Array, Program
from stream_allocator.allocate.robust import root_terms

__all__ = ["objective", "objective_scale", "objective_terms"]


def objective_terms(program: Program, weights: Array) -> dict[str, float]:
    r"""The objective's terms at ``weights``, each per year.

    Parameters
    ----------
    program : Program
    weights : (n,) array

    Returns
    -------
    dict of str to float
        In this order: ``expected_return`` :math:`-\mu'w`; ``risk``
        :math:`\frac\gamma2\sigma^2 + \alpha\sigma`; ``mean_ambiguity`` :math:`\kappa\sqrt{w'\Omega w}`;
        ``covariance_ambiguity``, what the worst case over the ball adds to the risk,
        :math:`\gamma(r\sigma\nu + r^2\nu^2/2) + g\nu`;
        ``linear_cost``; ``quadratic_cost``.  Their sum is the objective.
    """
    return dict(_terms(program, weights))


@worked_out_once
def _terms(program: Program, weights: Array) -> Mapping[str, float]:
    at = root_terms(program, weights)
    gamma = program.risk_aversion
    trade = weights - program.current
    return {
        "expected_return": -float(program.mean @ weights),
        "risk": (0.5 * gamma * at.sigma + program.deviation_aversion) * at.sigma,
        "mean_ambiguity": (at.k - program.deviation_aversion) * at.sigma,
        "covariance_ambiguity": (gamma * at.r * (at.sigma + 0.5 * at.r * at.norm) + at.g) * at.norm,
        "linear_cost": float(program.linear_cost @ np.abs(trade)),
        "quadratic_cost": float(program.quadratic_cost @ (trade * trade)),
    }


def objective(program: Program, weights: Array) -> float:
    """The objective at ``weights``: the sum of :func:`objective_terms`."""
    return sum(_terms(program, weights).values())


def objective_scale(program: Program, weights: Array) -> float:
    """Size of the objective's terms at ``weights``: what a difference of objectives is compared with."""
    return sum([abs(term) for term in _terms(program, weights).values()])

"""The robust programme solved twice, by Newton and by OSQP, and the two answers compared.

Newton finds the weights and where the root terms' quadratic majorants touch them.  OSQP then solves the
quadratic programme with those majorants and with the price of each root limit, from a cold start and without
the weights.  Weights are best for the robust programme exactly where they are best for that quadratic one
(its slopes are the same there, and the programme is convex), so the two must agree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stream_allocator.allocate import dual
from stream_allocator.allocate.certificate import shadow_prices
from stream_allocator.allocate.limits import trade_interval, violations
from stream_allocator.allocate.program import Array, Program
from stream_allocator.allocate.quadratic import QuadraticAnswer, SolverSettings, solve_quadratic
from stream_allocator.allocate.robust import root_terms, tracking_error, typical_variance
from stream_allocator.allocate.terms import objective, objective_terms

__all__ = ["Solution", "solve"]

# OSQP and Newton agree where their objectives differ by no more than this, relative to the terms' sizes.
AGREEMENT = 1e-5
# OSQP's answer may break limits by this: beyond it, what it gains is no evidence.
BROKEN = 1e-3
# A portfolio with less than this of a typical asset's volatility is all cash: the majorants touch here.
DUST = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """An answer to a programme.

    Attributes
    ----------
    weights : (n,) array
        Assets that are not free stand on their bound, on their current weight or on 0, bit for bit.
    multipliers : mapping of str to float
        Shadow price of every limit that binds, in the fixed order of the limits: the objective's fall per
        unit of relaxation, not negative.
    objective : float
    newton_steps, newton_outer : int
        Steps in all quadratic programmes that Newton went through, and how many those were.
    converged : bool
        Whether Newton's conditions hold.
    status : str
        OSQP's word: ``solved`` where it is, ``not_asked`` where it was not asked.
    iterations : int
        OSQP's.
    polished : bool
        Whether OSQP's polishing succeeded.
    agreed : bool
        Whether Newton converged, OSQP solved, and their objectives agree within OSQP's accuracy; without
        OSQP whether Newton converged.
    """

    weights: Array
    multipliers: Mapping[str, float]
    objective: float
    newton_steps: int
    newton_outer: int
    converged: bool
    status: str
    iterations: int
    polished: bool
    agreed: bool


def solve(program: Program, settings: SolverSettings | None = None) -> Solution:
    """Solve a programme; where OSQP and Newton do not agree, OSQP once more and more accurately.

    Always from a cold start, and without a clock: the answer's bits depend on the programme alone.

    Parameters
    ----------
    program : Program
    settings : SolverSettings, optional
        How OSQP is run.

    Returns
    -------
    Solution
        Look at ``agreed`` and at its :func:`certificate` before use.

    Raises
    ------
    Infeasible
        If the limits cannot all hold; names those that clash.
    """
    settings = settings or SolverSettings()
    newton = dual.solve_cold(program)
    weights, prices = newton.weights, newton.multipliers
    weights.setflags(write=False)
    osqp: QuadraticAnswer | None = None
    agreed, iterations = newton.converged, 0
    if settings.cross_check and newton.converged:
        for accuracy in (settings, settings.sharper()):
            osqp = _by_osqp(program, weights, prices, accuracy)
            iterations += osqp.iterations
            agreed = osqp.status == "solved" and _agree(program, weights, osqp.weights, prices)
            if agreed:
                break
    return Solution(
        weights=weights,
        multipliers={**shadow_prices(program, weights, prices), **prices},
        objective=objective(program, weights),
        newton_steps=newton.steps,
        newton_outer=newton.outer,
        converged=newton.converged,
        status=osqp.status if osqp is not None else "not_asked",
        iterations=iterations,
        polished=osqp.polished if osqp is not None else False,
        agreed=agreed,
    )


def _by_osqp(
    program: Program, w: Array, prices: Mapping[str, float], settings: SolverSettings
) -> QuadraticAnswer:
    """The quadratic programme whose answer Newton's must be, built from Newton's weights and prices alone."""
    at = root_terms(program, w)
    typical = _typical_volatility(program)
    sigma, norm = max(at.sigma, DUST * typical), max(at.norm, DUST)
    gamma, robust = program.risk_aversion, sigma + at.r * norm
    risk = (at.k + gamma * robust + prices.get("volatility", 0.0)) / sigma
    diagonal = (gamma * at.r * robust + at.g) / norm + 2.0 * program.quadratic_cost
    linear = program.mean + 2.0 * program.quadratic_cost * program.current
    tracking = prices.get("tracking", 0.0)
    if tracking > 0.0:
        chi = tracking / max(tracking_error(program, w), DUST * typical)
        risk += chi
        y = program.factors.T @ program.benchmark
        linear = linear + chi * (program.factors @ y + program.idiosyncratic * program.benchmark)
    return solve_quadratic(program, risk, diagonal, linear, settings)


def _agree(program: Program, ours: Array, theirs: Array, prices: Mapping[str, float]) -> bool:
    """Whether the objectives differ by no more than OSQP's accuracy, what it breaks being priced."""
    lower, upper = trade_interval(program)
    theirs = np.minimum(np.maximum(theirs, lower), np.maximum(lower, upper))
    theirs.setflags(write=False)
    broken = violations(program, theirs)
    if max(broken.values(), default=0.0) > BROKEN:
        return False
    terms = [list(objective_terms(program, weights).values()) for weights in (ours, theirs)]
    scale = max([sum([abs(term) for term in of_one]) for of_one in terms])
    still = root_terms(program, ours).sigma == 0.0  # all cash: OSQP only comes near the kink
    allowance = (1.0 if still else AGREEMENT) * scale
    if broken:
        allowance += sum([prices.get(name, 0.0) * excess for name, excess in broken.items()])
    return abs(sum(terms[1]) - sum(terms[0])) <= max(allowance, 1e-12)


def _typical_volatility(program: Program) -> float:
    """Of an asset of this programme; not 0, where no asset has any."""
    return max(math.sqrt(typical_variance(program)), 1e-12)

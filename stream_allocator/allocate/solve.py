"""The robust programme solved twice, by OSQP and by Newton, and the two answers compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from stream_allocator.allocate.certificate import Certificate, certificate, shadow_prices
from stream_allocator.allocate.feasibility import Infeasible, check_limits, least_violation
from stream_allocator.allocate.finish import FinishAnswer, finish
from stream_allocator.allocate.limits import rows_of, trade_interval, violations
from stream_allocator.allocate.majorise import SequenceAnswer, solve_sequence
from stream_allocator.allocate.program import Array, Program
from stream_allocator.allocate.quadratic import SolverSettings
from stream_allocator.allocate.robust import covariance, volatility
from stream_allocator.allocate.terms import objective, objective_terms

__all__ = ["Solution", "objective_scale", "solve"]

# OSQP and Newton agree where their objectives differ by no more than this, relative to the terms' sizes.
AGREEMENT = 1e-5
# Beyond this many times the programme's own risk price, ask first whether the cap can be reached at all.
STEEP = 50.0
# A portfolio with this little of a typical asset's volatility is on its way to all cash...
DUST = 1e-3
# ... and there if all cash is proven best, relative to what is left on the way.
CASH = 1e-9
# Least volatility above the cap by this much (relative) is above it.
ABOVE = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """An answer to a programme.

    Attributes
    ----------
    weights : (n,) array
        Assets that are not free stand on their bound, or on their current weight, bit for bit.
    multipliers : mapping of str to float
        Shadow price of every limit that binds, in the fixed order of the limits: the objective's fall per
        unit of relaxation, not negative.
    objective : float
    status : str
        OSQP's word for its last programme: ``solved`` where it is.
    programmes, iterations : int
        Quadratic programmes, and OSQP's iterations in all of them.
    polished : bool
        Whether OSQP's polishing of the last programme succeeded.
    finish_steps : int
        Newton steps.
    agreed : bool
        Whether OSQP solved, Newton converged, and their objectives agree within OSQP's accuracy.
    """

    weights: Array
    multipliers: Mapping[str, float]
    objective: float
    status: str
    programmes: int
    iterations: int
    polished: bool
    finish_steps: int
    agreed: bool


def solve(program: Program, settings: SolverSettings | None = None) -> Solution:
    """Solve a programme; where OSQP and Newton do not agree, once more and more accurately.

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
    check_limits(program)
    first = _attempt(program, settings)
    if first.agreed:
        return first
    second = _attempt(program, settings.sharper())
    return replace(
        second if second.agreed else first,
        programmes=first.programmes + second.programmes,
        iterations=first.iterations + second.iterations,
    )


def _attempt(program: Program, settings: SolverSettings) -> Solution:
    dust = DUST * _typical_volatility(program) if _may_be_cash(program) else 0.0
    sequence = _sequence(program, settings, dust)
    if volatility(program, sequence.last.weights) <= dust:
        cash = _all_cash(program, sequence)
        solution = _choose(program, sequence, finish(program, cash))
        proof = certificate(program, solution.weights, solution.multipliers)
        if proof.gap <= CASH * objective_scale(program, sequence.last.weights):
            return solution
        sequence = _sequence(program, settings, 0.0)
    return _choose(program, sequence, _finished(program, sequence))


def _finished(program: Program, sequence: SequenceAnswer) -> FinishAnswer:
    """Newton's answer; nothing to finish where OSQP gave up, for then no answer could agree with it."""
    if sequence.last.status == "solved":
        return finish(program, sequence)
    lower, upper = trade_interval(program)
    weights = np.clip(sequence.last.weights, lower, np.maximum(lower, upper))
    return FinishAnswer(weights, _row_prices(program, sequence), 0, False)


def objective_scale(program: Program, weights: Array) -> float:
    """Size of the objective's terms at ``weights``: what a difference of objectives is compared with."""
    return sum(abs(term) for term in objective_terms(program, weights).values())


def _sequence(program: Program, settings: SolverSettings, dust: float) -> SequenceAnswer:
    answer = solve_sequence(program, settings, most=STEEP, dust=dust)
    if answer.last.status != "solved":
        total, _, broken = least_violation(program)
        if total > 1e-9:
            raise Infeasible(broken, f"no trade within turnover and liquidity can meet: {', '.join(broken)}")
    if math.isfinite(program.volatility) and not answer.settled:
        least = volatility(program, solve(minimum_variance(program), settings).weights)
        if least > program.volatility * (1.0 + ABOVE):
            raise Infeasible(
                ("volatility",),
                f"the least volatility within the other limits is {least:.6g}, "
                f"the cap is {program.volatility:.6g}",
            )
        second = solve_sequence(program, settings, psi=answer.psi, dust=dust)
        return replace(
            second,
            programmes=answer.programmes + second.programmes,
            iterations=answer.iterations + second.iterations,
        )
    return answer


def minimum_variance(program: Program) -> Program:
    """The programme with the same limits but the cap, and nothing but variance to be minimised."""
    nothing = np.zeros(len(program.assets))
    return replace(
        program,
        mean=nothing,
        linear_cost=nothing,
        quadratic_cost=nothing,
        risk_aversion=1.0,
        radius=0.0,
        mean_ambiguity=0.0,
        volatility=math.inf,
    )


def _typical_volatility(program: Program) -> float:
    variance = np.einsum("ij,ij->i", program.factors, program.factors) + program.idiosyncratic
    return math.sqrt(float(variance.mean()))


def _may_be_cash(program: Program) -> bool:
    """Whether box and liquidity allow 0 for every asset that has risk."""
    lower, upper = trade_interval(program)
    risky = np.diag(covariance(program)) > 0.0
    return bool(((lower <= 0.0) & (upper >= 0.0))[risky].all())


def _all_cash(program: Program, sequence: SequenceAnswer) -> SequenceAnswer:
    """The kink that the sequence was on its way to: nothing in any asset that has risk."""
    risky = np.diag(covariance(program)) > 0.0
    weights = np.where(risky, 0.0, sequence.last.weights)
    return replace(sequence, last=replace(sequence.last, weights=weights), psi=0.0)


def _choose(program: Program, sequence: SequenceAnswer, end: FinishAnswer) -> Solution:
    lower, upper = trade_interval(program)
    first = np.clip(sequence.last.weights, lower, np.maximum(lower, upper))
    first_prices = _row_prices(program, sequence)
    dust = volatility(program, end.weights) == 0.0  # OSQP then ended on the way
    unit = 1.0 if dust else AGREEMENT
    scale = max(objective_scale(program, end.weights), objective_scale(program, first))
    allowance = unit * scale + sum(
        first_prices.get(name, 0.0) * excess for name, excess in violations(program, first).items()
    )
    near = abs(objective(program, first) - objective(program, end.weights)) <= max(allowance, 1e-12)
    weights, prices = end.weights, end.multipliers
    if not (end.converged and near):
        ours = certificate(program, end.weights, end.multipliers)
        theirs = certificate(program, first, first_prices)
        if _rank(theirs) < _rank(ours):
            weights, prices = first, first_prices
    rows = dict(prices)

    weights.setflags(write=False)
    return Solution(
        weights=weights,
        multipliers={**shadow_prices(program, weights, rows), **rows},
        objective=objective(program, weights),
        status=sequence.last.status,
        programmes=sequence.programmes,
        iterations=sequence.iterations,
        polished=sequence.last.polished,
        finish_steps=end.steps,
        agreed=sequence.settled and end.converged and near,
    )


def _row_prices(program: Program, sequence: SequenceAnswer) -> dict[str, float]:
    """OSQP's multipliers as shadow prices."""
    names = rows_of(program).names
    prices = {name: float(y) for name, y in zip(names, sequence.last.rows, strict=True) if y > 0.0}
    if sequence.last.turnover > 0.0:
        prices["turnover"] = sequence.last.turnover
    if sequence.psi > 0.0 and math.isfinite(program.volatility):
        prices["volatility"] = sequence.psi * program.volatility
    return prices


def _rank(proof: Certificate) -> tuple[bool, float]:
    """Feasible first, then the smaller gap."""
    return (proof.primal > 1e-9, proof.gap if proof.primal <= 1e-9 else proof.primal)

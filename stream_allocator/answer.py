"""What a portfolio's policy makes of a programme: growth or the ladder, without trades that are too small."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stream_allocator.allocate import (
    PRIMAL,
    Certificate,
    Decision,
    Program,
    SolverSettings,
    certificate,
    decide,
    objective_terms,
    shadow_prices,
    solve,
    without_small_trades,
)
from stream_allocator.allocate.feasibility import FAULTS
from stream_allocator.allocate.growth import GrowthProgram, grow
from stream_allocator.allocate.growth.proof import (
    growth_certificate,
    growth_penalty,
    linear_program,
    majorant,
)
from stream_allocator.events import GrowthEvidence, Rung, SolverReport
from stream_allocator.evidence import BASELINE, GROWTH, ROBUST, growth_evidence
from stream_allocator.policy import Policy

__all__ = ["Ambiguity", "Answer", "answer", "of_ladder"]

Array = NDArray[np.float64]

# How far growth may be from the best, log growth of a bar: what the linear programmes are asked for, and
# twice that where caps are met by the nearest weights.
TOLERANCE = 2e-6


@dataclass(frozen=True, slots=True)
class Ambiguity:
    """The ball that was guarded against, and what that cost, a year."""

    radius: float
    mean_penalty: float
    covariance_penalty: float
    penalty: float


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """A decision and everything that is published about how it came about.

    Attributes
    ----------
    allocator : str
        Which one decided: ``growth-v1`` only where its own proof holds.
    program : Program
        The one that is answered: as given but for assets at rest.
    decision : Decision
    multipliers : mapping of str to float
        Shadow prices by the limit's name.
    proof : Certificate
    terms : mapping of str to float
        Of the objective, which is their sum.
    ambiguity : Ambiguity
    asked : float
        Turnover that there would have been without a cap on it; NaN where that is not known.
    solver : SolverReport
    growth : GrowthEvidence, optional
    """

    allocator: str
    program: Program
    decision: Decision
    multipliers: Mapping[str, float]
    proof: Certificate
    terms: Mapping[str, float]
    ambiguity: Ambiguity
    asked: float
    solver: SolverReport
    growth: GrowthEvidence | None = None

    @property
    def weights(self) -> Array:
        """Shape (n,)."""
        return self.decision.weights


def answer(
    program: Program,
    policy: Policy,
    samples: Callable[[int], Array],
    effective_sample_size: float,
    force: Rung | None = None,
    unusable: str | None = None,
) -> Answer:
    """Answer one programme, always.

    Parameters
    ----------
    program : Program
    policy : Policy
        Of the portfolio.
    samples : callable
        The last so many returns, oldest first, shape (bars, n).
    effective_sample_size : float
        Of the present segment.
    force : str, optional
        The rung to begin with; on any but the first only the ladder answers.
    unusable : str, optional
        Why the programme's moments mean nothing: only the ladder answers, see
        :func:`stream_allocator.allocate.decide`.
    """
    grown = policy.allocator == "growth" and force in (None, "robust") and unusable is None

    def first_rung(restricted: Program) -> Answer | None:
        found = attempt(restricted)
        return found if found.decision.rung == "robust" and found.allocator == first.allocator else None

    def attempt(given: Program) -> Answer:
        said = ""
        if grown:
            found = _grow(given, policy, samples(policy.growth.window), effective_sample_size)
            if isinstance(found, Answer):
                return found
            said = f"growth: {found}; "
        settings = SolverSettings(cross_check=policy.solver.cross_check)
        decision = decide(given, baseline=policy.baseline, force=force, settings=settings, unusable=unusable)
        return of_ladder(given, replace(decision, reason=said + decision.reason), force)

    first = attempt(program)
    minimum = policy.limits.minimum_trade
    if first.decision.rung != "robust" or minimum == 0.0:
        return first
    _, found = without_small_trades(program, first, minimum, first_rung)
    if not found.program.resting:
        return first
    cost = sum(found.terms.values()) - sum(first.terms.values())
    said = f"{len(found.program.resting)} assets rest, trades would be below {minimum:g}: {cost:.1e} a year"
    return replace(found, decision=replace(found.decision, reason=f"{found.decision.reason}; {said}"))


def of_ladder(program: Program, decision: Decision, force: Rung | None = None) -> Answer:
    """The ladder's decision with what is published beside it."""
    solution = decision.solution
    multipliers = dict(solution.multipliers) if solution is not None else {}
    terms = objective_terms(program, decision.weights)
    mean, covariance = terms["mean_ambiguity"], terms["covariance_ambiguity"]
    if solution is None:
        report = SolverReport("none", 0, 0, False, 0, False)
    else:
        report = SolverReport(
            status=solution.status,
            programmes=int(solution.status != "not_asked"),
            iterations=solution.iterations,
            polished=solution.polished,
            finish_steps=solution.newton_steps,
            agreed=solution.agreed,
            newton_programmes=solution.newton_outer,
            newton_converged=solution.converged,
        )
    return Answer(
        allocator=BASELINE if force == "baseline" else ROBUST,
        program=program,
        decision=decision,
        multipliers=multipliers,
        proof=decision.certificate or certificate(program, decision.weights, multipliers),
        terms=terms,
        ambiguity=Ambiguity(program.radius, mean, covariance, mean + covariance),
        asked=_asked_turnover(program, decision),
        solver=report,
    )


def _asked_turnover(program: Program, decision: Decision) -> float:
    """Turnover that the decision would have used without any cap on it; NaN where nothing was solved."""
    if decision.rung != "robust":
        return math.nan
    traded = float(np.abs(decision.weights - program.current).sum())
    if traded < program.turnover * (1.0 - 1e-9):
        return traded
    try:
        free = solve(replace(program, turnover=math.inf), SolverSettings(cross_check=False))
    except FAULTS:  # the decision stands without it
        return math.nan
    return float(np.abs(free.weights - program.current).sum()) if free.agreed else math.nan


def _grow(program: Program, policy: Policy, samples: Array, effective_sample_size: float) -> Answer | str:
    """The growth allocator's answer, or why it has none."""
    if len(samples) < policy.growth.minimum_bars:
        return f"{len(samples)} bars of samples, {policy.growth.minimum_bars} are needed"
    try:
        problem = GrowthProgram(
            program=program,
            samples=samples,
            radius=policy.growth.budget / math.sqrt(max(effective_sample_size, 1.0)),
            bars_per_year=policy.moments.periods_per_year,
        )
        found = grow(problem)
    except FAULTS as error:
        return str(error)
    weights, year = found.weights, problem.bars_per_year
    multipliers = {name: price * year for name, price in found.multipliers.items()}
    above = majorant(problem, found.proof)
    proof = growth_certificate(problem, weights, above, multipliers)
    most = TOLERANCE * year
    if not (proof.primal <= PRIMAL and proof.gap <= most):
        return f"{found.status}, gap {proof.gap:.1e} a year of {most:.1e}, primal {proof.primal:.1e}"
    multipliers |= shadow_prices(linear_program(problem, above), weights, multipliers)
    said = f"growth within {proof.gap:.1e} a year of the best"
    return Answer(
        allocator=GROWTH,
        program=program,
        decision=Decision("robust", weights, None, proof, said),
        multipliers=multipliers,
        proof=proof,
        terms={"robust_growth": proof.objective},
        ambiguity=Ambiguity(problem.radius, 0.0, 0.0, growth_penalty(problem, weights)),
        asked=math.nan,
        solver=SolverReport(found.status, found.rounds, found.pivots, False, 0, True),
        growth=growth_evidence(problem, found.proof),
    )

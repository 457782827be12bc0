"""A programme as the record that is published, and back: not a bit is lost on the way.

Where a programme has infinity for "no limit" the record has null; a benchmark of zeros is no benchmark.
"""

import hashlib
import math

import numpy as np

from stream_allocator import events
from stream_allocator.allocate.growth import GrowthProgram
from stream_allocator.allocate.growth.proof import GrowthProof
from stream_allocator.allocate.program import Array, Group, Program, ProgramError
from stream_allocator.events import Evidence, GrowthEvidence
from stream_allocator.remembered import remembered

__all__ = [
    "BASELINE",
    "GROWTH",
    "ROBUST",
    "decision_id",
    "evidence_of",
    "growth_evidence",
    "growth_of",
    "or_infinity",
    "program_of",
]

#: What an allocation is tagged with: the allocator that decided.
ROBUST, GROWTH, BASELINE = "robust-v4", "growth-v1", "baseline-v1"


def decision_id(
    universe: str,
    portfolio: str,
    index: int,
    event_time: int,
    trigger: str,
    allocator: str,
    policy_digest: str,
) -> str:
    """What a decision is called: its place, and 12 digits of the SHA-256 of all that sets it apart.

    All arguments stand in the allocation, so whoever changes one of them there changes the id.
    """
    place = (universe, portfolio, str(index))
    identity = "|".join((*place, str(event_time), trigger, allocator, policy_digest))
    return f"{'.'.join(place)}.{hashlib.sha256(identity.encode()).hexdigest()[:12]}"


def evidence_of(
    decision_id: str,
    universe: str,
    portfolio: str,
    event_time: int,
    program: Program,
    growth: GrowthEvidence | None = None,
) -> Evidence:
    """A programme as the record that is published.

    Parameters
    ----------
    decision_id, universe, portfolio : str
        Of the decision that the programme is for.
    event_time : int
        Of its bar, in microseconds since the epoch.
    program : Program
    growth : GrowthEvidence, optional
        Of a growth decision; see :func:`growth_evidence`.
    """
    rows, columns = program.factors.shape
    return Evidence(
        decision_id=decision_id,
        universe=universe,
        portfolio=portfolio,
        event_time=event_time,
        assets=program.assets,
        mean=tuple(program.mean.tolist()),
        factors=events.Matrix(rows, columns, tuple(program.factors.ravel().tolist())),
        idiosyncratic=tuple(program.idiosyncratic.tolist()),
        current=tuple(program.current.tolist()),
        risk_aversion=program.risk_aversion,
        radius=program.radius,
        mean_ambiguity=program.mean_ambiguity,
        mean_evidence=program.mean_evidence,
        linear_cost=tuple(program.linear_cost.tolist()),
        quadratic_cost=tuple(program.quadratic_cost.tolist()),
        lower=tuple(program.lower.tolist()),
        upper=tuple(program.upper.tolist()),
        cash_lower=program.cash_lower,
        cash_upper=program.cash_upper,
        groups=_group_limits(program.groups),
        turnover=program.turnover,
        trade=tuple(program.trade.tolist()),
        volatility=program.volatility,
        gross=_known(program.gross),
        holding=_some(program.holding),
        benchmark=tuple(program.benchmark.tolist()) if program.benchmark.any() else None,
        active=_some(program.active),
        tracking=_known(program.tracking),
        deviation_aversion=program.deviation_aversion,
        resting=program.resting or None,
        growth=growth,
    )


@remembered(256)
def _group_limits(groups: tuple[Group, ...]) -> tuple[events.GroupLimit, ...]:
    """The same for as long as a policy stays."""
    return tuple(
        [
            events.GroupLimit(g.name, g.members, g.lower, g.upper, _known(g.long), _known(g.gross))
            for g in groups
        ]
    )


def growth_evidence(problem: GrowthProgram, proof: GrowthProof) -> GrowthEvidence:
    """The samples and the proof of a growth decision as the record that is published."""
    rows, columns = problem.samples.shape
    return GrowthEvidence(
        samples=events.Matrix(rows, columns, tuple(problem.samples.ravel().tolist())),
        radius=problem.radius,
        probabilities=tuple(problem.probabilities.tolist()),
        lowest=tuple(problem.lowest.tolist()),
        highest=tuple(problem.highest.tolist()),
        bars_per_year=problem.bars_per_year,
        survival=problem.survival,
        cut_sample=tuple(proof.cut_sample.tolist()),
        cut_point=tuple(proof.cut_point.tolist()),
        cut_weight=tuple(proof.cut_weight.tolist()),
        loss_point=tuple(proof.loss_point.tolist()),
        loss_asset=tuple(proof.loss_asset.tolist()),
        loss_side=tuple(proof.loss_side.tolist()),
        loss_weight=tuple(proof.loss_weight.tolist()),
    )


def growth_of(growth: GrowthEvidence, program: Program) -> tuple[GrowthProgram, GrowthProof]:
    """The growth problem and its proof that an evidence record holds.

    Raises
    ------
    ProgramError
        For numbers that are no problem: wrong sizes, NaN, a support that leaves samples out.
    """
    x = growth.samples
    problem = GrowthProgram(
        program=program,
        samples=_matrix("samples", x),
        radius=growth.radius,
        probabilities=np.array(growth.probabilities, dtype=np.float64),
        lowest=np.array(growth.lowest, dtype=np.float64),
        highest=np.array(growth.highest, dtype=np.float64),
        bars_per_year=growth.bars_per_year,
        survival=growth.survival,
    )
    proof = GrowthProof(
        cut_sample=np.array(growth.cut_sample, dtype=np.int64),
        cut_point=np.array(growth.cut_point, dtype=np.float64),
        cut_weight=np.array(growth.cut_weight, dtype=np.float64),
        loss_point=np.array(growth.loss_point, dtype=np.float64),
        loss_asset=np.array(growth.loss_asset, dtype=np.int64),
        loss_side=np.array(growth.loss_side, dtype=np.float64),
        loss_weight=np.array(growth.loss_weight, dtype=np.float64),
    )
    return problem, proof


def _matrix(name: str, matrix: events.Matrix) -> Array:
    rows, columns, values = matrix.rows, matrix.columns, matrix.values
    if min(rows, columns) < 0 or rows * columns != len(values):
        raise ProgramError(name, f"{len(values)} values are no matrix of {rows} x {columns}")
    return np.array(values, dtype=np.float64).reshape(rows, columns)


def program_of(evidence: Evidence) -> Program:
    """The programme that an evidence record holds: the inverse of :func:`evidence_of`.

    Raises
    ------
    ProgramError
        For numbers that are no programme: wrong sizes, NaN, crossed bounds.
    """
    n = len(evidence.assets)
    return Program(
        assets=evidence.assets,
        mean=np.array(evidence.mean),
        factors=_matrix("factors", evidence.factors),
        idiosyncratic=np.array(evidence.idiosyncratic),
        current=np.array(evidence.current),
        risk_aversion=evidence.risk_aversion,
        radius=evidence.radius,
        mean_ambiguity=evidence.mean_ambiguity,
        mean_evidence=evidence.mean_evidence,
        linear_cost=np.array(evidence.linear_cost),
        quadratic_cost=np.array(evidence.quadratic_cost),
        lower=np.array(evidence.lower),
        upper=np.array(evidence.upper),
        cash_lower=evidence.cash_lower,
        cash_upper=evidence.cash_upper,
        groups=tuple(
            Group(g.name, tuple(g.members), g.lower, g.upper, or_infinity(g.long), or_infinity(g.gross))
            for g in evidence.groups
        ),
        turnover=evidence.turnover,
        trade=np.array(evidence.trade),
        volatility=evidence.volatility,
        gross=or_infinity(evidence.gross),
        holding=_array(evidence.holding, n, math.inf),
        benchmark=_array(evidence.benchmark, n, 0.0),
        active=_array(evidence.active, n, math.inf),
        tracking=or_infinity(evidence.tracking),
        deviation_aversion=evidence.deviation_aversion,
        resting=evidence.resting or (),
    )


def or_infinity(bound: float | None) -> float:
    """A bound that may be missing as the number that bounds nothing."""
    return math.inf if bound is None else bound


def _known(bound: float) -> float | None:
    return bound if math.isfinite(bound) else None


def _some(bounds: Array) -> tuple[float, ...] | None:
    return tuple(bounds.tolist()) if np.isfinite(bounds).any() else None


def _array(values: tuple[float, ...] | None, n: int, default: float) -> Array:
    return np.full(n, default) if values is None else np.array(values)

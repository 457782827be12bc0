"""A programme as the record that is published, and back: not a bit is lost on the way.

Where a programme has infinity for "no limit" the record has null; a benchmark of zeros is no benchmark.
"""

import hashlib
import math

import numpy as np

from stream_allocator import events
from stream_allocator.allocate.program import Array, Group, Program, ProgramError
from stream_allocator.events import Evidence

__all__ = ["decision_id", "evidence_of", "or_infinity", "program_of"]


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
    decision_id: str, universe: str, portfolio: str, event_time: int, program: Program
) -> Evidence:
    """A programme as the record that is published.

    Parameters
    ----------
    decision_id, universe, portfolio : str
        Of the decision that the programme is for.
    event_time : int
        Of its bar, in microseconds since the epoch.
    program : Program
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
        groups=tuple(
            events.GroupLimit(g.name, g.members, g.lower, g.upper, _known(g.long), _known(g.gross))
            for g in program.groups
        ),
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
    )


def program_of(evidence: Evidence) -> Program:
    """The programme that an evidence record holds: the inverse of :func:`evidence_of`.

    Raises
    ------
    ProgramError
        For numbers that are no programme: wrong sizes, NaN, crossed bounds.
    """
    f, n = evidence.factors, len(evidence.assets)
    if min(f.rows, f.columns) < 0 or f.rows * f.columns != len(f.values):
        raise ProgramError("factors", f"{len(f.values)} values are no matrix of {f.rows} x {f.columns}")
    return Program(
        assets=evidence.assets,
        mean=np.array(evidence.mean),
        factors=np.array(f.values, dtype=float).reshape(f.rows, f.columns),
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

"""The fallback ladder: robust, restore, baseline, hold.  Every rung keeps to turnover and liquidity.

A solver is trusted in nothing: what it returns is proven or not published, and what it raises ends its rung
and no more.  The last rung computes nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

import numpy as np

from stream_allocator.allocate.baseline import BaselineKind, static_weights
from stream_allocator.allocate.certificate import Certificate, certificate, passes
from stream_allocator.allocate.feasibility import FAULTS, Infeasible
from stream_allocator.allocate.limits import total_violation
from stream_allocator.allocate.program import Array, Program
from stream_allocator.allocate.projection import towards
from stream_allocator.allocate.quadratic import SolverSettings
from stream_allocator.allocate.restore import Restoration, restore
from stream_allocator.allocate.solve import Solution, solve
from stream_allocator.events import Rung

__all__ = ["RUNGS", "Decision", "decide"]

RUNGS: tuple[Rung, ...] = get_args(Rung)

# Trades obey turnover and liquidity, and no violation grows, to this.
EXACT = 1e-12
# Characters of an exception's message that a reason quotes.
MESSAGE = 200


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """The weights to publish and how they came about.

    Attributes
    ----------
    rung : str
        ``robust``, ``restore``, ``baseline`` or ``hold``.
    weights : (n,) array
    solution : Solution, optional
        The robust solution; for ``restore`` that of the programme with limits widened as little as possible,
        where an objective was followed.
    certificate : Certificate, optional
        Against the programme as it was given, for ``robust`` and ``restore``.
    reason : str
        Why no higher rung was taken, and what this one did.
    """

    rung: Rung
    weights: Array
    solution: Solution | None
    certificate: Certificate | None
    reason: str


def decide(
    program: Program,
    *,
    baseline: BaselineKind = "inverse_volatility",
    force: Rung | None = None,
    settings: SolverSettings | None = None,
    unusable: str | None = None,
) -> Decision:
    """Decide, always.

    Whatever the rung: sum |w - w0| <= turnover and |w - w0|_i <= trade_i; the total violation of all other
    limits is no more than at w0, so that weights inside their limits stay there.

    Parameters
    ----------
    program : Program
    baseline : str
        The static portfolio of the third rung.
    force : str, optional
        The first rung to try.
    settings : SolverSettings, optional
        How OSQP is run.
    unusable : str, optional
        Why the programme's mean and covariance mean nothing.  Then broken limits are restored and nothing
        else is traded: the robust answer and the baseline both need a covariance.

    Returns
    -------
    Decision
    """
    settings = settings or SolverSettings()
    reasons: list[str] = [unusable] if unusable else []
    for rung in RUNGS[RUNGS.index(force) if force else 0 :]:
        if unusable and rung in ("robust", "baseline"):
            continue
        try:
            decision = _take(rung, program, baseline, settings, reasons, blind=bool(unusable))
        except FAULTS as fault:
            # Arrays that a solver spoilt show only where they are used, so the whole rung is guarded.
            reasons.append(f"{rung} failed: {_said(fault)}")
            continue
        if decision is not None:
            return decision
    raise AssertionError("holding is always possible")  # pragma: no cover


def _said(fault: Exception) -> str:
    """An exception in one line that fits a record."""
    message = (str(fault).strip().splitlines() or [""])[0][:MESSAGE]
    return f"{type(fault).__name__}: {message}" if message else type(fault).__name__


def _take(
    rung: Rung,
    program: Program,
    baseline: BaselineKind,
    settings: SolverSettings,
    reasons: list[str],
    blind: bool,
) -> Decision | None:
    """One rung; None where it does not hold, with the reason appended."""
    if rung in ("restore", "baseline") and not min(program.turnover, float(program.trade.max())):
        reasons.append(f"{rung}: no trade is allowed")
        return None
    solution: Solution | None = None
    proof: Certificate | None = None
    said = ""
    match rung:
        case "robust":
            try:
                solution = solve(program, settings)
            except Infeasible as clash:
                reasons.append(f"infeasible: {clash}")
                return None
            weights = solution.weights
            proof = certificate(program, weights, solution.multipliers)
            if not (solution.agreed and np.isfinite(weights).all() and passes(program, weights, proof)):
                reasons.append(
                    f"not proven: osqp {solution.status}, agreed {solution.agreed}, "
                    f"primal {proof.primal:.1e}, gap {proof.gap:.1e}"
                )
                return None
            said = "solved and proven"
        case "restore":
            # with nothing broken and nothing contradictory there is nothing to restore
            if (
                reasons
                and not reasons[-1].startswith("infeasible")
                and not total_violation(program, program.current)
            ):
                reasons.append("nothing to restore")
                return None
            restored = restore(program, settings, follow=not blind)
            if restored is None:
                reasons.append("no trade lessens what is broken")
                return None
            weights, solution = restored.weights, restored.solution
            proof = certificate(program, weights, solution.multipliers if solution is not None else {})
            said = _restored(restored)
        case "baseline":
            weights = towards(program, static_weights(program, baseline))
            said = f"towards {baseline.replace('_', ' ')}"
        case "hold":
            weights, said = program.current, "held"
    if rung != "hold" and not _keeps_promises(program, weights):
        reasons.append(f"{rung} would trade or break too much")
        return None
    return Decision(rung, weights, solution, proof, "; ".join([*reasons, said]))


def _restored(restored: Restoration) -> str:
    """What restoration did, and how far the way is."""
    if not restored.broken:
        return "all limits restored"
    broken = f"left broken: {', '.join(restored.broken)}"
    if restored.trades is None:
        return f"{broken}, no number of such trades can mend all"
    return f"{broken}, for {restored.trades - 1} more trades at least"


def _keeps_promises(program: Program, weights: Array) -> bool:
    trade = np.abs(weights - program.current)
    if not (
        np.isfinite(weights).all()
        and math.fsum(trade.tolist()) <= program.turnover + EXACT
        and (trade <= program.trade + EXACT).all()
    ):
        return False
    total = total_violation(program, weights)
    return total <= EXACT or total <= total_violation(program, program.current) + EXACT

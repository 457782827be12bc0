"""The fallback ladder: robust, restore, baseline, hold.  Every rung keeps to turnover and liquidity."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

import numpy as np

from stream_allocator.allocate.baseline import BaselineKind, static_weights
from stream_allocator.allocate.certificate import Certificate, certificate, passes
from stream_allocator.allocate.feasibility import Infeasible
from stream_allocator.allocate.program import Array, Program
from stream_allocator.allocate.projection import towards
from stream_allocator.allocate.quadratic import SolverSettings
from stream_allocator.allocate.restore import restore, total_violation
from stream_allocator.allocate.solve import Solution, solve
from stream_allocator.events import Rung

__all__ = ["RUNGS", "Decision", "decide"]

RUNGS: tuple[Rung, ...] = get_args(Rung)

# Trades obey turnover and liquidity, and no violation grows, to this.
EXACT = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """The weights to publish and how they came about.

    Attributes
    ----------
    rung : str
        ``robust``, ``restore``, ``baseline`` or ``hold``.
    weights : (n,) array
    solution : Solution, optional
        The robust solution; for ``restore`` that of the programme with limits widened as little as possible.
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
) -> Decision:
    """Decide, always.

    Whatever the rung: sum |w - w0| <= turnover and |w - w0|_i <= trade_i; the total violation of box, cash,
    groups and volatility is no more than at w0, so that weights inside their limits stay there.

    Parameters
    ----------
    program : Program
    baseline : str
        The static portfolio of the third rung.
    force : str, optional
        The first rung to try.
    settings : SolverSettings, optional
        How OSQP is run.

    Returns
    -------
    Decision
    """
    settings = settings or SolverSettings()
    reasons: list[str] = []
    for rung in RUNGS[RUNGS.index(force) if force else 0 :]:
        decision = _take(rung, program, baseline, settings, reasons)
        if decision is not None:
            return decision
    raise AssertionError("holding is always possible")  # pragma: no cover


def _take(
    rung: Rung, program: Program, baseline: BaselineKind, settings: SolverSettings, reasons: list[str]
) -> Decision | None:
    """One rung; None where it does not hold, with the reason appended."""
    solution: Solution | None = None
    proof: Certificate | None = None
    said = ""
    if rung in ("restore", "baseline") and not min(program.turnover, float(program.trade.max())):
        reasons.append(f"{rung}: no trade is allowed")
        return None
    match rung:
        case "robust":
            try:
                solution = solve(program, settings)
            except Infeasible as clash:
                reasons.append(f"infeasible: {clash}")
                return None
            weights = solution.weights
            proof = certificate(program, weights, solution.multipliers)
            if not (solution.agreed and passes(program, weights, proof)):
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
            restored = restore(program, settings)
            if restored is None:
                reasons.append("no trade lessens what is broken")
                return None
            weights, solution = restored.weights, restored.solution
            proof = certificate(program, weights, solution.multipliers)
            said = f"left broken: {', '.join(restored.broken)}" if restored.broken else "all limits restored"
        case "baseline":
            weights = towards(program, static_weights(program, baseline))
            said = f"towards {baseline.replace('_', ' ')}"
        case "hold":
            weights, said = program.current, "held"
    if rung != "hold" and not _keeps_promises(program, weights):
        reasons.append(f"{rung} would trade or break too much")
        return None
    return Decision(rung, weights, solution, proof, "; ".join([*reasons, said]))


def _keeps_promises(program: Program, weights: Array) -> bool:
    trade = np.abs(weights - program.current)
    return bool(
        np.isfinite(weights).all()
        and math.fsum(trade) <= program.turnover + EXACT
        and (trade <= program.trade + EXACT).all()
        and total_violation(program, weights) <= total_violation(program, program.current) + EXACT
    )

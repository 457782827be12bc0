"""Checks one decision from its two published records alone: no engine, no solver, no trust."""

from dataclasses import dataclass

import numpy as np

from stream_allocator.allocate import GAP, PRIMAL, certificate, objective_scale, objective_terms
from stream_allocator.codec import digest, encode
from stream_allocator.events import Allocation, Evidence
from stream_allocator.evidence import program_of

__all__ = ["Check", "Verdict", "verify"]

#: Published against recomputed numbers: a few roundings of float64.
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Check:
    """One claim about a decision and whether it holds."""

    claim: str
    holds: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """All checks of one decision."""

    decision_id: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every claim holds."""
        return all(c.holds for c in self.checks)

    def summary(self) -> dict[str, object]:
        """For JSON."""
        return {
            "decision_id": self.decision_id,
            "passed": self.passed,
            "checks": [{"claim": c.claim, "holds": c.holds, "detail": c.detail} for c in self.checks],
        }

    def text(self) -> str:
        """For people, one line a check."""
        return "\n".join(f"{'✓' if c.holds else '✗'} {c.claim}: {c.detail}" for c in self.checks)


def verify(allocation: Allocation, evidence: Evidence) -> Verdict:
    """Recompute what an allocation claims from the numbers of its evidence.

    The turnover and participation limits must hold on every rung. Box, group, cash and volatility limits
    and the duality gap are claims of the rung ``robust`` alone: the others answer when the programme has
    no solution, and say so.
    """
    program = program_of(evidence)
    weights = np.array([w.target for w in allocation.weights])
    prices = {limit.name: limit.shadow_price for limit in allocation.limits if limit.shadow_price != 0.0}
    proof = certificate(program, weights, prices)
    checks = [
        Check(
            "the evidence is the one that the allocation names",
            digest(encode(evidence)) == allocation.evidence_digest
            and evidence.decision_id == allocation.decision_id
            and evidence.assets == tuple(w.asset for w in allocation.weights),
            f"SHA-256 {allocation.evidence_digest[:12]}…",
        )
    ]
    trade = np.abs(weights - program.current)
    excess = max(float(trade.sum()) - program.turnover, float(np.max(trade - program.trade)))
    checks.append(
        Check(
            "turnover and participation hold",
            excess <= PRIMAL,
            f"worst excess {max(excess, 0.0):.1e}",
        )
    )
    total = float(weights.sum()) + allocation.cash
    checks.append(Check("weights and cash add up to one", abs(total - 1.0) <= ROUNDING, f"{total:.12f}"))
    terms = sum(objective_terms(program, weights).values())
    scale = max(objective_scale(program, weights), GAP)
    checks.append(
        Check(
            "the published objective is the recomputed one",
            abs(allocation.objective.value - terms) <= ROUNDING * scale,
            f"{allocation.objective.value:.10f} a year",
        )
    )
    if allocation.rung == "robust":
        checks.append(Check("no limit is violated", proof.primal <= PRIMAL, f"worst {proof.primal:.1e}"))
        checks.append(
            Check(
                "no other weights could be better by more than the gap",
                proof.gap <= GAP * scale,
                f"gap {proof.gap:.1e} a year, {proof.gap / scale:.1e} of its terms",
            )
        )
    return Verdict(allocation.decision_id, tuple(checks))

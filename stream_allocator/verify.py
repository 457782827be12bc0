"""Checks decisions from their two published records alone: no engine, no solver, no trust.

Everything is computed anew in NumPy from the evidence's numbers, the allocation's weights and its shadow
prices; importing this loads no solver and compiles nothing.  That the evidence itself follows from the
recorded returns, and the regime, the bucket and the solver's report with it, is what
:mod:`stream_allocator.replay` shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stream_allocator.allocate import GAP
from stream_allocator.claims import Check, by_itself, named, of_rung, usable
from stream_allocator.codec import encode
from stream_allocator.events import Allocation, Evidence

__all__ = ["Check", "Verdict", "report", "verify"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """All checks of one decision.

    Attributes
    ----------
    decision_id, rung : str
    checks : tuple of Check
    violation : float
        The worst of any limit at the published weights; NaN where the records cannot be computed with.
    gap : float
        To the lower bound that the shadow prices prove, relative to the size of the objective's terms, or of
        a growth decision a year; NaN likewise.
    """

    decision_id: str
    rung: str
    checks: tuple[Check, ...]
    violation: float = math.nan
    gap: float = math.nan

    @property
    def passed(self) -> bool:
        """Whether every claim holds."""
        return all(c.holds for c in self.checks)

    @property
    def failed(self) -> tuple[Check, ...]:
        """The claims that do not hold."""
        return tuple(c for c in self.checks if not c.holds)

    def summary(self) -> dict[str, object]:
        """For JSON, which has no NaN."""
        return {
            "decision_id": self.decision_id,
            "rung": self.rung,
            "passed": self.passed,
            "violation": self.violation if math.isfinite(self.violation) else None,
            "gap": self.gap if math.isfinite(self.gap) else None,
            "checks": [{"claim": c.claim, "holds": c.holds, "detail": c.detail} for c in self.checks],
        }

    def text(self) -> str:
        """For people, one line a check."""
        return "\n".join(c.text() for c in self.checks)


def verify(allocation: Allocation, evidence: Evidence | None, body: bytes | None = None) -> Verdict:
    """Recompute what an allocation claims from the numbers of its evidence.

    On every rung: the evidence is the one that is named, the trade keeps to turnover and liquidity, and all
    that is published about weights, objective, limits, prices and certificate is what comes out here.  On
    the rung ``robust`` also: no limit is violated by more than 1e-12, and no other weights could be better
    by more than 1e-9 of the objective's terms.  The other rungs answer where there is no such solution; they
    claim that nothing is broken by more than before the trade, and say why.

    Parameters
    ----------
    allocation : Allocation
    evidence : Evidence, optional
        None where its record could not be found.
    body : bytes, optional
        The evidence's Avro bytes as they were read; see
        :class:`RecordedDecision <stream_allocator.archive.RecordedDecision>`.  Its digest is taken of these,
        since a record may be in an older version of its schema.  When not given the evidence is encoded
        anew, which gives the same bytes for this release's version only.

    Returns
    -------
    Verdict
        Records that cannot be computed with fail a claim; nothing raises.
    """
    published = encode(evidence) if body is None and evidence is not None else body or b""
    checks = (*by_itself(allocation), named(allocation, evidence, published))
    if evidence is None:
        return Verdict(allocation.decision_id, allocation.rung, checks)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # edited numbers may be anything
        check, case = usable(allocation, evidence)
        checks = (*checks, check)
        if case is None:
            return Verdict(allocation.decision_id, allocation.rung, checks)
        checks = (*checks, *of_rung(case))
    gap = case.proof.gap if evidence.growth is not None else GAP * case.proof.gap / case.allowed
    return Verdict(allocation.decision_id, allocation.rung, checks, case.proof.primal, gap)


def report(verdicts: Sequence[Verdict]) -> str:
    """For people: one line a rung, one for each claim that fails, and the sum."""
    lines = [f"{'rung':<10}{'decisions':>10}{'proven':>8}{'worst violation':>17}{'worst gap':>11}"]
    for rung in dict.fromkeys(v.rung for v in verdicts):
        here = [v for v in verdicts if v.rung == rung]
        worst = max((v.violation for v in here if not math.isnan(v.violation)), default=math.nan)
        gap = max((v.gap for v in here if not math.isnan(v.gap)), default=math.nan)
        proven = sum(v.passed for v in here)
        lines.append(f"{rung:<10}{len(here):>10}{proven:>8}{worst:>17.1e}{max(gap, 0.0):>11.1e}")
    lines += [f"{v.decision_id} {c.text()}" for v in verdicts for c in v.failed]
    failed, many = sum(not v.passed for v in verdicts), f"{len(verdicts)} decisions"
    lines.append(f"{failed} of {many} not proven" if failed else f"{many}, all proven")
    return "\n".join(lines)

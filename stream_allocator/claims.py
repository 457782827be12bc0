"""What a decision claims, one function a claim.

Each compares what was published with what comes out of the evidence's numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from stream_allocator.allocate import total_violation
from stream_allocator.allocate.certificate import (
    PRIMAL,
    Certificate,
    allowed_gap,
    certificate,
    shadow_prices,
)
from stream_allocator.allocate.growth.proof import (
    growth_certificate,
    growth_penalty,
    linear_program,
    majorant,
)
from stream_allocator.allocate.limits import BINDING, limits_of, values
from stream_allocator.allocate.program import Array, Program
from stream_allocator.allocate.terms import objective_terms
from stream_allocator.codec import digest
from stream_allocator.events import Allocation, Evidence, GrowthEvidence, Rung
from stream_allocator.evidence import GROWTH, decision_id, growth_of, program_of

__all__ = ["Case", "Check", "by_itself", "named", "of_rung", "usable"]

# Published against recomputed prices, slopes and products: a few roundings of float64.
ROUNDING = 1e-9

_OF_ONE_ASSET = ("box_lower", "box_upper", "liquidity", "minimum_trade", "exit", "active")


@dataclass(frozen=True, slots=True)
class Check:
    """One claim about a decision and whether it holds."""

    claim: str
    holds: bool
    detail: str

    def text(self) -> str:
        """For people, one line."""
        return f"{'✓' if self.holds else '✗'} {self.claim}: {self.detail}"


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """The two records as numbers, and what follows from them.

    Attributes
    ----------
    allocation : Allocation
    program : Program
        Of the evidence.
    weights : (n,) array
        The targets.
    prices : dict of str to float
        Published shadow prices that are not 0, by the limit's name.
    proof : Certificate
        What these prove.
    terms : dict of str to float
        Of the objective at the weights.
    allowed : float
        The largest gap of an answer on the highest rung.
    rounding : float
        How far published parts of the objective may be off.
    ambiguity : dict of str to float
        What the allocation must say of uncertainty, by its fields.
    linear : Program
        The programme whose certificate gives the prices of limits on single assets: the one above, or what
        a growth decision's proof makes of it.
    """

    allocation: Allocation
    program: Program
    weights: Array
    prices: dict[str, float]
    proof: Certificate
    terms: dict[str, float]
    allowed: float
    rounding: float
    ambiguity: dict[str, float]
    linear: Program

    @property
    def traded(self) -> float:
        """Sum of the trades' sizes."""
        return math.fsum(np.abs(self.weights - self.program.current))


# -- what the records say by themselves -----------------------------------------------------------------


def by_itself(a: Allocation) -> tuple[Check, ...]:
    """The claims that the allocation alone can be held to."""
    return (_identified(a), _executable(a), _confident(a))


def _identified(a: Allocation) -> Check:
    known = decision_id(
        a.universe, a.portfolio, a.index, a.event_time, a.trigger, a.allocator, a.policy_digest
    )
    return Check("the id is that of this decision", known == a.decision_id, known)


def _executable(a: Allocation) -> Check:
    """Baseline weights in the modes active and baseline, others in active alone."""
    asked = a.mode == "active" or (a.mode == "baseline" and a.rung in ("baseline", "hold"))
    said = "to be executed" if a.executable else "for study"
    return Check("it is to be executed only where its mode asks for it", asked or not a.executable, said)


def _confident(a: Allocation) -> Check:
    product = math.prod(f.value for f in a.confidence.factors)
    holds = abs(product - a.confidence.value) <= ROUNDING and 0.0 <= a.confidence.value <= 1.0
    return Check("confidence is the product of its factors", holds, f"{a.confidence.value:.3f}")


def named(a: Allocation, e: Evidence | None, body: bytes) -> Check:
    """Whether the evidence and the bytes that it was read from belong to the allocation."""
    claim = "the evidence is the one that the allocation names"
    if e is None:
        return Check(claim, False, "there is no record of it; was the topic cut?")
    found = digest(body)
    for what, claimed, there in (
        ("SHA-256", a.evidence_digest, found),
        ("decision", a.decision_id, e.decision_id),
        ("universe", a.universe, e.universe),
        ("portfolio", a.portfolio, e.portfolio),
        ("event time", a.event_time, e.event_time),
        ("assets", tuple(w.asset for w in a.weights), e.assets),
    ):
        if claimed != there:
            return Check(claim, False, f"{what} differs")
    return Check(claim, True, f"SHA-256 {found[:12]}…")


def usable(a: Allocation, e: Evidence) -> tuple[Check, Case | None]:
    """Whether the records can be computed with; if so the case that they make."""
    claim = "the records hold a programme and an answer to it"
    try:
        case = _case(a, e)
    except ValueError as error:
        return Check(claim, False, str(error)), None
    except ArithmeticError:
        return Check(claim, False, "numbers are too large to be computed with"), None
    return Check(claim, True, f"{len(case.weights)} assets, {len(limits_of(case.program))} limits"), case


def _case(a: Allocation, e: Evidence) -> Case:
    program = program_of(e)
    weights = np.array([w.target for w in a.weights], dtype=np.float64)
    if weights.shape != program.current.shape:
        raise ValueError(f"{len(weights)} weights for {len(program.assets)} assets")
    if not np.isfinite(np.abs(weights).sum() + np.abs(weights - program.current).sum()):
        raise ValueError("the weights or trades are not finite numbers")
    prices = {x.name: x.shadow_price for x in a.limits if x.shadow_price != 0.0}
    if not all(map(math.isfinite, prices.values())):
        raise ValueError("the shadow prices are not finite numbers")
    if (e.growth is not None) != (a.allocator == GROWTH):
        raise ValueError(f"a decision of {a.allocator}, {'with' if e.growth else 'without'} growth's samples")
    if e.growth is not None:
        return _growth_case(a, e.growth, program, weights, prices)
    proof, terms = certificate(program, weights, prices), objective_terms(program, weights)
    allowed = allowed_gap(program, weights)
    mean, covariance = terms["mean_ambiguity"], terms["covariance_ambiguity"]
    ambiguity = {"radius": program.radius, "penalty": mean + covariance}
    if a.uncertainty.mean_penalty or a.uncertainty.covariance_penalty:  # the first release did not split it
        ambiguity |= {"mean_penalty": mean, "covariance_penalty": covariance}
    return Case(a, program, weights, prices, proof, terms, allowed, allowed, ambiguity, program)


def _growth_case(
    a: Allocation, growth: GrowthEvidence, program: Program, weights: Array, prices: dict[str, float]
) -> Case:
    problem, shown = growth_of(growth, program)
    above = majorant(problem, shown)
    proof = growth_certificate(problem, weights, above, prices)
    penalty = growth_penalty(problem, weights)
    return Case(
        a,
        program,
        weights,
        prices,
        proof,
        {"robust_growth": proof.objective},
        # caps and the minimum trade are not in the linear programme: what they cost is in the gap
        a.certificate.gap + ROUNDING,
        ROUNDING,
        {"radius": problem.radius, "penalty": penalty},
        linear_program(problem, above),
    )


# -- on every rung ---------------------------------------------------------------------------------


def _adding_up(case: Case) -> Check:
    a, w0 = case.allocation, case.program.current
    current, trade = (np.array([getattr(w, name) for w in a.weights]) for name in ("current", "trade"))
    worst = max(
        _distance(current, w0),
        _distance(trade, case.weights - w0),
        _distance(a.cash, 1.0 - math.fsum(case.weights)),
    )
    return Check("weights, trades and cash add up", worst <= PRIMAL, f"to {worst:.1e}, cash {a.cash:.4f}")


def _turnover(case: Case) -> Check:
    t, traded = case.allocation.turnover, case.traded
    holds = _distance(t.traded, traded) <= PRIMAL and t.granted == case.program.turnover
    return Check("turnover is as published", holds, f"{traded:.6f} of {case.program.turnover:.6f} granted")


def _trade_limits(case: Case) -> Check:
    excess = max(
        case.traded - case.program.turnover,
        float(np.max(np.abs(case.weights - case.program.current) - case.program.trade)),
    )
    return Check("turnover and liquidity hold", excess <= PRIMAL, f"worst excess {max(excess, 0.0):.1e}")


def _objective(case: Case) -> Check:
    claim = "the objective and its terms are as published"
    published = {t.name: t.value for t in case.allocation.objective.terms}
    if tuple(published) != tuple(case.terms) or len(published) != len(case.allocation.objective.terms):
        return Check(claim, False, f"terms {', '.join(published)}")
    pairs = [(published[name], value) for name, value in case.terms.items()]
    pairs += [(case.allocation.objective.value, sum(case.terms.values()))]
    worst = max(_distance(said, is_) for said, is_ in pairs)
    return Check(claim, worst <= case.rounding, f"{case.proof.objective:.10f} a year, to {worst:.1e}")


def _uncertainty(case: Case) -> Check:
    u = case.allocation.uncertainty
    worst = max(_distance(getattr(u, field), value) for field, value in case.ambiguity.items())
    holds = u.radius == case.ambiguity["radius"] and worst <= case.rounding
    said = f"{case.ambiguity['penalty']:.10f} a year"
    return Check("the price of uncertainty is as published", holds, said)


def _limits(case: Case) -> Check:
    claim = "limits are listed as they are"
    wrong = next(_wrong_limits(case), None)
    listed = case.allocation.limits
    return Check(claim, wrong is None, wrong or f"{len(listed)}, {sum(x.binding for x in listed)} bind")


def _wrong_limits(case: Case) -> Iterator[str]:
    """What is wrong with the list of limits."""
    which = limits_of(case.program)
    at = dict(
        zip(
            (limit.name for limit in which),
            zip(which, values(case.program, case.weights), strict=True),
            strict=True,
        )
    )
    listed = {x.name: x for x in case.allocation.limits}
    if len(listed) != len(case.allocation.limits):
        yield "one is listed twice"
    for name, state in listed.items():
        if name not in at:
            yield f"{name} is no limit of the programme"
            continue
        limit, value = at[name]
        if (state.kind, state.scope, state.bound) != (limit.kind, limit.scope, limit.bound):
            yield f"{name} is {limit.kind} at {limit.bound:.12g}"
        if _distance(state.value, value) > PRIMAL:
            yield f"{name} has the value {value:.12g}"
        slack = limit.sense * (limit.bound - value)
        if state.binding != (slack <= BINDING) and abs(slack - BINDING) > PRIMAL:
            yield f"{name} has a slack of {slack:.1e}"
    for name, (limit, value) in at.items():
        if limit.sense * (limit.bound - value) <= BINDING - PRIMAL and name not in listed:
            yield f"{name} binds and is not listed"


def _prices(case: Case) -> Check:
    claim = "shadow prices are not negative, and stand on limits that bind"
    for x in case.allocation.limits:
        if not x.shadow_price >= 0.0 or (x.shadow_price > 0.0 and not x.binding):
            return Check(claim, False, f"{x.name}: {x.shadow_price:.3g}, {'binds' if x.binding else 'slack'}")
    return Check(claim, True, f"{len(case.prices)} above zero")


def _certificate(case: Case) -> Check:
    c, proof = case.allocation.certificate, case.proof
    holds = (
        _distance(c.primal, proof.primal) <= PRIMAL
        and _distance(c.dual, proof.dual) <= ROUNDING * (1.0 + proof.dual)
        and _distance(c.objective, proof.objective) <= case.rounding
        and _distance(c.bound, proof.bound) <= case.rounding
        and _distance(c.gap, proof.gap) <= case.rounding
    )
    said = f"primal {proof.primal:.1e}, dual {proof.dual:.1e}, gap {proof.gap:.1e}"
    return Check("the certificate is as published", holds, said)


# -- on the rung robust, and on the others ---------------------------------------------------------


def _feasible(case: Case) -> Check:
    worst = case.proof.primal
    return Check("no limit is violated", worst <= PRIMAL, f"worst {worst:.1e}")


def _optimal(case: Case) -> Check:
    claim = "no other weights could be better by more than the gap"
    allowed = f"{case.allowed:.1e} is allowed"
    return Check(claim, case.proof.gap <= case.allowed, f"{case.proof.gap:.1e} a year, {allowed}")


def _asset_prices(case: Case) -> Check:
    """Prices of limits on one asset follow from those of the others."""
    due = shadow_prices(case.linear, case.weights, case.prices)
    single = {x.name: x.shadow_price for x in case.allocation.limits if x.kind in _OF_ONE_ASSET}
    worst = max(
        (_distance(single.get(x, 0.0), due.get(x, 0.0)) for x in dict.fromkeys((*due, *single))), default=0.0
    )
    holds = worst <= ROUNDING * (1.0 + max(due.values(), default=0.0))
    return Check("prices of single assets' limits follow from the others", holds, f"to {worst:.1e}")


def _no_worse(case: Case) -> Check:
    before = total_violation(case.program, case.program.current)
    after = total_violation(case.program, case.weights)
    said = f"{after:.1e} in all, before the trade {before:.1e}"
    return Check("limits are broken no more than before", after <= before + PRIMAL, said)


def _held(case: Case) -> Check:
    return Check("holding trades nothing", case.traded == 0.0, f"traded {case.traded:.6f}")


def _reasoned(case: Case) -> Check:
    reason = case.allocation.reason
    return Check("it says why no higher rung answered", bool(reason.strip()), reason)


def of_rung(case: Case) -> tuple[Check, ...]:
    """The claims of every rung, and those of the decision's own."""
    return tuple(claim(case) for claim in (*_ALWAYS, *_OF_RUNG[case.allocation.rung]))


_ALWAYS: tuple[Callable[[Case], Check], ...] = (
    _adding_up,
    _turnover,
    _trade_limits,
    _objective,
    _uncertainty,
    _limits,
    _prices,
    _certificate,
)
_OF_RUNG: dict[Rung, tuple[Callable[[Case], Check], ...]] = {
    "robust": (_feasible, _optimal, _asset_prices),
    "restore": (_no_worse, _reasoned),
    "baseline": (_no_worse, _reasoned),
    "hold": (_no_worse, _reasoned, _held),
}


def _distance(published: Array | float, computed: Array | float) -> float:
    """The largest difference; infinite where one is no number."""
    worst = float(np.max(np.abs(np.subtract(published, computed))))
    return math.inf if math.isnan(worst) else worst

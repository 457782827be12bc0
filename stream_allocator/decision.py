"""From the market's view and a portfolio's book to a programme, and from its answer to the two records."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stream_allocator import events
from stream_allocator.allocate import (
    Certificate,
    Decision,
    Group,
    Infeasible,
    Program,
    SolverSettings,
    certificate,
    limit_states,
    objective,
    objective_terms,
    solve,
    without_small_trades,
)
from stream_allocator.allocate import decide as climb
from stream_allocator.book import Book
from stream_allocator.codec import digest, encode
from stream_allocator.events import Allocation, Evidence, InputOffsets, NamedValue, Rung, Trigger
from stream_allocator.evidence import decision_id, evidence_of, or_infinity
from stream_allocator.market import Market, MarketView
from stream_allocator.moments import likely_factor_form, radius
from stream_allocator.policy import AssetCostPolicy, Policy
from stream_allocator.topology import Universe

__all__ = ["Context", "decide"]

Array = NDArray[np.float64]

ROBUST = "robust-v4"
BASELINE = "baseline-v1"


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What a decision refers to beside the market and the book."""

    universe: Universe
    event_time: int
    returns_offset: int
    data_quality: events.DataQuality


def build_program(
    universe: Universe, market: Market, view: MarketView, book: Book, granted: float
) -> Program:
    """The numbers of one decision, all annual; see :class:`stream_allocator.allocate.Program`."""
    policy = book.policy
    n = len(universe.assets)
    year = policy.moments.periods_per_year
    covariance = market.covariance()
    factors, idiosyncratic = likely_factor_form(covariance, min(n, policy.moments.factors))
    mean, years = market.mean()
    lower, upper = box(universe, policy)
    trade, holding = np.full(n, np.inf), np.full(n, np.inf)
    volume = market.average_volume()
    known = np.isfinite(volume)
    if known.any() and book.nav > 0:  # without NAV or volumes there is no participation to speak of
        trade[known] = policy.limits.participation * volume[known] / book.nav
        holding = policy.limits.exit_days * trade
        # a weight that must be held cannot ask for more than can be left in time
        lower, upper = np.minimum(lower, holding), np.maximum(upper, -holding)
    budget = policy.budgets[view.segment.label]
    gelbrich = policy.uncertainty.form == "gelbrich"
    benchmark = policy.limits.benchmark
    spread = year / policy.costs.horizon_days
    linear, quadratic = costs(universe, policy)
    return Program(
        assets=universe.assets,
        mean=mean,
        factors=factors,
        idiosyncratic=idiosyncratic,
        current=book.weights.copy(),
        risk_aversion=0.0 if gelbrich else budget.risk_aversion,
        radius=radius(policy.uncertainty.covariance, np.diag(covariance), view.effective_sample_size),
        mean_ambiguity=policy.uncertainty.mean,
        mean_evidence=years,
        linear_cost=linear * 1e-4 * spread,
        quadratic_cost=quadratic * 1e-4 * spread,
        lower=lower,
        upper=upper,
        cash_lower=policy.limits.cash_lower,
        cash_upper=policy.limits.cash_upper,
        groups=tuple(
            Group(
                name,
                tuple(universe.assets.index(a) for a in universe.groups[name]),
                g.lower,
                g.upper,
                or_infinity(g.long),
                or_infinity(g.gross),
            )
            for name, g in sorted(policy.limits.groups.items())
        ),
        turnover=granted,
        trade=trade,
        volatility=budget.volatility,
        gross=or_infinity(policy.limits.gross),
        holding=holding,
        benchmark=np.array([benchmark.weights.get(a, 0.0) if benchmark else 0.0 for a in universe.assets]),
        active=np.full(n, or_infinity(benchmark.active if benchmark else None)),
        tracking=or_infinity(benchmark.tracking_error if benchmark else None),
        # the price of deviation is the variance's at the cap
        deviation_aversion=budget.risk_aversion * budget.volatility if gelbrich else 0.0,
    )


def box(universe: Universe, policy: Policy) -> tuple[Array, Array]:
    """Lower and upper bound of every weight, before liquidity."""
    own = [policy.limits.assets.get(a, policy.limits) for a in universe.assets]
    return np.array([b.lower for b in own], dtype=float), np.array([b.upper for b in own], dtype=float)


def costs(universe: Universe, policy: Policy) -> tuple[Array, Array]:
    """Linear and quadratic cost of every asset, in basis points."""
    everyone, nothing = policy.costs, AssetCostPolicy()
    own = [everyone.assets.get(a, nothing) for a in universe.assets]
    linear = [everyone.linear_bps if x.linear_bps is None else x.linear_bps for x in own]
    quadratic = [everyone.quadratic_bps if x.quadratic_bps is None else x.quadratic_bps for x in own]
    return np.array(linear, dtype=float), np.array(quadratic, dtype=float)


def decide(
    context: Context, market: Market, view: MarketView, book: Book, bar: int, trigger: Trigger
) -> list[tuple[Evidence, Allocation]]:
    """Decide for one portfolio at one bar and move its book.

    Returns the records in the order of publication: in mode ``baseline`` the robust decision for study
    comes first and the executable baseline after it.
    """
    cap = book.policy.budgets[view.segment.label].turnover
    program = build_program(context.universe, market, view, book, book.granted(trigger, cap))
    book.control_pending = False
    paths = [(ROBUST, book.mode == "active")]
    if book.mode == "baseline":
        paths.append((BASELINE, True))
    records = []
    for allocator, executable in paths:
        force: Rung | None = "baseline" if allocator == BASELINE else None
        answered, decision = answer(program, book.policy, force)
        if executable:
            book.executed(decision.weights, float(np.abs(decision.weights - program.current).sum()))
        record = publish(context, view, book, answered, decision, trigger, allocator, executable)
        book.decided(bar, record[1].decision_id)
        records.append(record)
    return records


def answer(program: Program, policy: Policy, force: Rung | None) -> tuple[Program, Decision]:
    """The ladder's decision without trades that are too small, and the programme that it answers."""
    settings = SolverSettings(cross_check=policy.solver.cross_check)
    decision = climb(program, baseline=policy.baseline, force=force, settings=settings)
    minimum = policy.limits.minimum_trade
    if decision.rung != "robust" or minimum == 0.0:
        return program, decision

    def robust(restricted: Program) -> Decision | None:
        found = climb(restricted, baseline=policy.baseline, settings=settings)
        return found if found.rung == "robust" else None

    answered, found = without_small_trades(program, decision, minimum, robust)
    if not answered.resting:
        return program, decision
    cost = objective(program, found.weights) - objective(program, decision.weights)
    said = f"{len(answered.resting)} assets rest, their trades would be below {minimum:g}: {cost:.1e} a year"
    return answered, replace(found, reason=f"{found.reason}; {said}")


def asked_turnover(program: Program, decision: Decision) -> float:
    """Turnover that the decision would have used without any cap on it; NaN where nothing was solved."""
    if decision.rung != "robust":
        return float("nan")
    traded = float(np.abs(decision.weights - program.current).sum())
    if traded < program.turnover * (1.0 - 1e-9):
        return traded
    try:
        free = solve(replace(program, turnover=float("inf")), SolverSettings(cross_check=False))
    except Infeasible:  # the cap was not what made it feasible, but the message must not depend on that
        return float("nan")
    return float(np.abs(free.weights - program.current).sum())


def publish(
    context: Context,
    view: MarketView,
    book: Book,
    program: Program,
    decision: Decision,
    trigger: Trigger,
    allocator: str,
    executable: bool,
) -> tuple[Evidence, Allocation]:
    """The two records of one decision."""
    policy, solution = book.policy, decision.solution
    multipliers = dict(solution.multipliers) if solution is not None else {}
    proof: Certificate = decision.certificate or certificate(program, decision.weights, multipliers)
    terms = objective_terms(program, decision.weights)
    name = decision_id(
        context.universe.name,
        book.name,
        book.decisions,
        context.event_time,
        trigger,
        allocator,
        policy.digest,
    )
    evidence = evidence_of(name, context.universe.name, book.name, context.event_time, program)
    weights, current = decision.weights, program.current
    allocation = Allocation(
        decision_id=name,
        universe=context.universe.name,
        portfolio=book.name,
        index=book.decisions,
        event_time=context.event_time,
        valid_until=context.event_time + round(policy.schedule.valid_seconds * 1e6),
        mode=book.mode,
        executable=executable,
        trigger=trigger,
        allocator=allocator,
        rung=decision.rung,
        reason=decision.reason,
        weights=tuple(
            events.Weight(a, float(c), float(w), float(w - c))
            for a, c, w in zip(program.assets, current, weights, strict=True)
        ),
        cash=1.0 - float(weights.sum()),
        regime=events.RegimeView(
            label=view.segment.label,
            switched=view.segment.switched,
            switch_probability=view.segment.switch_probability,
            map_run_length=int(view.segment.map_run_length),
            effective_sample_size=view.effective_sample_size,
            segment_volatility=view.segment_volatility,
            reference_volatility=view.reference_volatility,
            top_assets=view.top_assets,
        ),
        confidence=events.Confidence(
            view.confidence, tuple(NamedValue(k, v) for k, v in view.confidence_factors)
        ),
        uncertainty=events.Uncertainty(
            radius=program.radius,
            effective_sample_size=view.effective_sample_size,
            budget=policy.uncertainty.budget,
            penalty=terms["mean_ambiguity"] + terms["covariance_ambiguity"],
            mean_share=policy.uncertainty.mean_share,
            mean_penalty=terms["mean_ambiguity"],
            covariance_penalty=terms["covariance_ambiguity"],
        ),
        objective=events.Objective(proof.objective, tuple(NamedValue(k, v) for k, v in terms.items())),
        turnover=events.TurnoverGrant(
            asked=asked_turnover(program, decision),
            granted=program.turnover,
            traded=float(np.abs(weights - current).sum()),
            bucket=book.bucket.level,
        ),
        limits=limit_states(program, weights, multipliers),
        certificate=events.CertificateValues(
            proof.primal, proof.dual, proof.gap, proof.objective, proof.bound
        ),
        solver=events.SolverReport(
            status=solution.status if solution is not None else "none",
            programmes=int(solution.status != "not_asked") if solution is not None else 0,
            iterations=solution.iterations if solution is not None else 0,
            polished=solution.polished if solution is not None else False,
            finish_steps=solution.newton_steps if solution is not None else 0,
            agreed=solution.agreed if solution is not None else False,
            newton_programmes=solution.newton_outer if solution is not None else 0,
            newton_converged=solution.converged if solution is not None else False,
        ),
        policy_digest=policy.digest,
        evidence_digest=digest(encode(evidence)),
        inputs=InputOffsets(context.returns_offset, book.positions_offset, book.control_offset),
        data_quality=context.data_quality,
        previous_decision=book.previous,
    )
    return evidence, allocation

"""From the market's view and a portfolio's book to a programme, and from its answer to the two records."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_allocator import events
from stream_allocator.allocate import Group, Program, limit_states
from stream_allocator.allocate.feasibility import FAULTS
from stream_allocator.answer import Answer, answer
from stream_allocator.book import Book
from stream_allocator.codec import digest, encode
from stream_allocator.events import Allocation, Evidence, InputOffsets, NamedValue, Rung, Trigger
from stream_allocator.evidence import decision_id, evidence_of, or_infinity
from stream_allocator.market import Market, MarketView
from stream_allocator.moments import likely_factor_form, radius
from stream_allocator.policy import AssetCostPolicy, Policy
from stream_allocator.remembered import remembered
from stream_allocator.topology import Universe

__all__ = ["Context", "decide", "settled_by"]

Array = NDArray[np.float64]

# Moments beyond this are no estimate of anything: a volatility of a million a year.
LARGEST = 1e6


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What a decision refers to beside the market and the book."""

    universe: Universe
    event_time: int
    returns_offset: int
    data_quality: events.DataQuality


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """What a programme takes from the market, all annual: mu, the years behind it, F, d and delta."""

    mean: Array
    years: float
    factors: Array
    idiosyncratic: Array
    radius: float


def usable_moments(market: Market, view: MarketView, policy: Policy) -> Moments:
    """The market's moments.

    Raises
    ------
    ValueError
        Naming the moment that is not finite or too large.
    """
    mean, years = market.mean()
    covariance = market.covariance()
    factors, idiosyncratic = likely_factor_form(covariance, min(len(mean), policy.moments.factors))
    delta = radius(policy.uncertainty.covariance, np.diag(covariance), view.effective_sample_size)
    found = Moments(mean, years, factors, idiosyncratic, delta)
    for name in Moments.__slots__:
        if not np.maximum.reduce(np.abs(getattr(found, name)), None) <= LARGEST:  # nor is NaN
            raise ValueError(f"{name} must be finite and not above {LARGEST:g}")
    return found


def build_program(
    universe: Universe,
    market: Market,
    view: MarketView,
    book: Book,
    granted: float,
    silent: NDArray[np.bool_],
) -> tuple[Program, str | None]:
    """The numbers of one decision, all annual; see :class:`stream_allocator.allocate.Program`.

    Returns
    -------
    program : Program
    unusable : str or None
        Why the moments cannot be used, if so.  The programme then has zeros in their place and no caps on
        volatility and tracking error, which nobody can tell: good for limits on weights, and nothing else.
    """
    policy = book.policy
    n = len(universe.assets)
    unusable: str | None = None
    try:
        moments = usable_moments(market, view, policy)
    except FAULTS as fault:
        moments = Moments(np.zeros(n), 1.0, np.zeros((n, 0)), np.zeros(n), 0.0)
        unusable = f"moments unusable: {fault}"
    settled = settled_by(universe, policy)
    lower, upper = settled.lower, settled.upper
    trade, holding = np.full(n, np.inf), np.full(n, np.inf)
    volume = market.average_volume()
    known = np.isfinite(volume)
    if known.any() and book.nav > 0:  # without NAV or volumes there is no participation to speak of
        trade[known] = policy.limits.participation * volume[known] / book.nav
        holding = policy.limits.exit_days * trade
        # a weight that must be held cannot ask for more than can be left in time
        lower, upper = np.minimum(lower, holding), np.maximum(upper, -holding)
    trade[silent] = 0.0  # what does not report cannot be traded
    budget = policy.budgets[view.segment.label]
    gelbrich = policy.uncertainty.form == "gelbrich"
    benchmark = policy.limits.benchmark
    tracking = or_infinity(benchmark.tracking_error if benchmark else None)
    program = Program(
        assets=universe.assets,
        mean=moments.mean,
        factors=moments.factors,
        idiosyncratic=moments.idiosyncratic,
        current=book.weights.copy(),
        risk_aversion=0.0 if gelbrich else budget.risk_aversion,
        radius=moments.radius,
        mean_ambiguity=policy.uncertainty.mean,
        mean_evidence=moments.years,
        linear_cost=settled.linear_cost,
        quadratic_cost=settled.quadratic_cost,
        lower=lower,
        upper=upper,
        cash_lower=policy.limits.cash_lower,
        cash_upper=policy.limits.cash_upper,
        groups=settled.groups,
        turnover=granted,
        trade=trade,
        volatility=np.inf if unusable else budget.volatility,
        gross=or_infinity(policy.limits.gross),
        holding=holding,
        benchmark=settled.benchmark,
        active=np.full(n, or_infinity(benchmark.active if benchmark else None)),
        tracking=np.inf if unusable else tracking,
        # the price of deviation is the variance's at the cap
        deviation_aversion=budget.risk_aversion * budget.volatility if gelbrich else 0.0,
    )
    return program, unusable


class _Settled(NamedTuple):
    """What of a programme its universe and policy settle: the box before liquidity, costs, groups, b."""

    lower: Array
    upper: Array
    linear_cost: Array
    quadratic_cost: Array
    groups: tuple[Group, ...]
    benchmark: Array


@remembered(256)
def settled_by(universe: Universe, policy: Policy) -> _Settled:
    """The same for every decision of a portfolio until its policy changes, so it is made once."""
    place = {asset: i for i, asset in enumerate(universe.assets)}
    linear, quadratic = costs(universe, policy)
    spread = policy.moments.periods_per_year / policy.costs.horizon_days
    benchmark = policy.limits.benchmark
    held = benchmark.weights if benchmark else {}
    groups = [
        Group(
            name,
            tuple([place[a] for a in universe.groups[name]]),
            g.lower,
            g.upper,
            or_infinity(g.long),
            or_infinity(g.gross),
        )
        for name, g in sorted(policy.limits.groups.items())
    ]
    followed = np.array([held.get(a, 0.0) for a in universe.assets], dtype=float)
    arrays = (*box(universe, policy), linear * 1e-4 * spread, quadratic * 1e-4 * spread, followed)
    for array in arrays:
        array.setflags(write=False)
    return _Settled(*arrays[:4], tuple(groups), followed)


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
    stale = book.policy.schedule.stale_bars
    quiet = market.silent(stale)
    granted = book.granted(trigger, cap)
    program, unusable = build_program(context.universe, market, view, book, granted, quiet)
    silent = [a for a, x in zip(program.assets, quiet, strict=True) if x]
    book.control_pending = False
    paths: list[tuple[Rung | None, bool]] = [(None, book.mode == "active")]
    if book.mode == "baseline":
        paths.append(("baseline", True))
    records = []
    for force, executable in paths:
        evidence = view.effective_sample_size
        found = answer(program, book.policy, market.samples, evidence, force, unusable)
        if silent:
            said = f"{found.decision.reason}; not traded, silent for {stale} bars: {', '.join(silent)}"
            found = replace(found, decision=replace(found.decision, reason=said))
        if executable:
            book.executed(found.weights, float(np.abs(found.weights - program.current).sum()))
        record = publish(context, view, book, found, trigger, executable)
        book.decided(bar, record[1].decision_id)
        records.append(record)
    return records


def publish(
    context: Context,
    view: MarketView,
    book: Book,
    found: Answer,
    trigger: Trigger,
    executable: bool,
) -> tuple[Evidence, Allocation]:
    """The two records of one decision."""
    policy, program, decision, proof = book.policy, found.program, found.decision, found.proof
    one_ball = found.growth is not None or policy.uncertainty.form == "gelbrich"
    name = decision_id(
        context.universe.name,
        book.name,
        book.decisions,
        context.event_time,
        trigger,
        found.allocator,
        book.policy_digest,
    )
    evidence = evidence_of(name, context.universe.name, book.name, context.event_time, program, found.growth)
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
        allocator=found.allocator,
        rung=decision.rung,
        reason=decision.reason,
        weights=tuple(
            events.Weight(a, c, w, w - c)
            for a, c, w in zip(program.assets, current.tolist(), weights.tolist(), strict=True)
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
            radius=found.ambiguity.radius,
            effective_sample_size=view.effective_sample_size,
            budget=policy.growth.budget if found.growth is not None else policy.uncertainty.budget,
            penalty=found.ambiguity.penalty,
            # one ball is not split: that of the Gelbrich form, and that of growth
            mean_share=0.0 if one_ball else policy.uncertainty.mean_share,
            mean_penalty=found.ambiguity.mean_penalty,
            covariance_penalty=found.ambiguity.covariance_penalty,
        ),
        objective=events.Objective(proof.objective, tuple(NamedValue(k, v) for k, v in found.terms.items())),
        turnover=events.TurnoverGrant(
            asked=found.asked,
            granted=program.turnover,
            traded=float(np.abs(weights - current).sum()),
            bucket=book.bucket.level,
        ),
        limits=limit_states(program, weights, found.multipliers),
        certificate=events.CertificateValues(
            proof.primal, proof.dual, proof.gap, proof.objective, proof.bound
        ),
        solver=found.solver,
        policy_digest=book.policy_digest,
        evidence_digest=digest(encode(evidence)),
        inputs=InputOffsets(context.returns_offset, book.positions_offset, book.control_offset),
        data_quality=context.data_quality,
        previous_decision=book.previous,
    )
    return evidence, allocation

"""One decision in plain words.

Everything said here is read off the two published records; nothing is computed anew. Percentages are of
NAV unless they say otherwise, bp are hundredths of a percent.
"""

import math
from dataclasses import dataclass
from typing import Any

from stream_allocator.events import Allocation, Evidence, LimitState, NamedValue, Weight
from stream_allocator.evidence import GROWTH

__all__ = ["Section", "sections", "sentences", "structured", "term_name"]

#: Trades shown one by one, and limits that do not bind.
LARGEST = 5
NEAREST = 2

#: Below this share of NAV a trade is rounding.
NO_TRADE = 1e-9

_TRIGGERS = {
    "start": "This is the portfolio's first decision: the estimates have seen their warm-up.",
    "schedule": "This is a scheduled decision.",
    "regime_switch": "The market's regime switched at this bar.",
    "drift": "The holdings had drifted too far from the last target, or their risk too far above its cap.",
    "control": "An operator changed the portfolio's mode.",
}

_MODES = {
    "active": "The portfolio is active: execute this decision.",
    "shadow": "The portfolio is in shadow: this decision is for study, do not trade it.",
    "baseline": "An operator has put the portfolio on its static baseline.",
    "halted": "The portfolio is halted: do not trade.",
}

_RUNGS = {
    "robust": "The robust programme answered.",
    "restore": "Not every limit could be reached at once: the decision comes as near as turnover and "
    "liquidity allow.",
    "baseline": "The static risk-budget weights answered instead of the robust programme.",
    "hold": "Nothing could be improved inside the limits: the holdings stay as they are.",
}

_LIMITS = {
    "box_upper": "{scope} stands at its largest weight",
    "box_lower": "{scope} stands at its smallest weight",
    "cash_lower": "cash stands at its minimum",
    "cash_upper": "cash stands at its maximum",
    "group_upper": "the group {scope} stands at its largest weight",
    "group_lower": "the group {scope} stands at its smallest weight",
    "group_long": "what the group {scope} holds long stands at its cap",
    "group_gross": "the gross weight of the group {scope} stands at its cap",
    "gross": "gross exposure stands at its cap",
    "turnover": "the decision uses its whole turnover grant",
    "liquidity": "the trade in {scope} stands at its liquidity limit",
    "minimum_trade": "the trade in {scope} would be too small and is not made",
    "exit": "the holding in {scope} is as large as can be left in time",
    "active": "{scope} is as far from the benchmark as is allowed",
    "volatility": "volatility stands at its cap",
    "tracking": "the tracking error stands at its cap",
}

# Limits that may bind many assets at once are told together.
_MANY = {
    "box_lower": "stand at their smallest weight",
    "minimum_trade": "rest, since their trades would be too small to be worth a ticket",
}

# Limits in volatility a year, not in shares of NAV.
_A_YEAR = ("volatility", "tracking")

_TERMS = {
    "expected_return": "expected return",
    "risk": "risk",
    "mean_ambiguity": "doubt about the mean",
    "covariance_ambiguity": "doubt about the covariance",
    "linear_cost": "trading cost",
    "quadratic_cost": "market impact",
}

_FACTORS = {
    "evidence": "amount of evidence in the present segment",
    "segment": "certainty that no change has just happened",
    "data": "share of assets that reported",
}


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what there is to say under it."""

    title: str
    sentences: tuple[str, ...]


def term_name(name: str) -> str:
    """The plain name of an objective term."""
    return _TERMS.get(name, name.replace("_", " "))


def sentences(allocation: Allocation, evidence: Evidence | None = None) -> list[str]:
    """Every section as lines for a terminal: the heading, then its sentences indented."""
    lines = [f"Decision {allocation.decision_id}"]
    for section in sections(allocation, evidence):
        lines += ["", section.title, *(f"  {sentence}" for sentence in section.sentences)]
    return lines


def structured(allocation: Allocation, evidence: Evidence | None = None) -> dict[str, Any]:
    """The same for a program: sections of sentences, and the numbers that they speak of.

    JSON has no NaN and no infinity: such numbers are null.
    """
    return {
        "decision_id": allocation.decision_id,
        "universe": allocation.universe,
        "portfolio": allocation.portfolio,
        "event_time": allocation.event_time,
        "trigger": allocation.trigger,
        "rung": allocation.rung,
        "mode": allocation.mode,
        "executable": allocation.executable,
        "regime": allocation.regime.label,
        "confidence": _number(allocation.confidence.value),
        "turnover": {
            "granted": _number(allocation.turnover.granted),
            "traded": _number(allocation.turnover.traded),
        },
        "trades": {w.asset: _number(w.trade) for w in _trades(allocation)},
        "shadow_prices": {x.name: _number(x.shadow_price) for x in allocation.limits if x.binding},
        "objective": {term.name: _number(term.value) for term in allocation.objective.terms},
        "gap": _number(allocation.certificate.gap),
        "sections": [
            {"title": s.title, "sentences": list(s.sentences)} for s in sections(allocation, evidence)
        ],
    }


def sections(allocation: Allocation, evidence: Evidence | None = None) -> list[Section]:
    """The explanation: why now, what changed, what binds, what uncertainty cost, how sure, and the proof.

    Parameters
    ----------
    allocation : Allocation
    evidence : Evidence, optional
        Its programme; adds the price of risk and the size of the ambiguity.
    """
    return [
        Section("Why now", tuple(_why(allocation))),
        Section("What changed", tuple(_changes(allocation))),
        Section("What binds", tuple(_binding(allocation))),
        Section("What uncertainty cost", tuple(_uncertainty(allocation, evidence))),
        Section("How sure", tuple(_confidence(allocation))),
        Section("Proof", tuple(_proof(allocation))),
    ]


def _why(a: Allocation) -> list[str]:
    r = a.regime
    said = [_TRIGGERS[a.trigger]]
    if a.mode == "baseline":
        said.append(
            _MODES["baseline"]
            + (" Execute this decision." if a.executable else " This robust decision is for study.")
        )
    else:
        said.append(_MODES[a.mode])
    said.append(
        f"The regime is {r.label}: the present segment has most likely lasted {_bars(r.map_run_length)}, and "
        f"the probability that the market changed lately is {_percent(r.switch_probability, 0)}."
    )
    said.append(
        f"The market's volatility in this segment is {_percent(r.segment_volatility)} a year, against "
        f"{_percent(r.reference_volatility)} in the long run."
    )
    strong = [x for x in r.top_assets if x.switch_probability > 0.5]
    if strong:
        named = ", ".join(f"{x.asset} ({_percent(x.switch_probability, 0)})" for x in strong[:LARGEST])
        said.append(f"Assets whose own returns speak for a recent change: {named}.")
    else:
        said.append("No single asset's returns speak for a recent change.")
    said.append(_RUNGS[a.rung] + (f" Reason given: {a.reason}." if a.rung != "robust" and a.reason else ""))
    return said


def _changes(a: Allocation) -> list[str]:
    t = a.turnover
    trades = _trades(a)
    if not trades:
        return ["No asset is traded: no trade would earn its cost."]
    bought = sum(w.trade for w in trades if w.trade > 0)
    sold = -sum(w.trade for w in trades if w.trade < 0)
    before = a.cash + sum(w.trade for w in a.weights)
    said = [
        f"Buys {_percent(bought)} and sells {_percent(sold)}: turnover {_percent(t.traded)} of the "
        f"{_percent(t.granted)} granted"
        + (f" ({_percent(t.asked)} without a cap)" if math.isfinite(t.asked) and t.asked > t.traded else "")
        + f"; {_percent(t.bucket)} is left in the budget.",
        f"Cash goes from {_percent(before)} to {_percent(a.cash)}.",
    ]
    for w in trades[:LARGEST]:
        verb = "Buy" if w.trade > 0 else "Sell"
        said.append(
            f"{verb} {_percent(abs(w.trade), 2)} {w.asset}: from {_percent(w.current, 2)} to "
            f"{_percent(w.target, 2)}."
        )
    if len(trades) > LARGEST:
        rest = sum(abs(w.trade) for w in trades[LARGEST:])
        said.append(f"{len(trades) - LARGEST} smaller trades add up to {_percent(rest)}.")
    still = len(a.weights) - len(trades)
    if still:
        why = "a trade would not earn its cost"
        why += ", or would be too small" if any(x.kind == "minimum_trade" for x in a.limits) else ""
        said.append(f"{still} of {len(a.weights)} assets do not move: {why}.")
    return said


def _binding(a: Allocation) -> list[str]:
    binding = sorted((x for x in a.limits if x.binding), key=lambda x: (-x.shadow_price, x.name))
    priced = [x for x in binding if x.shadow_price > 0.0]
    told: list[str] = []
    for kind, what in _MANY.items():
        alike = [x for x in priced if x.kind == kind]
        if len(alike) >= 2:
            priced = [x for x in priced if x.kind != kind]
            most, names = _basis_points(alike[0].shadow_price * 0.01), ", ".join(x.scope for x in alike)
            told.append(
                f"{len(alike)} assets {what}; relaxing one by 1% of NAV would improve the objective by at "
                f"most {most} a year: {names}."
            )
    said = [_price(x) for x in priced] + told
    free = [x.name for x in binding if x.shadow_price <= 0.0 and x.kind != "minimum_trade"]
    if free:
        said.append(f"Touched without a price: {', '.join(free)}.")
    if not binding:
        said.append("No limit binds: the weights are where the objective wants them.")
    for x in sorted((x for x in a.limits if not x.binding), key=_slack)[:NEAREST]:
        said.append(f"Near, but not binding: {x.name} at {_percent(x.value)}, bound {_bound(x)}.")
    return said


def _price(x: LimitState) -> str:
    what = _LIMITS.get(x.kind, "{name} binds").format(scope=x.scope, name=x.name)
    unit = "by one point a year" if x.kind in _A_YEAR else "by 1% of NAV"
    return (
        f"{what[:1].upper()}{what[1:]}, {_bound(x)}: relaxing it {unit} would improve the objective by "
        f"{_basis_points(x.shadow_price * 0.01)} a year."
    )


def _uncertainty(a: Allocation, evidence: Evidence | None) -> list[str]:
    u = a.uncertainty
    if a.allocator == GROWTH:
        return [
            f"Guarding against other returns than the samples costs {_basis_points(u.penalty)} a year of "
            f"growth: the worst case may move {_percent(u.radius, 2)} of return a bar, summed over assets.",
            _worth(u.effective_sample_size),
        ]
    terms = {t.name: t.value for t in a.objective.terms}
    covariance, mean = terms.get("covariance_ambiguity", 0.0), terms.get("mean_ambiguity", 0.0)
    said = [
        f"Guarding against estimation error costs {_basis_points(u.penalty)} a year of the objective: "
        f"{_basis_points(covariance)} for the covariance, {_basis_points(mean)} for the mean. Of a budget of "
        f"{u.budget:g} squared standard errors {_percent(u.mean_share, 0)} guards the mean.",
        _worth(u.effective_sample_size),
    ]
    if evidence is not None:
        length = math.sqrt(sum(w.target * w.target for w in a.weights))
        said.append(
            f"In risk terms the portfolio is held to a volatility "
            f"{_percent(math.sqrt(evidence.radius) * length, 2)} above the estimate: the worst that returns "
            f"within the ambiguity radius could do."
        )
    return said


def _worth(bars: float) -> str:
    return f"The present segment is worth {_bars(bars)} of evidence; with fewer, the guard grows."


def _confidence(a: Allocation) -> list[str]:
    c = a.confidence
    said = [f"Confidence is {_percent(c.value, 0)}, the product of its factors."]
    factors = sorted(c.factors, key=lambda f: (f.value, f.name))
    said += [f"{_factor(f)}: {_percent(f.value, 0)}." for f in factors]
    q = a.data_quality
    if q.missing:
        said.append(f"Without a return in the last bar: {', '.join(q.missing)}.")
    if q.duplicates or q.late or q.gaps:
        said.append(
            f"Data since the start: {q.duplicates} duplicates dropped, {q.late} late records refused, "
            f"{q.gaps} records never came."
        )
    return said


def _proof(a: Allocation) -> list[str]:
    c, s = a.certificate, a.solver
    said = [
        f"The worst violation of any limit is {_tiny(c.primal)} of NAV.",
        f"The objective {c.objective:.6f} lies {_tiny(max(c.gap, 0.0))} above a lower bound that no "
        f"portfolio inside the limits can beat.",
    ]
    if a.allocator == GROWTH:
        said.append(
            f"HiGHS solved {_count(s.programmes, 'linear programme')} in {_count(s.iterations, 'pivot')}. "
            f"The objective is minus the worst expected log growth a year over the ball around the samples."
        )
    elif s.programmes:
        said.append(
            f"Newton answered in {_count(s.finish_steps, 'step')}, OSQP checked it in "
            f"{_count(s.iterations, 'iteration')}; the two methods {'agree' if s.agreed else 'do not agree'}."
        )
    said.append(f"It saw returns up to offset {a.inputs.returns} and positions up to {a.inputs.positions}.")
    said.append(f"Policy {a.policy_digest[:12]}, evidence {a.evidence_digest[:12]}.")
    return said


def _trades(a: Allocation) -> list[Weight]:
    """Trades, largest first."""
    moved = [w for w in a.weights if abs(w.trade) > NO_TRADE]
    return sorted(moved, key=lambda w: (-abs(w.trade), w.asset))


def _slack(x: LimitState) -> tuple[float, str]:
    return abs(x.bound - x.value) / max(abs(x.bound), 1e-3), x.name


def _bound(x: LimitState) -> str:
    return f"{_percent(x.bound)} a year" if x.kind in _A_YEAR else _percent(x.bound)


def _factor(f: NamedValue) -> str:
    name = _FACTORS.get(f.name, f.name.replace("_", " "))
    return name[:1].upper() + name[1:]


def _percent(x: float, digits: int = 1) -> str:
    if not math.isfinite(x):
        return "an unknown share" if math.isnan(x) else "unlimited"
    return f"{x * 100:.{digits}f}%".replace("-0.0%", "0.0%")


def _tiny(x: float) -> str:
    return "0" if x == 0.0 else f"{x:.0e}"


def _basis_points(x: float) -> str:
    return f"{x * 1e4:.3g} bp"


def _number(x: float) -> float | None:
    return x if math.isfinite(x) else None


def _bars(n: float) -> str:
    if not math.isfinite(n):
        return "an unknown number of bars"
    return _count(round(n), "bar")


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"

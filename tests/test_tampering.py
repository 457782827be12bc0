"""Whatever is changed in the two records of a decision, a claim fails that names it."""

import math
from dataclasses import fields, replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from published import Claim, binding_records, failed, signed

from stream_allocator.codec import decode, encode
from stream_allocator.errors import CodecError
from stream_allocator.events import Allocation, Evidence, GroupLimit, GrowthEvidence, Matrix, NamedValue

GROWTH = GrowthEvidence(
    Matrix(1, 12, (0.0,) * 12), 0.0, (1.0,), (0.0,) * 12, (0.0,) * 12, 252.0, 0.01, (), (), (), (), (), (), ()
)


@pytest.fixture(scope="module")
def binding():
    return binding_records()


def with_weight(a, **changes):
    first = next(i for i, w in enumerate(a.weights) if w.target > 0.0)
    weights = list(a.weights)
    weights[first] = replace(weights[first], **{k: f(getattr(weights[first], k)) for k, f in changes.items()})
    return replace(a, weights=tuple(weights))


def with_limit(a, chosen, **changes):
    """The allocation with one field of the first limit that is ``chosen`` changed."""
    at = next(i for i, x in enumerate(a.limits) if chosen(x))
    limits = list(a.limits)
    limits[at] = replace(limits[at], **{k: f(getattr(limits[at], k)) for k, f in changes.items()})
    return replace(a, limits=tuple(limits))


def of(section, **changes):
    """A change of some fields of one section of an allocation."""

    def change(a):
        part = getattr(a, section)
        return replace(a, **{section: replace(part, **{k: f(getattr(part, k)) for k, f in changes.items()})})

    return change


def up(x):
    return x + 1e-6


def on_one_asset(x):
    return x.shadow_price > 0.0 and x.kind in ("liquidity", "box_upper", "box_lower", "exit")


def renamed(terms):
    return (NamedValue("return", terms[0].value), *terms[1:])


TAMPERED = {
    "decision_id": (
        lambda a: replace(a, decision_id="u.core.0.0123456789ab"),
        {Claim.IDENTIFIED, Claim.NAMED},
    ),
    "universe": (lambda a: replace(a, universe="v"), {Claim.IDENTIFIED, Claim.NAMED}),
    "portfolio": (lambda a: replace(a, portfolio="other"), {Claim.IDENTIFIED, Claim.NAMED}),
    "index": (lambda a: replace(a, index=7), {Claim.IDENTIFIED}),
    "event_time": (lambda a: replace(a, event_time=a.event_time + 1), {Claim.IDENTIFIED, Claim.NAMED}),
    "mode": (lambda a: replace(a, mode="halted"), {Claim.EXECUTABLE}),
    "executable": (lambda a: replace(a, mode="shadow", executable=True), {Claim.EXECUTABLE}),
    "trigger": (lambda a: replace(a, trigger="drift"), {Claim.IDENTIFIED}),
    "allocator": (lambda a: replace(a, allocator="growth-v1"), {Claim.IDENTIFIED, Claim.USABLE}),
    "rung": (lambda a: replace(a, rung="hold"), {Claim.HELD}),
    "weights.target": (lambda a: with_weight(a, target=up), {Claim.ADDING_UP, Claim.TURNOVER}),
    "weights.current": (lambda a: with_weight(a, current=up), {Claim.ADDING_UP}),
    "weights.trade": (lambda a: with_weight(a, trade=up), {Claim.ADDING_UP}),
    "weights.asset": (lambda a: with_weight(a, asset=lambda x: "Z"), {Claim.NAMED}),
    "weights.order": (lambda a: replace(a, weights=a.weights[::-1]), {Claim.NAMED, Claim.ADDING_UP}),
    "weights.missing": (lambda a: replace(a, weights=a.weights[1:]), {Claim.NAMED, Claim.USABLE}),
    "weights.nan": (lambda a: with_weight(a, target=lambda x: math.nan), {Claim.USABLE}),
    "weights.huge": (lambda a: with_weight(a, target=lambda x: 1.7e308), {Claim.USABLE}),
    "weights.large": (lambda a: with_weight(a, target=lambda x: 1e100), {Claim.ADDING_UP, Claim.FEASIBLE}),
    "cash": (lambda a: replace(a, cash=up(a.cash)), {Claim.ADDING_UP}),
    "cash.nan": (lambda a: replace(a, cash=math.nan), {Claim.ADDING_UP}),
    "confidence.value": (of("confidence", value=up), {Claim.CONFIDENT}),
    "confidence.factors": (of("confidence", factors=lambda x: x[:1]), {Claim.CONFIDENT}),
    "uncertainty.radius": (of("uncertainty", radius=up), {Claim.UNCERTAINTY}),
    "uncertainty.penalty": (of("uncertainty", penalty=up), {Claim.UNCERTAINTY}),
    "uncertainty.mean_penalty": (of("uncertainty", mean_penalty=up), {Claim.UNCERTAINTY}),
    "uncertainty.covariance_penalty": (of("uncertainty", covariance_penalty=up), {Claim.UNCERTAINTY}),
    "objective.value": (of("objective", value=up), {Claim.OBJECTIVE}),
    "objective.terms": (of("objective", terms=renamed), {Claim.OBJECTIVE}),
    "objective.terms.value": (
        of("objective", terms=lambda x: (*x[:-1], NamedValue(x[-1].name, up(x[-1].value)))),
        {Claim.OBJECTIVE},
    ),
    "objective.terms.twice": (of("objective", terms=lambda x: (*x, x[0])), {Claim.OBJECTIVE}),
    "turnover.traded": (of("turnover", traded=up), {Claim.TURNOVER}),
    "turnover.granted": (of("turnover", granted=up), {Claim.TURNOVER}),
    "limits.name": (lambda a: with_limit(a, lambda x: True, name=lambda x: "upper[Z]"), {Claim.LIMITS}),
    "limits.kind": (lambda a: with_limit(a, lambda x: True, kind=lambda x: "gross"), {Claim.LIMITS}),
    "limits.scope": (lambda a: with_limit(a, lambda x: True, scope=lambda x: "Z"), {Claim.LIMITS}),
    "limits.bound": (lambda a: with_limit(a, lambda x: True, bound=up), {Claim.LIMITS}),
    "limits.value": (lambda a: with_limit(a, lambda x: True, value=up), {Claim.LIMITS}),
    "limits.binding": (
        lambda a: with_limit(a, lambda x: not x.binding, binding=lambda x: True),
        {Claim.LIMITS},
    ),
    "limits.not_binding": (
        lambda a: with_limit(a, lambda x: x.shadow_price > 0, binding=lambda x: False),
        {Claim.LIMITS, Claim.PRICES},
    ),
    "limits.missing": (
        lambda a: replace(a, limits=tuple(x for x in a.limits if not x.binding)),
        {Claim.LIMITS},
    ),
    "limits.twice": (lambda a: replace(a, limits=(*a.limits, a.limits[0])), {Claim.LIMITS}),
    "limits.shadow_price": (
        lambda a: with_limit(a, lambda x: x.name == "turnover", shadow_price=lambda x: 2 * x),
        {Claim.OPTIMAL, Claim.CERTIFICATE, Claim.ASSET_PRICES},
    ),
    "limits.shadow_price.of_an_asset": (
        lambda a: with_limit(a, on_one_asset, shadow_price=up),
        {Claim.ASSET_PRICES},
    ),
    "limits.shadow_price.negative": (
        lambda a: with_limit(a, on_one_asset, shadow_price=lambda x: -x),
        {Claim.PRICES},
    ),
    "limits.shadow_price.slack": (
        lambda a: with_limit(a, lambda x: not x.binding, shadow_price=lambda x: 1e-3),
        {Claim.PRICES},
    ),
    "limits.shadow_price.nan": (
        lambda a: with_limit(a, lambda x: True, shadow_price=lambda x: math.nan),
        {Claim.USABLE},
    ),
    "certificate.primal": (of("certificate", primal=up), {Claim.CERTIFICATE}),
    "certificate.dual": (of("certificate", dual=up), {Claim.CERTIFICATE}),
    "certificate.gap": (of("certificate", gap=up), {Claim.CERTIFICATE}),
    "certificate.objective": (of("certificate", objective=up), {Claim.CERTIFICATE}),
    "certificate.bound": (of("certificate", bound=up), {Claim.CERTIFICATE}),
    "policy_digest": (lambda a: replace(a, policy_digest="q" * 64), {Claim.IDENTIFIED}),
    "evidence_digest": (lambda a: replace(a, evidence_digest="0" * 64), {Claim.NAMED}),
}

#: What does not follow from the two records; replay and the audit chain vouch for it.
BEYOND = {"valid_until", "reason", "regime", "solver", "inputs", "data_quality", "previous_decision"}


@pytest.mark.parametrize("what", TAMPERED)
def test_a_changed_field_fails_a_claim_that_names_it(binding, what):
    change, due = TAMPERED[what]
    allocation, evidence = binding
    assert due <= failed(change(allocation), evidence)


def test_every_field_is_checked_or_said_not_to_be(root):
    checked = {name.split(".")[0] for name in TAMPERED}
    assert checked | BEYOND == {f.name for f in fields(Allocation)}
    assert not checked & BEYOND
    page = (root / "docs" / "verify.md").read_text("utf-8")
    assert all(f"`{name}`" in page for name in BEYOND)


@settings(max_examples=25)
@given(st.integers(0, 11), st.floats(-0.1, 0.1).filter(lambda x: abs(x) > 1e-9))
def test_a_moved_weight_is_found_however_well_the_rest_is_made_to_fit(binding, at, move):
    allocation, evidence = binding
    weights = list(allocation.weights)
    target = weights[at].target + move
    weights[at] = replace(weights[at], target=target, trade=target - weights[at].current)
    cash = 1.0 - math.fsum(w.target for w in weights)
    moved = failed(replace(allocation, weights=tuple(weights), cash=cash), evidence)
    assert moved & {Claim.FEASIBLE, Claim.OPTIMAL, Claim.TRADE}


@settings(max_examples=60)
@given(st.data())
def test_any_changed_byte_of_the_evidence_is_found(binding, data):
    allocation, evidence = binding
    body = bytearray(encode(evidence))
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        read = decode(Evidence, bytes(body))
    except CodecError:
        assume(False)
    assert Claim.NAMED in failed(allocation, read, bytes(body))


def doubled(values):
    return tuple(2.0 * x for x in values)


SIGNED = {
    "decision_id": (lambda e: {"decision_id": "u.core.1.0123456789ab"}, {Claim.NAMED}),
    "universe": (lambda e: {"universe": "v"}, {Claim.NAMED}),
    "portfolio": (lambda e: {"portfolio": "other"}, {Claim.NAMED}),
    "event_time": (lambda e: {"event_time": 1}, {Claim.NAMED}),
    "assets": (lambda e: {"assets": e.assets[::-1]}, {Claim.NAMED, Claim.LIMITS}),
    "assets.twice": (lambda e: {"assets": e.assets[:1] * len(e.assets)}, {Claim.NAMED, Claim.USABLE}),
    "mean": (lambda e: {"mean": doubled(e.mean)}, {Claim.OBJECTIVE, Claim.OPTIMAL}),
    "mean.nan": (lambda e: {"mean": (math.nan, *e.mean[1:])}, {Claim.USABLE}),
    "factors": (
        lambda e: {"factors": replace(e.factors, values=doubled(e.factors.values))},
        {Claim.OBJECTIVE, Claim.OPTIMAL},
    ),
    "factors.shape": (lambda e: {"factors": Matrix(2, 2, e.factors.values)}, {Claim.USABLE}),
    "idiosyncratic": (
        lambda e: {"idiosyncratic": doubled(e.idiosyncratic)},
        {Claim.OBJECTIVE, Claim.OPTIMAL},
    ),
    "current": (
        lambda e: {"current": (e.current[0] + 1e-6, *e.current[1:])},
        {Claim.ADDING_UP, Claim.TURNOVER},
    ),
    "risk_aversion": (lambda e: {"risk_aversion": 2 * e.risk_aversion}, {Claim.OBJECTIVE, Claim.OPTIMAL}),
    "radius": (lambda e: {"radius": e.radius + 0.01}, {Claim.UNCERTAINTY, Claim.OBJECTIVE}),
    "mean_ambiguity": (
        lambda e: {"mean_ambiguity": e.mean_ambiguity + 1.0},
        {Claim.UNCERTAINTY, Claim.OBJECTIVE},
    ),
    "mean_evidence": (lambda e: {"mean_evidence": 1e300}, {Claim.UNCERTAINTY, Claim.OBJECTIVE}),
    "linear_cost": (lambda e: {"linear_cost": tuple(x + 0.01 for x in e.linear_cost)}, {Claim.OBJECTIVE}),
    "quadratic_cost": (
        lambda e: {"quadratic_cost": tuple(x + 0.1 for x in e.quadratic_cost)},
        {Claim.OBJECTIVE},
    ),
    "lower": (lambda e: {"lower": (0.14,) * len(e.lower)}, {Claim.LIMITS, Claim.FEASIBLE}),
    "upper": (lambda e: {"upper": (1e-3,) * len(e.upper)}, {Claim.LIMITS, Claim.FEASIBLE}),
    "cash_lower": (lambda e: {"cash_lower": e.cash_upper}, {Claim.LIMITS}),
    "cash_upper": (lambda e: {"cash_lower": 0.0, "cash_upper": 0.0}, {Claim.LIMITS, Claim.FEASIBLE}),
    "groups": (
        lambda e: {"groups": (GroupLimit("first", e.groups[0].members, 0.0, 1e-3), *e.groups[1:])},
        {Claim.LIMITS, Claim.FEASIBLE},
    ),
    "turnover": (lambda e: {"turnover": e.turnover / 2}, {Claim.TRADE, Claim.TURNOVER, Claim.FEASIBLE}),
    "trade": (lambda e: {"trade": tuple(x / 2 for x in e.trade)}, {Claim.TRADE, Claim.FEASIBLE}),
    "volatility": (lambda e: {"volatility": 0.01}, {Claim.LIMITS, Claim.FEASIBLE}),
    "gross": (lambda e: {"gross": 0.1}, {Claim.LIMITS, Claim.FEASIBLE}),
    "holding": (lambda e: {"holding": (0.01,) * len(e.assets)}, {Claim.LIMITS, Claim.FEASIBLE}),
    "benchmark": (
        lambda e: {"benchmark": (1.0,) * len(e.assets), "active": (0.1,) * len(e.assets)},
        {Claim.FEASIBLE},
    ),
    "active": (lambda e: {"active": (0.01,) * len(e.assets)}, {Claim.LIMITS, Claim.FEASIBLE}),
    "tracking": (lambda e: {"tracking": 0.01}, {Claim.LIMITS, Claim.FEASIBLE}),
    "deviation_aversion": (lambda e: {"deviation_aversion": 0.5}, {Claim.OBJECTIVE, Claim.OPTIMAL}),
    "resting": (lambda e: {"resting": tuple(range(len(e.assets)))}, {Claim.TRADE, Claim.FEASIBLE}),
    "growth": (lambda e: {"growth": GROWTH}, {Claim.USABLE}),
}


@pytest.mark.parametrize("what", SIGNED)
def test_other_evidence_is_found_even_with_its_digest_renewed(binding, what):
    change, due = SIGNED[what]
    allocation, evidence = binding
    assert due <= failed(*signed(allocation, replace(evidence, **change(evidence))))


def test_the_evidence_has_no_other_fields():
    assert {name.split(".")[0] for name in SIGNED} == {f.name for f in fields(Evidence)}

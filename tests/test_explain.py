"""Explanations say what the records say, in words that an execution desk can use."""

import json
import math
from dataclasses import replace

import decisions
import pytest
import strategies
from hypothesis import given, settings

from stream_allocator.events import (
    Allocation,
    AssetEvidence,
    DataQuality,
    Evidence,
    LimitState,
    NamedValue,
    Objective,
    Uncertainty,
)
from stream_allocator.explain import sections, sentences, structured

TITLES = ["Why now", "What changed", "What binds", "What uncertainty cost", "How sure", "Proof"]


def said(allocation, title, evidence=None):
    return " ".join(next(s.sentences for s in sections(allocation, evidence) if s.title == title))


@settings(max_examples=40)
@given(strategies.events(Allocation), strategies.events(Evidence))
def test_any_allocation_can_be_explained(allocation, evidence):
    assert [s.title for s in sections(allocation)] == TITLES
    assert all(isinstance(line, str) for line in sentences(allocation))


@settings(max_examples=25)
@given(strategies.events(Allocation))
def test_the_structured_form_is_json_without_nan(allocation):
    text = json.dumps(structured(allocation), allow_nan=False)
    assert json.loads(text)["decision_id"] == allocation.decision_id


def test_every_trigger_and_mode_has_its_words():
    words = set()
    for trigger in ("start", "schedule", "regime_switch", "drift", "control"):
        words.add(said(decisions.allocation([0.5], trigger=trigger), "Why now").split(".")[0])
    assert len(words) == 5
    shadow = decisions.allocation([0.5], mode="shadow", executable=False)
    assert "do not trade" in said(shadow, "Why now")
    assert "execute this decision" in said(decisions.allocation([0.5]), "Why now")


def test_in_baseline_mode_only_the_baseline_is_to_be_executed():
    study = decisions.allocation([0.5], mode="baseline", executable=False)
    real = decisions.allocation([0.5], mode="baseline", allocator="baseline-v1", rung="baseline")
    assert "for study" in said(study, "Why now")
    assert "Execute this decision" in said(real, "Why now")


def test_assets_with_strong_evidence_of_a_change_are_named():
    a = decisions.allocation([0.5])
    top = (AssetEvidence("RRC", 0.93, 4), AssetEvidence("KO", 0.2, 300))
    text = said(replace(a, regime=replace(a.regime, top_assets=top)), "Why now")
    assert "RRC (93%)" in text
    assert "KO" not in text


def test_trades_are_told_largest_first_and_the_rest_summed():
    targets = [0.10, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.0]
    a = decisions.allocation(targets, current=[0.0] * 7 + [0.2])
    text = said(a, "What changed")
    assert text.index("Sell 20.00% A7: from 20.00% to 0.00%.") < text.index("Buy 10.00% A0")
    assert "3 smaller trades add up to 9.0%." in text
    assert "Cash goes from 80.0% to 63.0%." in text
    assert "Buys 37.0% and sells 20.0%" in text


def test_a_decision_without_trades_says_so():
    a = decisions.allocation([0.2, 0.3], current=[0.2, 0.3])
    assert said(a, "What changed") == "No asset is traded: no trade would earn its cost."


def test_what_the_cap_held_back_is_told():
    a = decisions.allocation([0.2, 0.1])
    capped = replace(a, turnover=replace(a.turnover, asked=0.9, granted=0.3))
    assert "turnover 30.0% of the 30.0% granted (90.0% without a cap)" in said(capped, "What changed")


@pytest.mark.parametrize(
    ("kind", "scope", "words"),
    [
        ("turnover", "", "relaxing it by 1% of NAV would improve the objective by 2.5 bp a year"),
        ("volatility", "", "relaxing it by one point a year would improve the objective by 2.5 bp a year"),
        ("box_upper", "KO", "KO stands at its largest weight, 15.0%"),
        ("group_upper", "energy", "The group energy stands at its largest weight, 15.0%"),
        ("liquidity", "KO", "The trade in KO stands at its liquidity limit"),
    ],
)
def test_a_shadow_price_is_told_in_basis_points_for_one_percent(kind, scope, words):
    limit = LimitState("x", kind, scope, 0.15, 0.15, 0.025, True)
    assert words in said(decisions.allocation([0.5], limits=(limit,)), "What binds")


def test_assets_at_their_smallest_weight_are_told_together():
    prices = {"AMD": 0.05, "BAC": 0.02, "RRC": 0.0}
    limits = tuple(LimitState(f"lower[{a}]", "box_lower", a, 0.0, 0.0, p, True) for a, p in prices.items())
    text = said(decisions.allocation([0.5], limits=limits), "What binds")
    assert "2 assets stand at their smallest weight" in text
    assert "at most 5 bp a year: AMD, BAC." in text
    assert "Touched without a price: lower[RRC]." in text


def test_limits_are_told_by_price_and_the_near_ones_after_them():
    limits = (
        LimitState("upper[A]", "box_upper", "A", 0.15, 0.15, 0.01, True),
        LimitState("volatility", "volatility", "", 0.12, 0.12, 0.4, True),
        LimitState("upper[B]", "box_upper", "B", 0.15, 0.15, 0.0, True),
        LimitState("upper[C]", "box_upper", "C", 0.15, 0.14, 0.0, False),
    )
    text = said(decisions.allocation([0.5], limits=limits), "What binds")
    assert text.index("Volatility stands") < text.index("A stands")
    assert "Touched without a price: upper[B]." in text
    assert "Near, but not binding: upper[C] at 14.0%, bound 15.0%." in text
    assert "No limit binds" in said(decisions.allocation([0.5]), "What binds")


def test_ambiguity_is_told_by_its_two_parts_and_in_volatility():
    a = decisions.allocation([0.3, 0.4])
    terms = (NamedValue("covariance_ambiguity", 0.0012), NamedValue("mean_ambiguity", 0.0030))
    a = replace(a, objective=Objective(-0.01, terms), uncertainty=Uncertainty(4e-4, 90.0, 1.25, 0.0042, 0.2))
    text = said(a, "What uncertainty cost", decisions.evidence([0.3, 0.4], radius=0.0004))
    assert "costs 42 bp a year" in text
    assert "12 bp for the covariance, 30 bp for the mean" in text
    assert "Of a budget of 1.25 squared standard errors 20% guards the mean" in text
    assert "held to a volatility 1.00% above" in text  # sqrt(.0004) * |w| = .02 * .5


def test_missing_data_and_the_weakest_factor_are_told():
    a = decisions.allocation([0.5], data_quality=DataQuality(2, 1, 3, ("KO",)))
    text = said(a, "How sure")
    assert "Without a return in the last bar: KO." in text
    assert "2 duplicates dropped, 1 late records refused, 3 records never came" in text


def test_unknown_numbers_are_words_not_nan():
    a = decisions.allocation(
        [0.5], turnover=decisions.events.TurnoverGrant(math.nan, math.inf, 0.5, math.nan)
    )
    assert "nan" not in " ".join(sentences(a)).lower()

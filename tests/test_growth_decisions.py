"""The growth allocator through the Engine: proven from two records, inside every limit."""

from dataclasses import fields, replace

import numpy as np
import pytest
import worlds
from hypothesis import given, settings
from hypothesis import strategies as st
from published import failed, signed
from test_every_limit import EVERYTHING

from stream_allocator.events import Allocation, Evidence, GrowthEvidence
from stream_allocator.evidence import growth_of, program_of
from stream_allocator.explain import sentences
from stream_allocator.verify import verify

GROWTH = {"allocator": "growth", "growth": {"budget": 0.02, "window": 60, "minimum_bars": 30}}


@pytest.mark.parametrize("growth", [{"window": 65}, {"window": 60, "minimum_bars": 61}])
def test_more_samples_than_are_kept_and_fewer_than_are_needed_are_refused(growth):
    with pytest.raises(ValueError, match=r"growth\.window must not be above regime\.max_run"):
        worlds.policy(allocator="growth", growth=growth)


def run(bars=80, **sections):
    x = worlds.returns(bars, seed=3)
    volumes = (400_000.0, 500_000.0, 600_000.0, 300_000.0)
    events = [worlds.tick(i, row, dollar_volumes=volumes) for i, row in enumerate(x)]
    events.insert(19, worlds.position(18, 0, [180_000, 200_000, 190_000, 200_000], cash=230_000))
    outputs = worlds.drive(worlds.engine(**GROWTH | sections), events)
    evidence = {o.decision_id: o for o in outputs if isinstance(o, Evidence)}
    return [(a, evidence[a.decision_id]) for a in outputs if isinstance(a, Allocation)]


@pytest.fixture(scope="module")
def decisions():
    return run()


def grown(found):
    return [(a, e) for a, e in found if a.allocator == "growth-v1"]


def test_growth_decides_once_there_are_samples(decisions):
    early, late = decisions[0], decisions[-1]
    assert early[0].allocator == "robust-v4"
    assert "growth: 20 bars of samples, 30 are needed" in early[0].reason
    assert late[0].allocator == "growth-v1"
    assert late[0].rung == "robust"


def test_every_decision_verifies_and_its_gap_is_small(decisions):
    for allocation, evidence in decisions:
        assert verify(allocation, evidence).passed, verify(allocation, evidence).failed
    for allocation, _ in grown(decisions):
        assert 0.0 <= allocation.certificate.gap <= 2e-6 * 252
        assert allocation.certificate.primal <= 1e-12


def test_the_objective_is_the_worst_growth_of_the_published_samples(decisions):
    allocation, evidence = grown(decisions)[-1]
    problem, _ = growth_of(evidence.growth, program_of(evidence))
    w = np.array([x.target for x in allocation.weights])
    plain = np.log1p(problem.samples @ w - problem.costs(w)).mean() * 252
    penalty = allocation.uncertainty.penalty
    assert penalty > 0.0
    assert -allocation.objective.value == pytest.approx(plain - penalty, abs=1e-12)


@pytest.mark.parametrize("name", ["volatility", "tracking"])
def test_caps_are_met_exactly_and_priced(name):
    limits = {"benchmark": {"weights": dict.fromkeys(worlds.ASSETS, 0.2), "tracking_error": 0.01}}
    budgets = {x: {"volatility": 0.06} for x in ("calm", "normal", "stressed", "transition")}
    found = grown(run(**{"limits": limits} if name == "tracking" else {"budgets": budgets}))
    assert found
    priced = 0
    for allocation, evidence in found:
        assert verify(allocation, evidence).passed
        priced += sum(x.shadow_price > 0.0 for x in allocation.limits if x.kind == name)
    assert priced


def test_all_limits_at_once_and_a_minimum_trade():
    found = run(**EVERYTHING)
    assert grown(found)
    for allocation, evidence in found:
        assert verify(allocation, evidence).passed
        trades = np.array([abs(w.trade) for w in allocation.weights])
        assert ((trades == 0.0) | (trades >= 0.01 - 1e-12)).all()


def test_the_same_events_give_the_same_bytes(decisions):
    again = run()
    assert worlds.wire(x for pair in decisions for x in pair) == worlds.wire(x for p in again for x in p)


def test_it_can_be_explained(decisions):
    text = "\n".join(sentences(*grown(decisions)[-1]))
    assert "HiGHS solved" in text
    assert "log growth" in text


TAMPERED = {
    "samples": lambda g: {"samples": replace(g.samples, values=(*g.samples.values[:-1], 0.2))},
    "radius": lambda g: {"radius": 2.0 * g.radius},
    "probabilities": lambda g: {"probabilities": (*g.probabilities[:-1], 0.5)},
    "lowest": lambda g: {"lowest": tuple(x - 0.05 for x in g.lowest)},
    "highest": lambda g: {"highest": tuple(x - 1.0 for x in g.highest)},
    "bars_per_year": lambda g: {"bars_per_year": 250.0},
    "survival": lambda g: {"survival": 2.0},
    "cut_sample": lambda g: {"cut_sample": (0,) * len(g.cut_sample)},
    "cut_point": lambda g: {"cut_point": tuple(x + 0.1 for x in g.cut_point)},
    "cut_weight": lambda g: {"cut_weight": tuple(reversed(g.cut_weight))},
    "loss_point": lambda g: {"loss_point": (*g.loss_point, 0.0)},
    "loss_asset": lambda g: {"loss_asset": tuple(x + 4 for x in g.loss_asset)},
    "loss_side": lambda g: {"loss_side": tuple(-x for x in g.loss_side)},
    "loss_weight": lambda g: {"loss_weight": (0.0,) * len(g.loss_weight)},
}


@pytest.mark.parametrize("what", TAMPERED)
def test_other_samples_or_another_proof_are_found_even_with_the_digest_renewed(decisions, what):
    allocation, evidence = grown(decisions)[-1]
    other = replace(evidence, growth=replace(evidence.growth, **TAMPERED[what](evidence.growth)))
    assert failed(*signed(allocation, other))


def test_every_field_of_the_evidence_has_been_tampered_with():
    assert set(TAMPERED) == {f.name for f in fields(GrowthEvidence)}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 1e-310, 1e-3, 1.0, 1e300]))
def test_no_weights_of_cuts_and_losses_prove_too_much(decisions, seed, size):
    """Whatever stands in the proof, the bound is above what these weights attain."""
    allocation, evidence = grown(decisions)[-1]
    g, rng = evidence.growth, np.random.default_rng(seed)
    changed = replace(
        g,
        cut_weight=tuple((size * rng.normal(size=len(g.cut_weight))).tolist()),
        loss_weight=tuple((size * rng.normal(size=len(g.loss_weight))).tolist()),
    )
    verdict = verify(*signed(allocation, replace(evidence, growth=changed)))
    assert verdict.gap >= -1e-12

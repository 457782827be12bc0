"""A consumer re-checks decisions from the two records alone, and finds what was touched."""

from dataclasses import replace

import pytest
import recorded
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_allocator.codec import Codec, digest, encode
from stream_allocator.events import Allocation, Evidence
from stream_allocator.verify import verify


@pytest.fixture(scope="module")
def decisions(tmp_path_factory):
    _, _, log = recorded.default_run(tmp_path_factory.mktemp("run"))
    codec = Codec()
    evidence = [codec.unframe(Evidence, r.value, r.headers) for r in log["evidence", 0]]
    allocations = [codec.unframe(Allocation, r.value, r.headers) for r in log["allocations", 0]]
    return list(zip(allocations, evidence, strict=True))


def robust(decisions):
    return next((a, e) for a, e in decisions if a.rung == "robust" and a.trigger == "schedule")


def test_every_decision_of_a_run_passes(decisions):
    assert len(decisions) >= 6
    assert {a.rung for a, _ in decisions} == {"robust", "baseline"}
    for allocation, evidence in decisions:
        verdict = verify(allocation, evidence)
        assert verdict.passed, verdict.text()


def failed(allocation, evidence):
    return {c.claim for c in verify(allocation, evidence).checks if not c.holds}


@settings(max_examples=15)
@given(st.integers(0, 3), st.sampled_from([-0.05, -1e-4, 1e-4, 0.05]))
def test_a_moved_weight_is_found(decisions, at, move):
    allocation, evidence = robust(decisions)
    weights = list(allocation.weights)
    weights[at] = replace(weights[at], target=weights[at].target + move)
    assert failed(replace(allocation, weights=tuple(weights)), evidence)


def test_other_evidence_is_found(decisions):
    allocation, evidence = robust(decisions)
    assert "the evidence is the one that the allocation names" in failed(
        allocation, replace(evidence, risk_aversion=evidence.risk_aversion * 1.01)
    )


def test_weights_that_are_feasible_but_not_optimal_fail_the_gap_alone(decisions):
    allocation, evidence = robust(decisions)
    evidence = replace(evidence, mean=tuple(m + 0.2 * i for i, m in enumerate(evidence.mean)))
    allocation = replace(allocation, evidence_digest=digest(encode(evidence)))
    assert "no other weights could be better by more than the gap" in failed(allocation, evidence)


def test_turnover_above_the_grant_is_found(decisions):
    allocation, evidence = robust(decisions)
    evidence = replace(evidence, turnover=allocation.turnover.traded / 2)
    assert "turnover and participation hold" in failed(allocation, evidence)

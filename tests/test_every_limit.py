"""A policy that uses every limit at once, through the Engine: each decision is explained and verifies."""

import re
from dataclasses import fields, replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import worlds

from stream_allocator import explain
from stream_allocator.allocate.limits import Kind
from stream_allocator.errors import ConfigurationError
from stream_allocator.events import Allocation, Evidence
from stream_allocator.evidence import program_of
from stream_allocator.policy import Policy
from stream_allocator.topology import check_policies
from stream_allocator.verify import verify

EVERYTHING = {
    "limits": {
        "lower": -0.1,
        "upper": 0.5,
        "assets": {"AAA": {"lower": 0.02, "upper": 0.3}},
        "groups": {"first": {"lower": 0.05, "upper": 0.5, "long": 0.5, "gross": 0.55}},
        "gross": 0.95,
        "cash_lower": 0.05,
        "cash_upper": 1.1,
        "benchmark": {
            "weights": {"AAA": 0.2, "BBB": 0.2, "CCC": 0.2, "DDD": 0.2},
            "active": 0.15,
            "tracking_error": 0.05,
        },
        "participation": 0.1,
        "exit_days": 20,
        "minimum_trade": 0.01,
    },
    "costs": {"linear_bps": 1, "quadratic_bps": 10, "assets": {"BBB": {"linear_bps": 4}}},
    "uncertainty": {"budget": 2.0, "mean_share": 0.5},
}


def run(**sections):
    """80 bars with volumes, the portfolio near its benchmark from the start."""
    x = worlds.returns(80, seed=3)
    volumes = (400_000.0, 500_000.0, 600_000.0, 300_000.0)
    events = [worlds.tick(i, row, dollar_volumes=volumes) for i, row in enumerate(x)]
    events.insert(19, worlds.position(18, 0, [180_000, 200_000, 190_000, 200_000], cash=230_000))
    outputs = worlds.drive(worlds.engine(**sections), events)
    evidence = {o.decision_id: o for o in outputs if isinstance(o, Evidence)}
    return [(a, evidence[a.decision_id]) for a in outputs if isinstance(a, Allocation)]


@pytest.fixture(scope="module")
def decisions():
    return run(**EVERYTHING)


def test_every_decision_is_robust_and_verifies(decisions):
    assert len(decisions) >= 5
    for allocation, evidence in decisions:
        assert allocation.rung == "robust", allocation.reason
        verdict = verify(allocation, evidence)
        assert verdict.passed, verdict


def test_every_limit_of_the_policy_is_in_the_evidence(decisions):
    program = program_of(decisions[-1][1])
    assert program.gross == 0.95
    assert program.tracking == 0.05
    assert program.active.tolist() == [0.15] * 4
    assert program.benchmark.tolist() == [0.2] * 4
    assert np.isfinite(program.holding).all()
    assert np.isfinite(program.trade).all()
    assert (program.lower[0], program.upper[0]) == (0.02, 0.3)
    group = program.groups[0]
    assert (group.lower, group.upper, group.long, group.gross) == (0.05, 0.5, 0.5, 0.55)
    assert program.linear_cost[1] == pytest.approx(4 * program.linear_cost[0], rel=1e-12)
    assert (program.quadratic_cost > 0).all()


def test_no_trade_is_smaller_than_the_minimum(decisions):
    small = 0
    for allocation, evidence in decisions:
        trades = np.array([abs(w.trade) for w in allocation.weights])
        assert ((trades == 0.0) | (trades >= 0.01 - 1e-12)).all()
        small += bool(evidence.resting)
    assert small


def test_the_budget_of_uncertainty_is_split_and_its_use_published(decisions):
    for allocation, evidence in decisions:
        u = allocation.uncertainty
        assert (u.budget, u.mean_share) == (2.0, 0.5)
        assert evidence.mean_ambiguity == 1.0  # kappa^2 = 2 * 0.5
        assert u.penalty == pytest.approx(u.mean_penalty + u.covariance_penalty, rel=1e-12)
    all_covariance = run(**EVERYTHING | {"uncertainty": {"budget": 2.0, "mean_share": 0.0}})
    for allocation, _ in all_covariance:
        assert allocation.uncertainty.mean_penalty == 0.0 < allocation.uncertainty.covariance_penalty
    radius = all_covariance[0][1].radius
    assert radius == pytest.approx(2.0 * decisions[0][1].radius, rel=1e-12)


def test_the_gelbrich_form_verifies_too():
    made = run(**EVERYTHING | {"uncertainty": {"form": "gelbrich", "budget": 1.0}})
    for allocation, evidence in made:
        assert allocation.rung == "robust", allocation.reason
        assert evidence.deviation_aversion > 0.0
        assert evidence.mean_ambiguity == 0.0
        assert (allocation.uncertainty.budget, allocation.uncertainty.mean_share) == (1.0, 0.0)
        assert verify(allocation, evidence).passed


def test_without_the_cross_check_the_weights_are_the_same(decisions):
    alone = run(**EVERYTHING | {"solver": {"cross_check": False}})
    for (a, _), (b, _) in zip(decisions, alone, strict=True):
        assert b.solver.status == "not_asked"
        assert b.solver.newton_converged
        assert [w.target for w in a.weights] == [w.target for w in b.weights]


def test_every_kind_of_limit_has_words():
    assert set(explain._LIMITS) == set(get_args(Kind))


def test_every_kind_of_limit_is_in_the_policys_page():
    rows = [line for line in Path("docs/policy.md").read_text("utf-8").splitlines() if line.startswith("| `")]
    kinds = {word for line in rows for word in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert set(get_args(Kind)) <= kinds


def test_a_benchmark_of_unknown_assets_is_refused():
    weights = {"benchmark": {"weights": {"ZZZ": 0.5}}}
    with pytest.raises(ConfigurationError, match=r"limits\.benchmark\.weights names ZZZ"):
        check_policies(worlds.universe(), {"core": worlds.policy(limits=weights)}, "here")


def test_gelbrich_needs_a_cap_to_price_deviation_at():
    endless = {"volatility": float("inf")}
    open_ended = {label: endless for label in ("calm", "normal", "stressed", "transition")}  # noqa: C420
    with pytest.raises(ValueError, match="gelbrich prices deviation"):
        Policy.model_validate({"name": "x", "budgets": open_ended, "uncertainty": {"form": "gelbrich"}})


def test_limits_at_their_defaults_are_left_out_of_the_evidence():
    _, evidence = run()[-1]
    unset = ("gross", "benchmark", "active", "tracking", "resting")
    assert all(getattr(evidence, f.name) is None for f in fields(evidence) if f.name in unset)
    assert replace(evidence, holding=None) != evidence  # volumes are known, so leaving has a limit

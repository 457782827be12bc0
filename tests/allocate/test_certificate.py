"""The certificate: a proof that needs no solver and cannot be talked into a lie."""

import numpy as np
import pytest
from cone import solve_cone
from hypothesis import given, settings
from hypothesis import strategies as st
from programmes import KINDS, programme

from stream_allocator.allocate import (
    Infeasible,
    certificate,
    objective,
    objective_terms,
    shadow_prices,
    solve,
    violations,
)

kinds, seeds = st.sampled_from(KINDS), st.integers(0, 60)


def solved(kind, seed):
    p = programme(kind, seed)
    try:
        return p, solve(p)
    except Infeasible:
        return p, None


def size(p, w):
    return sum(abs(x) for x in objective_terms(p, w).values())


@given(kinds, seeds, st.floats(0.0, 0.3), st.floats(0.0, 3.0))
@settings(max_examples=80)
def test_the_bound_is_never_above_the_optimum_whatever_weights_and_prices_are_claimed(kind, seed, noise, lie):
    p, answer = solved(kind, seed)
    if answer is None:
        return
    rng = np.random.default_rng(seed)
    claimed = answer.weights + noise * rng.normal(size=len(p.assets))
    prices = {name: x * lie + lie * rng.exponential() * 0.1 for name, x in answer.multipliers.items()}
    prices["turnover"] = lie * rng.exponential() * 0.1
    prices["volatility"] = lie * rng.exponential()
    prices["cash_lower"] = -lie  # a negative price counts as none
    proof = certificate(p, claimed, prices)
    assert proof.bound <= answer.objective + 1e-12 * size(p, answer.weights)
    assert proof.objective == objective(p, claimed)
    assert proof.primal == max(violations(p, claimed).values(), default=0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_bound_meets_the_optimum_that_an_independent_solver_finds(kind):
    for seed in range(3):
        p, answer = solved(kind, seed)
        if answer is None:
            continue
        proof = certificate(p, answer.weights, answer.multipliers)
        best, _ = solve_cone(p)
        scale = size(p, answer.weights) + 1e-6
        assert abs(proof.bound - best) <= 1e-8 * (scale + 1e-3)  # what Clarabel is exact to at all cash
        assert proof.primal <= 1e-12
        assert abs(proof.gap) <= 1e-10 * scale


@given(kinds, seeds)
@settings(max_examples=40)
def test_prices_of_box_and_liquidity_follow_from_those_of_the_rows(kind, seed):
    p, answer = solved(kind, seed)
    if answer is None:
        return
    rows = ("cash", "group", "gross", "turnover", "volatility", "tracking")
    only = {name: x for name, x in answer.multipliers.items() if name.startswith(rows)}
    derived = shadow_prices(p, answer.weights, only)
    published = {n: x for n, x in answer.multipliers.items() if not n.startswith(rows)}
    assert derived == published
    assert certificate(p, answer.weights, only) == certificate(p, answer.weights, answer.multipliers)


def test_the_gap_bounds_what_is_lost_by_any_feasible_weights():
    p, answer = solved("smooth", 4)
    towards = 0.7 * answer.weights + 0.3 * p.current
    if violations(p, towards):
        pytest.skip("the blend is not feasible here")
    lost = objective(p, towards) - answer.objective
    proof = certificate(p, towards, answer.multipliers)
    assert lost > 1e-6
    assert proof.gap >= lost - 1e-15


def test_the_dual_residual_is_the_slope_that_is_left():
    # one free asset, quadratic objective: the slope at w is gamma s2 w - mu
    p = programme(
        "smooth",
        0,
        n=1,
        factors=np.zeros((1, 0)),
        idiosyncratic=np.array([0.04]),
        mean=np.array([0.05]),
        quadratic_cost=np.zeros(1),
        upper=np.ones(1),
        risk_aversion=5.0,
        volatility=np.inf,
        trade=np.full(1, np.inf),
        cash_upper=1.0,
    )
    assert certificate(p, np.array([0.5]), {}).dual == pytest.approx(abs(5.0 * 0.04 * 0.5 - 0.05))
    assert certificate(p, np.array([0.25]), {}).dual == pytest.approx(0.0, abs=1e-16)
    assert certificate(p, np.array([0.0]), {}).dual == pytest.approx(0.05)


def test_at_the_kink_of_all_cash_the_certificate_finds_the_subgradient_that_proves_it():
    n = 6
    p = programme(
        "cash", 7, n=n, mean=np.full(n, 0.01), mean_ambiguity=2.0, mean_evidence=1.0, turnover=np.inf,
        trade=np.full(n, np.inf), linear_cost=np.full(n, 0.001), quadratic_cost=np.zeros(n),
    )  # fmt: skip
    nothing = np.zeros(n)
    proof = certificate(p, nothing, {})
    assert abs(proof.gap) <= 1e-15
    best, weights = solve_cone(p)
    assert abs(best - proof.objective) <= 1e-9
    assert np.abs(weights).max() <= 1e-6

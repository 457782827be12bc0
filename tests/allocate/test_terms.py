"""The objective, its slope and curvature, and the worst case that it prices."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from programmes import KINDS, programme

from stream_allocator.allocate import covariance, objective, objective_terms
from stream_allocator.allocate.robust import gradient, root_terms, variances

kinds, seeds = st.sampled_from(KINDS), st.integers(0, 200)


def naive_objective(p, w):
    """The formula of the documentation, term by term."""
    sigma = p.factors @ p.factors.T + np.diag(p.idiosyncratic)
    omega = sigma / p.mean_evidence
    trade = w - p.current
    alpha, rho = p.deviation_aversion, np.sqrt(p.radius)
    gelbrich = alpha * np.sqrt(w @ sigma @ w) + rho * np.sqrt(1 + alpha**2) * np.linalg.norm(w)
    return (
        -p.mean @ w
        + (gelbrich if alpha > 0 else 0.0)
        + p.mean_ambiguity * np.sqrt(w @ omega @ w)
        + p.risk_aversion / 2 * (np.sqrt(w @ sigma @ w) + np.sqrt(p.radius) * np.linalg.norm(w)) ** 2
        + sum(c * abs(x) for c, x in zip(p.linear_cost, trade, strict=True))
        + sum(q * x * x for q, x in zip(p.quadratic_cost, trade, strict=True))
    )


def somewhere(p, seed):
    return p.current + np.random.default_rng(seed).normal(size=len(p.assets)) * 0.1


@given(kinds, seeds)
def test_the_objective_is_the_formula(kind, seed):
    p = programme(kind, seed)
    w = somewhere(p, seed)
    size = sum(abs(x) for x in objective_terms(p, w).values())
    assert abs(objective(p, w) - naive_objective(p, w)) <= 1e-14 * size


@given(kinds, seeds)
def test_the_terms_add_up_to_the_objective(kind, seed):
    p = programme(kind, seed)
    w = somewhere(p, seed)
    terms = objective_terms(p, w)
    assert list(terms) == [
        "expected_return",
        "risk",
        "mean_ambiguity",
        "covariance_ambiguity",
        "linear_cost",
        "quadratic_cost",
    ]
    size = sum(abs(x) for x in terms.values())
    assert abs(math.fsum(terms.values()) - objective(p, w)) <= 1e-15 * size
    variance = w @ covariance(p) @ w
    risk = p.risk_aversion / 2 * variance + p.deviation_aversion * math.sqrt(variance)
    assert terms["risk"] == pytest.approx(risk, rel=1e-12)
    assert min(list(terms.values())[1:]) >= 0.0


def test_all_cash_costs_only_the_trade():
    p = programme("cash", 3)
    terms = objective_terms(p, np.zeros(len(p.assets)))
    assert terms["expected_return"] == terms["risk"] == terms["mean_ambiguity"] == 0.0
    assert terms["linear_cost"] == pytest.approx(p.linear_cost @ p.current)


@given(st.sampled_from(["plain", "long_short", "smooth", "riskless_asset"]), seeds)
def test_the_slope_is_the_derivative(kind, seed):
    p = programme(kind, seed, linear_cost=np.zeros(programme(kind, seed).current.size))
    w = somewhere(p, seed)
    n, step = len(w), 1e-6
    at = root_terms(p, w)
    slope = gradient(p, w, at)
    for i in range(n):
        e = np.zeros(n)
        e[i] = step
        rise = (naive_objective(p, w + e) - naive_objective(p, w - e)) / (2 * step)
        assert abs(rise - slope[i]) <= 1e-6


@given(seeds, st.floats(1e-6, 0.1))
def test_the_wasserstein_adversary_attains_the_worst_case(seed, radius):
    # moving every return along w, in proportion to its own deviation, costs exactly the radius
    # and lifts sqrt(w' Sigma w) to sqrt(w' Sigma w) + sqrt(radius) |w|
    rng = np.random.default_rng(seed)
    days, n = 60, 5
    x = rng.normal(size=(days, n)) * 0.1
    w = rng.normal(size=n)
    centred = x - x.mean(axis=0)
    sigma = centred.T @ centred / days
    deviation = np.sqrt(w @ sigma @ w)
    t = np.sqrt(radius) * np.linalg.norm(w) / deviation
    moved = x + t * np.outer(centred @ w, w) / (w @ w)
    cost = ((moved - x) ** 2).sum() / days
    assert cost == pytest.approx(radius, rel=1e-12)
    worst = moved - moved.mean(axis=0)
    attained = worst.T @ worst / days
    root = np.linalg.cholesky(sigma)
    p = programme(
        "smooth",
        0,
        n=n,
        factors=root,
        idiosyncratic=np.zeros(n),
        radius=radius,
        mean=np.zeros(n),
        quadratic_cost=np.zeros(n),
    )
    priced = objective(p, w)
    assert priced == pytest.approx(p.risk_aversion / 2 * (w @ attained @ w), rel=1e-12)


@given(seeds, st.floats(1e-6, 0.05))
def test_no_other_perturbation_of_the_same_cost_is_worse(seed, radius):
    rng = np.random.default_rng(seed)
    days, n = 40, 4
    x = rng.normal(size=(days, n)) * 0.1
    w = rng.normal(size=n)
    sigma = np.cov(x.T, bias=True)
    bound = np.sqrt(w @ sigma @ w) + np.sqrt(radius) * np.linalg.norm(w)
    push = rng.normal(size=(days, n))
    push *= np.sqrt(radius * days / (push**2).sum())
    assert np.sqrt(w @ np.cov((x + push).T, bias=True) @ w) <= bound * (1 + 1e-12)


@pytest.mark.parametrize("kind", ["plain", "one_asset", "no_own_variance", "riskless_asset"])
def test_variances_are_the_diagonal_of_the_covariance(kind):
    p = programme(kind, 3)
    np.testing.assert_allclose(variances(p), np.diag(covariance(p)), rtol=1e-14, atol=0.0)


def test_what_is_worked_out_at_read_only_weights_is_kept_and_at_others_is_not():
    p = programme(KINDS[0], 1)
    weights = somewhere(p, 1)
    first = root_terms(p, weights)
    assert root_terms(p, weights) is not first
    view = weights[:]
    view.setflags(write=False)
    assert root_terms(p, view) is not root_terms(p, view)  # who has the base may write to it
    before = objective(p, view)
    weights *= 2.0
    assert objective(p, view) != before
    weights.setflags(write=False)
    assert root_terms(p, weights) is root_terms(p, weights)
    assert root_terms(p, weights).sigma == pytest.approx(2.0 * first.sigma)
    riskier = replace(p, factors=2.0 * p.factors)
    assert root_terms(riskier, weights).sigma > root_terms(p, weights).sigma

"""The dual Newton method against an independent cone solver, itself from other starts, and closed forms."""

from dataclasses import replace

import numpy as np
import pytest
from cone import solve_cone
from hypothesis import given, settings
from hypothesis import strategies as st
from programmes import KINDS, broken_programme, programme

from stream_allocator.allocate import Group, Infeasible, certificate, decide, objective, volatility
from stream_allocator.allocate.dual import NewtonSolver, minimum_variance, solve_cold
from stream_allocator.allocate.robust import tracking_error

# An objective whose terms are this small is all cash.
SMALL = 1e-3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(500, 506))
def test_it_finds_what_the_cone_solver_finds_and_proves_it(kind, seed):
    p = programme(kind, seed)
    try:
        best = solve_cone(p)
    except AssertionError:  # Clarabel itself gives up now and then
        return
    if best is None:
        with pytest.raises(Infeasible) as clash:
            solve_cold(p)
        assert clash.value.limits
        return
    answer = solve_cold(p)
    proof = certificate(p, answer.weights, answer.multipliers)
    assert answer.converged
    assert abs(proof.objective - best[0]) <= 1e-8 * (answer.scale + SMALL)
    assert proof.primal <= 1e-12
    assert proof.gap <= 1e-9 * max(answer.scale, 1e-6)


@given(st.sampled_from(KINDS), st.integers(600, 660), st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_a_warm_start_changes_nothing_but_rounding(kind, seed, drift):
    p = programme(kind, seed)
    rng = np.random.default_rng(drift)
    moved = replace(p, mean=p.mean + 0.002 * rng.normal(size=len(p.mean)), current=p.current * 0.99)
    solver = NewtonSolver()
    try:
        solver.solve(p)
        warm, cold = solver.solve(moved), solve_cold(moved)
    except Infeasible:
        return
    assert warm.converged
    assert cold.converged
    assert abs(warm.objective - cold.objective) <= 2e-9 * max(cold.scale, SMALL)
    if p.idiosyncratic.min() > 0.0:
        np.testing.assert_allclose(warm.weights, cold.weights, atol=1e-5)


@given(st.sampled_from(KINDS), st.integers(700, 760))
@settings(max_examples=40)
def test_the_same_programme_gives_the_same_bits(kind, seed):
    p = programme(kind, seed)
    try:
        one, two = solve_cold(p), solve_cold(programme(kind, seed))
    except Infeasible:
        return
    assert one.weights.tobytes() == two.weights.tobytes()
    assert list(one.multipliers.items()) == list(two.multipliers.items())


def test_assets_that_are_not_free_stand_exactly_on_their_bound_their_weight_or_nothing():
    stood = 0
    for seed in range(12):
        p = programme("gross", seed, linear_cost=np.full(12, 0.02), n=12)
        try:
            w = solve_cold(p).weights
        except Infeasible:
            continue
        for end in (p.lower, p.upper, p.current, np.zeros(12)):
            near = np.abs(w - end) < 1e-9
            assert (w[near] == end[near]).all()
            stood += int(near.sum())
    assert stood > 30


def free(n, seed, **changes):
    """A programme where hardly anything binds."""
    wide = {
        "lower": np.full(n, -2.0),
        "upper": np.full(n, 2.0),
        "cash_lower": -1.0,
        "cash_upper": 1.0,
        "turnover": np.inf,
        "trade": np.full(n, np.inf),
        "volatility": np.inf,
        "linear_cost": np.zeros(n),
        "quadratic_cost": np.zeros(n),
        "mean_ambiguity": 0.0,
    }
    return programme("plain", seed, n=n, **{**wide, **changes})


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("gelbrich", [False, True])
def test_the_larger_the_radius_the_smaller_the_norm_and_the_worse_the_objective(seed, gelbrich):
    form = {"risk_aversion": 0.0, "deviation_aversion": 0.3} if gelbrich else {}
    norms, objectives = [], []
    for radius in (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0):
        p = free(9, seed, cash_lower=0.0, cash_upper=0.0, radius=radius, **form)
        answer = solve_cold(p)
        assert answer.converged
        norms.append(float(np.linalg.norm(answer.weights)))
        objectives.append(answer.objective)
    assert (np.diff(norms) <= 1e-9).all()
    assert (np.diff(objectives) >= -1e-12).all()


@pytest.mark.parametrize("gelbrich", [False, True])
def test_an_endless_radius_leaves_the_feasible_portfolio_of_least_norm(gelbrich):
    form = {"risk_aversion": 0.0, "deviation_aversion": 0.3} if gelbrich else {}
    p = free(6, 1, cash_lower=0.1, cash_upper=0.1, radius=1e10, **form)
    np.testing.assert_allclose(solve_cold(p).weights, np.full(6, 0.15), atol=1e-4)


def test_without_a_radius_gelbrich_is_mean_and_deviation():
    p = free(5, 2, cash_lower=0.0, cash_upper=0.0, risk_aversion=0.0, deviation_aversion=0.6, radius=0.0)
    answer = solve_cold(p)
    assert objective(p, answer.weights) == pytest.approx(
        -p.mean @ answer.weights + 0.6 * volatility(p, answer.weights), rel=1e-12
    )


def test_the_gelbrich_term_is_the_worst_case_over_its_ball():
    # mean shifted against w, deviation along w: distance in the Gelbrich metric is exactly rho
    p = free(5, 3, risk_aversion=0.0, deviation_aversion=0.7, radius=0.004)
    w = solve_cold(p).weights
    alpha, rho, norm = 0.7, np.sqrt(p.radius), np.linalg.norm(w)
    sigma = p.factors @ p.factors.T + np.diag(p.idiosyncratic)
    shift = -rho / np.sqrt(1 + alpha**2) * w / norm
    deviation = np.sqrt(w @ sigma @ w)
    stretch = rho * alpha / np.sqrt(1 + alpha**2)
    direction = np.outer(w, sigma @ w) / (norm * deviation)  # optimal transport x -> x + stretch direction x
    moved = np.eye(5) + stretch * np.outer(w, w) / (norm * deviation)
    assert np.trace(direction) == pytest.approx(deviation / norm, rel=1e-12)
    worst_sigma = moved @ sigma @ moved.T
    cost = shift @ shift + np.trace((moved - np.eye(5)) @ sigma @ (moved - np.eye(5)).T)
    assert np.sqrt(cost) == pytest.approx(rho, rel=1e-12)
    worst = -(p.mean + shift) @ w + alpha * np.sqrt(w @ worst_sigma @ w)
    assert objective(p, w) == pytest.approx(worst, rel=1e-12)


def test_both_caps_are_met_and_priced():
    met = 0
    for seed in range(40):
        p = programme("two_caps", seed)
        try:
            answer = solve_cold(p)
        except Infeasible:
            continue
        assert answer.converged
        prices = answer.multipliers
        if prices.get("volatility", 0.0) > 0.0:
            assert volatility(p, answer.weights) == pytest.approx(p.volatility, rel=1e-11)
            met += 1
        if prices.get("tracking", 0.0) > 0.0:
            assert tracking_error(p, answer.weights) == pytest.approx(p.tracking, rel=1e-11)
            met += 1
    assert met > 20


def test_caps_out_of_reach_are_named():
    p = programme("fully_invested", 3, volatility=0.001)
    with pytest.raises(Infeasible, match="least volatility"):
        solve_cold(p)
    p = programme("tracking", 4)
    n = len(p.assets)
    far = np.zeros(n)
    far[0] = 1.0
    p = replace(
        p, benchmark=far, upper=np.full(n, 0.9 / n + 0.1), tracking=1e-4, current=np.zeros(n), cash_upper=1.0
    )
    with pytest.raises(Infeasible, match="least tracking error"):
        solve_cold(replace(p, turnover=np.inf))


def test_overlapping_groups_that_contradict_each_other_are_named():
    p = programme("plain", 1, n=3, current=np.full(3, 0.3), upper=np.ones(3), cash_upper=0.5)
    groups = (
        Group("a", (0, 1), 0.6),
        Group("b", (1, 2), 0.6),
        Group("c", (0, 2), 0.6),
        Group("d", (0, 1, 2), 0.0, 0.8),
    )
    p = replace(p, trade=np.full(3, np.inf), turnover=np.inf, groups=groups, volatility=np.inf)
    with pytest.raises(Infeasible) as error:
        solve_cold(p)
    assert any(name.startswith("group") for name in error.value.limits)


@pytest.mark.parametrize("field", ["mean", "idiosyncratic", "linear_cost"])
def test_duplicates_and_ties_are_solved_the_same_way_every_time(field):
    p = programme("two_equal_assets", 4, volatility=np.inf, turnover=np.inf)
    one, two = solve_cold(p), solve_cold(replace(p, **{field: getattr(p, field).copy()}))
    assert one.weights.tobytes() == two.weights.tobytes()
    assert one.converged


@pytest.mark.parametrize("n", [1, 2, 30])
def test_without_risky_assets_the_mean_decides_within_the_limits(n):
    p = free(n, 1, factors=np.zeros((n, 0)), idiosyncratic=np.zeros(n), radius=0.0, upper=np.full(n, 0.5 / n))
    p = replace(p, mean=np.abs(p.mean) + 0.01, lower=np.zeros(n), cash_lower=0.0)
    np.testing.assert_array_equal(solve_cold(p).weights, p.upper)


@pytest.mark.parametrize("radius", [0.0, 1e-3])
@pytest.mark.parametrize("cost", [0.0, 0.05])
@pytest.mark.parametrize("mean", [(0.0, 0.0, 0.0, 0.0), (0.05, 0.05, 0.05, 0.05), (0.1, 0.2, 0.1, -0.1)])
def test_assets_without_any_variance_are_decided_and_proven(mean, cost, radius):
    """As after bars of stuck prices: what is left is linear, and so is the choice among equals."""
    n = len(mean)
    p = programme("plain", 1, n=n, turnover=0.3, volatility=0.2, cash_upper=1.0, mean_ambiguity=0.5)
    p = replace(
        p, mean=np.array(mean), factors=np.zeros((n, 1)), idiosyncratic=np.zeros(n), radius=radius,
        current=np.full(n, 0.2), linear_cost=np.full(n, cost), quadratic_cost=np.zeros(n),
        trade=np.full(n, 0.2), upper=np.full(n, 0.5),
    )  # fmt: skip
    first, second = decide(p), decide(p)
    assert first.rung == "robust", first.reason
    assert first.weights.tobytes() == second.weights.tobytes()


@pytest.mark.parametrize(("kind", "seed"), [("plain", 82), ("gelbrich_capped", 41)])
def test_a_cap_that_no_asset_moves_for_at_one_price_is_met_at_another(kind, seed):
    """The price jumps to where every asset stands at an end, and has to come back from there."""
    p = broken_programme(kind, seed, capped=True)
    p = replace(p, turnover=2.0 * p.turnover, trade=2.0 * p.trade)
    least = volatility(p, solve_cold(minimum_variance(p)).weights)
    assert least < p.volatility < volatility(p, p.current)
    assert solve_cold(p).converged

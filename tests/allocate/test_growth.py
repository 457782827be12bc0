"""Robust growth: its exact value, the bracket around the optimum, and the limits."""

import itertools
from dataclasses import fields, replace

import numpy as np
import pytest
from growth_cone import every_scenario, solve_growth_cone
from growth_problems import RADII, plain, returns, small
from hypothesis import given, settings
from hypothesis import strategies as st
from programmes import KINDS
from scipy.optimize import linprog

from stream_allocator.allocate import Group, Infeasible, ProgramError, violations
from stream_allocator.allocate.growth import (
    GrowthProgram,
    GrowthSettings,
    robust_growth,
    simplex,
    solve_growth,
)
from stream_allocator.allocate.growth.begin import begin
from stream_allocator.allocate.growth.bound import bound_of
from stream_allocator.allocate.growth.moves import moves_of, sums_of

kinds, seeds = st.sampled_from(KINDS), st.integers(0, 200)


def linear_violations(problem, weights):
    found = violations(problem.program, weights)
    return {name: v for name, v in found.items() if name not in ("volatility", "tracking")}


# -- the exact value


def worst_by_enumeration(problem, weights):
    """The adversary's linear programme over every scenario."""
    scenarios, distances = every_scenario(problem)
    cost = problem.costs(weights)
    growth = np.concatenate([np.log1p(x @ weights - cost) for x in scenarios])
    sample = np.repeat(np.arange(len(scenarios)), [len(x) for x in scenarios])
    mass = (sample == np.arange(len(scenarios))[:, None]).astype(float)
    found = linprog(
        growth,
        A_ub=np.concatenate(distances)[None, :],
        b_ub=[problem.radius],
        A_eq=mass,
        b_eq=problem.probabilities,
    )
    return found.fun


@given(kinds, seeds)
@settings(max_examples=40)
def test_the_worst_case_is_the_one_that_enumeration_finds(kind, seed):
    problem = small(kind, seed)
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=len(problem.program.assets)) * 0.3
    weights[rng.random(len(weights)) < 0.2] = 0.0
    bad = np.minimum(weights * problem.lowest, weights * problem.highest).sum()
    if 1.0 + bad - problem.costs(weights) <= 0.05:
        weights *= 0.1
    found = robust_growth(problem, weights)
    assert abs(found.value - worst_by_enumeration(problem, weights)) <= 1e-9


@given(seeds, st.floats(1e-4, 0.5))
def test_growth_falls_with_the_radius_at_its_price(seed, radius):
    problem = replace(small("plain", seed), radius=radius)
    weights = problem.program.current
    here, step = robust_growth(problem, weights), 1e-6
    less = robust_growth(replace(problem, radius=radius - step), weights)
    more = robust_growth(replace(problem, radius=radius + step), weights)
    # convex in the radius: its price lies between the slopes on either side
    assert (here.value - more.value) / step - 1e-7 <= here.price <= (less.value - here.value) / step + 1e-7


def test_growth_is_minus_infinity_where_wealth_can_vanish():
    problem = GrowthProgram(plain(2), returns(0, 5, 2), 1e-3, lowest=np.array([-1.0, -1.0]))
    assert robust_growth(problem, np.array([0.5, 0.5])).value == -np.inf
    assert np.isfinite(robust_growth(problem, np.array([0.5, 0.4])).value)


# -- the optimum


@pytest.mark.parametrize("kind", KINDS)
def test_the_bracket_holds_the_cone_solvers_optimum(kind):
    compared = 0
    for seed in range(6):
        problem = small(kind, seed)
        try:
            oracle = solve_growth_cone(problem)
        except AssertionError:  # Clarabel is not sure: cones that touch at a point
            continue
        compared += 1
        if oracle is None:
            with pytest.raises(Infeasible) as clash:
                solve_growth(problem)
            assert clash.value.limits
            continue
        best, _, accuracy = oracle
        answer = solve_growth(problem)
        assert answer.status == "optimal", seed
        assert answer.value - 10 * accuracy <= best <= answer.bound + 10 * accuracy, seed
        assert 0.0 <= answer.gap + 1e-15 <= 1.001e-6
    assert compared >= 3


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("radius", [0.0, 1e-3, 1e-2])
def test_no_portfolio_of_a_grid_is_better(n, radius):
    current = np.full(n, 0.2)
    program = plain(n, current=current, cash_upper=1.0, linear_cost=np.full(n, 0.1), turnover=0.6)
    problem = GrowthProgram(program, returns(n, 20, n), radius, bars_per_year=252.0)
    answer = solve_growth(problem)
    best = -np.inf
    for point in itertools.product(np.linspace(0.0, 1.0, 21), repeat=n):
        weights = np.array(point)
        if not linear_violations(problem, weights):
            best = max(best, robust_growth(problem, weights).value)
    assert answer.value >= best - 1e-6
    assert answer.bound >= best
    assert answer.value == robust_growth(problem, answer.weights).value


@pytest.mark.parametrize("radius", [1e-3, 1e-2, 5e-2])
def test_a_much_finer_bracket_lies_inside(radius):
    problem = GrowthProgram(plain(40, upper=np.full(40, 0.1)), returns(1, 120, 40), radius)
    answer, fine = solve_growth(problem), solve_growth(problem, settings=GrowthSettings(tolerance=2e-8))
    assert fine.status == answer.status == "optimal"
    assert fine.gap <= 2e-8
    assert answer.value <= fine.bound + 1e-12
    assert fine.value <= answer.bound + 1e-12


def test_without_ambiguity_one_bet_is_kellys():
    # up 50 % or down 40 %, equally likely: w = p/a - q/b
    problem = GrowthProgram(plain(1, cash_upper=1.0), np.array([[0.5], [-0.4]]), 0.0)
    answer = solve_growth(problem, settings=GrowthSettings(tolerance=1e-9))
    w = 0.5 / 0.4 - 0.5 / 0.5
    assert abs(answer.value - 0.5 * (np.log1p(0.5 * w) + np.log1p(-0.4 * w))) <= 1e-9
    np.testing.assert_allclose(answer.weights, [w], atol=1e-4)  # the optimum is flat


def test_more_ambiguity_never_promises_more_growth():
    program = plain(30, upper=np.full(30, 0.2), cash_upper=1.0)
    answers = [solve_growth(GrowthProgram(program, returns(2, 60, 30), radius)) for radius in RADII]
    for less, more in itertools.pairwise(answers):
        assert more.value <= less.bound
        assert more.weights.max() <= 0.2


def test_under_the_widest_ball_all_is_cash():
    problem = GrowthProgram(plain(30, cash_upper=1.0), returns(2, 60, 30), 10.0)
    answer = solve_growth(problem)
    assert answer.status == "optimal"
    assert not answer.weights.any()
    assert answer.value == 0.0


def test_under_the_widest_ball_without_cash_the_best_worst_case_wins():
    problem = GrowthProgram(plain(12), returns(3, 30, 12), 20.0)
    answer = solve_growth(problem)
    assert abs(answer.value - np.log1p(problem.lowest.max())) <= 1e-6
    assert answer.weights[problem.lowest.argmax()] > 0.999


def test_a_sample_that_counts_twice_is_two_samples():
    x = returns(4, 20, 6)
    once = GrowthProgram(plain(6), x, 1e-3, probabilities=np.array([2.0] + [1.0] * 19))
    twice = GrowthProgram(plain(6), np.concatenate([x[:1], x]), 1e-3)
    weights = np.full(6, 1 / 6)
    assert abs(robust_growth(once, weights).value - robust_growth(twice, weights).value) <= 1e-14
    assert abs(solve_growth(once).value - solve_growth(twice).value) <= 1e-6


# -- limits


@given(kinds, seeds)
def test_weights_obey_every_linear_limit(kind, seed):
    problem = small(kind, seed)
    try:
        answer = solve_growth(problem)
    except Infeasible:
        return
    assert max(linear_violations(problem, answer.weights).values(), default=0.0) <= 1e-12
    assert answer.value <= answer.bound + 1e-12


def test_weights_obey_every_limit_of_many_assets_at_once():
    n = 60
    rng = np.random.default_rng(5)
    groups = tuple(Group(f"g{j}", tuple(range(j, n, 4)), -0.1, 0.3, long=0.35, gross=0.5) for j in range(4))
    program = plain(
        n,
        lower=np.full(n, -0.05),
        upper=np.full(n, 0.1),
        current=rng.normal(size=n) * 0.01,
        cash_lower=0.1,
        cash_upper=1.0,
        groups=groups,
        gross=1.2,
        turnover=0.7,
        trade=np.full(n, 0.06),
        holding=np.full(n, 0.08),
        linear_cost=np.full(n, 0.05),
        quadratic_cost=np.full(n, 0.2),
    )
    problem = GrowthProgram(program, returns(6, 60, n), 5e-3)
    answer = solve_growth(problem)
    assert answer.status == "optimal"
    assert max(linear_violations(problem, answer.weights).values(), default=0.0) <= 1e-12
    assert (answer.weights < 0.0).any()
    assert abs(np.abs(answer.weights - program.current).sum() - 0.7) <= 1e-12


def test_nothing_is_traded_where_trading_costs_more_than_it_earns():
    current = np.random.default_rng(7).dirichlet(np.ones(10))
    problem = GrowthProgram(
        plain(10, current=current, linear_cost=np.full(10, 100.0)), returns(7, 40, 10), 1e-3
    )
    np.testing.assert_array_equal(solve_growth(problem).weights, current)


def test_limits_that_clash_are_named():
    short = plain(4, upper=np.full(4, 0.2))
    with pytest.raises(Infeasible) as clash:
        solve_growth(GrowthProgram(short, returns(8, 10, 4), 1e-3))
    assert "cash_upper" in clash.value.limits
    # no closed form sees these: two groups share an asset
    groups = (Group("a", (0, 1), 0.7, 1.0), Group("b", (1, 2), 0.7, 1.0), Group("c", (0, 2), 0.7, 1.0))
    with pytest.raises(Infeasible) as clash:
        solve_growth(GrowthProgram(plain(3, groups=groups), returns(8, 10, 3), 1e-3))
    assert clash.value.limits
    ruin = GrowthProgram(plain(2), returns(8, 10, 2), 1e-3, lowest=np.array([-1.0, -1.0]))
    with pytest.raises(Infeasible) as clash:
        solve_growth(ruin)
    assert clash.value.limits == ("survival",)


def test_what_can_be_lost_whole_is_never_all_that_is_held():
    x = np.array([[1.0]] * 199 + [[-1.0]])
    answer = solve_growth(GrowthProgram(plain(1, cash_upper=1.0), x, 0.0))
    assert answer.status == "optimal"
    assert abs(answer.weights[0] - 0.99) <= 1e-12  # Kelly says 0.99, and so does survival
    assert np.isfinite(answer.value)


def test_constant_returns_go_to_the_highest():
    x = np.tile([0.001, 0.002, -0.001], (5, 1))
    answer = solve_growth(GrowthProgram(plain(3, upper=np.full(3, 0.6)), x, 0.0))
    np.testing.assert_allclose(answer.weights, [0.4, 0.6, 0.0], atol=1e-12)


# -- starts


def test_the_same_problem_gives_the_same_bits():
    problem = GrowthProgram(plain(50, upper=np.full(50, 0.1)), returns(9, 60, 50), 1e-2)
    first, second = solve_growth(problem), solve_growth(problem)
    assert first.weights.tobytes() == second.weights.tobytes()
    assert (first.value, first.bound, first.pivots) == (second.value, second.bound, second.pivots)
    for field in fields(first.start):
        np.testing.assert_array_equal(getattr(first.start, field.name), getattr(second.start, field.name))
    warm = [solve_growth(replace(problem, radius=9e-3), answer.start) for answer in (first, second)]
    assert warm[0].weights.tobytes() == warm[1].weights.tobytes()


@pytest.mark.parametrize("cost", [0.0, 0.1])
def test_a_warm_start_changes_the_way_and_not_the_answer(cost):
    n, count = 50, 60
    x = returns(10, count + 8, n)
    current, start = np.zeros(n), None
    warm_pivots = cold_pivots = 0
    for day in range(8):
        program = plain(n, upper=np.full(n, 0.1), linear_cost=np.full(n, cost), current=current)
        problem = GrowthProgram(program, x[day : day + count], 1e-2, first_bar=day)
        warm, cold = solve_growth(problem, start), solve_growth(problem)
        assert warm.status == cold.status == "optimal"
        assert warm.value <= cold.bound + 1e-12
        assert cold.value <= warm.bound + 1e-12
        if day:
            warm_pivots, cold_pivots = warm_pivots + warm.pivots, cold_pivots + cold.pivots
        start = warm.start
        if cost:
            drifted = warm.weights * (1.0 + x[day + count])
            current = drifted / drifted.sum()
    assert warm_pivots < cold_pivots


def test_a_start_from_another_problem_does_no_harm():
    x = returns(11, 40, 20)
    start = solve_growth(GrowthProgram(plain(20, upper=np.full(20, 0.1)), x, 1e-2)).start
    groups = (Group("g", tuple(range(10)), 0.2, 0.4),)
    other = GrowthProgram(plain(20, groups=groups, cash_upper=0.5), x[5:], 3e-2, first_bar=100)
    warm, cold = solve_growth(other, start), solve_growth(other)
    assert warm.status == "optimal"
    assert warm.value <= cold.bound + 1e-12
    assert cold.value <= warm.bound + 1e-12
    strange = GrowthProgram(plain(19), x[:, :19], 1e-2)
    assert solve_growth(strange, start).weights.tobytes() == solve_growth(strange).weights.tobytes()


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_a_solution_that_is_cut_short_keeps_its_bracket(rounds):
    problem = GrowthProgram(plain(40, upper=np.full(40, 0.1)), returns(1, 120, 40), 1e-2)
    early = solve_growth(problem, settings=GrowthSettings(rounds=rounds))
    fine = solve_growth(problem, settings=GrowthSettings(tolerance=1e-8))
    assert early.status == "rounds"
    assert early.value <= fine.bound
    assert fine.value <= early.bound
    assert max(linear_violations(problem, early.weights).values(), default=0.0) <= 1e-12


def test_where_rounding_is_all_that_is_left_the_answer_says_so():
    problem = GrowthProgram(plain(1, cash_upper=1.0), np.array([[0.5], [-0.4]]), 0.0)
    answer = solve_growth(problem, settings=GrowthSettings(tolerance=1e-18))
    assert answer.status != "optimal"
    assert 0.0 < answer.gap <= 1e-8


def test_a_simplex_method_that_gives_up_is_an_error_and_no_answer(monkeypatch):
    monkeypatch.setattr(simplex, "PIVOTS", 1)
    problem = GrowthProgram(plain(40, upper=np.full(40, 0.1)), returns(1, 120, 40), 1e-2)
    with pytest.raises(RuntimeError, match="limit"):
        solve_growth(problem)


@given(seeds)
@settings(max_examples=30)
def test_the_bound_holds_whatever_the_multipliers_are(seed):
    problem = GrowthProgram(plain(8, upper=np.full(8, 0.3)), returns(12, 25, 8), 5e-3)
    best = solve_growth(problem).value
    moves = moves_of(problem, 1e-6)
    model = begin(problem, moves, sums_of(problem, moves), None)
    tangent = np.array([model.tangent_near(-0.2, 0.0)])
    model.add_cuts(np.arange(25), np.full(25, -0.2), np.repeat(tangent, 25))
    model.add_losses(np.repeat(tangent, 8), np.arange(8), np.ones(8))
    honest = simplex.optimise(simplex.solver(), model)
    rng = np.random.default_rng(seed)
    invented = replace(
        honest,
        sum_prices=honest.sum_prices + rng.normal(size=len(honest.sum_prices)) * 0.01,
        cut_prices=rng.normal(size=len(honest.cut_prices)) * (rng.random(len(honest.cut_prices)) < 0.3),
        excess_prices=rng.normal(size=len(honest.excess_prices)) * 0.01,
    )
    assert bound_of(model, honest).value >= best
    assert bound_of(model, invented).value >= best


# -- data that cannot be used


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("samples", np.zeros((0, 2)), "shape"),
        ("samples", np.zeros((3, 5)), "shape"),
        ("samples", np.array([[0.0, np.nan]]), "A1, row 0"),
        ("samples", np.array([[0.0, 0.0], [-1.5, 0.0]]), "A0, row 1"),
        ("radius", -1.0, "not negative"),
        ("radius", np.nan, "finite"),
        ("bars_per_year", 0.0, "positive"),
        ("survival", 0.0, "above 0"),
        ("probabilities", np.ones(3), "shape"),
        ("probabilities", np.zeros(4), "not all 0"),
        ("lowest", np.zeros(3), "shape"),
        ("lowest", np.full(2, 0.5), "leave no sample out"),
        ("lowest", np.full(2, -2.0), "at least -1"),
        ("highest", np.full(2, -0.5), "leave no sample out"),
    ],
)
def test_data_that_cannot_be_used_is_refused_by_name(field, value, words):
    with pytest.raises(ProgramError, match=words) as refused:
        GrowthProgram(**{"program": plain(2), "samples": returns(0, 4, 2), "radius": 0.0, field: value})
    assert refused.value.field == field

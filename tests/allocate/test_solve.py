"""The solver against an independent cone solver, closed forms, and finite differences."""

from collections import Counter
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from cone import solve_cone
from hypothesis import given, settings
from hypothesis import strategies as st
from programmes import KINDS, programme

from stream_allocator.allocate import (
    Group,
    Infeasible,
    ProgramError,
    SolverSettings,
    covariance,
    objective,
    objective_terms,
    solve,
    violations,
    volatility,
)
from stream_allocator.allocate.limits import Kind

ALONE = SolverSettings(cross_check=False)


def size(p, w):
    return sum(abs(x) for x in objective_terms(p, w).values())


@pytest.mark.parametrize("kind", KINDS)
def test_weights_and_objective_are_those_of_the_cone_solver(kind):
    feasible = 0
    for seed in range(5):
        p = programme(kind, seed)
        oracle = solve_cone(p)
        if oracle is None:
            with pytest.raises(Infeasible) as clash:
                solve(p)
            assert clash.value.limits
            continue
        ours = solve(p)
        feasible += 1
        best, weights = oracle
        assert ours.agreed, seed
        assert abs(ours.objective - best) <= 1e-8 * (size(p, ours.weights) + 1e-3)
        assert max(violations(p, ours.weights).values(), default=0.0) <= 1e-12
        if p.idiosyncratic.min() > 0.0:  # otherwise several weights may be best
            # the objective is flat at its minimum: weights agree to the root of its accuracy
            np.testing.assert_allclose(ours.weights, weights, atol=2e-4)
    assert feasible or kind == "one_asset"


@given(st.sampled_from(KINDS), st.integers(100, 160))
@settings(max_examples=30)
def test_the_same_programme_gives_the_same_bytes(kind, seed):
    try:
        one, two = solve(programme(kind, seed)), solve(programme(kind, seed))
    except Infeasible:
        return
    assert one.weights.tobytes() == two.weights.tobytes()
    assert list(one.multipliers.items()) == list(two.multipliers.items())
    assert (one.iterations, one.newton_steps, one.newton_outer) == (
        two.iterations,
        two.newton_steps,
        two.newton_outer,
    )


@pytest.mark.parametrize("kind", ["plain", "everything_binds", "round_numbers", "expensive", "no_turnover"])
def test_an_asset_that_is_not_free_stands_on_its_bound_bit_for_bit(kind):
    for seed in range(6):
        p = programme(kind, seed)
        try:
            w = solve(p).weights
        except Infeasible:
            continue
        lower = np.maximum(p.lower, p.current - p.trade)
        upper = np.minimum(p.upper, p.current + p.trade)
        for ends in (lower, upper, p.current):
            near = np.abs(w - ends) < 1e-7
            exact = (w == lower) | (w == upper) | (w == p.current)
            assert (exact | ~near).all()


def unconstrained(n, seed, **changes):
    wide = {
        "radius": 0.0,
        "mean_ambiguity": 0.0,
        "linear_cost": np.zeros(n),
        "quadratic_cost": np.zeros(n),
        "lower": np.full(n, -50.0),
        "upper": np.full(n, 50.0),
        "cash_lower": -500.0,
        "cash_upper": 500.0,
        "groups": (),
        "turnover": np.inf,
        "trade": np.full(n, np.inf),
        "volatility": np.inf,
    }
    return programme("plain", seed, n=n, **{**wide, **changes})


@pytest.mark.parametrize("n", [1, 4, 12])
def test_without_limits_and_ambiguity_it_is_the_textbook_portfolio(n):
    p = unconstrained(n, n)
    textbook = np.linalg.solve(p.risk_aversion * covariance(p), p.mean)
    ours = solve(p)
    assert ours.agreed
    np.testing.assert_allclose(ours.weights, textbook, rtol=1e-10, atol=1e-12)
    assert all(price == 0.0 for price in ours.multipliers.values())


def test_nothing_is_written_to_the_terminal(capfd):
    for changes in ({}, {"factors": np.zeros((4, 0))}, {"factors": 0.1 * np.eye(4)}):
        solve(unconstrained(4, 1, **changes))
    assert capfd.readouterr() == ("", "")


def test_with_a_budget_alone_the_shadow_price_is_the_textbook_multiplier():
    p = unconstrained(5, 3, cash_lower=0.0, cash_upper=0.0)
    sigma, ones = covariance(p), np.ones(5)
    inverse = np.linalg.inv(sigma)
    price = (ones @ inverse @ p.mean - p.risk_aversion) / (ones @ inverse @ ones)
    textbook = inverse @ (p.mean - price * ones) / p.risk_aversion
    ours = solve(p)
    np.testing.assert_allclose(ours.weights, textbook, rtol=1e-9)
    signed = ours.multipliers.get("cash_lower", 0.0) - ours.multipliers.get("cash_upper", 0.0)
    assert signed == pytest.approx(price, rel=1e-9)


def test_an_infinite_radius_gives_the_feasible_weights_of_least_norm():
    p = unconstrained(6, 1, cash_lower=0.1, cash_upper=0.1, radius=1e8, lower=np.zeros(6), upper=np.ones(6))
    np.testing.assert_allclose(solve(p).weights, np.full(6, 0.15), rtol=1e-4)
    capped = replace(p, upper=np.array([0.05, 1, 1, 1, 1, 1]))
    np.testing.assert_allclose(solve(capped).weights, [0.05] + [0.17] * 5, rtol=1e-4)


def test_one_asset_is_the_root_of_one_equation():
    # -mu + k s + gamma (s + r)^2 w + c = 0 for a purchase from nothing
    p = unconstrained(
        1,
        5,
        factors=np.array([[0.2]]),
        idiosyncratic=np.array([0.0]),
        mean=np.array([0.2]),
        current=np.zeros(1),
        radius=0.01,
        mean_ambiguity=0.5,
        mean_evidence=4.0,
        linear_cost=np.array([0.01]),
        risk_aversion=5.0,
    )
    expected = (0.2 - 0.01 - 0.5 / 2.0 * 0.2) / (5.0 * (0.2 + 0.1) ** 2)
    assert solve(p).weights[0] == pytest.approx(expected, rel=1e-12)


def test_where_costs_exceed_every_gain_nothing_moves():
    p = programme("expensive", 2, linear_cost=np.full(len(programme("expensive", 2).assets), 100.0))
    p = replace(p, upper=np.ones(len(p.assets)), volatility=np.inf)
    p = replace(p, cash_upper=1.0)
    assert solve(p).weights.tobytes() == p.current.tobytes()


def test_two_equal_assets_with_quadratic_cost_trade_alike():
    p = programme("two_equal_assets", 0, current=np.zeros(2), quadratic_cost=np.full(2, 0.1))
    p = replace(p, turnover=np.inf, trade=np.full(2, np.inf), cash_upper=1.0, mean_ambiguity=0.0)
    w = solve(p).weights
    assert w[0] == pytest.approx(w[1], rel=1e-9)
    assert w[0] > 0.0


RELAXED = {
    "cash_lower": lambda p, h: {"cash_lower": p.cash_lower - h},
    "cash_upper": lambda p, h: {"cash_upper": p.cash_upper + h},
    "turnover": lambda p, h: {"turnover": p.turnover + h},
    "volatility": lambda p, h: {"volatility": p.volatility + h},
    "tracking": lambda p, h: {"tracking": p.tracking + h},
    "gross": lambda p, h: {"gross": p.gross + h},
}
OF_ASSETS = {
    "lower": ("lower", -1),
    "upper": ("upper", 1),
    "liquidity": ("trade", 1),
    "exit": ("holding", 1),
    "active": ("active", 1),
}


def relaxed(p, name, h):
    """``p`` with one limit moved by h in the direction that gives more room."""
    if name in RELAXED:
        return replace(p, **RELAXED[name](p, h))
    kind, _, scope = name.rstrip("]").partition("[")
    if kind.startswith("group"):
        side = kind.removeprefix("group_")
        sign = -1 if side == "lower" else 1
        groups = tuple(
            replace(g, **{side: getattr(g, side) + sign * h}) if g.name == scope else g for g in p.groups
        )
        return replace(p, groups=groups)
    i = p.assets.index(scope)
    field, sign = OF_ASSETS[kind]
    moved = getattr(p, field).copy()
    moved[i] += sign * h
    return replace(p, **{field: moved})


@pytest.fixture(scope="module")
def priced():
    """Every kind of limit that some programme has priced, and how often."""
    return Counter()


@pytest.mark.parametrize("kind", KINDS)
def test_a_shadow_price_is_what_a_little_more_room_is_worth(kind, priced):
    h = 1e-6
    for seed in range(6):
        p = programme(kind, seed)
        try:
            answer = solve(p)
        except Infeasible:
            continue
        told = Counter()
        for name, price in answer.multipliers.items():
            sort = name.partition("[")[0]
            if price < 1e-3 or told[sort] >= 3:  # three limits of a sort are enough of one programme
                continue
            try:
                worse = solve(relaxed(p, name, -h), ALONE).objective
            except (Infeasible, ProgramError):  # no less room is possible
                continue
            better = solve(relaxed(p, name, h), ALONE).objective
            # the value function is convex: the price lies between the two one-sided slopes
            assert (answer.objective - better) / h <= price * (1 + 1e-3) + 1e-6, name
            assert (worse - answer.objective) / h >= price * (1 - 1e-3) - 1e-6, name
            told[sort] += 1
        priced.update(told)


def test_every_kind_of_limit_had_its_price_checked(priced):
    kinds = {x.removeprefix("box_") for x in get_args(Kind)} - {"minimum_trade"}  # liquidity at 0
    assert set(priced) == kinds


@pytest.mark.parametrize("seed", range(6))
def test_the_volatility_cap_is_met_and_priced(seed):
    p = programme("fully_invested", seed, cash_upper=1.0, mean_ambiguity=0.5, volatility=np.inf)
    free = solve(p)
    if volatility(p, free.weights) < 1e-3:
        return
    cap = 0.7 * volatility(p, free.weights)
    capped = replace(p, volatility=cap)
    answer = solve(capped)
    assert answer.agreed
    assert volatility(capped, answer.weights) == pytest.approx(cap, rel=1e-13)
    assert answer.multipliers["volatility"] > 0.0
    assert answer.objective > free.objective


def test_all_cash_is_reached_exactly_where_ambiguity_outweighs_the_mean():
    n = 5
    p = programme("cash", 1, n=n, mean=np.full(n, 0.01), mean_ambiguity=3.0, mean_evidence=1.0)
    p = replace(p, turnover=np.inf, trade=np.full(n, np.inf), linear_cost=np.full(n, 0.001))
    answer = solve(p)
    assert answer.agreed
    assert (answer.weights == 0.0).all()


# What clashes is named


def test_liquidity_that_cannot_reach_the_box_is_named():
    p = programme("plain", 0, n=3, current=np.array([0.5, 0.1, 0.1]), upper=np.full(3, 0.3))
    with pytest.raises(Infeasible) as error:
        solve(replace(p, trade=np.array([0.1, 1.0, 1.0]), turnover=np.inf))
    assert error.value.limits == ("upper[A0]", "liquidity[A0]")


def test_turnover_too_small_to_get_back_into_the_box_is_named():
    p = programme("plain", 0, n=3, current=np.array([0.5, 0.1, 0.1]), upper=np.full(3, 0.3))
    with pytest.raises(Infeasible, match=r"turnover 0\.2") as error:
        solve(replace(p, trade=np.full(3, np.inf), turnover=0.1))
    assert error.value.limits == ("turnover", "upper[A0]")


def test_a_budget_that_the_box_cannot_fill_is_named():
    p = programme("plain", 0, n=3, upper=np.full(3, 0.3), current=np.full(3, 0.3), cash_upper=0.0)
    with pytest.raises(Infeasible) as error:
        solve(p)
    assert error.value.limits[0] == "cash_upper"
    assert "upper[A0]" in error.value.limits


def test_contradicting_groups_are_named_by_the_linear_programme():
    p = programme("plain", 1, n=3, current=np.full(3, 0.3), upper=np.ones(3), cash_upper=0.5)
    p = replace(
        p,
        trade=np.full(3, np.inf),
        turnover=np.inf,
        groups=(
            Group("a", (0, 1), 0.6, 1.0),
            Group("b", (1, 2), 0.6, 1.0),
            Group("c", (0, 2), 0.6, 1.0),
            Group("all", (0, 1, 2), 0.0, 0.8),
        ),
    )
    with pytest.raises(Infeasible) as error:
        solve(p)
    assert any(name.startswith("group") for name in error.value.limits)


def test_a_cap_below_the_least_volatility_is_named():
    p = programme("fully_invested", 3, volatility=0.001)
    with pytest.raises(Infeasible, match="the least volatility") as error:
        solve(p)
    assert error.value.limits == ("volatility",)


def test_a_cap_just_above_the_least_volatility_is_met():
    p = programme("fully_invested", 3, volatility=np.inf)
    n = len(p.assets)
    calm = solve(replace(p, mean=np.zeros(n), mean_ambiguity=0.0, radius=0.0, linear_cost=np.zeros(n),
                         quadratic_cost=np.zeros(n)))  # fmt: skip
    least = volatility(p, calm.weights)
    for margin in (1e-2, 1e-3, 1e-4):
        answer = solve(replace(p, volatility=least * (1 + margin)))
        assert answer.agreed, margin
        assert volatility(p, answer.weights) <= least * (1 + margin) + 1e-12


def test_a_solver_that_is_cut_short_says_so():
    answer = solve(programme("plain", 2), SolverSettings(max_iter=1))
    assert not answer.agreed
    assert answer.status == "maximum_iterations_reached"


@pytest.mark.parametrize("seed", range(3))
def test_the_dense_form_and_the_factor_form_are_one_programme(seed):
    p = programme("plain", seed, n=8, turnover=np.inf, cash_upper=1.0, volatility=np.inf)
    values, vectors = np.linalg.eigh(covariance(p))
    full = replace(p, factors=vectors * np.sqrt(values), idiosyncratic=np.zeros(8))
    np.testing.assert_allclose(solve(p).weights, solve(full).weights, atol=1e-9)
    assert objective(p, solve(p).weights) == pytest.approx(objective(full, solve(full).weights), abs=1e-12)


def test_where_the_answers_disagree_osqp_is_asked_again_and_more_accurately():
    crude = SolverSettings(accuracy=0.03)
    again = 0
    for seed in range(12):
        p = programme("no_turnover", seed)
        answer = solve(p, crude)
        assert answer.agreed, seed
        again += answer.iterations > 25  # one attempt at this accuracy takes 25
    assert again


def test_without_the_cross_check_the_bits_are_the_same():
    p = programme("everything_binds", 3)
    checked, alone = solve(p), solve(p, ALONE)
    assert alone.status == "not_asked"
    assert alone.agreed
    assert alone.weights.tobytes() == checked.weights.tobytes()

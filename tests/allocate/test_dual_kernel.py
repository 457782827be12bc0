"""The dual Newton kernel against Clarabel, a brute-force dual, and dense linear algebra."""

from dataclasses import replace

import naive_dual as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_allocator.allocate.dual.kernel import solve
from stream_allocator.allocate.dual.problem import (
    BAD_INPUT,
    CROSSED,
    GAP,
    INFEASIBLE,
    OPTIMAL,
    REPORT_SIZE,
    STATUS,
    STEPS,
    VIOLATION,
    workspace,
)
from stream_allocator.allocate.dual.sensitivity import sensitivity

SIZES = (1, 2, 7, 20, 100)


class Answer:
    """One call of the kernel, cold unless prices are given."""

    def __init__(self, p, z=None, eta=None, work=None):
        n = len(p.b)
        guess = p.s * (p.factors.T @ np.clip(p.w0, p.lb, p.ub))
        self.z = guess if z is None else z.copy()
        self.eta = np.zeros(len(p.rows)) if eta is None else eta.copy()
        self.w, self.ray, self.report = np.full(n, np.nan), np.zeros(len(p.rows)), np.zeros(REPORT_SIZE)
        work = workspace(n) if work is None else work
        self.status = solve(
            *p.arrays(), self.z, self.eta, self.w, self.ray, work, 300, 1e-13, self.report
        )  # fmt: skip
        assert self.status == self.report[STATUS]


def feasible(seeds, kinds=naive.KINDS, sizes=SIZES):
    for kind in kinds:
        for n in sizes:
            for seed in seeds:
                p = naive.problem(kind, seed, n)
                answer = Answer(p)
                if answer.status == OPTIMAL:
                    yield kind, p, answer


@pytest.mark.parametrize("kind", naive.KINDS)
@pytest.mark.parametrize("n", SIZES)
def test_the_answer_is_clarabels_or_a_proof_that_there_is_none(kind, n):
    for seed in range(3):
        p = naive.problem(kind, seed, n)
        answer = Answer(p)
        if answer.status == CROSSED:
            assert (p.lb > p.ub).any()
            continue
        if answer.status == INFEASIBLE:
            assert naive.excludes(p, answer.ray) > 1e-13
            continue
        assert answer.status == OPTIMAL
        w, scale = answer.w, naive.size(p, answer.w)
        assert naive.violation(p, w) <= 1e-14
        assert answer.report[VIOLATION] <= 1e-14
        assert abs(answer.report[GAP]) <= 1e-12 * scale
        other = naive.solve_cone(p)
        assert other is not None
        slack = 1e-8 * naive.violation(p, other) * 1e3
        assert naive.objective(p, w) <= naive.objective(p, other) + 1e-9 * scale + slack


def test_the_reported_gap_is_that_of_an_independent_dual_value():
    found = 0
    for _, p, answer in feasible(range(2)):
        found += 1
        for eta, (_, _, lower, upper) in zip(answer.eta, p.rows, strict=True):
            assert eta <= 0.0 or upper < np.inf
            assert eta >= 0.0 or lower > -np.inf
        gap = naive.objective(p, answer.w) - naive.dual_value(p, answer.z, answer.eta)
        assert gap == pytest.approx(answer.report[GAP], abs=1e-13 * max(1.0, naive.size(p, answer.w)))
        assert gap <= 1e-12 * max(1e-2, naive.size(p, answer.w))
    assert found > 100


def test_infeasible_is_said_where_clarabel_says_it():
    said = 0
    for seed in range(40):
        p = naive.problem("hardly_enough_liquidity", seed, 7)
        status = Answer(p).status
        assert status in (OPTIMAL, INFEASIBLE)
        assert (naive.solve_cone(p) is None) == (status == INFEASIBLE)
        said += status == INFEASIBLE
    assert 5 < said < 40


def test_a_warm_start_from_anywhere_gives_the_cold_answer():
    rng = np.random.default_rng(0)
    for _, p, cold in feasible(range(1), sizes=(2, 20, 100)):
        for z, eta in (
            (cold.z, cold.eta),
            (cold.z + 0.01 * rng.normal(size=len(cold.z)), cold.eta + 0.1 * rng.normal(size=len(cold.eta))),
            (np.full_like(cold.z, np.nan), np.full_like(cold.eta, np.inf)),
        ):
            warm = Answer(p, z, eta)
            assert warm.status == OPTIMAL
            np.testing.assert_allclose(warm.w, cold.w, rtol=0.0, atol=1e-12)
        assert Answer(p, cold.z, cold.eta).report[STEPS] <= 2


def test_bits_repeat_whatever_the_workspace_holds():
    for _, p, answer in feasible(range(1), sizes=(7, 100)):
        again = Answer(p, work=np.full(workspace(3 * len(p.b)).size, np.nan))
        for a, b in ((answer.w, again.w), (answer.z, again.z), (answer.eta, again.eta)):
            assert a.tobytes() == b.tobytes()


def test_assets_at_a_bound_or_at_what_is_held_stand_there_exactly():
    p = replace(naive.problem("plain", 1, 100), c=np.full(100, 0.01))
    answer = Answer(p)
    near = np.isclose(answer.w, p.w0, rtol=0.0, atol=1e-10)
    assert near.sum() > 20
    assert (answer.w[near] == p.w0[near]).all()
    assert (answer.w >= p.lb).all()
    assert (answer.w <= p.ub).all()


def test_zero_turnover_leaves_everything_and_keeps_the_prices_bounded():
    for n in SIZES:
        p = naive.problem("zero_turnover", 0, n)
        answer = Answer(p)
        assert answer.status == OPTIMAL
        np.testing.assert_allclose(answer.w, p.w0, rtol=0.0, atol=1e-14)
        assert np.abs(answer.eta).max() < 1e3


def test_equal_assets_get_equal_weights():
    p = naive.problem("plain", 3, 20)
    rows = [(naive.NET, np.arange(20), 0.9, 1.0), *p.rows[1:3]]
    pair = [4, 5]
    for name in ("b", "h", "c", "w0", "lb", "ub", "factors"):
        getattr(p, name)[pair] = getattr(p, name)[4]
    answer = Answer(replace(p, rows=rows))
    assert answer.status == OPTIMAL
    assert answer.w[4] == pytest.approx(answer.w[5], abs=1e-15)


def test_one_asset_without_factors_is_a_soft_threshold():
    everyone = np.arange(1)
    rows = [(k, everyone, -np.inf, np.inf) for k in (naive.NET, naive.TURNOVER, naive.GROSS)]
    one = np.ones(1)
    p = naive.Problem(0.5 * one, np.zeros((1, 0)), 1.0, 2 * one, 0.1 * one, 0 * one, -one, one, rows)
    assert Answer(p).w[0] == pytest.approx(0.2, abs=1e-16)
    assert Answer(replace(p, b=0.05 * one)).w[0] == 0.0
    assert Answer(replace(p, b=9.0 * one)).w[0] == 1.0
    capped = replace(p, rows=[*rows[:2], (naive.GROSS, everyone, -np.inf, 0.05)])
    answer = Answer(capped)
    assert answer.w[0] == pytest.approx(0.05, abs=1e-16)
    assert answer.eta[2] == pytest.approx(0.5 - 0.1 - 2 * 0.05, abs=1e-15)


@given(st.integers(0, 10**6), st.sampled_from([1, 2, 3, 7, 12]))
@settings(max_examples=150, deadline=None)
def test_overlapping_rows_of_every_kind_are_solved_or_disproved(seed, n):
    p = naive.problem("overlapping", seed, n)
    answer = Answer(p)
    if answer.status == INFEASIBLE:
        assert naive.excludes(p, answer.ray) > 0.0
        return
    assert answer.status == OPTIMAL
    assert naive.violation(p, answer.w) <= 2e-14
    gap = naive.objective(p, answer.w) - naive.dual_value(p, answer.z, answer.eta)
    assert gap <= 1e-12 * max(1e-2, naive.size(p, answer.w))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("field", ["b", "factors", "h", "c", "w0", "lb", "ub"])
def test_a_number_that_is_not_finite_is_bad_input(field, bad):
    p = naive.problem("plain", 0, 7)
    wrong = getattr(p, field).copy()
    wrong[3] = bad
    assert Answer(replace(p, **{field: wrong})).status == BAD_INPUT


def test_other_bad_input_is_told():
    p = naive.problem("plain", 0, 7)
    assert Answer(replace(p, s=0.0)).status == BAD_INPUT
    assert Answer(replace(p, s=np.nan)).status == BAD_INPUT
    assert Answer(replace(p, h=p.h * (np.arange(7) > 0))).status == BAD_INPUT
    assert Answer(replace(p, c=p.c - 1.0)).status == BAD_INPUT
    everyone = np.arange(7)
    nan_bound = [(naive.NET, everyone, np.nan, 1.0), *p.rows[1:]]
    assert Answer(replace(p, rows=nan_bound)).status == BAD_INPUT
    nonconvex = [p.rows[0], (naive.TURNOVER, everyone, 0.1, 1.0), *p.rows[2:]]
    assert Answer(replace(p, rows=nonconvex)).status == BAD_INPUT
    disorder = [p.rows[1], p.rows[0], *p.rows[2:]]
    assert Answer(replace(p, rows=disorder)).status == BAD_INPUT
    assert Answer(p, work=np.empty(3)).status == BAD_INPUT
    assert Answer(replace(p, lb=p.ub + 1.0)).status == CROSSED
    crossed = [(naive.NET, everyone, 1.0, 0.9), *p.rows[1:]]
    assert Answer(replace(p, rows=crossed)).status == CROSSED


@pytest.mark.parametrize("kind", ["plain", "cash", "long_short", "overlapping", "no_factors"])
@pytest.mark.parametrize("n", [2, 20])
def test_sensitivity_is_the_inverse_of_the_reduced_conditions(kind, n):
    for seed in range(3):
        p = naive.problem(kind, seed, n)
        answer = Answer(p)
        if answer.status != OPTIMAL:
            continue
        w, change = answer.w, np.random.default_rng(seed).normal(size=(2, n))
        priced = np.zeros(n)
        sides = []
        for eta, (row_kind, members, lower, upper) in zip(answer.eta, p.rows, strict=True):
            if row_kind in (naive.GROSS, naive.LONG):
                priced[members] += eta
            if eta != 0.0 or lower == upper:
                slope = {0: np.ones(n), 1: np.sign(w - p.w0), 2: np.sign(w), 3: (w > 0.0) + 0.0}[row_kind]
                sides.append(np.where(np.isin(np.arange(n), members), slope, 0.0))
        free = (w > p.lb) & (w < p.ub) & (w != p.w0) & ~((w == 0.0) & (priced > 0.0))
        hessian = np.diag(p.h) + p.s * p.factors @ p.factors.T
        inverse = np.linalg.inv(hessian[np.ix_(free, free)])
        g = np.array(sides).reshape(-1, n)[:, free]
        expected = np.zeros((2, n))
        reduced = inverse - inverse @ g.T @ np.linalg.pinv(g @ inverse @ g.T, rcond=1e-9) @ g @ inverse
        expected[:, free] = change[:, free] @ reduced
        got = np.full((2, n), np.nan)
        _, factors, s, h, c, w0, lb, ub, *rows = p.arrays()
        assert sensitivity(factors, s, h, c, w, w0, lb, ub, *rows, answer.eta, change, got)
        np.testing.assert_allclose(got, expected, atol=1e-9 * max(1.0, np.abs(inverse).max(initial=0.0)))


def test_sensitivity_predicts_a_small_change_of_the_means():
    p = naive.problem("cash", 0, 20)
    base = Answer(p)
    change = 1e-7 * np.random.default_rng(1).normal(size=(1, 20))
    predicted = np.empty((1, 20))
    _, factors, s, h, c, w0, lb, ub, *rows = p.arrays()
    assert sensitivity(factors, s, h, c, base.w, w0, lb, ub, *rows, base.eta, change, predicted)
    moved = Answer(replace(p, b=p.b + change[0]))
    np.testing.assert_allclose(moved.w - base.w, predicted[0], atol=1e-13)

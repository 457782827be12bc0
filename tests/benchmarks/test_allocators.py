"""The benchmark of the allocator asks everybody the same question, and knows a wrong answer."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.allocators.cases import PATHOLOGICAL, RANDOM, cases
from benchmarks.allocators.comparison import Reference, ask, judge, reference
from benchmarks.allocators.cone import ConeForm
from benchmarks.allocators.factor_form import FactorForm
from benchmarks.allocators.libraries import LIBRARIES, quiet
from benchmarks.allocators.programmes import KINDS, drifting, random_programme
from benchmarks.allocators.solvers import osqp_run, piqp_run
from benchmarks.allocators.speed import confirm, measure
from stream_allocator.allocate import objective, objective_scale, solve, volatility
from stream_allocator.allocate.dual import NewtonSolver
from stream_allocator.allocate.limits import worst_violation

CASES = cases(len(RANDOM), len(PATHOLOGICAL), seed=3)


@pytest.mark.parametrize("kind", KINDS)
def test_drifting_programmes_are_solved_and_proven_on_every_bar(kind):
    programs = drifting(kind, 60, 8, seed=1)
    run = measure(programs, 0.0)
    assert run.proven == len(programs)
    assert len(run.answers) == len(run.proofs) == len(programs)
    assert all(program.groups is programs[0].groups for program in programs)
    if kind == "capped":
        last = programs[-1]
        assert volatility(last, run.answers[-1].weights) == pytest.approx(last.volatility, rel=1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_a_random_programme_has_an_answer_and_clarabel_finds_the_same(seed):
    program = random_programme(seed)
    answer = NewtonSolver().solve(program)
    cone = ConeForm(program).solve(1e-11)
    assert answer.converged
    assert cone.solved
    assert abs(answer.objective - cone.objective) <= 1e-7 * answer.scale


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.family)
def test_a_case_has_an_answer_exactly_where_it_says_so(case):
    answer = ConeForm(case.program).solve(1e-9)
    assert answer.infeasible is not case.feasible
    assert answer.solved is case.feasible


def test_there_are_200_and_50_cases():
    assert len(cases(200, 50, seed=0)) == 250
    assert sum(case.feasible for case in cases(0, 50, seed=0)) == 35


@pytest.mark.peer("piqp")
@pytest.mark.parametrize("polish", [False, True])
def test_osqp_and_piqp_solve_the_programme_that_we_solve(polish):
    programs = drifting("plain", 40, 5, seed=2)
    best = [NewtonSolver().solve(program).objective for program in programs]
    for run in (osqp_run(programs, polish), piqp_run(programs)):
        assert run.failed == 0
        for program, weights, least in zip(programs, run.weights, best, strict=True):
            assert worst_violation(program, weights) < 1e-3
            assert objective(program, weights) == pytest.approx(least, abs=1e-4)


def test_the_factor_form_updates_every_number():
    programs = drifting("plain", 15, 2, seed=4)
    form, anew = FactorForm(programs[0]), FactorForm(programs[1])
    for mine, theirs in zip(form.numbers(programs[1], True), anew.numbers(programs[1], True), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    diagonal, linear, entries, low, high = form.numbers(programs[1], prune=False)
    matrix = form.matrix.copy()
    matrix.data[:] = entries
    weights = NewtonSolver().solve(programs[1]).weights
    x = np.concatenate([weights, np.abs(weights - programs[1].current), programs[1].factors.T @ weights])
    assert (matrix @ x >= low - 1e-12).all()
    assert (matrix @ x <= high + 1e-12).all()
    value = 0.5 * diagonal @ (x * x) + linear @ x
    assert value == pytest.approx(objective(programs[1], weights), abs=1e-14)


def test_the_factor_form_refuses_what_it_cannot_say():
    with pytest.raises(ValueError, match="long-only"):
        FactorForm(drifting("robust", 15, 1, seed=0)[0])


def test_weights_that_break_a_limit_or_lose_are_silent_wrong_answers():
    case = CASES[0]
    known = reference(case)
    best = solve(case.program).weights
    assert judge(case, known, best)[0] == "solved"
    assert judge(case, known, best + 1e-5)[0] == "silent wrong"
    held = case.program.current  # inside all limits, not best
    assert worst_violation(case.program, held) <= 1e-12
    assert objective(case.program, held) > known.best + 1e-3 * objective_scale(case.program, best)
    assert judge(case, known, held)[0] == "silent wrong"
    assert judge(case, known, np.full_like(best, np.nan))[0] == "silent wrong"


def test_any_weights_are_wrong_where_the_limits_contradict_each_other():
    case = next(case for case in CASES if not case.feasible)
    assert judge(case, Reference(False), case.program.current)[0] == "silent wrong"
    assert judge(case, Reference(False), None)[0] == "refused"
    assert judge(case, Reference(True), None)[0] == "gave up"


def test_an_exception_is_a_refusal_and_is_named():
    def refuse(case):
        raise ArithmeticError

    feasible, not_feasible = CASES[0], next(case for case in CASES if not case.feasible)
    score = ask([feasible, not_feasible], [Reference(True), Reference(False)], refuse)
    assert score.verdicts == {"gave up": 1, "refused": 1}
    assert score.refusals == {"ArithmeticError": 2}


@pytest.mark.parametrize(
    "library", [pytest.param(x, marks=pytest.mark.peer(x.module), id=x.name) for x in LIBRARIES]
)
def test_a_library_is_asked_the_same_question(library):
    """What it answers is near our optimum, so what it was told is our programme."""
    asked = [case for case in CASES if case.feasible and not library.lacks(case.program)]
    assert asked
    for case in asked:
        with quiet():
            weights = library.solve(case.program)
        known = reference(case)
        assert worst_violation(case.program, weights) < 1e-3, case.family
        assert abs(objective(case.program, weights) - known.best) < 2e-3 * known.scale, case.family


@pytest.mark.peer("cvxportfolio")
def test_cvxportfolio_compiled_once_says_the_same_as_its_live_call():
    library = next(library for library in LIBRARIES if library.module == "cvxportfolio")
    programs = drifting("plain", 15, 3, seed=5)
    with quiet():
        loop = library.loop(programs)
        for program in programs:
            np.testing.assert_allclose(loop(program), library.solve(program), atol=1e-5)


def test_the_tally_counts_what_osqp_confirmed():
    program = random_programme(1)
    tally, milliseconds = confirm([program, replace(program, mean=1.1 * program.mean)])
    assert (tally.asked, tally.proven, tally.confirmed) == (2, 2, 2)
    assert tally.share == 1.0
    assert milliseconds > 0.0

"""What OSQP is asked: the compiled constraints against their twin, and its own Python class."""

import naive_quadratic
import numpy as np
import osqp
import pytest
from programmes import KINDS, programme
from scipy.sparse import csc_matrix

from stream_allocator.allocate import SolverSettings
from stream_allocator.allocate import quadratic_kernel as kernel
from stream_allocator.allocate.quadratic import _Assembly, solve_quadratic


def arguments(n, k, m, seed, *, capped=True, traded=0.5, both=0.5):
    rng = np.random.default_rng(seed)
    trades, holds = rng.random(n) < traded, rng.random(n) < both
    return (
        rng.normal(size=(n, k)) * (rng.random((n, k)) < 0.8),
        -rng.random(n),
        rng.random(n),
        rng.normal(size=n),
        trades,
        holds,
        np.where(holds, 0.0, rng.choice([-1.0, 1.0], n)),
        rng.choice([-1.0, 0.0, 0.5, 1.0], (m, n)),
        rng.choice([0.0, 0.5, 1.0], (m, n)),
        np.where(rng.random(m) < 0.5, -np.inf, -rng.random(m)),
        rng.random(m),
        np.where(trades, 0.0, rng.choice([-1.0, 1.0], n)),
        capped,
        0.3,
    )


def assert_equal_to_the_twin(given):
    value, row, pointer, low, high = kernel.constraints(*given)
    matrix, naive_low, naive_high = naive_quadratic.constraints(*given)
    ours = csc_matrix((value, row, pointer), matrix.shape)
    assert ours.has_sorted_indices
    assert ours.has_canonical_format
    assert np.array_equal(ours.toarray(), matrix, equal_nan=True)
    assert np.array_equal(low, naive_low, equal_nan=True)
    assert np.array_equal(high, naive_high, equal_nan=True)


@pytest.mark.parametrize("seed", range(40))
def test_the_compiled_constraints_are_those_of_the_twin(seed):
    rng = np.random.default_rng([1, seed])
    n = int(rng.integers(1, 12))
    given = arguments(
        n, int(rng.integers(0, n)), int(rng.integers(0, 6)), seed, capped=bool(seed % 2),
        traded=rng.choice([0.0, 0.5, 1.0]), both=rng.choice([0.0, 0.5, 1.0]),
    )  # fmt: skip
    assert_equal_to_the_twin(given)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 0.0])
def test_odd_numbers_stand_where_the_twin_has_them(odd):
    given = arguments(6, 3, 4, 5)
    for place in (0, 1, 2, 3, 9, 10):
        changed = [x.copy() if isinstance(x, np.ndarray) else x for x in given]
        changed[place].flat[::2] = odd
        assert_equal_to_the_twin(changed)


def a_programme(n, k, m, seed, *, dense=False, turnover=0.3):
    rng = np.random.default_rng([2, seed])
    current = rng.choice([-0.1, 0.0, 0.1], n)
    return (
        rng.normal(size=(n, k)),
        dense,
        rng.random(n),
        current,
        rng.choice([0.0, 0.01], n),
        current - rng.choice([0.0, 0.05, 0.2], n),  # intervals that begin or end where the weight is
        current + rng.choice([-1e-16, 0.0, 0.05, 0.2], n),
        rng.choice([-1.0, 0.0, 0.5, 1.0], (m, n)),
        rng.choice([0.0, 0.5, 1.0], (m, n)) * (rng.random() < 0.5),
        np.where(rng.random(m) < 0.5, -np.inf, -rng.random(m)),
        rng.random(m),
        turnover,
        5.0 * rng.random(),
        rng.random(n),
        rng.normal(size=n),
    )


def assert_nearly_equal_to_the_twin(given):
    of_p, q, scale, of_a, low, high = kernel.programme(*given)
    p, naive_q, naive_scale, a, naive_low, naive_high = naive_quadratic.programme(*given)
    for ours, twin in ((of_p, p), (of_a, a)):
        assert np.allclose(csc_matrix(ours, twin.shape).toarray(), twin, rtol=1e-13, atol=0, equal_nan=True)
    for ours, twin in ((q, naive_q), (scale, naive_scale), (low, naive_low), (high, naive_high)):
        assert np.allclose(ours, twin, rtol=1e-12, atol=1e-15, equal_nan=True)


@pytest.mark.parametrize("seed", range(40))
def test_the_compiled_programme_is_that_of_the_twin(seed):
    rng = np.random.default_rng([3, seed])
    n = int(rng.integers(1, 12))
    given = a_programme(
        n, int(rng.integers(0, n)), int(rng.integers(0, 6)), seed,
        dense=bool(seed % 3 == 0), turnover=rng.choice([0.0, 0.1, 1e3, np.inf]),
    )  # fmt: skip
    assert_nearly_equal_to_the_twin(given)


@pytest.mark.parametrize("place", [12, 13, 14])
@pytest.mark.parametrize("large", [0.0, 1e300])
def test_a_programme_of_odd_numbers_is_that_of_the_twin(place, large):
    given = list(a_programme(6, 3, 4, 5))
    given[place] = given[place] * large
    assert_nearly_equal_to_the_twin(given)


@pytest.mark.parametrize("kind", KINDS)
def test_osqp_answers_as_through_its_own_class(kind):
    p = programme(kind, 3)
    settings, risk, diagonal = SolverSettings(), 5.0, np.full(len(p.assets), 0.01)
    ours = solve_quadratic(p, risk, diagonal, p.mean, settings)
    if ours.status != "solved":
        return  # limits that clash
    asked = _Assembly(p, risk, diagonal, p.mean)
    curvature, matrix = (csc_matrix(x[:3], x.shape) for x in (asked._p, asked._a))
    theirs = osqp.OSQP(algebra="builtin")
    theirs.setup(
        curvature, asked._q, matrix, asked._low, asked._high, verbose=False, eps_abs=1e-5, eps_rel=1e-5,
        max_iter=4_000, polishing=True, polish_refine_iter=5, check_termination=25, scaling=0, rho=10.0,
        adaptive_rho=1, adaptive_rho_interval=25,
    )  # fmt: skip
    found = theirs.solve(raise_error=False)
    if found.info.status == "solved":  # at the first attempt
        assert ours.iterations == found.info.iter
        assert ours.weights.tobytes() == found.x[: len(p.assets)].tobytes()

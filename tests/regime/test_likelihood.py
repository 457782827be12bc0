"""The kernel's own logarithm and exponential, and its tables."""

import math

import mpmath
import numpy as np
import pytest
from numba import njit

from stream_allocator.regime import likelihood
from stream_allocator.regime.elementary import exp, exp2, fma, log, log2


@njit
def logs(x):
    return np.array([log(v) for v in x])


@njit
def logs2(x):
    return np.array([log2(v) for v in x])


@njit
def exps(x):
    return np.array([exp(v) for v in x])


@njit
def exps2(x):
    return np.array([exp2(v) for v in x])


@njit
def fused(x, y, z):
    return fma(x, y, z)


def ulps(found, exact):
    return np.max(np.abs(found - exact) / np.spacing(np.abs(exact)))


def test_logarithms_are_within_1e_15_of_their_value():
    rng = np.random.default_rng(0)
    for x in (
        np.exp(rng.uniform(-700, 700, 20_000)),
        rng.uniform(0.5, 2.0, 20_000),
        1.0 + rng.uniform(-1e-6, 1e-6, 20_000),
        np.array([1.0, 2.0**-1022, 2.0**1023]),
    ):
        np.testing.assert_allclose(logs2(x), np.log2(x), rtol=1e-15)
        np.testing.assert_allclose(logs(x), np.log(x), rtol=1e-15)


def test_exponentials_are_within_three_units_in_the_last_place():
    rng = np.random.default_rng(1)
    x = np.concatenate((rng.uniform(-708, 709, 20_000), rng.uniform(-1, 1, 20_000), [0.0, -1e-300]))
    assert ulps(exps(x), np.exp(x)) <= 3.0
    x = np.concatenate((rng.uniform(-1022, 1023, 20_000), np.arange(-1022.0, 1024.0)))
    assert ulps(exps2(x), np.exp2(x)) <= 2.0
    assert exps(np.array([0.0]))[0] == exps2(np.array([0.0]))[0] == 1.0


def test_exponentials_of_what_is_out_of_range_are_the_nearest_in_range():
    assert exps(np.array([-1e6, -np.inf])).tolist() == exps(np.array([-708.0, -708.0])).tolist()
    assert exps2(np.array([-1e6, -np.inf])).tolist() == [2.0**-1022] * 2
    assert np.isfinite(exps(np.array([1e6]))).all()


def test_fused_multiply_add_is_rounded_once():
    x = 1.0 + 2.0**-30
    assert x * x - 1.0 != fused(x, x, -1.0) == 2.0**-29 + 2.0**-60


@pytest.mark.parametrize("equal_weights", [True, False])
def test_tables_agree_with_forty_digits(equal_weights):
    kappa0, alpha0, longest = 0.7, 1.3, 5000
    tables = likelihood.run_tables(longest, kappa0, alpha0, equal_weights=equal_weights)
    with mpmath.workdps(40):
        for n in (0, 1, 2, 30, 37, 38, 39, 256, 5000):
            alpha, kappa = mpmath.mpf(alpha0) + mpmath.mpf(n) / 2, mpmath.mpf(kappa0) + n
            exact = [mpmath.loggamma(a) - a * mpmath.log(a) for a in (alpha, mpmath.mpf(alpha0))]
            log_weight = exact[0] - exact[1] + mpmath.mpf(n) / 2 + mpmath.log(mpmath.mpf(kappa0)) / 2
            log_weight -= mpmath.log(kappa) / 2 if equal_weights else 0
            column = tables[:, -1 - n]
            assert abs(column[likelihood.NORMALISER] - log_weight / mpmath.log(2)) < 5e-15
            assert column[likelihood.GAIN] == pytest.approx(float(1 / kappa), rel=1e-15)
            assert column[likelihood.HALF] == pytest.approx(float((kappa - 1) / kappa / 2), rel=1e-15)
            assert column[likelihood.PRECISION] == 1.0 / column[likelihood.SHAPE]
            assert column[likelihood.SHAPE] == pytest.approx(float(alpha), rel=1e-15)


def test_a_run_without_observations_has_log_weight_zero_but_for_its_strength():
    tables = likelihood.run_tables(10, 0.7, 1.3, equal_weights=False)
    assert abs(tables[likelihood.NORMALISER, -1] - 0.5 * math.log2(0.7)) < 1e-15


def test_rows_do_not_share_the_processors_cache_sets():
    for width in (1, 18, 258, 338, 5000):
        stride = likelihood.row_stride(width)
        starts = sorted(8 * stride * row % 4096 for row in range(5))
        assert stride >= width
        assert min(np.diff([*starts, 4096])) >= 512

"""The kernel's own logarithm and exponential."""

import numpy as np
from numba import njit

from stream_allocator.regime import likelihood

log, exp = likelihood.log, likelihood.exp


@njit
def logs(x):
    return np.array([log(v) for v in x])


@njit
def exps(x):
    return np.array([exp(v) for v in x])


def ulps(found, exact):
    return np.max(np.abs(found - exact) / np.spacing(np.abs(exact)))


def test_logarithm_is_within_one_unit_in_the_last_place():
    rng = np.random.default_rng(0)
    for x in (
        np.exp(rng.uniform(-700, 700, 20_000)),
        rng.uniform(0.5, 2.0, 20_000),
        np.array([1.0, 2.0**-1022]),
    ):
        assert ulps(logs(x), np.log(x)) <= 1.0


def test_exponential_is_within_four_units_in_the_last_place():
    x = np.concatenate((np.random.default_rng(1).uniform(-708, 0, 20_000), [0.0, -1e-300]))
    assert ulps(exps(x), np.exp(x)) <= 4.0
    assert exps(np.array([0.0]))[0] == 1.0


def test_exponential_of_what_is_out_of_range_is_the_nearest_in_range():
    assert exps(np.array([-1e6, -np.inf]))[0] == exps(np.array([-708.0]))[0] < 1e-300
    assert np.isfinite(exps(np.array([1e6]))).all()


def test_a_run_without_observations_has_log_weight_zero():
    normaliser, shape = likelihood.run_tables(10, 0.01, 0.7, 1.3)
    assert len(normaliser) == len(shape) == 12
    weight = normaliser[-1] - shape[-1] * np.log(1.3) - 0.5 * np.log(0.7)
    assert abs(weight) < 1e-15

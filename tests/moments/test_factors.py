"""A covariance as factors and a diagonal."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_allocator.moments.factors import factor_form, take_apart

ODD = (math.nan, math.inf, -math.inf, -1.0, 0.0, 1e300, 5e-324)


def random_covariance(seed, n, rank):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(n, rank)) * np.exp(rng.normal(size=(n, 1)))
    return A @ A.T


CASES = st.builds(random_covariance, st.integers(0, 10_000), st.integers(1, 8), st.integers(1, 8))


@given(CASES, st.integers(1, 10))
def test_diagonal_is_kept_and_what_is_left_is_never_below_its_floor(sigma, k):
    F, d = factor_form(sigma, k)
    assert F.shape == (len(sigma), min(k, len(sigma)))
    np.testing.assert_allclose((F * F).sum(axis=1) + d, np.diag(sigma), rtol=1e-13)
    assert (d >= 0.999e-8 * np.diag(sigma)).all()


@given(CASES)
def test_as_many_factors_as_assets_rebuild_the_matrix_up_to_the_floor(sigma):
    F, d = factor_form(sigma, len(sigma))
    scale = np.sqrt(np.outer(np.diag(sigma), np.diag(sigma)))
    np.testing.assert_allclose((F @ F.T + np.diag(d)) / scale, sigma / scale, atol=3e-8)


def test_a_factor_model_is_found_again():
    rng = np.random.default_rng(0)
    loadings = rng.normal(size=(40, 2)) + 1.0
    own = np.full(40, 0.5)
    sigma = loadings @ loadings.T + np.diag(own)
    F, d = factor_form(sigma, 2)
    np.testing.assert_allclose(F @ F.T + np.diag(d), sigma, atol=0.35)
    assert np.abs(F @ F.T + np.diag(d) - sigma).mean() < 0.06


def test_two_assets_have_a_closed_form():
    rho, s = 0.6, np.array([0.1, 0.3])
    F, d = factor_form(np.outer(s, s) * np.array([[1.0, rho], [rho, 1.0]]), 1)
    np.testing.assert_allclose(F[:, 0], s * math.sqrt((1 + rho) / 2))
    np.testing.assert_allclose(d, s**2 * (1 - rho) / 2)


@given(CASES, st.integers(1, 8))
def test_the_largest_loading_direction_is_positive_so_the_sign_is_fixed(sigma, k):
    F, _ = factor_form(sigma, k)
    again, _ = factor_form(sigma.copy(), k)
    assert F.tobytes() == again.tobytes()
    direction = F / np.sqrt(np.diag(sigma))[:, None]
    for column in direction.T:
        if np.abs(column).max() > 1e-3:
            assert column.max() >= np.abs(column).max() * (1 - 1e-7)


def test_an_asset_without_variance_has_no_loading_and_no_own_variance():
    F, d = factor_form(np.diag([1.0, 0.0]), 2)
    assert F[1].tolist() == [0.0, 0.0]
    assert d[1] == 0.0
    F, d = factor_form(np.zeros((2, 2)), 1)
    assert not F.any()
    assert not d.any()


def test_one_asset():
    F, d = factor_form(np.array([[4.0]]), 1)
    assert F[0, 0] ** 2 + d[0] == pytest.approx(4.0, rel=1e-15)
    assert d[0] == pytest.approx(4e-8)


@pytest.mark.parametrize(
    ("sigma", "k"),
    [(np.eye(2), 0), (np.ones((2, 3)), 1), (np.zeros((0, 0)), 1), (-np.eye(2), 1), (np.eye(2) * math.nan, 1)],
)
def test_what_is_no_covariance_is_refused(sigma, k):
    with pytest.raises(ValueError, match=r"covariance|factors"):
        factor_form(sigma, k)


def naively_apart(sigma):
    """What `take_apart` fills, array by array."""
    variance = np.diag(sigma).copy()
    good = bool(np.isfinite(sigma).all() and (variance >= 0.0).all())
    with np.errstate(all="ignore"):
        volatility = np.sqrt(variance)
        inverse = np.where(volatility > 0.0, 1.0 / volatility, 0.0)
        return good, variance, volatility, inverse, (sigma * inverse[:, None]) * inverse


@given(CASES, st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7), st.sampled_from(ODD)), max_size=3))
def test_the_compiled_parts_of_a_covariance_are_those_of_the_twin(sigma, odd):
    n = len(sigma)
    for i, j, x in odd:
        sigma[i % n, j % n] = x
    parts = np.empty(n), np.empty(n), np.empty(n), np.empty((n, n))
    good, *twin = naively_apart(sigma)
    assert take_apart(sigma, *parts) == good
    for ours, naive in zip(parts, twin, strict=True):
        assert np.array_equal(ours, naive, equal_nan=True)

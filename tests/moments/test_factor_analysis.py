"""The likely factor form: what it keeps, what it finds, and that it beats principal components."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from stream_allocator.moments.factor_analysis import likely_factor_form
from stream_allocator.moments.factors import factor_form


def covariance(seed, n=12, k=3, bars=150):
    """Sample covariance of a factor model with volatilities a hundredfold apart."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(bars, k)) @ rng.normal(size=(k, n)) + rng.normal(size=(bars, n))
    scale = np.geomspace(0.1, 10.0, n)
    return np.cov(rows, rowvar=False).reshape(n, n) * np.outer(scale, scale)


def whole(form):
    loadings, own = form
    return loadings @ loadings.T + np.diag(own)


def divergence(truth, model):
    """log det model + tr(model^-1 truth), what the likelihood loses but for a constant."""
    return np.linalg.slogdet(model)[1] + np.trace(np.linalg.solve(model, truth))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 9))
def test_form_keeps_the_diagonal_and_its_own_variances_are_positive(seed, n, k):
    sigma = covariance(seed, n)
    loadings, own = likely_factor_form(sigma, k)
    assert loadings.shape == (n, min(k, n))
    assert (own > 0.0).all()
    np.testing.assert_allclose(np.diag(whole((loadings, own))), np.diag(sigma), rtol=1e-6)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("k", [1, 3, 6])
def test_form_is_likelier_than_principal_components(seed, k):
    sigma = covariance(seed)
    assert divergence(sigma, whole(likely_factor_form(sigma, k))) < divergence(
        sigma, whole(factor_form(sigma, k))
    )


def test_an_independent_solver_finds_little_more_likelihood():
    sigma = covariance(1, n=7, k=2)
    n, k = 7, 2
    loadings, own = likely_factor_form(sigma, k)

    def model(v):
        f = v[: n * k].reshape(n, k)
        return f @ f.T + np.diag(np.exp(v[n * k :]))

    start = np.concatenate((loadings.ravel(), np.log(own)))
    best = minimize(
        lambda v: divergence(sigma, model(v)), start, method="L-BFGS-B", options={"maxiter": 2000}
    )
    assert divergence(sigma, whole((loadings, own))) < best.fun + 0.1


def test_a_factor_model_is_found():
    rng = np.random.default_rng(2)
    truth = rng.normal(size=(20, 2))
    sigma = truth @ truth.T + np.diag(rng.uniform(0.5, 2.0, 20))
    np.testing.assert_allclose(whole(likely_factor_form(sigma, 2)), sigma, atol=0.05)


def test_with_as_many_factors_as_assets_the_form_is_exact():
    sigma = covariance(3, n=5)
    np.testing.assert_allclose(whole(likely_factor_form(sigma, 5)), sigma, rtol=1e-6, atol=1e-9)


def test_strongest_factor_comes_first_and_its_largest_loading_is_positive():
    loadings, _ = likely_factor_form(covariance(4), 3)
    for column in loadings.T:
        assert column[np.abs(column / np.sqrt(np.diag(covariance(4)))).argmax()] > 0.0
    scaled = loadings / np.sqrt(np.diag(covariance(4)))[:, None]
    strength = np.einsum("ij,ij->j", scaled, scaled)
    assert (np.diff(strength) <= 0.0).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_a_change_of_units_is_just_that(seed):
    sigma = covariance(seed, n=6)
    units = np.array([1e-3, 1.0, 7.0, 0.5, 100.0, 1e4])
    changed = whole(likely_factor_form(sigma * np.outer(units, units), 2))
    np.testing.assert_allclose(
        changed, whole(likely_factor_form(sigma, 2)) * np.outer(units, units), rtol=1e-6
    )


def test_assets_without_variance_and_duplicates_do_no_harm():
    sigma = covariance(5, n=6)
    sigma[2] = sigma[:, 2] = 0.0
    sigma[:, 4] = sigma[:, 3]
    sigma[4] = sigma[3]
    loadings, own = likely_factor_form(sigma, 2)
    assert not loadings[2].any()
    assert own[2] == 0.0
    assert (np.delete(own, 2) > 0.0).all()
    assert np.isfinite(loadings).all()
    assert np.linalg.eigvalsh(whole((loadings, own)))[0] > -1e-12


def test_what_is_no_covariance_is_refused():
    with pytest.raises(ValueError, match="square"):
        likely_factor_form(np.ones((2, 3)), 1)
    with pytest.raises(ValueError, match="factors"):
        likely_factor_form(np.eye(2), 0)

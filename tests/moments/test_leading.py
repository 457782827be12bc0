"""Leading components by subspace iteration beside the whole decomposition."""

import numpy as np
import pytest

from stream_allocator.moments.factor_analysis import inverted
from stream_allocator.moments.leading import filtered, leading_components, pivotal_columns, ritz


def correlation(seed, n, factors=4, strength=1.0, bars=300):
    rng = np.random.default_rng(seed)
    rows = strength * rng.normal(size=(bars, factors)) @ rng.normal(size=(factors, n))
    return np.corrcoef(rows + rng.normal(size=(bars, n)), rowvar=False).reshape(n, n)


def naive_leading(matrix, kept):
    values, vectors = np.linalg.eigh(matrix)
    return values[::-1][:kept], vectors[:, ::-1][:, :kept]


@pytest.mark.parametrize("n", [1, 2, 7, 20, 50, 200])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kept", [1, 4, 10])
def test_ritz_values_are_nearly_the_eigenvalues_and_never_above_them(seed, n, kept):
    matrix, kept = correlation(seed, n), min(kept, n)
    values, vectors = leading_components(matrix, kept)
    exact, _ = naive_leading(matrix, kept)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(kept), atol=1e-12)
    np.testing.assert_allclose(np.einsum("ij,ik,kj->j", vectors, matrix, vectors), values, rtol=1e-10)
    assert (values <= exact * (1.0 + 1e-12)).all()
    assert values.sum() >= 0.97 * exact.sum()


@pytest.mark.parametrize("strength", [1.0, 30.0])
@pytest.mark.parametrize("n", [50, 400])
def test_components_that_stand_apart_are_the_exact_ones(strength, n):
    matrix = correlation(5, n, strength=strength)
    values, vectors = leading_components(matrix, 4)
    exact, directions = naive_leading(matrix, 4)
    np.testing.assert_allclose(values, exact, rtol=1e-6)
    assert np.linalg.svd(directions.T @ vectors)[1].min() > 1.0 - 1e-6


def test_ties_zeros_and_duplicates_are_finite_and_orthonormal():
    n = 40
    block = np.kron(np.eye(4), np.ones((10, 10)))
    dead = correlation(1, n)
    dead[7] = dead[:, 7] = 0.0
    dead[7, 7] = 1.0
    for matrix in (np.eye(n), np.ones((n, n)), block, dead):
        values, vectors = leading_components(matrix, 4)
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(4), atol=1e-12)
        np.testing.assert_allclose(values.sum(), naive_leading(matrix, 4)[0].sum(), rtol=0.02)


def test_pivotal_columns_explain_their_pivots_and_stop_where_nothing_is_left():
    matrix = correlation(2, 30)
    columns = pivotal_columns(matrix, 30)
    np.testing.assert_allclose(columns @ columns.T, matrix, atol=1e-8)
    assert not pivotal_columns(np.ones((30, 30)), 3)[:, 1:].any()


def test_a_filter_is_the_chebyshev_polynomial_of_the_matrix():
    matrix, cut = correlation(3, 12), 1.3
    values, vectors = np.linalg.eigh(matrix)
    gain = np.polynomial.chebyshev.Chebyshev.basis(4)(2.0 * values / cut - 1.0)
    block = np.random.default_rng(0).normal(size=(12, 3))
    naive = vectors @ (gain[:, None] * (vectors.T @ block))
    np.testing.assert_allclose(
        filtered(matrix, block, cut), naive, rtol=1e-9, atol=1e-9 * np.abs(naive).max()
    )


def test_ritz_pairs_of_the_whole_space_are_the_eigenpairs():
    matrix = correlation(4, 9)
    values, vectors = ritz(matrix, np.random.default_rng(0).normal(size=(9, 9)))
    np.testing.assert_allclose(values, np.linalg.eigvalsh(matrix)[::-1], rtol=1e-9)
    np.testing.assert_allclose(matrix @ vectors, vectors * values, atol=1e-9)


@pytest.mark.parametrize("k", [1, 2, 10])
def test_a_small_definite_matrix_is_inverted_as_by_lapack(k):
    matrix = np.eye(k) + correlation(6, k) * np.geomspace(1.0, 1e3, k)[:, None] * np.geomspace(1.0, 1e3, k)
    np.testing.assert_allclose(inverted(matrix), np.linalg.inv(matrix), rtol=1e-8, atol=1e-12)

"""The leading components of a correlation matrix, to what factor analysis needs to begin with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_allocator.regime.elementary import compiled

FloatArray = NDArray[np.float64]

# Directions beside the wanted ones: without them the weakest wanted ones come slowly.
SPARE = 3
# Filters of this degree, and how many: a higher degree drowns weak components in the rounding of strong ones.
DEGREE = 4
ROUNDS = 2
# Components below this share of an asset's variance need not be told apart.
LEAST = 1e-3
# Residual variance below which a pivot has nothing of its own.
SPENT = 1e-10


@compiled
def leading_components(correlation: FloatArray, kept: int) -> tuple[FloatArray, FloatArray]:
    """The k largest eigenvalues and their vectors, by subspace iteration with Chebyshev filters.

    The subspace, a little wider than wanted, begins with the columns that pivoted Cholesky takes.  Twice a
    polynomial of degree 4 that is small on [0, the least Ritz value] sharpens it.  A matrix that is hardly
    wider than the subspace is decomposed whole.

    Parameters
    ----------
    correlation : (n, n) array
        Symmetric positive semi-definite, C-contiguous, with ones on the diagonal.
    kept : int
        k, from 1 to n.

    Returns
    -------
    values : (k,) array
        Ritz values, the largest first: never above the eigenvalues, and near to them where these stand apart
        from what follows.
    vectors : (n, k) array
        Orthonormal; the signs are arbitrary.

    References
    ----------
    Y. Saad, Numerical Methods for Large Eigenvalue Problems, 2nd ed., SIAM 2011, sections 5.2 and 5.3.
    """
    n = len(correlation)
    width = kept + SPARE
    if n <= 2 * width:
        values, vectors = np.linalg.eigh(correlation)
        return values[::-1][:kept].copy(), vectors[:, ::-1][:, :kept].copy()
    values, vectors = ritz(correlation, pivotal_columns(correlation, width))
    for _ in range(ROUNDS):
        values, vectors = ritz(correlation, filtered(correlation, vectors, max(values[-1], LEAST)))
    return values[:kept].copy(), vectors[:, :kept].copy()


@compiled
def pivotal_columns(correlation: FloatArray, width: int) -> FloatArray:
    """(n, width) columns of a Cholesky factor, each for the asset that is explained least; then zeros."""
    n = len(correlation)
    columns = np.zeros((n, width))
    left = np.ones(n)
    for j in range(width):
        pivot = left.argmax()
        if left[pivot] < SPENT:
            break
        root = np.sqrt(left[pivot])
        for i in range(n):
            entry = correlation[pivot, i]
            for m in range(j):
                entry -= columns[i, m] * columns[pivot, m]
            columns[i, j] = entry / root
            left[i] -= columns[i, j] ** 2
        left[pivot] = 0.0
    return columns


@compiled
def ritz(correlation: FloatArray, block: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Ritz values and vectors of the block's range, the largest first."""
    basis = np.ascontiguousarray(np.linalg.qr(block)[0])
    values, turns = np.linalg.eigh(np.dot(basis.T, np.dot(correlation, basis)))
    return values[::-1].copy(), np.dot(basis, np.ascontiguousarray(turns[:, ::-1]))


@compiled
def filtered(correlation: FloatArray, block: FloatArray, cut: float) -> FloatArray:
    """T(2 R / cut - I) X for the Chebyshev polynomial T of degree 4: at most 1 on [0, cut], steep above."""
    before = block
    now: FloatArray = np.dot(correlation, block) * (2.0 / cut) - block
    for _ in range(DEGREE - 1):
        before, now = now, 2.0 * (np.dot(correlation, now) * (2.0 / cut) - now) - before
    return now

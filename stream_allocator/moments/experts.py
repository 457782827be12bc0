"""One expert's correlations: an exponential average of outer products, shrunk to one factor, factorised.

Matrices are C-contiguous and only their lower triangles are used.  LAPACK sees the transpose, an upper
triangle in its own order, so nothing is copied.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dtrsv
from scipy.linalg.lapack import dpotrf, dtrtri, dtrtrs

from stream_allocator.regime.elementary import compiled, in_place

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

# Iterations of the one-factor fit; each divides the error by the ratio of the two largest eigenvalues.
FIT_ITERATIONS = 5
# Sums of squares that differ by less, relatively, are equal: the fit starts from the first of them.
TIE = 1e-9
# Largest loading on the common factor: every asset keeps 2% of its variance, so the target is definite.
LARGEST_LOADING = 0.99


@in_place
def decay_and_add(products: FloatArray, decays: FloatArray, z: FloatArray) -> None:
    """S_k <- decay_k S_k + z_k z_k' for each expert, lower triangles, in place."""
    for k in range(decays.size):
        decay = decays[k]
        for i in range(z.shape[1]):
            row = products[k, i]
            zi = z[k, i]
            for j in range(i + 1):
                row[j] = decay * row[j] + zi * z[k, j]


@in_place
def standardise(
    x: FloatArray,
    wanted: BoolArray,
    deviations: FloatArray,
    kinds: NDArray[np.int64],
    bound: float,
    z: FloatArray,
) -> None:
    """z_k = x / (expert k's deviations), within +-bound; 0 for assets that are not wanted."""
    for k in range(kinds.size):
        deviation = deviations[kinds[k]]
        for i in range(x.size):
            z[k, i] = min(max(x[i] / deviation[i], -bound), bound) if wanted[i] else 0.0


@in_place
def whiten_each(factors: FloatArray, z: FloatArray) -> None:
    """z_k <- L_k^-1 z_k for each expert, in place.

    Four partial sums a row, in one order everywhere.
    """
    for k in range(z.shape[0]):
        for i in range(z.shape[1]):
            row = factors[k, i]
            a = b = c = d = 0.0
            whole = i - i % 4
            for j in range(0, whole, 4):
                a += row[j] * z[k, j]
                b += row[j + 1] * z[k, j + 1]
                c += row[j + 2] * z[k, j + 2]
                d += row[j + 3] * z[k, j + 3]
            for j in range(whole, i):
                a += row[j] * z[k, j]
            z[k, i] = (z[k, i] - ((a + b) + (c + d))) / row[i]


@compiled
def shrunk_correlation(products: FloatArray, trust: FloatArray, rho: float, out: FloatArray) -> None:
    """The expert's correlation matrix, positive definite, into the lower triangle of `out`.

        R = (1 - rho) T corr(S) T + rho f f' off the diagonal, 1 on it

    with one factor f, |f_i| <= .99, such that f f' ~= T corr(S) T off the diagonal: the iterated principal
    factor, a power iteration on that matrix with f^2 on its diagonal (plus the identity, which makes it
    semi-definite), from the column of the asset that has the largest sum of squared correlations.  So a
    change of an asset's sign is just that.

    Parameters
    ----------
    products : (n, n) array
        S; only the lower triangle is read.
    trust : (n,) array
        Diagonal of T in [0, 1]: below 1 for assets with few returns, whose correlations lean to 0.
    rho : float
        Shrinkage towards one factor.
    out : (n, n) array
    """
    n = trust.size
    scale = np.zeros(n)
    for i in range(n):
        if products[i, i] > 0.0:
            scale[i] = trust[i] / np.sqrt(products[i, i])
    squares = np.zeros(n)
    square = np.empty(n)
    for i in range(n):
        row = out[i]
        total = products[i]
        si = scale[i]
        for j in range(i):
            row[j] = si * scale[j] * total[j]
            square[j] = row[j] * row[j]
            squares[j] += square[j]
        row[i] = 1.0
        squares[i] += square[:i].sum()
    first = 0
    for i in range(n):
        if squares[i] > (1.0 + TIE) * squares[first]:
            first = i
    f = np.empty(n)
    f[:first] = out[first, :first]
    f[first:] = out[first:, first]
    image = np.empty(n)
    for _ in range(FIT_ITERATIONS):
        for i in range(n):
            f[i] = min(max(f[i], -LARGEST_LOADING), LARGEST_LOADING)
            image[i] = f[i] * f[i] * f[i] + f[i]
        for i in range(n):
            row = out[i]
            fi = f[i]
            image[i] += np.dot(row[:i], f[:i])
            for j in range(i):
                image[j] += fi * row[j]
        size = np.dot(f, f) + 1.0
        for i in range(n):
            f[i] = image[i] / size
    for i in range(n):
        f[i] = min(max(f[i], -LARGEST_LOADING), LARGEST_LOADING)
        row = out[i]
        lean = rho * f[i]
        for j in range(i):
            row[j] = (1.0 - rho) * row[j] + lean * f[j]


def factorise(matrix: FloatArray) -> None:
    """Lower Cholesky factor, in place of the lower triangle.

    Raises
    ------
    ArithmeticError
        If the matrix is not positive definite.
    """
    _, failed = dpotrf(matrix.T, lower=0, clean=0, overwrite_a=1)
    if failed:
        raise ArithmeticError(f"correlation is not positive definite at row {failed}")


def whiten(factor: FloatArray, x: FloatArray) -> FloatArray:
    """L^-1 x for a vector or the columns of an (n, m) array."""
    if x.ndim == 1:
        y: FloatArray = dtrsv(factor.T, x, lower=0, trans=1)
        return y
    y, _ = dtrtrs(factor.T, x, lower=0, trans=1)
    return y


def invert(factor: FloatArray) -> None:
    """L^-1 in place of L, the lower triangle."""
    dtrtri(factor.T, lower=0, overwrite_c=1)


@compiled
def accumulate(inverse: FloatArray, weight: float, scale: FloatArray, mixed: FloatArray) -> None:
    """W <- W + weight L^-1 diag(scale), lower triangle, in place."""
    for i in range(scale.size):
        row = mixed[i]
        own = inverse[i]
        for j in range(i + 1):
            row[j] += weight * scale[j] * own[j]


def given(whitened: FloatArray, directions: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Expectation and root of the conditional covariance of missing values, given the seen ones.

    With W = L^-1, y = W x (missing entries of x taken as zero) and W_m its columns of the missing assets, the
    density of the missing ones is proportional to exp(-|y + W_m x_m|^2 / 2): their covariance is
    C = (W_m' W_m)^-1 and their expectation -C W_m' y.

    Parameters
    ----------
    whitened : (n,) array
        y.
    directions : (n, m) array
        W_m, of full column rank.

    Returns
    -------
    expectation : (m,) array
    root : (m, m) array
        J with J J' = C.
    """
    gram: FloatArray = directions.T @ directions
    factorise(gram)
    invert(gram)
    root = np.ascontiguousarray(np.tril(gram).T)
    expectation: FloatArray = -(root @ (root.T @ (directions.T @ whitened)))
    return expectation, root


def trust(count: NDArray[np.int64], mature: int) -> FloatArray:
    """Square root of the share of the returns that an asset needs to stand on its own, at most 1."""
    share: FloatArray = np.sqrt(np.minimum(count / mature, 1.0))
    return share


def decay_of(half_life: float) -> float:
    """Factor per bar."""
    return math.exp2(-1.0 / half_life)

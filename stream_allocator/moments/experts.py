"""One expert's correlations: an exponential average of outer products, shrunk to one factor, factorised.

Matrices are C-contiguous and only their lower triangles are used.  LAPACK sees the transpose, an upper
triangle in its own order, so nothing is copied.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dtrtri

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
def sort_out(
    returns: FloatArray,
    own: FloatArray,
    farthest: float,
    seen: BoolArray,
    moved: BoolArray,
    values: FloatArray,
) -> tuple[int, int]:
    """Which assets have a return and which have moved before; missing returns as zeros, into `values`.

    Returns
    -------
    reported, missing : int
        Returns that were seen, and assets that have moved before and have none now.
    """
    reported = missing = 0
    for i in range(returns.size):
        seen[i] = abs(returns[i]) < farthest
        moved[i] = own[i] > 0.0
        values[i] = returns[i] if seen[i] else 0.0
        reported += seen[i]
        missing += moved[i] and not seen[i]
    return reported, missing


@in_place
def standardise(
    x: FloatArray,
    seen: BoolArray,
    moved: BoolArray,
    deviations: FloatArray,
    kinds: NDArray[np.int64],
    bound: float,
    z: FloatArray,
) -> None:
    """z_k = x / (expert k's deviations), within +-bound; 0 for assets that are not seen or have not moved."""
    for k in range(kinds.size):
        deviation = deviations[kinds[k]]
        for i in range(x.size):
            wanted = seen[i] and moved[i]
            z[k, i] = min(max(x[i] / deviation[i], -bound), bound) if wanted else 0.0


@in_place
def serial_product(a: FloatArray, b: FloatArray, size: int) -> float:
    """Sum of the first so many products, in four chains: one order everywhere."""
    p = q = r = s = 0.0
    whole = size - size % 4
    for i in range(0, whole, 4):
        p += a[i] * b[i]
        q += a[i + 1] * b[i + 1]
        r += a[i + 2] * b[i + 2]
        s += a[i + 3] * b[i + 3]
    for i in range(whole, size):
        p += a[i] * b[i]
    return (p + q) + (r + s)


@in_place
def whiten_each(whiteners: FloatArray, z: FloatArray) -> None:
    """z_k <- W_k z_k for each expert, in place.

    From the last entry on, which no other needs.
    """
    for k in range(z.shape[0]):
        y = z[k]
        for i in range(y.size - 1, -1, -1):
            row = whiteners[k, i]
            y[i] = serial_product(row, y, i + 1)


@in_place
def whitened_squares(
    whiteners: FloatArray,
    whitened: FloatArray,
    moved: BoolArray,
    deviations: FloatArray,
    kinds: NDArray[np.int64],
    diagonals: FloatArray,
    gram: FloatArray,
) -> int:
    """What weights are learnt from: diag(W_k) in units of the returns, y_k . y_l, the assets that count."""
    n = moved.size
    count = 0
    for i in range(n):
        count += moved[i]
    for k in range(kinds.size):
        deviation = deviations[kinds[k]]
        for i in range(n):
            diagonals[k, i] = whiteners[k, i, i] / deviation[i] if moved[i] else 0.0
        for j in range(k + 1):
            gram[k, j] = gram[j, k] = serial_product(whitened[k], whitened[j], n)
    return count


@in_place
def unit_ratios(deviations: FloatArray, kinds: NDArray[np.int64], ratios: FloatArray) -> None:
    """The first expert's deviations in those of each, (K, n), into `ratios`; 1 for an asset without any."""
    unit = deviations[kinds[0]]
    for k in range(kinds.size):
        own = deviations[kinds[k]]
        for i in range(unit.size):
            ratios[k, i] = unit[i] / own[i] if unit[i] > 0.0 else 1.0


@in_place
def mix(whiteners: FloatArray, weights: FloatArray, scale: FloatArray, mixed: FloatArray) -> None:
    """W = sum_k weight_k W_k diag(scale_k), the lower triangle, into `mixed`."""
    for i in range(mixed.shape[0]):
        row = mixed[i]
        for j in range(i + 1):
            row[j] = 0.0
        for k in range(weights.size):
            own, weight, unit = whiteners[k, i], weights[k], scale[k]
            if weight > 0.0:
                for j in range(i + 1):
                    row[j] += weight * unit[j] * own[j]


@in_place
def length_before(whitener: FloatArray, x: FloatArray) -> float:
    """|y| for the y with W' y = x, by substitution from the last entry on; x becomes y."""
    square = 0.0
    for i in range(x.size - 1, -1, -1):
        row = whitener[i]
        y = x[i] / row[i]
        x[i] = y
        square += y * y
        for j in range(i):
            x[j] -= y * row[j]
    return math.sqrt(square)


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
    for i in range(n):
        row = out[i]
        total = products[i]
        si = scale[i]
        for j in range(i):
            row[j] = si * scale[j] * total[j]
        for j in range(i):
            squares[j] += row[j] * row[j]
        squares[i] += serial_product(row, row, i)
        row[i] = 1.0
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
            image[i] += serial_product(row, f, i)
            for j in range(i):
                image[j] += fi * row[j]
        size = serial_product(f, f, n) + 1.0
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


def invert(factor: FloatArray) -> None:
    """L^-1 in place of L, the lower triangle."""
    dtrtri(factor.T, lower=0, overwrite_c=1)


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

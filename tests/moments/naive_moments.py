"""The moments once more in plain loops."""

import math

import numpy as np


def naive_long_run(rows, volatility_half_life, correlation_half_life, shrinkage, prior=5.0, variance=None):
    """LongRunCovariance by the definition: every EWMA a sum over all bars, no missing values."""
    rows = np.asarray(rows, float)
    n = rows.shape[1]
    b, c = 0.5 ** (1 / volatility_half_life), 0.5 ** (1 / correlation_half_life)
    start = variance if variance is not None else float(np.mean(rows[0] ** 2))

    def volatility(i, t):
        """Of asset i from the bars before t."""
        squares = sum(b ** (t - 1 - s) * rows[s, i] ** 2 for s in range(t)) + b**t * prior * start
        weight = sum(b ** (t - 1 - s) for s in range(t)) + b**t * prior
        return math.sqrt(squares / weight)

    T = len(rows)
    z = [[min(max(rows[t, i] / volatility(i, t), -4.0), 4.0) for i in range(n)] for t in range(T)]
    matrix = np.zeros((n, n))
    products = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            products[i, j] = sum(c ** (T - 1 - t) * z[t][i] * z[t][j] for t in range(T))
        products[i, i] += c**T * prior
    for i in range(n):
        for j in range(n):
            correlation = products[i, j] / math.sqrt(products[i, i] * products[j, j])
            correlation = 1.0 if i == j else (1.0 - shrinkage) * correlation
            matrix[i, j] = correlation * volatility(i, T) * volatility(j, T)
    return matrix


def naive_segment(rows_newest_first, omega, center=False):
    """SegmentWindow.covariance by its definition, with missing values."""
    n = len(rows_newest_first[0])
    pairs = [(w, row) for w, row in zip(omega, rows_newest_first, strict=False)]
    mass = sum(w for w, _ in pairs)
    pairs = [(w / mass, row) for w, row in pairs]
    share = [sum(w for w, row in pairs if math.isfinite(row[i])) for i in range(n)]
    middle = [0.0] * n
    if center:
        middle = [
            sum(w * row[i] for w, row in pairs if math.isfinite(row[i])) / share[i] if share[i] > 0 else 0.0
            for i in range(n)
        ]
    matrix = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            both = sum(
                w * (row[i] - middle[i]) * (row[j] - middle[j])
                for w, row in pairs
                if math.isfinite(row[i]) and math.isfinite(row[j])
            )
            scale = math.sqrt(share[i]) * math.sqrt(share[j])  # the product itself may underflow
            matrix[i, j] = both / scale if scale > 0.0 else 0.0
    return matrix


def smallest_eigenvalue(matrix):
    """Relative to the largest in size."""
    eigenvalues = np.linalg.eigvalsh(matrix)
    return eigenvalues[0] / max(np.abs(eigenvalues).max(), 1e-300)

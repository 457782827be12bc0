"""The same growth problems as one programme each, for solvers that know nothing of them."""

from __future__ import annotations

import clarabel
import numpy as np
import scipy.sparse as sp
from scipy.optimize import linprog

from stream_allocator.allocate.growth import GrowthProgram

__all__ = ["kelly_by_cones", "paper_programme"]

#: What the paper's tangents may miss of the logarithm.
MISSED = 1e-5


def kelly_by_cones(problem: GrowthProgram) -> tuple[float, np.ndarray]:
    """Log-optimal growth without ambiguity, long only and fully invested, one exponential cone a sample."""
    x, p = problem.samples, problem.probabilities
    count, n = x.shape
    eye = sp.identity(n)
    weights, levels = sp.csc_matrix((n, count)), sp.csc_matrix((1, count))
    # (g, 1, 1 + w'x) in the exponential cone
    cone = sp.lil_matrix((3 * count, n + count))
    cone[0::3, n:] = -sp.identity(count)
    cone[2::3, :n] = -x
    offset = np.zeros(3 * count)
    offset[1::3] = offset[2::3] = 1.0
    matrix = sp.vstack(
        [
            sp.hstack([sp.csc_matrix(np.ones((1, n))), levels]),
            sp.hstack([eye, weights]),
            sp.hstack([-eye, weights]),
            cone,
        ]
    )
    limits = np.concatenate([[1.0], problem.program.upper, -problem.program.lower, offset])
    cones = [clarabel.ZeroConeT(1), clarabel.NonnegativeConeT(2 * n), *[clarabel.ExponentialConeT()] * count]
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    size = n + count
    answer = clarabel.DefaultSolver(
        sp.csc_matrix((size, size)),
        np.concatenate([np.zeros(n), -p]),
        sp.csc_matrix(matrix),
        limits,
        cones,
        settings,
    ).solve()
    return -answer.obj_val, _within(problem, np.array(answer.x)[:n])


def paper_programme(problem: GrowthProgram) -> tuple[float, np.ndarray]:
    """The linear programme of Hsieh & Lu with every tangent and every loss from the start; long only.

    Tangents lie so near to each other that they miss the logarithm by 1e-5 at most.
    """
    x = problem.samples
    count, n = x.shape
    low, high = problem.lowest.min(), x.max()
    mesh = np.sqrt(8.0 * MISSED) * (1.0 + low)
    y = np.linspace(low, high, int(np.ceil((high - low) / mesh)) + 1)
    alpha, many = 1.0 / (1.0 + y), len(y)
    beta = np.log1p(y) - alpha * y
    # columns: weights, price, levels, losses by tangent
    each = sp.identity(count)
    cuts = sp.hstack(
        [
            sp.csr_matrix(-np.kron(alpha[:, None], x)),
            sp.csr_matrix((many * count, 1)),
            sp.vstack([each] * many),
            sp.kron(sp.identity(many), sp.csr_matrix(x - problem.lowest)),
        ]
    )
    excesses = sp.hstack(
        [
            sp.kron(sp.csr_matrix(alpha[:, None]), sp.identity(n)),
            sp.csr_matrix(-np.ones((many * n, 1))),
            sp.csr_matrix((many * n, count)),
            -sp.identity(many * n),
        ]
    )
    width = n + 1 + count + many * n
    cost = np.zeros(width)
    cost[n], cost[n + 1 : n + 1 + count] = problem.radius, -problem.probabilities
    budget = np.zeros((1, width))
    budget[0, :n] = 1.0
    lower = np.concatenate([problem.program.lower, [0.0], np.full(count, -np.inf), np.zeros(many * n)])
    upper = np.concatenate([problem.program.upper, np.full(width - n, np.inf)])
    found = linprog(
        cost,
        A_ub=sp.vstack([cuts, excesses]).tocsr(),
        b_ub=np.concatenate([np.repeat(beta, count), np.zeros(many * n)]),
        A_eq=sp.csr_matrix(budget),
        b_eq=[1.0],
        bounds=np.column_stack([lower, upper]),
        method="highs-ds",
    )
    return -found.fun, _within(problem, found.x[:n])


def _within(problem: GrowthProgram, weights: np.ndarray) -> np.ndarray:
    """An interior answer's weights inside the box, summing to 1 to rounding."""
    weights = np.clip(weights, problem.program.lower, problem.program.upper)
    return weights / weights.sum()

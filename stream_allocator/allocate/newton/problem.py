"""The sums that a dual programme bounds, as arrays for its kernels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["GROSS", "INFEASIBLE", "ITERATIONS", "LONG", "NET", "OPTIMAL", "Rows", "make_rows"]

Array = NDArray[np.float64]
Index = NDArray[np.int64]

# How a solve ended.
OPTIMAL, ITERATIONS, INFEASIBLE = 0, 1, 2

# What a group's row sums over its members: w, |w|, max(w, 0).
NET, GROSS, LONG = 0, 1, 2

# By kind: a member's share in the row is alpha w + beta |w|.
_ALPHA = np.array([1.0, 0.0, 0.5])
_BETA = np.array([0.0, 1.0, 0.5])


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Bounded sums over assets: net, turnover and gross of all assets first, groups after them.

    Attributes
    ----------
    alpha, beta : (m,) arrays
        A member's share in the row is alpha w + beta |w|; in row 1 it is |w - w0|.
    lower, upper : (m,) arrays
        Infinite where there is no bound; lower is finite only where beta is 0.
    pointer : (n + 1,) array of int
        Asset i is a member of the rows ``member[pointer[i]:pointer[i + 1]]``, beside the first three.
    member : (nnz,) array of int
        Rows, from 3 on, rising for each asset.
    """

    alpha: Array
    beta: Array
    lower: Array
    upper: Array
    pointer: Index
    member: Index


def make_rows(
    n: int,
    net: tuple[float, float],
    turnover: float,
    gross: float,
    groups: tuple[tuple[int, tuple[int, ...], float, float], ...] = (),
) -> Rows:
    """Rows of n assets.

    Parameters
    ----------
    n : int
    net : tuple of float
        Lower and upper bound of sum(w).
    turnover, gross : float
        Upper bounds of sum |w - w0| and of sum |w|.
    groups : tuple of (kind, members, lower, upper)
        Kind ``NET``, ``GROSS`` or ``LONG``; the last two have no lower bound.
    """
    kinds = np.array([g[0] for g in groups], dtype=np.int64)
    belongs: list[list[int]] = [[] for _ in range(n)]
    for j, (_, members, _, _) in enumerate(groups):
        for i in members:
            belongs[i].append(3 + j)
    pointer = np.zeros(n + 1, dtype=np.int64)
    pointer[1:] = np.cumsum([len(rows) for rows in belongs])
    return Rows(
        alpha=np.concatenate([[1.0, 0.0, 0.0], _ALPHA[kinds]]),
        beta=np.concatenate([[0.0, 0.0, 1.0], _BETA[kinds]]),
        lower=np.array([net[0], -np.inf, -np.inf, *(g[2] for g in groups)]),
        upper=np.array([net[1], turnover, gross, *(g[3] for g in groups)]),
        pointer=pointer,
        member=np.array([j for rows in belongs for j in rows], dtype=np.int64),
    )

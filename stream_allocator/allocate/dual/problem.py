"""A quadratic programme with separable curvature, a few factors and a few rows: its parts and its statuses.

    minimise    1/2 sum h_i w_i^2 + s/2 |F'w|^2 - b'w + sum c_i |w_i - w0_i|
    subject to  lb <= w <= ub,   lower_j <= r_j(w) <= upper_j

A row sums one function over its members: w, |w|, max(w, 0) or |w - w0|.  Rows may share members.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BAD_INPUT",
    "CROSSED",
    "EVALUATIONS",
    "FREE",
    "GAP",
    "GROSS",
    "INFEASIBLE",
    "ITERATIONS",
    "LINES",
    "LONG",
    "NET",
    "NULL_STEPS",
    "OPTIMAL",
    "REPORT_SIZE",
    "STATUS",
    "STATUS_WORDS",
    "STEPS",
    "TURNOVER",
    "VIOLATION",
    "Rows",
    "workspace",
]

# Kinds of rows.
NET, TURNOVER, GROSS, LONG = 0, 1, 2, 3

# Statuses.
OPTIMAL, ITERATIONS, INFEASIBLE, CROSSED, BAD_INPUT = 0, 1, 2, 3, 4
STATUS_WORDS = ("optimal", "iterations", "infeasible", "crossed bounds", "bad input")

# Places in the report.
STEPS, NULL_STEPS, EVALUATIONS, FREE, STATUS, GAP, VIOLATION = 0, 1, 2, 3, 4, 5, 6
REPORT_SIZE = 7

# Arrays of one number an asset that the workspace holds.
LINES = 16


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The limits on sums.

    Rows 0, 1 and 2 are net, turnover and gross over all assets (infinite bounds where there is no such
    limit); rows 3 and on are of groups, of any kind.

    Attributes
    ----------
    kind : (m,) int64 array
        ``NET``, ``TURNOVER``, ``GROSS`` or ``LONG``; the first three are ``[NET, TURNOVER, GROSS]``.
    pointer : (n + 1,) int64 array
        Asset i belongs to the group rows ``member[pointer[i]:pointer[i + 1]]``.
    member : (entries,) int64 array
        Row numbers >= 3, each at most once an asset.
    lower, upper : (m,) float64 arrays
        Infinite where there is none.  Only ``NET`` rows may have a finite lower bound, since the other sums
        are convex.
    """

    kind: NDArray[np.int64]
    pointer: NDArray[np.int64]
    member: NDArray[np.int64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]


def workspace(n: int) -> NDArray[np.float64]:
    """A workspace for `solve`, of n assets or fewer; its content does not matter."""
    return np.empty(LINES * ((n + 7) // 8 * 8 + 16))

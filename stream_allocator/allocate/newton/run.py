"""One compiled call from a programme's arrays to a proven answer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_allocator.allocate.newton.bound import proof
from stream_allocator.allocate.newton.outer import CHI, PSI, solve_program
from stream_allocator.regime.elementary import compiled

__all__ = ["BAD_INPUT", "CROSSED", "REPORT", "SCRATCH", "run"]

Array = NDArray[np.float64]
Index = NDArray[np.int64]

CROSSED, BAD_INPUT = 5, 6
# Weights this near to a kink are at it.
SNAP = 1e-15
#: Length of the report: eight numbers of the solver, four of the proof.
REPORT = 12
#: Rows of the scratch memory: of float64, and of int64.
SCRATCH = (28, 1)


@compiled
def run(
    mean: Array,
    factors: Array,
    own: Array,
    scalars: Array,
    cost: Array,
    quadratic: Array,
    w0: Array,
    box_lower: Array,
    box_upper: Array,
    trade: Array,
    holding: Array,
    benchmark: Array,
    active: Array,
    alpha: Array,
    beta: Array,
    row_lower: Array,
    row_upper: Array,
    pointer: Index,
    member: Index,
    eta: Array,
    w: Array,
    touch: Array,
    warm: bool,
    report: Array,
    ray: Array,
    by_factor: Array,
    work: Array,
    marks: Index,
) -> int:
    """Solve and prove; see :func:`~stream_allocator.allocate.newton.outer.solve_program`."""
    n, k = factors.shape
    lower = work[26, :n]
    upper = work[27, :n]
    good = True
    for i in range(n):
        for f in range(k):
            by_factor[f, i] = factors[i, f]
        least = max(box_lower[i], -holding[i], benchmark[i] - active[i], w0[i] - trade[i])
        most = min(box_upper[i], holding[i], benchmark[i] + active[i], w0[i] + trade[i])
        if least > most + 1e-13:
            return CROSSED
        lower[i] = least
        upper[i] = max(least, most)
        good = good and np.isfinite(mean[i] + own[i] + cost[i] + quadratic[i] + w0[i] + least + most)
    if not good:
        return BAD_INPUT
    z = np.empty(k)
    status = solve_program(
        mean, factors, by_factor, own, scalars, cost, quadratic, w0, lower, upper, benchmark, alpha, beta,
        row_lower, row_upper, pointer, member, z, eta, w, touch, warm, report[:8], ray,
        work, marks,
    )  # fmt: skip
    for i in range(n):  # an asset a rounding away from where it would stand stands there
        if abs(w[i] - w0[i]) <= SNAP:
            w[i] = w0[i]
        if abs(w[i]) <= SNAP:
            w[i] = 0.0
        w[i] = min(max(w[i], lower[i]), upper[i])
    proof(
        mean, factors, by_factor, own, scalars, cost, quadratic, w0, lower, upper, benchmark, alpha, beta,
        row_lower, row_upper, pointer, member, eta, w, touch[PSI], touch[CHI], report[8:], work,
    )  # fmt: skip
    return status

"""One compiled call from a programme's arrays to a proven answer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_allocator.allocate.dual.bound import proof
from stream_allocator.allocate.dual.outer import CHI, LINES, PSI, solve_program
from stream_allocator.allocate.dual.problem import BAD_INPUT, CROSSED
from stream_allocator.regime.elementary import compiled

__all__ = ["REPORT", "SCRATCH", "run"]

Array = NDArray[np.float64]
Index = NDArray[np.int64]

# Weights this near to a kink are at it.
SNAP = 1e-15
#: Length of the report: eight numbers of the solver, four of the proof.
REPORT = 12
#: Rows of the scratch memory.
SCRATCH = LINES + 2


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
    kind: Index,
    pointer: Index,
    member: Index,
    row_lower: Array,
    row_upper: Array,
    eta: Array,
    w: Array,
    touch: Array,
    warm: bool,
    report: Array,
    ray: Array,
    inner_work: Array,
    work: Array,
) -> int:
    """Solve and prove; see :func:`~stream_allocator.allocate.dual.outer.solve_program`."""
    n, k = factors.shape
    lower = work[LINES, :n]
    upper = work[LINES + 1, :n]
    good = True
    for i in range(n):
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
        mean, factors, own, scalars, cost, quadratic, w0, lower, upper, benchmark, kind, pointer, member,
        row_lower, row_upper, z, eta, w, touch, warm, report[:8], ray, inner_work, work,
    )  # fmt: skip
    for i in range(n):  # an asset a rounding away from where it would stand stands there
        if abs(w[i] - w0[i]) <= SNAP:
            w[i] = w0[i]
        if abs(w[i]) <= SNAP:
            w[i] = 0.0
        w[i] = min(max(w[i], lower[i]), upper[i])
    proof(
        mean, factors, own, scalars, cost, quadratic, w0, lower, upper, benchmark, kind, pointer, member,
        row_lower, row_upper, eta, w, touch[PSI], touch[CHI], report[8:], work,
    )  # fmt: skip
    return status

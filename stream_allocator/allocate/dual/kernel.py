"""A dual semismooth Newton method for quadratic programmes with few factors and few rows.

    minimise    1/2 sum h_i w_i^2 + s/2 |F'w|^2 - b'w + sum c_i |w_i - w0_i|
    subject to  lb <= w <= ub,   lower_j <= r_j(w) <= upper_j

**Dual.**  Price the factors by z (s F'w at the optimum) and each row by eta_j (positive where the upper bound
is priced, negative where the lower is).  The Lagrangian then falls apart into one-dimensional problems,

    w_i = argmin h_i/2 w^2 - a_i w + p_i |w - w0_i| + g_i |w|  on [lb_i, ub_i],
    a = b - F z - sum_j alpha_j eta_j,   p = c + sum_j tau_j eta_j,   g = sum_j beta_j eta_j,

where row j adds alpha_j w + beta_j |w| + tau_j |w - w0| for each of its members: (1, 0, 0) net, (0, 1, 0)
gross, (1/2, 1/2, 0) long, (0, 0, 1) turnover.  Boxes, liquidity, costs and no-trade zones so cost nothing.
The dual function is concave, piecewise quadratic and differentiable but where a multiplier crosses zero, with
gradient F'w - z/s in z and r_j(w) - bound_j in eta_j.

**Step.**  A Newton step uses the generalised Hessian -(G'EG + 1/s on z): E = 1/h on the assets that are free
(not at a bound or a kink) and G = [F, D], D_ij = alpha_j + beta_j sgn(w_i) + tau_j sgn(w_i - w0_i), over the
rows that are priced or broken (`curvature`).  The factors are eliminated; the rows' multipliers maximise what
is left, under their signs (`direction`).  The step's length is searched (`search`); it is 1 once the active
set is right, and then the answer is exact.  A last step is added to w itself, which leaves rounding only.

**Dependent rows.**  Rows that depend on each other on the free assets leave the rows' part of the model
without curvature in some direction, along which the dual is linear until an asset becomes free.  Where it
ascends and no multiplier's sign stops it, the step goes there, to the exact maximum; where it ascends for
ever, the direction is a proof that the rows exclude each other (`separates`), returned as the ray.  An ascent
counts only above the rounding of the terms it is the difference of.

**Proof.**  With w the minimum of the Lagrangian at (z, eta) the duality gap is, identically,

    s/2 |F'w - z/s|^2 + sum_j eta_j (bound_j - r_j(w)),

so the bound of a feasible w costs nothing.  It is taken from prices recomputed without accumulated rounding.

h > 0 makes w unique; multipliers of dependent rows are not, and follow from the start and the fixed order of
the rows (net, groups, turnover, gross).

Semismooth Newton: Qi & Sun (1993); for duals of this kind Li, Sun & Toh (2018).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_allocator.allocate.dual.curvature import (
    cholesky,
    eliminate_factors,
    exposures,
    loadings,
    recover_factors,
    update,
)
from stream_allocator.allocate.dual.direction import row_step
from stream_allocator.allocate.dual.problem import BAD_INPUT, INFEASIBLE, ITERATIONS, LINES, OPTIMAL
from stream_allocator.allocate.dual.prox import respond, spread
from stream_allocator.allocate.dual.rows import check, coefficients, order, row_values, supports
from stream_allocator.allocate.dual.search import search, separates
from stream_allocator.regime.elementary import compiled

__all__ = ["solve"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Steps after which the curvature is summed afresh.
REFRESH = 8
# The factors' gradient, relative to the exposures, that counts as zero.
EXACT = 1e-12
# A residual that only rounding explains; above it one more step is taken.
NEAR = 4e-15


@compiled
def solve(
    b: FloatArray,
    factors: FloatArray,
    s: float,
    h: FloatArray,
    c: FloatArray,
    w0: FloatArray,
    lb: FloatArray,
    ub: FloatArray,
    kind: IntArray,
    pointer: IntArray,
    member: IntArray,
    lower: FloatArray,
    upper: FloatArray,
    z: FloatArray,
    eta: FloatArray,
    w: FloatArray,
    ray: FloatArray,
    work: FloatArray,
    maximum_steps: int,
    tolerance: float,
    report: FloatArray,
) -> int:
    """Solve one programme.

    Parameters
    ----------
    b, h, c, w0, lb, ub : (n,) arrays
        Finite; h > 0 and c >= 0.  Bounds of an asset that cross by rounding stand for ``lb``.
    factors : (n, k) array, C-contiguous
        F; k may be 0.
    s : float
        > 0 (where k > 0).
    kind, pointer, member, lower, upper
        The rows, as in :class:`~stream_allocator.allocate.dual.problem.Rows`.
    z : (k,) array
        In: where to start, s F'w of a guess.  Out: the prices of the factors.
    eta : (m,) array
        In: where to start; zero when cold.  Out: the rows' multipliers.
    w : (n,) array
        Out.  An asset at a bound, at w0 or at 0 stands there bit for bit.
    ray : (m,) array
        Out: where infeasible the combination of rows that cannot hold together with the box, its largest
        entry 1 in magnitude, signed like ``eta``; else zeros.
    work : array
        From :func:`~stream_allocator.allocate.dual.problem.workspace`.
    maximum_steps : int
    tolerance : float
        Largest residual of a row, in its own unit; 1e-13 is as near as rounding lets one rely on.
    report : (REPORT_SIZE,) array
        Out: steps, null steps, evaluations of the line search, free assets, status, gap, violation.

    Returns
    -------
    int
        OPTIMAL, ITERATIONS, INFEASIBLE, CROSSED or BAD_INPUT; w is meaningful in the first two only.
    """
    n, k = factors.shape
    m = len(kind)
    ray[:] = 0.0
    report[:] = 0.0
    report[4] = status = BAD_INPUT
    stride = (n + 7) // 8 * 8 + 8
    if stride % 256 == 0:  # lines that are a multiple of 2 KiB apart fall on the same cache sets
        stride += 8
    if n == 0 or len(pointer) != n + 1 or len(work) < LINES * stride:
        return BAD_INPUT
    status = check(b, s, h, c, w0, lb, ub, lower, upper, k)
    if status != OPTIMAL:
        report[4] = status
        return status

    of_assets = work[: LINES * stride].reshape(LINES, stride)
    a, p, g = of_assets[0, :n], of_assets[1, :n], of_assets[2, :n]
    da, dp, dg = of_assets[3, :n], of_assets[4, :n], of_assets[5, :n]
    inverse, top = of_assets[6, :n], of_assets[7, :n]
    weight, side, sign = of_assets[8, :n], of_assets[9, :n], of_assets[10, :n]
    old_weight, old_side, old_sign = of_assets[11, :n], of_assets[12, :n], of_assets[13, :n]
    first, second = of_assets[14, :n], of_assets[15, :n]
    changed = np.empty(n, np.int64)
    m_factors, chol = np.zeros((k, k)), np.zeros((k, k))
    b_rows, c_rows = np.zeros((m, k)), np.zeros((m, m))
    right = np.empty((k, m + 1))
    schur, reduced, current = np.empty((m, m + 1)), np.empty((m, m + 1)), np.empty((m, m + 1))
    y, gz, dz = np.empty(k), np.empty(k), np.empty(k)
    of_rows = np.zeros((13, m + 1))
    alpha, beta, tau = of_rows[0, :m], of_rows[1, :m], of_rows[2, :m]
    value, slack, support = of_rows[3, :m], of_rows[4, :m], of_rows[5, :m]
    direction, x, null = of_rows[6, :m], of_rows[7, :m], of_rows[8, :m]
    own_curvature, derivative = of_rows[9, :m], of_rows[10, :m]
    level, sense = of_rows[11, :m], of_rows[12, :m]
    count, own, index = np.zeros(m, np.int64), np.empty(m, np.int64), np.empty(m, np.int64)
    finite, active = np.empty(m, np.bool_), np.empty(m, np.bool_)
    out, kept = np.empty(m, np.bool_), np.empty(m, np.bool_)

    status, plain, magnitudes = coefficients(kind, lower, upper, alpha, beta, tau, finite)
    if status != OPTIMAL:
        report[4] = status
        return status
    typical = 0.0
    for i in range(n):
        inverse[i] = 1.0 / h[i]
        top[i] = max(lb[i], ub[i])
        old_weight[i] = 0.0
        old_side[i] = old_sign[i] = sign[i] = 1.0
        typical += h[i]
    typical /= n
    for j in range(m):
        if (upper[j] == np.inf and eta[j] > 0.0) or (lower[j] == -np.inf and eta[j] < 0.0):
            eta[j] = 0.0
        if not np.isfinite(eta[j]):
            eta[j] = 0.0
    for q in range(k):
        if not np.isfinite(z[q]):
            z[q] = 0.0

    fresh = False
    restart, polished, ending = True, False, False
    steps, nulls, evaluations, free, failures, since = 0, 0, 0, 0, 0, 0
    best_seen, floor = np.inf, -1.0
    status = ITERATIONS
    while True:
        if restart:  # prices without accumulated rounding
            loadings(factors, z, a)
            spread(eta, alpha, beta, tau, pointer, member, plain, a, p, g)
            for i in range(n):
                a[i] = b[i] - a[i]
                p[i] += c[i]
            fresh, restart = True, False
        respond(a, p, g, w0, inverse, lb, top, magnitudes, w, weight, side, sign)
        row_values(w, w0, alpha, beta, tau, pointer, member, plain, magnitudes, first, value)
        exposures(factors, w, y)
        free, changes = 0, 0
        for i in range(n):
            e = weight[i]
            free += e > 0.0
            if e != old_weight[i] or (e > 0.0 and (side[i] != old_side[i] or sign[i] != old_sign[i])):
                changed[changes] = i
                changes += 1
        largest, largest_gradient = 0.0, 0.0
        for q in range(k):
            if not np.isfinite(y[q]):
                report[4] = BAD_INPUT
                return BAD_INPUT
            gz[q] = y[q] - z[q] / s
            largest = max(largest, abs(y[q]))
            largest_gradient = max(largest_gradient, abs(gz[q]))
        edge = NEAR if polished else 0.5 * tolerance
        residual = supports(value, lower, upper, eta, edge, active, support, slack)
        if residual <= tolerance and largest_gradient > EXACT * largest and floor < 0.0:
            floor = 0.0  # exposures that cancel out: what a weight of tolerance adds to one
            for i in range(n):
                for q in range(k):
                    floor = max(floor, tolerance * abs(factors[i, q]))
        if residual <= tolerance and largest_gradient <= max(EXACT * largest, floor):
            if not fresh:
                restart = True
                continue
            if residual <= NEAR:
                status = OPTIMAL
                break
            if not polished:
                polished = True
                continue
        elif not fresh and changes == 0 and residual <= 1e-9:
            restart = True  # the floor of rounding on an unchanged active set
            continue
        elif changes == 0 and residual <= 1e-12 and largest_gradient <= 1e-10 * largest and not polished:
            polished = residual >= 0.5 * best_seen
            best_seen = residual
            if polished:
                continue
        if ending or steps >= maximum_steps:
            if fresh:
                break
            restart = ending = True
            continue
        steps += 1

        if 2 * changes > free + 8 or since >= REFRESH or (changes == 0 and since > 0):
            m_factors[:] = 0.0
            b_rows[:] = 0.0
            c_rows[:] = 0.0
            count[:] = 0
            changes, since = 0, 0
            for i in range(n):
                old_weight[i] = 0.0
                if weight[i] > 0.0:
                    changed[changes] = i
                    changes += 1
        else:
            since += 1
        update(
            factors, weight, side, sign, old_weight, old_side, old_sign, changed, changes, pointer, member,
            alpha, beta, tau, finite, m_factors, b_rows, c_rows, count, own, derivative,
        )  # fmt: skip
        size = 0
        for position in range(m):
            j = order(position, m)
            if active[j]:
                index[size] = j
                size += 1
        if not cholesky(m_factors, 1.0 / s, chol):
            restart = ending = True
            continue
        eliminate_factors(chol, b_rows, c_rows, index, size, gz, slack, right, schur, own_curvature)
        for r in range(size):
            j = index[r]
            level[r] = eta[j]
            sense[r] = 0.0 if lower[j] == upper[j] else 1.0 if support[j] == upper[j] else -1.0
        is_null = row_step(
            schur, size, own_curvature, level, sense, tolerance, out, kept, reduced, current, null, x
        )

        guess, longest, ascent = 1.0, np.inf, 0.0
        direction[:] = 0.0
        for r in range(size):
            direction[index[r]] = x[r]
        if is_null:
            nulls += 1
            direction /= np.abs(direction).max()
            proof = separates(direction, alpha, beta, tau, pointer, member, lower, upper, w0, lb, top)
            if proof > 4.0 * tolerance:
                ray[:] = direction
                status = INFEASIBLE
                break
            dz[:] = 0.0
            da[:] = 0.0
            guess = 1e-3 * typical
            # beyond this no asset can still move along the direction
            longest = np.abs(eta).max()
            for i in range(n):
                far = max(max(abs(lb[i]), abs(top[i])), abs(w0[i]))
                longest = max(longest, abs(a[i]) + h[i] * far + c[i])
            longest *= 100.0
        else:
            recover_factors(chol, right, size, x, dz)
            loadings(factors, dz, da)
        constant, linear = 0.0, 0.0
        for q in range(k):
            ascent += gz[q] * dz[q]
            constant -= dz[q] * z[q] / s
            linear -= dz[q] * dz[q] / s
        for j in range(m):
            ascent += direction[j] * slack[j]
        if not ascent > 0.0:  # rounding is all that is left, or broken rows are left out
            failures += 1
            if fresh:
                status = OPTIMAL if polished else status
                break
            ending = failures > 2
            restart = True
            continue
        spread(direction, alpha, beta, tau, pointer, member, plain, da, dp, dg)
        for i in range(n):
            da[i] = -da[i]
        if polished and not is_null:
            # once the set is right the step can be added to w itself, below the rounding of a / h
            moved = 0.0
            for i in range(n):
                u = w[i] + weight[i] * (da[i] - side[i] * dp[i] - sign[i] * dg[i])
                first[i] = min(max(u, lb[i]), top[i])
                moved = max(moved, abs(first[i] - w[i]))
            row_values(first, w0, alpha, beta, tau, pointer, member, plain, magnitudes, second, null)
            left = 0.0
            for j in range(m):
                left = max(left, null[j] - upper[j], lower[j] - null[j])
                if active[j]:
                    left = max(left, abs(null[j] - support[j]))
            status = OPTIMAL
            if left < residual and moved <= 1e-9:
                w[:] = first
                eta += direction
                z += dz
                value[:] = null
                exposures(factors, w, y)
                for q in range(k):
                    gz[q] = y[q] - z[q] / s
            break
        step, stopped, used = search(
            eta, direction, support, lower, upper, constant, linear, is_null, ascent, guess,
            max(0.3 * tolerance, 1e-13 * ascent), longest,
            a, p, g, da, dp, dg, w0, inverse, lb, top, magnitudes, first, second,
        )  # fmt: skip
        evaluations += used
        if not np.isfinite(step):
            restart = ending = True
            continue
        for j in range(m):
            eta[j] += step * direction[j]
            if (lower[j] == -np.inf and eta[j] < 0.0) or (upper[j] == np.inf and eta[j] > 0.0):
                eta[j] = 0.0
        if stopped >= 0:
            eta[stopped] = 0.0
        for q in range(k):
            z[q] += step * dz[q]
        for i in range(n):
            a[i] += step * da[i]
            p[i] += step * dp[i]
            g[i] += step * dg[i]
        fresh = False

    report[0], report[1], report[2], report[3], report[4] = steps, nulls, evaluations, free, status
    if status == INFEASIBLE:
        return status
    gap, violation = 0.0, 0.0
    for q in range(k):
        gap += 0.5 * s * gz[q] * gz[q]
    for j in range(m):
        if eta[j] != 0.0:
            gap += eta[j] * ((upper[j] if eta[j] > 0.0 else lower[j]) - value[j])
        violation = max(violation, value[j] - upper[j], lower[j] - value[j])
    if status != OPTIMAL:
        size_of_objective = 0.0
        for i in range(n):
            size_of_objective += 0.5 * h[i] * w[i] * w[i] + abs(b[i] * w[i])
        if violation <= 1e-12 and abs(gap) <= 1e-13 * size_of_objective:
            status = OPTIMAL
    report[4], report[5], report[6] = status, gap, violation
    return status

r"""Dual semismooth Newton for one quadratic programme.

.. math::
    \min_w\; \tfrac12 \sum_i h_i w_i^2 + \tfrac s2 \|F'w\|^2 - b'w + \sum_i c_i |w_i - w^0_i|
    \quad\text{s.t.}\quad l \le w \le u,\; L \le r(w) \le U,

where each row r sums w, :math:`|w|`, :math:`\max(w, 0)` or :math:`|w - w^0|` over some assets.

With z in place of :math:`s F'w` and one price :math:`\eta` a row, the dual is concave and piecewise
quadratic, and for given :math:`(z, \eta)` every asset stands on its own: the minimum of a parabola with kinks
at :math:`w^0_i` and 0 on an interval.  A Newton step solves with :math:`M = F'EF + I/s` over the free assets,
:math:`E = 1/h`, and with the Schur complement of the active rows; then comes an exact search along it.  Rows
that the free assets cannot tell apart give null directions; a null direction along which the dual rises for
ever proves that the limits contradict each other.  Prices of one-sided rows keep their sign: the search ends
where one reaches 0.  As there are finitely many pieces, the end is exact (Qi & Sun 1993).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_allocator.allocate.newton.curvature import (
    back,
    factorise,
    forward,
    pivoted,
    row_products,
    schur,
    solve_pivoted,
)
from stream_allocator.allocate.newton.place import place_all, total
from stream_allocator.allocate.newton.problem import INFEASIBLE, ITERATIONS, OPTIMAL
from stream_allocator.allocate.newton.search import search
from stream_allocator.regime.elementary import compiled

__all__ = ["exposures", "sensitivity", "solve", "times_factors"]

Array = NDArray[np.float64]
Index = NDArray[np.int64]

# A row depends on others where this little of it is left.
DEPENDENT = 1e-10


@compiled
def exposures(factors: Array, w: Array, out: Array) -> None:
    """out <- F'w."""
    out[:] = 0.0
    for i in range(factors.shape[0]):
        if w[i] != 0.0:
            for k in range(factors.shape[1]):
                out[k] += factors[i, k] * w[i]


@compiled
def times_factors(by_factor: Array, x: Array, out: Array) -> None:
    """out <- F x, from the factors row by row."""
    out[:] = 0.0
    for k in range(by_factor.shape[0]):
        xk = x[k]
        if xk != 0.0:
            for i in range(by_factor.shape[1]):
                out[i] += by_factor[k, i] * xk


@compiled
def solve(
    b: Array,
    factors: Array,
    by_factor: Array,
    s: float,
    h: Array,
    cost: Array,
    w0: Array,
    lower: Array,
    upper: Array,
    alpha: Array,
    beta: Array,
    row_lower: Array,
    row_upper: Array,
    pointer: Index,
    member: Index,
    z: Array,
    eta: Array,
    w: Array,
    most_steps: int,
    tolerance: float,
    report: Array,
    ray: Array,
    work: Array,
    marks: Index,
) -> int:
    """Solve; z, eta (a warm start) and w are overwritten with the solution.

    Parameters
    ----------
    b, h, cost, w0, lower, upper : (n,) arrays
        h > 0, lower <= upper.
    factors, by_factor : (n, k) and (k, n) arrays
        F and its transpose, both contiguous.
    s : float
        > 0.
    alpha, beta, row_lower, row_upper : (m,) arrays
        See :class:`~stream_allocator.allocate.newton.problem.Rows`; so are ``pointer`` and ``member``.
    z, eta, w : (k,), (m,) and (n,) arrays
        In: where to start (w is not read).
    most_steps : int
    tolerance : float
        Of a row, in weights.
    report : (6,) array
        Newton steps, null directions among them, evaluations, free assets, duality gap, worst row violation.
    ray : (m,) array
        The proof, where the answer is ``INFEASIBLE``.
    work, marks : (14, >= n) and (1, >= n) arrays
        Scratch: fresh pages of memory would cost more than the work.

    Returns
    -------
    int
        ``OPTIMAL``, ``ITERATIONS`` or ``INFEASIBLE``.
    """
    n, k = factors.shape
    m = len(eta)
    grouped = len(member) > 0
    for j in range(m):
        if row_upper[j] == np.inf and eta[j] > 0.0:
            eta[j] = 0.0
        if row_lower[j] == -np.inf and eta[j] < 0.0:
            eta[j] = 0.0
    room = work[0, :n]
    base = work[1, :n]  # b - F z
    moved = work[2, :n]  # F times the step in z
    pull = work[3, :n]
    pull_rate = work[4, :n]
    size = work[5, :n]
    size_rate = work[6, :n]
    price = work[7, :n]
    side = work[8, :n]
    sign = work[9, :n]
    is_free = work[10, :n]
    counted = work[11, :n]  # in m_free
    scratch = work[12, :n]
    spare = work[13, :n]
    free = marks[0, :n]
    for i in range(n):
        room[i] = 1.0 / h[i]
        counted[i] = 0.0
    value = np.empty(m)
    excess = np.empty(m)
    bound = np.zeros(m)
    step = np.zeros(m)
    active = np.zeros(m, np.bool_)
    index = np.zeros(m, np.int64)
    kept = np.zeros(m, np.bool_)
    right = np.zeros(m)
    x = np.zeros(m)
    best_ray = np.zeros(m)
    m_free = np.zeros((k, k))
    factor = np.zeros((k, k))
    with_factors = np.zeros((m, k))
    with_rows = np.zeros((m, m))
    s_rows = np.zeros((m, m))
    s_factor = np.zeros((m, m))
    y = np.empty(k)
    residual = np.empty(k)
    u = np.empty(k)
    z_step = np.empty(k)
    count = np.zeros(1)
    mean_h = 0.0
    for i in range(n):
        mean_h += h[i]
    mean_h /= n
    times_factors(by_factor, z, base)
    for i in range(n):
        base[i] = b[i] - base[i]
    status = ITERATIONS
    fresh = True  # base carries no rounding of earlier steps
    steps = 0
    nulls = 0
    failures = 0
    last_violation = np.inf
    free_count = 0
    while steps < most_steps:
        # every asset at the present prices
        for i in range(n):
            pull[i] = base[i] - eta[0]
            size[i] = eta[2]
            price[i] = cost[i] + eta[1]
        if grouped:
            for i in range(n):
                for q in range(pointer[i], pointer[i + 1]):
                    j = member[q]
                    pull[i] -= alpha[j] * eta[j]
                    size[i] += beta[j] * eta[j]
        place_all(pull, price, size, w0, room, lower, upper, w, is_free, side, sign)
        value[:] = 0.0
        value[0] = total(w)
        for i in range(n):
            scratch[i] = abs(w[i] - w0[i])
            spare[i] = abs(w[i])
        value[1] = total(scratch)
        value[2] = total(spare)
        if grouped:
            for i in range(n):
                for q in range(pointer[i], pointer[i + 1]):
                    j = member[q]
                    value[j] += alpha[j] * w[i] + beta[j] * spare[i]
        free_count = 0
        changes = 0
        for i in range(n):
            if is_free[i] != 0.0:
                free[free_count] = i
                free_count += 1
            if is_free[i] != counted[i]:
                changes += 1
        exposures(factors, w, y)
        largest = 0.0
        unbalanced = 0.0
        for f in range(k):
            residual[f] = y[f] - z[f] / s
            largest = max(largest, abs(y[f]))
            unbalanced = max(unbalanced, abs(residual[f]))
        violation = 0.0
        for j in range(m):
            excess[j] = 0.0
            active[j] = True
            if eta[j] > 0.0 or row_lower[j] == row_upper[j]:
                bound[j] = row_upper[j]
            elif eta[j] < 0.0:
                bound[j] = row_lower[j]
            elif value[j] > row_upper[j] + 0.5 * tolerance:
                bound[j] = row_upper[j]
            elif value[j] < row_lower[j] - 0.5 * tolerance:
                bound[j] = row_lower[j]
            else:
                active[j] = False
            if active[j]:
                excess[j] = value[j] - bound[j]
            violation = max(violation, abs(excess[j]))
        if violation <= tolerance and unbalanced <= 1e-12 * largest + 1e-300:
            if fresh:
                status = OPTIMAL
                break
        elif changes == 0 and violation <= 1e-12 and unbalanced <= 1e-10 * largest and fresh:
            if violation >= 0.5 * last_violation:  # rounding is all that is left
                status = OPTIMAL
                break
            last_violation = violation
        if not fresh and (violation <= tolerance or (changes == 0 and violation <= 1e-9)):
            times_factors(by_factor, z, base)
            for i in range(n):
                base[i] = b[i] - base[i]
            fresh = True
            continue
        steps += 1
        # curvature over the free assets, by what has changed
        if changes > free_count:
            m_free[:] = 0.0
            counted[:] = 0.0
        for i in range(n):
            if is_free[i] != counted[i]:
                e = room[i] if is_free[i] != 0.0 else -room[i]
                for f in range(k):
                    v = e * factors[i, f]
                    for q in range(f + 1):
                        m_free[f, q] += v * factors[i, q]
                counted[i] = is_free[i]
        factorise(m_free, 1.0 / s, factor)
        row_products(
            factors, room, free, free_count, side, sign, alpha, beta, pointer, member, active,
            with_factors, with_rows,
        )  # fmt: skip
        u[:] = residual
        forward(factor, u)
        members = 0
        for j in range(m):
            if active[j]:
                forward(factor, with_factors[j])
                index[members] = j
                members += 1
        schur(with_rows, with_factors, index, members, s_rows)
        # the step, without rows that would take a price to the wrong side of 0
        is_null = False
        while True:
            members = 0
            for j in range(m):
                if active[j]:
                    index[members] = j
                    members += 1
            pivoted(s_rows, index, members, with_rows, s_factor, kept, DEPENDENT)
            most = tolerance
            chosen = -1
            for a in range(members):
                if kept[a]:
                    continue
                for q in range(a):
                    right[q] = s_rows[index[q], index[a]]
                solve_pivoted(s_factor, kept, a, right, x)
                gain = excess[index[a]]
                terms = abs(gain)
                for q in range(a):
                    if kept[q]:
                        gain -= x[q] * excess[index[q]]
                        terms += abs(x[q] * excess[index[q]])
                if abs(gain) <= most or abs(gain) <= 1e-10 * terms:
                    continue
                way = 1.0 if gain > 0.0 else -1.0
                allowed = True
                for q in range(a + 1):
                    j = index[q]
                    v = way if q == a else (-way * x[q] if kept[q] else 0.0)
                    one_sided = row_lower[j] != row_upper[j] and eta[j] == 0.0
                    if one_sided and v * excess[j] < -1e-9 * abs(excess[j]) and abs(v) > 1e-9:
                        allowed = False
                if not allowed:
                    continue
                most = abs(gain)
                chosen = a
                best_ray[:] = 0.0
                for q in range(a):
                    if kept[q] and abs(x[q]) > 1e-9:
                        best_ray[index[q]] = -way * x[q]
                best_ray[index[a]] = way
                for q in range(m):  # entries are ratios of small integers: without their rounding
                    v = round(4.0 * best_ray[q]) / 4.0
                    if abs(v - best_ray[q]) < 1e-6:
                        best_ray[q] = v
            if chosen >= 0:
                is_null = True
                break
            for a in range(members):
                v = excess[index[a]]
                for f in range(k):
                    v -= with_factors[index[a], f] * u[f]
                right[a] = v
            solve_pivoted(s_factor, kept, members, right, x)
            wrong = -1
            worst = 0.0
            for a in range(members):
                j = index[a]
                one_sided = row_lower[j] != row_upper[j] and eta[j] == 0.0
                if kept[a] and one_sided and x[a] * excess[j] < 0.0 and abs(x[a]) > worst:
                    worst = abs(x[a])
                    wrong = j
            if wrong < 0:
                break
            active[wrong] = False
        step[:] = 0.0
        first = 1.0
        farthest = np.inf
        if is_null:
            nulls += 1
            step[:] = best_ray
            z_step[:] = 0.0
            moved[:] = 0.0
            first = 1e-3 * mean_h
            farthest = 0.0
            for i in range(n):
                reach = max(abs(lower[i]), abs(upper[i]), abs(w0[i]))
                farthest = max(farthest, abs(base[i]) + h[i] * reach + cost[i])
            for j in range(m):
                farthest = max(farthest, abs(eta[j]))
            farthest *= 100.0
        else:
            for a in range(members):
                step[index[a]] = x[a]
            for f in range(k):
                v = u[f]
                for a in range(members):
                    v -= with_factors[index[a], f] * x[a]
                z_step[f] = v
            back(factor, z_step)
            times_factors(by_factor, z_step, moved)
        rising = 0.0
        constant = 0.0
        slope = 0.0
        for f in range(k):
            rising += residual[f] * z_step[f]
            constant -= z_step[f] * z[f] / s
            slope -= z_step[f] * z_step[f] / s
        for j in range(m):
            rising += step[j] * excess[j] if step[j] != 0.0 else 0.0
        if not rising > 0.0:  # rounding is all that is left, or what is violated cannot be helped
            failures += 1
            if failures > 2 or fresh:
                break
            times_factors(by_factor, z, base)
            for i in range(n):
                base[i] = b[i] - base[i]
            fresh = True
            continue
        for i in range(n):
            pull_rate[i] = moved[i] + step[0]
            size_rate[i] = step[2]
        if grouped:
            for i in range(n):
                for q in range(pointer[i], pointer[i + 1]):
                    j = member[q]
                    pull_rate[i] += alpha[j] * step[j]
                    size_rate[i] += beta[j] * step[j]
        t, stopped, endless = search(
            pull, pull_rate, price, size, size_rate, w0, room, lower, upper, eta, step, bound,
            row_lower, row_upper, constant, slope, is_null, rising, first,
            max(0.3 * tolerance, 1e-13 * rising), farthest, count, scratch, spare,
        )  # fmt: skip
        if endless:
            ray[:] = step
            status = INFEASIBLE
            break
        for j in range(m):
            eta[j] += t * step[j]
            if (
                j == stopped
                or (row_lower[j] == -np.inf and eta[j] < 0.0)
                or (row_upper[j] == np.inf and eta[j] > 0.0)
            ):
                eta[j] = 0.0
        if not is_null:
            for f in range(k):
                z[f] += t * z_step[f]
            for i in range(n):
                base[i] -= t * moved[i]
            fresh = False
    gap = 0.0
    for f in range(k):
        difference = y[f] - z[f] / s
        gap += 0.5 * s * difference * difference
    violation = 0.0
    for j in range(m):
        if eta[j] > 0.0:
            gap += eta[j] * (row_upper[j] - value[j])
        elif eta[j] < 0.0:
            gap += eta[j] * (row_lower[j] - value[j])
        violation = max(violation, value[j] - row_upper[j], row_lower[j] - value[j])
    if status == ITERATIONS and violation <= 1e-12 and abs(gap) <= 1e-13:
        status = OPTIMAL
    report[0] = steps
    report[1] = nulls
    report[2] = count[0]
    report[3] = free_count
    report[4] = gap
    report[5] = violation
    return status


@compiled
def sensitivity(
    factors: Array,
    s: float,
    h: Array,
    w: Array,
    w0: Array,
    lower: Array,
    upper: Array,
    alpha: Array,
    beta: Array,
    row_lower: Array,
    row_upper: Array,
    pointer: Index,
    member: Index,
    eta: Array,
    changes: Array,
    out: Array,
    work: Array,
    marks: Index,
) -> None:
    """out <- how the solution moves where b moves by each row of ``changes``, while the active set stays.

    Parameters
    ----------
    w, eta : (n,) and (m,) arrays
        The solution.
    changes, out : (q, >= n) arrays
    work, marks
        Scratch, as for :func:`solve`.
    """
    n, k = factors.shape
    m = len(eta)
    free = marks[0, :n]
    count = 0
    room = work[0, :n]
    side = work[8, :n]
    sign = work[9, :n]
    m_free = np.zeros((k, k))
    for i in range(n):
        room[i] = 1.0 / h[i]
        side[i] = 1.0 if w[i] > w0[i] else -1.0
        sign[i] = 1.0 if w[i] > 0.0 else -1.0
        if w[i] > lower[i] and w[i] < upper[i] and w[i] != w0[i] and w[i] != 0.0:
            free[count] = i
            count += 1
            for f in range(k):
                v = room[i] * factors[i, f]
                for q in range(f + 1):
                    m_free[f, q] += v * factors[i, q]
    active = np.zeros(m, np.bool_)
    index = np.zeros(m, np.int64)
    members = 0
    for j in range(m):
        if row_lower[j] == row_upper[j] or eta[j] != 0.0:
            active[j] = True
            index[members] = j
            members += 1
    factor = np.zeros((k, k))
    factorise(m_free, 1.0 / s, factor)
    with_factors = np.zeros((m, k))
    with_rows = np.zeros((m, m))
    row_products(
        factors, room, free, count, side, sign, alpha, beta, pointer, member, active, with_factors, with_rows
    )
    s_rows = np.zeros((m, m))
    s_factor = np.zeros((m, m))
    kept = np.zeros(m, np.bool_)
    for a in range(members):
        forward(factor, with_factors[index[a]])
    schur(with_rows, with_factors, index, members, s_rows)
    pivoted(s_rows, index, members, with_rows, s_factor, kept, DEPENDENT)
    right = np.zeros(m)
    x = np.zeros(m)
    prices = np.zeros(m)
    u = np.empty(k)
    totals = np.empty(m)
    for c in range(changes.shape[0]):
        u[:] = 0.0
        totals[:] = 0.0
        out[c, :n] = 0.0
        for f in range(count):
            i = free[f]
            v = room[i] * changes[c, i]
            totals[0] += v
            totals[1] += v * side[i]
            totals[2] += v * sign[i]
            for q in range(pointer[i], pointer[i + 1]):
                j = member[q]
                totals[j] += v * (alpha[j] + beta[j] * sign[i])
            for q in range(k):
                u[q] += v * factors[i, q]
        forward(factor, u)
        for a in range(members):
            v = totals[index[a]]
            for f in range(k):
                v -= with_factors[index[a], f] * u[f]
            right[a] = v
        solve_pivoted(s_factor, kept, members, right, x)
        prices[:] = 0.0
        for a in range(members):
            prices[index[a]] = x[a]
            for f in range(k):
                u[f] -= with_factors[index[a], f] * x[a]
        back(factor, u)
        for f in range(count):
            i = free[f]
            v = changes[c, i] - prices[0] - side[i] * prices[1] - sign[i] * prices[2]
            for q in range(pointer[i], pointer[i + 1]):
                j = member[q]
                v -= (alpha[j] + beta[j] * sign[i]) * prices[j]
            for q in range(k):
                v -= factors[i, q] * u[q]
            out[c, i] = room[i] * v

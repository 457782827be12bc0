r"""The whole programme: Newton on the touching points of majorants and on the multipliers of the caps.

The root terms are :math:`\varphi(S, N) = k\sqrt S + \tfrac\gamma2(\sqrt S + r\sqrt N)^2 + g\sqrt N` of
:math:`S = w'\Sigma w` and :math:`N = w'w`, jointly concave.  So for any touching point :math:`(\sigma, \nu)`

.. math::
    \tfrac A2 S + \tfrac B2 N, \qquad A = \gamma + \frac{k + \gamma r\nu}{\sigma}, \qquad
    B = \gamma r^2 + \frac{\gamma r\sigma + g}{\nu},

lies above them but for a constant, and touches.  The caps on volatility and tracking error add
:math:`\tfrac\psi2(S - V^2)` and :math:`\tfrac\chi2((w-\beta)'\Sigma(w-\beta) - T^2)`.  The four unknowns
:math:`\sigma, \nu, \psi, \chi` solve :math:`\sigma(w) = \sigma`, :math:`\|w\| = \nu`, :math:`\sigma(w) = V`
(as a root of 1/V - 1/sigma, after Hebden) and the same for T; the derivatives of w are one back-substitution
each (:func:`~stream_allocator.allocate.dual.sensitivity.sensitivity`).  Touching where a programme ended
always lowers the objective: that is the step wherever Newton's does not help.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stream_allocator.allocate.dual.curvature import exposures, loadings
from stream_allocator.allocate.dual.kernel import solve
from stream_allocator.allocate.dual.problem import ITERATIONS, OPTIMAL, REPORT_SIZE, STEPS, VIOLATION
from stream_allocator.allocate.dual.sensitivity import sensitivity
from stream_allocator.allocate.dual.steps import eliminate_small, next_multiplier
from stream_allocator.regime.elementary import compiled

__all__ = ["LINES", "OUT_OF_REACH", "VANISHING", "solve_program"]

Array = NDArray[np.float64]
Index = NDArray[np.int64]

# More ways to end: a cap that no multiplier meets, and a portfolio that vanishes.
OUT_OF_REACH, VANISHING = 5, 6

# Rows of scratch memory.
LINES = 12
# Unknowns.
SIGMA, NORM, PSI, CHI = 0, 1, 2, 3
MOST = 400  # quadratic programmes
TOGETHER = 14  # that may move touching points and multipliers together
SETTLED = 1e-12  # relative error of the touching points; the objective's error is its square
MET = 2e-14  # relative distance from a cap, where rounding allows
NEARLY = 4e-13  # and where it does not
PROXIMAL = 1e-3  # curvature added, relative, where an asset has none of its own
DUST = 1e-6  # of a typical volatility: on the way to all cash


@compiled
def solve_program(
    mean: Array,
    factors: Array,
    own: Array,
    scalars: Array,
    cost: Array,
    quadratic: Array,
    w0: Array,
    lower: Array,
    upper: Array,
    benchmark: Array,
    kind: Index,
    pointer: Index,
    member: Index,
    row_lower: Array,
    row_upper: Array,
    z: Array,
    eta: Array,
    w: Array,
    touch: Array,
    warm: bool,
    report: Array,
    ray: Array,
    inner_work: Array,
    work: Array,
) -> int:
    """Solve; z, eta, w and touch are where a warm start begins, and the solution at the end.

    Parameters
    ----------
    mean, own, cost, quadratic, w0, lower, upper, benchmark : (n,) arrays
    factors : (n, k) array
    scalars : (6,) array
        gamma, k, r, g and the caps on volatility and tracking error.
    kind, pointer, member, row_lower, row_upper
        See :class:`~stream_allocator.allocate.dual.problem.Rows`.
    z, eta, w : (k,), (m,) and (n,) arrays
    touch : (4,) array
        sigma, nu, psi, chi.
    warm : bool
    report : (8,) array
        Newton steps, quadratic programmes, worst row violation, A, B, and the curvature added at the end.
    ray : (m,) array
        The proof where the rows contradict each other.
    inner_work : array
        From :func:`~stream_allocator.allocate.dual.problem.workspace`.
    work : (LINES, >= n) array
        Scratch: fresh pages of memory would cost more than the work.

    Returns
    -------
    int
    """
    gamma, k, r, g, cap, track_cap = scalars[0], scalars[1], scalars[2], scalars[3], scalars[4], scalars[5]
    n, kf = factors.shape
    rooted = k > 0.0 or g > 0.0 or (gamma > 0.0 and r > 0.0)
    tracked = track_cap < np.inf
    y = np.zeros(kf)
    variance = 0.0
    for i in range(n):
        variance += own[i]
        for f in range(kf):  # a sum for each factor: they do not wait for each other
            y[f] += factors[i, f] * factors[i, f]
    for f in range(kf):
        variance += y[f]
    variance = max(variance / n, 1e-300)
    steepest = 1e-9  # of what is not risk: without variance it says how much curvature is little
    for i in range(n):
        steepest = max(steepest, abs(mean[i]), cost[i])
    typical = math.sqrt(variance)
    marginal = work[0, :n]  # Sigma w
    away = work[1, :n]  # Sigma (w - benchmark)
    pulled = work[2, :n]  # Sigma benchmark
    h = work[3, :n]
    b = work[4, :n]
    center = work[5, :n]
    changes = work[6:9, :n]
    response = work[9:12, :n]
    away[:] = 0.0
    pulled[:] = 0.0
    if tracked:
        exposures(factors, benchmark, y)
        loadings(factors, y, pulled)
        for i in range(n):
            pulled[i] += own[i] * benchmark[i]
    if not warm:
        eta[:] = 0.0
        for i in range(n):
            w[i] = min(max(w0[i], lower[i]), upper[i])
        norm = 0.0
        exposures(factors, w, y)
        sigma = 0.0
        for f in range(kf):
            sigma += y[f] * y[f]
        for i in range(n):
            norm += w[i] * w[i]
            sigma += own[i] * w[i] * w[i]
        if norm > 1e-8:
            touch[SIGMA] = max(math.sqrt(sigma), 1e-3 * typical * math.sqrt(norm))
            touch[NORM] = math.sqrt(norm)
        else:
            touch[SIGMA] = typical
            touch[NORM] = 1.0
        touch[SIGMA] = min(touch[SIGMA], cap)
        touch[PSI] = 0.0
        touch[CHI] = 0.0
    center[:] = w
    products = np.zeros((3, 3))
    system = np.zeros((4, 4))
    residual = np.zeros(4)
    inner = np.zeros(REPORT_SIZE)
    least = np.full(2, -1.0)  # brackets of psi and chi; below 0 where 0 is untried
    greatest = np.full(2, np.inf)
    nested = False
    last_error = np.inf
    last_move = np.inf
    last_sigma, last_norm = touch[SIGMA], touch[NORM]
    plain = False  # the last step of the touching points was where the programme ended
    stalls = 0
    status = ITERATIONS
    steps = 0.0
    rho = 0.0
    a = 0.0
    diagonal = 0.0
    programmes = 0
    while programmes < MOST:
        programmes += 1
        sigma_at, norm_at = touch[SIGMA], touch[NORM]
        psi, chi = touch[PSI], touch[CHI]
        a = gamma + psi + chi
        diagonal = 0.0
        if rooted:
            a += (k + gamma * r * norm_at) / sigma_at
            diagonal = gamma * r * r + (gamma * r * sigma_at + g) / norm_at
        flattest = np.inf
        for i in range(n):
            h[i] = a * own[i] + diagonal + 2.0 * quadratic[i]
            flattest = min(flattest, h[i])
            b[i] = mean[i] + 2.0 * quadratic[i] * w0[i] + chi * pulled[i]
        rho = 0.0
        typical_curvature = a * variance if a * variance > 1e-9 * steepest else steepest
        if flattest <= 0.1 * PROXIMAL * typical_curvature:
            rho = PROXIMAL * typical_curvature
            for i in range(n):
                h[i] += rho
                b[i] += rho * center[i]
        exposures(factors, w, y)
        for f in range(kf):
            z[f] = a * y[f]
        ended = solve(
            b, factors, a, h, cost, w0, lower, upper, kind, pointer, member, row_lower, row_upper, z, eta, w,
            ray, inner_work, 300, 1e-13, inner,
        )  # fmt: skip
        steps += inner[STEPS]
        if ended != OPTIMAL:
            status = ended
            break
        exposures(factors, w, y)
        loadings(factors, y, marginal)
        sigma = 0.0
        norm = 0.0
        for f in range(kf):
            sigma += y[f] * y[f]
        move = 0.0
        for i in range(n):
            sigma += own[i] * w[i] * w[i]
            norm += w[i] * w[i]
            marginal[i] += own[i] * w[i]
            move = max(move, abs(w[i] - center[i]))
        sigma = math.sqrt(sigma)
        norm = math.sqrt(norm)
        tracking = 0.0
        if tracked:
            for i in range(n):
                away[i] = marginal[i] - pulled[i]
                tracking += away[i] * (w[i] - benchmark[i])
            tracking = math.sqrt(max(tracking, 0.0))
        if rho > 0.0:
            center[:] = w
        else:
            move = 0.0
        if rooted and sigma <= DUST * typical and norm_at > 0.0:
            if not plain and programmes > 1:  # Newton went too far: back, and where the programme then ended
                touch[SIGMA], touch[NORM] = last_sigma, last_norm
                plain = True
                continue
            status = VANISHING
            break
        capped = psi > 0.0 or sigma > cap
        held = tracked and (chi > 0.0 or tracking > track_cap)
        close = NEARLY if programmes > TOGETHER or stalls > 0 else MET
        error = 0.0
        if rooted:
            error = abs(math.log(max(sigma, 1e-300) / sigma_at))
            error = max(error, abs(math.log(max(norm, 1e-300) / norm_at)))
        off = 0.0
        if capped:
            off = abs(sigma / cap - 1.0)
            if psi > 0.0 and sigma < cap and psi <= 1e-11 * a:
                off = 0.0
        if held:
            slack = abs(tracking / track_cap - 1.0)
            off = max(off, 0.0 if chi > 0.0 and tracking < track_cap and chi <= 1e-11 * a else slack)
        if error <= SETTLED and off <= close and move <= 1e-13:
            status = OPTIMAL
            break
        # rounding: nothing moves any more
        if error <= 1e3 * SETTLED and off <= NEARLY and move <= 1e-9 and error + move >= 0.5 * last_move:
            stalls += 1
            if stalls > 3:
                status = OPTIMAL
                break
        last_move = error + move
        if not (rooted or capped or held):
            continue
        changes[0, :n] = marginal
        changes[1, :n] = w
        changes[2, :n] = away
        sensitivity(
            factors, a, h, cost, w, w0, lower, upper, kind, pointer, member, row_lower, row_upper, eta,
            changes, response,
        )  # fmt: skip
        for p in range(3):
            for q in range(3):
                v = 0.0
                for i in range(n):
                    v += changes[p, i] * response[q, i]
                products[p, q] = v
        # all together at first; then the touching points, psi within them, chi within both
        if programmes > TOGETHER and not nested:
            nested = True
            least[:] = -1.0
            greatest[:] = np.inf
        joint = not nested or (error <= 1e-10 and move <= 1e-11)
        psi_solved = not capped or abs(sigma / cap - 1.0) <= 1e-9
        near_caps = off <= 1e-5  # Newton's region: no bracket is as good
        psi_moves = capped and joint
        chi_moves = held and joint and (not nested or psi_solved or near_caps)
        # d(A, B, chi) / d(sigma, nu, psi, chi), then d(sigma, nu, tracking) through the products
        a_sigma = -(k + gamma * r * norm_at) / (sigma_at * sigma_at) if rooted else 0.0
        a_norm = gamma * r / sigma_at if rooted else 0.0
        b_sigma = gamma * r / norm_at if rooted else 0.0
        b_norm = -(gamma * r * sigma_at + g) / (norm_at * norm_at) if rooted else 0.0
        system[:] = 0.0
        residual[:] = 0.0
        for u in range(4):
            system[u, u] = 1.0
        if rooted and sigma > 0.0 and norm > 0.0:
            for row in range(2):
                scale = sigma if row == 0 else norm
                by_a = products[row, 0] / scale
                by_b = products[row, 1] / scale
                system[row, 0] = -by_a * a_sigma - by_b * b_sigma
                system[row, 1] = -by_a * a_norm - by_b * b_norm
                if psi_moves:
                    system[row, 2] = -by_a
                if chi_moves:
                    system[row, 3] = -products[row, 2] / scale
                system[row, row] -= 1.0
            residual[0] = sigma - sigma_at
            residual[1] = norm - norm_at
        flat = False
        if psi_moves:
            scale = sigma * sigma * sigma
            if products[0, 0] <= 1e-14 * sigma**4 / max(a, 1e-300):
                flat = True
            else:
                system[2, 0] = -(products[0, 0] * a_sigma + products[0, 1] * b_sigma) / scale
                system[2, 1] = -(products[0, 0] * a_norm + products[0, 1] * b_norm) / scale
                system[2, 3] = -products[0, 2] / scale
                system[2, 2] = -products[0, 0] / scale
                residual[2] = 1.0 / cap - 1.0 / sigma
        if chi_moves and tracking > 0.0:
            scale = tracking * tracking * tracking
            if products[2, 2] <= 1e-14 * tracking**4 / max(a, 1e-300):
                flat = True
            else:
                system[3, 0] = -(products[2, 0] * a_sigma + products[2, 1] * b_sigma) / scale
                system[3, 1] = -(products[2, 0] * a_norm + products[2, 1] * b_norm) / scale
                system[3, 2] = -products[2, 0] / scale
                system[3, 3] = -products[2, 2] / scale
                residual[3] = 1.0 / track_cap - 1.0 / tracking
        step = eliminate_small(system, residual)
        if psi_moves and chi_moves and not nested:  # nearly the same cap twice: one after the other
            against = step[2] * (sigma - cap) < 0.0 or step[3] * (tracking - track_cap) < 0.0
            if against or max(abs(step[2]), abs(step[3])) > 10.0 * a:
                nested = True
                least[:] = -1.0
                greatest[:] = np.inf
                continue
        if psi_moves:
            alone = (nested or not (rooted or held)) and not near_caps
            touch[PSI] = next_multiplier(
                psi, step[2], sigma > cap, flat, alone, a, gamma + k / typical, least, greatest, 0
            )
        if chi_moves:
            alone = (nested or not (rooted or capped)) and not near_caps
            touch[CHI] = next_multiplier(
                chi, step[3], tracking > track_cap, flat, alone, a, gamma + k / typical, least, greatest, 1
            )
            if nested:  # psi was solved for another chi
                least[0], greatest[0] = -1.0, np.inf
        if touch[PSI] > 1e9 * (a - psi) or touch[CHI] > 1e9 * (a - chi):
            status = OUT_OF_REACH
            break
        if rooted:
            # Newton, unless it did not help the last time or goes too far
            better = error <= 0.5 * last_error or plain
            next_sigma, next_norm = sigma_at + step[0], norm_at + step[1]
            near = 0.3 * sigma_at < next_sigma < 3.0 * sigma_at and 0.3 * norm_at < next_norm < 3.0 * norm_at
            if near and (better or not nested):
                touch[SIGMA], touch[NORM] = next_sigma, next_norm
                plain = False
            else:
                touch[SIGMA], touch[NORM] = max(sigma, 1e-12 * typical), max(norm, 1e-12)
                plain = True
            last_error = error
            last_sigma, last_norm = max(sigma, 1e-12 * typical), max(norm, 1e-12)
    report[0] = steps
    report[1] = programmes
    report[2] = inner[VIOLATION]
    report[3] = a
    report[4] = diagonal
    report[5] = rho
    return status

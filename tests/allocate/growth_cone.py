"""Robust growth as one exponential cone programme with every scenario: an oracle that knows no tangents.

The adversary's best scenario has each return at the sample or at an end of its support, so 3^n scenarios a
sample say everything.  For a few assets and samples only.
"""

import itertools

import clarabel
import numpy as np
import scipy.sparse as sp


def every_scenario(problem):
    """Returns (T, 3^n, n) and their l1 distances from the samples (T, 3^n)."""
    found = []
    for x in problem.samples:
        ends = zip(x, problem.lowest, problem.highest, strict=True)
        found.append(list(itertools.product(*(sorted({a, b, c}) for a, b, c in ends))))
    return [np.array(f) for f in found], [
        np.abs(np.array(f) - x).sum(axis=1) for f, x in zip(found, problem.samples, strict=True)
    ]


def solve_growth_cone(problem):
    """Best robust growth, weights and how exact they are, or None where there are none."""
    p = problem.program
    n, samples = len(p.assets), len(problem.samples)
    w, u, s, t = (k * n + np.arange(n) for k in range(4))  # weights, >= |w - w0|, >= |w|, >= (w - w0)^2
    price, cost = 4 * n, 4 * n + 1
    g = 4 * n + 2 + np.arange(samples)
    size = 4 * n + 2 + samples
    rows, rhs, cones = [], [], []
    below, bound = [], []

    def unit(columns, values):
        row = np.zeros(size)
        row[columns] = values
        return row

    def at_most(row, value):
        if np.isfinite(value):
            below.append(row)
            bound.append(value)

    for i in range(n):
        for sign in (1.0, -1.0):
            at_most(unit([w[i], u[i]], [sign, -1.0]), sign * p.current[i])
            at_most(unit([w[i], s[i]], [sign, -1.0]), 0.0)
            at_most(unit([w[i]], [sign]), sign * (p.upper[i] if sign > 0 else p.lower[i]))
            at_most(unit([w[i]], [sign]), p.holding[i])
            at_most(unit([w[i]], [sign]), sign * p.current[i] + p.trade[i])
            at_most(unit([w[i]], [sign]), sign * p.benchmark[i] + p.active[i])
    at_most(unit(w, 1.0), 1.0 - p.cash_lower)
    at_most(unit(w, -1.0), p.cash_upper - 1.0)
    for group in p.groups:
        members = np.array(group.members)
        at_most(unit(w[members], 1.0), group.upper)
        at_most(unit(w[members], -1.0), -group.lower)
        at_most(unit(np.concatenate([w[members], s[members]]), 0.5), group.long)
        at_most(unit(s[members], 1.0), group.gross)
    at_most(unit(s, 1.0), p.gross)
    at_most(unit(u, 1.0), p.turnover)
    at_most(unit([price], [-1.0]), 0.0)
    bars = problem.bars_per_year
    at_most(unit([*u, *t, cost], [*p.linear_cost / bars, *p.quadratic_cost / bars, -1.0]), 0.0)
    # survival where everything is as bad as it can be: max over signs
    at_most(
        unit(
            [*w, *s, cost],
            [*(-0.5 * (problem.lowest + problem.highest)), *(0.5 * (problem.highest - problem.lowest)), 1.0],
        ),
        1.0 - problem.survival,
    )
    rows.append(np.array(below))
    rhs.append(bound)
    cones.append(clarabel.NonnegativeConeT(len(bound)))
    for i in range(n):  # t >= (w - w0)^2
        rows.append(np.array([unit([t[i]], [-1.0]), unit([t[i]], [-1.0]), unit([w[i]], [-2.0])]))
        rhs.append([1.0, -1.0, -2.0 * p.current[i]])
        cones.append(clarabel.SecondOrderConeT(3))
    scenarios, distances = every_scenario(problem)
    for j in range(samples):
        for x, d in zip(scenarios[j], distances[j], strict=True):
            if problem.radius == 0.0 and d > 0.0:
                continue
            # log(1 + w'x - cost) >= g_j - price d
            rows.append(
                np.array([unit([g[j], price], [-1.0, d]), np.zeros(size), unit([*w, cost], [*-x, 1.0])])
            )
            rhs.append([0.0, 1.0, 1.0])
            cones.append(clarabel.ExponentialConeT())
    aim = np.zeros(size)
    aim[g] = -problem.probabilities
    aim[price] = problem.radius
    matrix, limit = sp.csc_matrix(np.vstack(rows)), np.concatenate(rhs)
    for accuracy in (1e-9, 1e-8, 1e-7, 1e-6):
        settings = clarabel.DefaultSettings()
        settings.verbose = False
        settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = accuracy
        answer = clarabel.DefaultSolver(
            sp.csc_matrix((size, size)), aim, matrix, limit, cones, settings
        ).solve()
        status = str(answer.status)
        if "Infeasible" in status:
            return None
        if status == "Solved":
            return -answer.obj_val, np.array(answer.x)[:n], accuracy
    raise AssertionError(status)

"""The robust programme as one cone programme for Clarabel: an oracle that shares no code with the package."""

import clarabel
import numpy as np
import scipy.sparse as sp


def solve_cone(p):
    """Optimal objective and weights of ``p``, or None where Clarabel proves that there are none.

    Variables: w (n), u (n) >= |w - w0|, s (n) >= |w|, a >= sigma(w), v >= |w|_2, z = a + r v,
    e >= sigma(w - benchmark).
    """
    n = len(p.assets)
    r = np.sqrt(p.radius)
    w, u, s = np.arange(n), n + np.arange(n), 2 * n + np.arange(n)
    a, v, z, e = 3 * n, 3 * n + 1, 3 * n + 2, 3 * n + 3
    size = 3 * n + 4
    alpha = p.deviation_aversion
    curvature = np.zeros(size)
    curvature[w] = 2.0 * p.quadratic_cost
    curvature[z] = p.risk_aversion
    linear = np.zeros(size)
    linear[w] = -p.mean - 2.0 * p.quadratic_cost * p.current
    linear[u] = p.linear_cost
    linear[a] = alpha + p.mean_ambiguity / np.sqrt(p.mean_evidence)
    linear[v] = r * np.sqrt(1.0 + alpha**2) if alpha > 0.0 else 0.0
    rows, rhs, cones = [], [], []

    def unit(columns, values):
        row = np.zeros(size)
        row[columns] = values
        return row

    # z - a - r v = 0
    rows.append(unit([z, a, v], [1.0, -1.0, -r])[None, :])
    rhs.append([0.0])
    cones.append(clarabel.ZeroConeT(1))
    below, bound = [], []

    def at_most(row, value):
        if np.isfinite(value):
            below.append(row)
            bound.append(value)

    for i in range(n):
        at_most(unit([i, n + i], [1.0, -1.0]), p.current[i])
        at_most(unit([i, n + i], [-1.0, -1.0]), -p.current[i])
        at_most(unit([i], [1.0]), p.upper[i])
        at_most(unit([i], [-1.0]), -p.lower[i])
        at_most(unit([i], [1.0]), p.current[i] + p.trade[i])
        at_most(unit([i], [-1.0]), p.trade[i] - p.current[i])
        at_most(unit([i, 2 * n + i], [1.0, -1.0]), 0.0)
        at_most(unit([i, 2 * n + i], [-1.0, -1.0]), 0.0)
        at_most(unit([i], [1.0]), p.holding[i])
        at_most(unit([i], [-1.0]), p.holding[i])
        at_most(unit([i], [1.0]), p.benchmark[i] + p.active[i])
        at_most(unit([i], [-1.0]), p.active[i] - p.benchmark[i])
    at_most(unit(w, 1.0), 1.0 - p.cash_lower)
    at_most(unit(w, -1.0), p.cash_upper - 1.0)
    for g in p.groups:
        at_most(unit(list(g.members), 1.0), g.upper)
        at_most(unit(list(g.members), -1.0), -g.lower)
        members = np.array(g.members)
        at_most(unit(np.concatenate([members, 2 * n + members]), 0.5), g.long)
        at_most(unit(2 * n + members, 1.0), g.gross)
    at_most(unit(s, 1.0), p.gross)
    at_most(unit(u, 1.0), p.turnover)
    at_most(unit([a], [1.0]), p.volatility)
    at_most(unit([e], [1.0]), p.tracking)
    rows.append(np.array(below))
    rhs.append(bound)
    cones.append(clarabel.NonnegativeConeT(len(bound)))
    root = np.vstack([p.factors.T, np.diag(np.sqrt(p.idiosyncratic))])
    for head, body, centre in ((a, root, 0.0), (v, np.eye(n), 0.0), (e, root, p.benchmark)):
        block = np.zeros((1 + len(body), size))
        block[0, head] = -1.0
        block[1:, :n] = -body
        rows.append(block)
        rhs.append(np.concatenate([[0.0], -body @ (centre * np.ones(n))]))
        cones.append(clarabel.SecondOrderConeT(1 + len(body)))
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-11
    settings.max_iter = 300
    solver = clarabel.DefaultSolver(
        sp.csc_matrix(sp.diags(curvature)),
        linear,
        sp.csc_matrix(np.vstack(rows)),
        np.concatenate(rhs),
        cones,
        settings,
    )
    answer = solver.solve()
    status = str(answer.status)
    if "Infeasible" in status:
        return None
    assert status in ("Solved", "AlmostSolved"), status
    x = np.array(answer.x)
    return answer.obj_val + float(p.quadratic_cost @ p.current**2), x[:n]

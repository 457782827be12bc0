"""The dual kernel's programme, twice more: as a cone programme for Clarabel, and by brute force.

Nothing here shares code with the package.
"""

from dataclasses import dataclass

import clarabel
import numpy as np
import scipy.sparse as sp

NET, TURNOVER, GROSS, LONG = range(4)

KINDS = (
    "plain",
    "tied",
    "no_costs",
    "tight_groups",
    "equality_groups",
    "zero_turnover",
    "tiny_turnover",
    "outside_the_box",
    "illiquid",
    "hardly_enough_liquidity",
    "cash",
    "long_short",
    "long_short_tight",
    "market_neutral",
    "ill_conditioned",
    "daily",
    "overlapping",
    "no_factors",
)


@dataclass
class Problem:
    """One programme; ``rows`` are (kind, members, lower, upper), the first three over all assets."""

    b: np.ndarray
    factors: np.ndarray
    s: float
    h: np.ndarray
    c: np.ndarray
    w0: np.ndarray
    lb: np.ndarray
    ub: np.ndarray
    rows: list

    def arrays(self):
        """The programme's part of the kernel's arguments."""
        n = len(self.b)
        own = [[j for j in range(3, len(self.rows)) if i in set(self.rows[j][1])] for i in range(n)]
        return (
            self.b,
            np.ascontiguousarray(self.factors),
            self.s,
            self.h,
            self.c,
            self.w0,
            self.lb,
            self.ub,
            np.array([r[0] for r in self.rows], dtype=np.int64),
            np.concatenate([[0], np.cumsum([len(x) for x in own])]).astype(np.int64),
            np.array([j for x in own for j in x], dtype=np.int64),
            np.array([r[2] for r in self.rows], dtype=float),
            np.array([r[3] for r in self.rows], dtype=float),
        )


def function(kind, w, w0):
    """What a row of this kind sums."""
    return {NET: w, TURNOVER: np.abs(w - w0), GROSS: np.abs(w), LONG: np.maximum(w, 0.0)}[kind]


def value(p, j, w):
    kind, members, _, _ = p.rows[j]
    return float(function(kind, w, p.w0)[members].sum())


def objective(p, w):
    y = p.factors.T @ w
    return 0.5 * w @ (p.h * w) + 0.5 * p.s * (y @ y) - p.b @ w + p.c @ np.abs(w - p.w0)


def size(p, w):
    """Scale of the objective: its terms without their signs."""
    y = p.factors.T @ w
    return 0.5 * w @ (p.h * w) + 0.5 * p.s * (y @ y) + np.abs(p.b * w).sum() + p.c @ np.abs(w - p.w0) + 1e-4


def violation(p, w):
    worst = max(0.0, (p.lb - w).max(), (w - p.ub).max())
    for j, (_, _, lower, upper) in enumerate(p.rows):
        worst = max(worst, value(p, j, w) - upper, lower - value(p, j, w))
    return worst


def least(p, curvature, linear, eta):
    """Each asset's minimum of curvature/2 w^2 + linear w + costs + priced rows, over all it can be at."""
    n = len(p.b)
    slopes = np.zeros((3, n))  # of |w - w0|, |w| and max(w, 0)
    linear = linear.copy()
    for e, (kind, members, _, _) in zip(eta, p.rows, strict=True):
        if kind == NET:
            linear[members] += e
        else:
            slopes[kind - 1, members] += e

    def at(w):
        return (
            0.5 * curvature * w * w
            + linear * w
            + slopes[0] * np.abs(w - p.w0)
            + slopes[1] * np.abs(w)
            + slopes[2] * np.maximum(w, 0.0)
        )

    candidates = [p.lb, p.ub, p.w0, np.zeros(n)]
    for side in (-1.0, 1.0):
        for sign in (-1.0, 1.0):
            slope = linear + side * slopes[0] + sign * slopes[1] + (sign > 0) * slopes[2]
            with np.errstate(divide="ignore", invalid="ignore"):
                candidates.append(np.where(curvature > 0.0, -slope / curvature, 0.0))
    return np.min([at(np.clip(x, p.lb, p.ub)) for x in candidates], axis=0)


def dual_value(p, z, eta):
    """A lower bound of the optimum, for any z and any eta of the right signs."""
    with_costs = Problem(**{**p.__dict__, "rows": [*p.rows]})
    with_costs.rows = [*p.rows, *((TURNOVER, [i], -np.inf, 0.0) for i in range(len(p.b)))]
    own = least(with_costs, p.h, p.factors @ z - p.b, np.concatenate([eta, p.c]))
    total = own.sum() - (z @ z / (2.0 * p.s) if len(z) else 0.0)
    for e, (_, _, lower, upper) in zip(eta, p.rows, strict=True):
        if e != 0.0:
            total -= e * (upper if e > 0.0 else lower)
    return total


def excludes(p, ray):
    """By how much rows combined by ``ray`` exclude themselves on the box (Farkas); positive is a proof."""
    total = least(p, np.zeros(len(p.b)), np.zeros(len(p.b)), ray).sum()
    for e, (_, _, lower, upper) in zip(ray, p.rows, strict=True):
        if e != 0.0:
            total -= e * (upper if e > 0.0 else lower)
    return total


def solve_cone(p):
    """Clarabel's weights, or None where it proves that there are none.

    Variables: w, u >= |w - w0|, v >= |w|, x >= max(w, 0), y = F'w.
    """
    n, k = p.factors.shape
    total = 4 * n + k
    eye = sp.eye(n)

    def block(*parts):
        out = sp.lil_matrix((n, total))
        for place, sign in parts:
            out[:, place * n : (place + 1) * n] = sign * eye
        return out

    below = [
        (block((0, 1), (1, -1)), p.w0),
        (block((0, -1), (1, -1)), -p.w0),
        (block((0, 1), (2, -1)), np.zeros(n)),
        (block((0, -1), (2, -1)), np.zeros(n)),
        (block((0, 1), (3, -1)), np.zeros(n)),
        (block((3, -1)), np.zeros(n)),
        (block((0, 1)), p.ub),
        (block((0, -1)), -p.lb),
    ]
    equal = [(sp.hstack([sp.csr_matrix(p.factors.T), sp.csr_matrix((k, 3 * n)), -sp.eye(k)]), np.zeros(k))]
    if k == 0:
        equal = []
    for kind, members, lower, upper in p.rows:
        row = np.zeros(total)
        row[np.asarray(members) + kind * n] = 1.0
        if lower == upper:
            equal.append((sp.csr_matrix(row), [upper]))
            continue
        if np.isfinite(upper):
            below.append((sp.csr_matrix(row), [upper]))
        if np.isfinite(lower):
            below.append((sp.csr_matrix(-row), [-lower]))
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.max_iter = 200
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-11
    equalities = sum(len(r) for _, r in equal)
    matrix = sp.vstack([m for m, _ in equal + below], format="csc")
    answer = clarabel.DefaultSolver(
        sp.diags(np.concatenate([p.h, np.zeros(3 * n), np.full(k, p.s)]), format="csc"),
        np.concatenate([-p.b, p.c, np.zeros(2 * n + k)]),
        matrix,
        np.concatenate([r for _, r in equal + below]),
        [clarabel.ZeroConeT(equalities), clarabel.NonnegativeConeT(matrix.shape[0] - equalities)],
        settings,
    ).solve()
    return None if "Infeasible" in str(answer.status) else np.array(answer.x)[:n]


def problem(kind, seed, n):
    """A random programme of a kind; some are infeasible."""
    rng = np.random.default_rng([seed, n, KINDS.index(kind)])
    k, groups = min(n, int(rng.integers(1, 8))), 4
    factors = rng.normal(0.0, 0.04, (n, k))
    factors[:, 0] = 0.16 * rng.normal(1.0, 0.25, n)
    own = rng.uniform(0.12, 0.4, n) ** 2
    mean = rng.normal(0.05, 0.04, n)
    s = float(np.exp(rng.uniform(-0.7, 3.0)))
    c, quadratic = rng.uniform(0.0002, 0.003, n), rng.choice([0.0, 0.05]) * rng.uniform(0.0, 1.0, n)
    cap = max(0.1, 3.0 / n)
    w0 = np.where(rng.random(n) < 0.3, 0.0, rng.exponential(1.0, n)) + 1e-12
    w0 = np.minimum(w0 / w0.sum(), cap)
    w0[np.argmin(w0)] += 1.0 - w0.sum()
    lower, upper, trade = np.zeros(n), np.full(n, cap), np.full(n, 10.0)
    group = rng.integers(0, groups, n)
    budget, turnover, gross = (1.0, 1.0), rng.choice([0.05, 0.2, 0.6, np.inf]), np.inf
    sums = np.bincount(group, w0, groups)
    low, high = np.maximum(0.0, sums - rng.uniform(0.01, 0.1, groups)), sums + rng.uniform(0.01, 0.1, groups)
    match kind:
        case "tied":
            half = slice(0, max(1, n // 2))
            for x in (factors, own, mean, c, quadratic):
                x[half] = x[0]
            w0[half] = w0[half].mean()
            sums = np.bincount(group, w0, groups)
            low, high = np.maximum(0.0, sums - 0.05), sums + 0.05
        case "no_costs":
            c, quadratic = np.zeros(n), np.zeros(n)
        case "tight_groups":
            low, high = sums - 1e-4, sums + 1e-4
        case "equality_groups":  # with the budget they are one too many
            low = high = sums
        case "zero_turnover":
            turnover = 0.0
        case "tiny_turnover":
            turnover = 1e-6
        case "outside_the_box":
            w0[rng.integers(0, n)] += cap
            w0 /= w0.sum()
            turnover = rng.choice([np.inf, 1.0])
            low, high = np.zeros(groups), np.full(groups, 0.5 if n > 7 else 1.0)
        case "illiquid":
            trade = rng.uniform(0.0, 0.02, n)
        case "hardly_enough_liquidity":
            w0 = w0 * rng.choice([0.5, 0.8, 0.95])
            trade = np.full(n, rng.choice([0.1, 0.3, 0.6]) / n)
            low, high = np.full(groups, -np.inf), np.full(groups, np.inf)
        case "cash":
            budget, s = (-np.inf, 1.0), 5.0 * s
            low = np.full(groups, -np.inf)
        case "long_short" | "long_short_tight":
            lower = np.full(n, -cap)
            w0 = rng.normal(0.0, 1.0, n) / n
            w0 = np.clip(w0 - w0.mean() + 1.0 / n, -cap, cap)
            gross = rng.choice([1.3, 2.0, 3.0]) if kind == "long_short" else 1.0
            low, high = np.full(groups, -0.5), np.full(groups, 1.0)
            turnover = rng.choice([0.5, 1.0, np.inf])
        case "market_neutral":
            lower, budget, w0 = np.full(n, -cap), (0.0, 0.0), np.zeros(n)
            low, high = np.full(groups, -0.02), np.full(groups, 0.02)
            gross, turnover = rng.choice([0.5, 1.5]), np.inf
        case "ill_conditioned":
            own = 0.01 * own
        case "daily":
            mean, factors, own, c = mean / 252.0, factors / np.sqrt(252.0), own / 252.0, 0.1 * c
        case "no_factors":
            factors = np.zeros((n, 0))
    everyone = np.arange(n)
    rows = [
        (NET, everyone, *budget),
        (TURNOVER, everyone, -np.inf, float(turnover)),
        (GROSS, everyone, -np.inf, float(gross)),
    ]
    lb, ub = np.maximum(lower, w0 - trade), np.minimum(upper, w0 + trade)
    if kind == "overlapping":
        lb = lb - rng.choice([0.0, cap])
        near = np.clip(w0 + rng.normal(0.0, 0.1 / n, n), lb, ub)
        for _ in range(int(rng.integers(2, 9))):
            row_kind = int(rng.integers(0, 4))
            members = np.flatnonzero(rng.random(n) < rng.choice([0.2, 0.5, 0.9]))
            held = function(row_kind, near, w0)[members].sum()
            top = held + rng.choice([-0.02, 0.0, 0.001, 0.02, 0.1], p=[0.05, 0.1, 0.2, 0.35, 0.3])
            bottom = top - rng.choice([0.0, 0.05, np.inf]) if row_kind == NET else -np.inf
            if len(members):
                rows.append((row_kind, members, float(bottom), float(top)))
    else:
        for j in range(groups):
            members = np.flatnonzero(group == j)
            if len(members):
                rows.append((NET, members, float(low[j]), float(high[j])))
    h, b = s * own + 2.0 * quadratic, mean + 2.0 * quadratic * w0
    return Problem(b, factors, s, h, c, w0, lb, ub, rows)

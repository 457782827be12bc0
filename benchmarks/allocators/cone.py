"""A programme as a cone programme for Clarabel: every limit, every term, sparse and in factor form.

The oracle of the benchmark: it shares no code with the package but for the programme's fields and rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import clarabel
import numpy as np
import scipy.sparse as sp

from stream_allocator.allocate import Program
from stream_allocator.allocate.limits import rows_of, trade_interval

__all__ = ["ConeAnswer", "ConeForm"]


@dataclass(frozen=True, slots=True, eq=False)
class ConeAnswer:
    """Clarabel's answer.

    Attributes
    ----------
    weights : (n,) array
    objective, bound : float
        Its primal and its dual objective, with the constants that the programme's objective has.
    solved, infeasible : bool
        What Clarabel says.
    """

    weights: np.ndarray
    objective: float
    bound: float
    solved: bool
    infeasible: bool


class ConeForm:
    """Variables w, u >= |w - w0|, v >= |w|, y = F'w, and a >= sigma(w), b >= |w|_2, z = a + r b.

    u, v, and the last three are there only where the programme needs them.
    """

    def __init__(self, program: Program) -> None:
        self._p = p = program
        n, k = p.factors.shape
        alpha, r = p.deviation_aversion, np.sqrt(p.radius)
        ambiguity = alpha + p.mean_ambiguity / np.sqrt(p.mean_evidence)
        rows = rows_of(p)
        sized = bool(rows.magnitudes.any()) and bool((trade_interval(p)[0] < 0.0).any())
        rooted = r > 0.0 or ambiguity > 0.0 or np.isfinite(p.volatility)
        self._columns = 0
        w, y, u = self._some(n), self._some(k), self._some(n)
        v = self._some(n) if sized else w
        a, b, z = (int(self._some(1)[0]) for _ in range(3)) if rooted else (-1, -1, -1)
        self._linear, self._curvature = np.zeros(self._columns), np.zeros(self._columns)
        self._linear[w] = -p.mean - 2.0 * p.quadratic_cost * p.current
        self._linear[u] = p.linear_cost
        self._curvature[w] = 2.0 * p.quadratic_cost
        if r > 0.0:
            self._curvature[z] = p.risk_aversion
        else:
            self._curvature[w] += p.risk_aversion * p.idiosyncratic
            self._curvature[y] = p.risk_aversion
        if rooted:
            self._linear[a] = ambiguity
            self._linear[b] = r * np.sqrt(1.0 + alpha * alpha) if alpha > 0.0 else 0.0
        self._blocks: list[sp.csc_matrix] = []
        self._rhs: list[np.ndarray] = []
        self._cones: list[object] = []
        self._zero([(y, -np.eye(k)), (w, p.factors.T)], np.zeros(k))
        if rooted:
            self._zero([(np.array([a, b, z]), np.array([[1.0, r, -1.0]]))], np.zeros(1))
        self._below(rows.names, rows.normals, rows.magnitudes, rows.bounds, w, v)
        self._intervals(w, u, v, sized)
        own = np.diag(np.sqrt(p.idiosyncratic))
        if rooted:
            self._cone(a, [(y, np.eye(k)), (w, own)], np.zeros(n + k))
            self._cone(b, [(w, np.eye(n))], np.zeros(n))
            self._at_most(sp.csc_matrix(([1.0], ([0], [a])), (1, self._columns)), np.array([p.volatility]))
        if np.isfinite(p.tracking):
            centre = np.concatenate([p.factors.T @ p.benchmark, np.diag(own) * p.benchmark])
            self._cone(None, [(y, np.eye(k)), (w, own)], centre)

    def solve(self, accuracy: float) -> ConeAnswer:
        """Solve from a cold start."""
        settings = clarabel.DefaultSettings()
        settings.verbose = False
        settings.max_threads = 1
        settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = accuracy
        answer = clarabel.DefaultSolver(
            sp.csc_matrix(sp.diags(self._curvature)),
            self._linear,
            sp.vstack(self._blocks, format="csc"),
            np.concatenate(self._rhs),
            self._cones,
            settings,
        ).solve()
        status = str(answer.status)
        constant = float(self._p.quadratic_cost @ self._p.current**2)
        return ConeAnswer(
            np.array(answer.x[: len(self._p.assets)]),
            answer.obj_val + constant,
            answer.obj_val_dual + constant,
            status in ("Solved", "AlmostSolved"),
            "PrimalInfeasible" in status,
        )

    def _some(self, count: int) -> np.ndarray:
        first, self._columns = self._columns, self._columns + count
        return np.arange(first, self._columns)

    def _matrix(self, parts: list[tuple[np.ndarray, np.ndarray]]) -> sp.csc_matrix:
        """Rows with dense or sparse parts in some columns."""
        wide = []
        for columns, part in parts:
            coo = sp.coo_matrix(part)
            shape = (coo.shape[0], self._columns)
            wide.append(sp.csc_matrix((coo.data, (coo.row, columns[coo.col])), shape))
        total = wide[0]
        for more in wide[1:]:
            total = total + more
        return total

    def _add(self, matrix: sp.csc_matrix, rhs: np.ndarray, cone: object) -> None:
        self._blocks.append(matrix)
        self._rhs.append(rhs)
        self._cones.append(cone)

    def _zero(self, parts: list[tuple[np.ndarray, np.ndarray]], rhs: np.ndarray) -> None:
        if len(rhs):
            self._add(self._matrix(parts), rhs, clarabel.ZeroConeT(len(rhs)))

    def _at_most(self, matrix: sp.csc_matrix, rhs: np.ndarray) -> None:
        finite = np.flatnonzero(np.isfinite(rhs))
        if finite.size:
            rows = sp.csr_matrix(matrix)[finite]
            self._add(sp.csc_matrix(rows), rhs[finite], clarabel.NonnegativeConeT(len(finite)))

    def _cone(self, head: int | None, parts: list[tuple[np.ndarray, np.ndarray]], centre: np.ndarray) -> None:
        """|parts - centre| <= the variable head, or the cap on the tracking error where there is none."""
        top = sp.csc_matrix(([-1.0], ([0], [head])), (1, self._columns)) if head is not None else None
        empty = sp.csc_matrix((1, self._columns))
        padded, row = [], 0
        for columns, part in parts:
            block = np.zeros((len(centre), part.shape[1]))
            block[row : row + len(part)] = part
            padded.append((columns, -block))
            row += len(part)
        first = 0.0 if head is not None else self._p.tracking
        self._add(
            sp.vstack([top if top is not None else empty, self._matrix(padded)], format="csc"),
            np.concatenate([[first], -centre]),
            clarabel.SecondOrderConeT(1 + len(centre)),
        )

    def _below(
        self,
        names: tuple[str, ...],
        normals: np.ndarray,
        magnitudes: np.ndarray,
        bounds: np.ndarray,
        w: np.ndarray,
        v: np.ndarray,
    ) -> None:
        if names:
            parts = [(w, normals), (v, magnitudes)]
            self._at_most(self._matrix(parts), bounds)

    def _intervals(self, w: np.ndarray, u: np.ndarray, v: np.ndarray, sized: bool) -> None:
        """Limits on single assets, and u and v above their absolute values."""
        p, one = self._p, sp.identity(len(w))
        lower, upper = trade_interval(p)
        self._at_most(self._matrix([(w, one)]), upper)
        self._at_most(self._matrix([(w, -one)]), -lower)
        self._at_most(self._matrix([(w, one), (u, -one)]), p.current)
        self._at_most(self._matrix([(w, -one), (u, -one)]), -p.current)
        if sized:
            nothing = np.zeros(len(w))
            self._at_most(self._matrix([(w, one), (v, -one)]), nothing)
            self._at_most(self._matrix([(w, -one), (v, -one)]), nothing)
        total = sp.csc_matrix(np.ones((1, len(u))))
        self._at_most(self._matrix([(u, total)]), np.array([p.turnover]))

"""A family of quadratic programmes for OSQP: the limits stay, the curvature moves.

    min  a/2 w'Sigma w + 1/2 sum_i b_i w_i^2 - m'w + sum_i c_i |w_i - w0_i|   within the linear limits

Factor form y = F'w where k < n, so that the curvature is diagonal.  An asset that can only be bought (or only
be sold) needs no epigraph row: its |w - w0| is linear.  That pruning, an objective of order one and an
accuracy of 1e-6 are what makes OSQP's polishing succeed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import osqp
import scipy.sparse as sp
from numpy.typing import NDArray

from stream_allocator.allocate.limits import Rows, rows_of, trade_interval
from stream_allocator.allocate.program import Array, Program
from stream_allocator.allocate.robust import covariance

__all__ = ["QuadraticAnswer", "QuadraticFamily", "SolverSettings"]

# First step size and scaling of a second and a third start, where the first gets nowhere (1 in 300).
OTHER_ATTEMPTS = ((0.1, 0), (0.1, 10))


@dataclass(frozen=True, slots=True)
class SolverSettings:
    """How OSQP is run.  Nothing here depends on time, so the same programme takes the same steps.

    Attributes
    ----------
    accuracy : float
        eps_abs and eps_rel.
    max_iter : int
        Iterations of one quadratic programme.
    max_programmes : int
        Quadratic programmes of one decision.
    """

    accuracy: float = 1e-6
    max_iter: int = 4_000
    max_programmes: int = 60

    def sharper(self) -> SolverSettings:
        """A thousand times more accurate: near a degenerate vertex Newton needs to be told the vertex."""
        return replace(self, accuracy=1e-3 * self.accuracy, max_iter=10 * self.max_iter)


@dataclass(frozen=True, slots=True, eq=False)
class QuadraticAnswer:
    """One programme's answer.

    Attributes
    ----------
    weights : (n,) array
    box : (n,) array
        Multipliers of the interval: positive at the upper end, negative at the lower.
    rows : (m,) array
        Multipliers of :func:`rows_of`, not negative.
    turnover : float
        Multiplier of the turnover cap.
    status : str
        OSQP's word; ``solved`` where it is.
    polished : bool
    iterations : int
    """

    weights: Array
    box: Array
    rows: Array
    turnover: float
    status: str
    polished: bool
    iterations: int


class _Entries:
    """Rows of a sparse matrix with their two bounds, collected block by block."""

    def __init__(self) -> None:
        self._triplets: list[tuple[NDArray[np.intp], NDArray[np.intp], Array]] = []
        self._low: list[Array] = []
        self._high: list[Array] = []
        self.count = 0

    def add(self, row: NDArray[np.intp], column: NDArray[np.intp], value: Array) -> None:
        """Entries of the block that is open; ``row`` counts from its start."""
        self._triplets.append((row + self.count, column, value))

    def rows(self, low: Array | list[float], high: Array | list[float]) -> None:
        """Close the block with its bounds."""
        self._low.append(np.asarray(low, dtype=np.float64))
        self._high.append(np.asarray(high, dtype=np.float64))
        self.count += len(low)

    def block(
        self,
        row: NDArray[np.intp],
        column: NDArray[np.intp],
        value: float,
        low: Array | list[float],
        high: Array | list[float],
    ) -> None:
        """Equal entries, and close the block."""
        self.add(row, column, np.full(len(row), value))
        self.rows(low, high)

    def matrix(self, columns: int) -> tuple[sp.csc_matrix, Array, Array]:
        """The matrix and its bounds."""
        row, column, value = (np.concatenate(x) for x in zip(*self._triplets, strict=True))
        shape = (self.count, columns)
        return (
            sp.csc_matrix((value, (row, column)), shape=shape),
            np.concatenate(self._low),
            np.concatenate(self._high),
        )


class QuadraticFamily:
    """The quadratic programmes of one decision.

    Parameters
    ----------
    program : Program
        Gives Sigma and the limits; its objective is not read.
    linear : (n,) array
        m of the formula above.
    cost : (n,) array
        c of the formula above.
    scale : float
        What the objective is divided by, so that its slopes are of order one.
    settings : SolverSettings
    """

    def __init__(
        self, program: Program, linear: Array, cost: Array, scale: float, settings: SolverSettings
    ) -> None:
        self._program, self._scale, self._settings = program, scale, settings
        n, k = program.factors.shape
        self._factored = 0 < k < n
        self._rows: Rows = rows_of(program)
        w0 = program.current
        lower, upper = trade_interval(program)
        upper = np.maximum(lower, upper)  # crossed by rounding at most: the pre-check has been passed
        only_up, only_down = lower >= w0, upper <= w0
        capped = math.isfinite(program.turnover) and program.turnover < float(
            np.maximum(upper - w0, w0 - lower).sum()
        )
        split: NDArray[np.intp] = np.flatnonzero(~only_up & ~only_down & ((cost > 0.0) | capped))
        sign = np.where(only_up, 1.0, np.where(only_down, -1.0, 0.0))
        self._q = np.concatenate([-linear + cost * sign, np.zeros(k if self._factored else 0), cost[split]])
        if not self._factored:
            self._q = np.append(self._q, 0.0)
        self._q /= scale
        self._assemble(lower, upper, split, sign, capped)
        self._solver: osqp.OSQP | None = None

    def _assemble(
        self, lower: Array, upper: Array, split: NDArray[np.intp], sign: Array, capped: bool
    ) -> None:
        program, w0 = self._program, self._program.current
        n, k = program.factors.shape
        y, u = (k if self._factored else 0), len(split)
        normals, low, high = self._sums_with_two_sides()
        every = np.arange(n)
        entries = _Entries()
        entries.block(every, every, 1.0, lower, upper)
        if y:
            row, column = np.divmod(np.arange(y * n), n)
            entries.add(row, column, program.factors.T.ravel())
            entries.block(np.arange(y), n + np.arange(y), -1.0, np.zeros(y), np.zeros(y))
        row, column = np.nonzero(normals)
        entries.add(row, column, normals[row, column])
        entries.rows(low, high)
        for side in (-1.0, 1.0):  # w - u <= w0 and w + u >= w0
            entries.add(np.arange(u), split, np.ones(u))
            unbounded = np.full(u, side * np.inf)
            ends = (unbounded, w0[split]) if side < 0.0 else (w0[split], unbounded)
            entries.block(np.arange(u), n + y + np.arange(u), side, *ends)
        self._capped = capped
        if capped:
            one_sided = np.flatnonzero(sign)
            entries.add(np.zeros(len(one_sided), dtype=np.intp), one_sided, sign[one_sided])
            room = program.turnover + float(sign @ w0)
            self._turnover_row = entries.count
            entries.block(np.zeros(u, dtype=np.intp), n + y + np.arange(u), 1.0, [-np.inf], [room])
        size = n + y + u
        if not self._factored:
            # one more variable, fixed at 0: with no limit active OSQP's polishing would write to stdout
            size += 1
            entries.block(np.zeros(1, dtype=np.intp), np.array([size - 1]), 1.0, [0.0], [0.0])
        self._a, self._low, self._high = entries.matrix(size)
        if self._factored:
            row = column = np.arange(n + y)
        else:
            self._sigma = covariance(program)
            row, column = np.triu_indices(n)
            order = np.lexsort((row, column))
            row, column = row[order], column[order]
        self._at = (row, column)
        self._p = sp.csc_matrix((np.ones(len(row)), self._at), shape=(size, size))

    def _sums_with_two_sides(self) -> tuple[Array, Array, Array]:
        """The rows, two bounds on one sum as one row; remembers which limits each stands for."""
        rows = self._rows
        self._sums: list[tuple[int, int]] = []  # (upper side or -1, lower side or -1) in the linear rows
        at: dict[str, int] = {}
        normals: list[Array] = []
        for j, name in enumerate(rows.names):
            is_upper = name.startswith(("group_upper", "cash_lower"))  # cash falls as the sum rises
            scope = name.partition("[")[2]
            if scope not in at:
                at[scope] = len(normals)
                normals.append(rows.normals[j] if is_upper else -rows.normals[j])
                self._sums.append((-1, -1))
            up, down = self._sums[at[scope]]
            self._sums[at[scope]] = (j, down) if is_upper else (up, j)
        high = np.array([rows.bounds[up] if up >= 0 else np.inf for up, _ in self._sums])
        low = np.array([-rows.bounds[down] if down >= 0 else -np.inf for _, down in self._sums])
        return np.array(normals).reshape(len(normals), len(self._program.assets)), low, high

    def _curvature(self, a: float, b: Array) -> Array:
        program = self._program
        if self._factored:
            k = program.factors.shape[1]
            data = np.concatenate([a * program.idiosyncratic + b, np.full(k, a)])
        else:
            dense = a * self._sigma
            dense.flat[:: len(b) + 1] += b
            data = dense[self._at]
        scaled: Array = data / self._scale
        return scaled

    def solve(self, a: float, b: Array) -> QuadraticAnswer:
        """The programme with curvature ``a`` Sigma + diag(``b``).

        The first call starts cold, the later ones where the last one ended: the answer depends on the
        sequence of calls and on nothing else.
        """
        data = self._curvature(a, b)
        if self._solver is None:
            self._solver = self._set_up(data)
        else:
            self._solver.update(Px=data)
        result = self._solver.solve(raise_error=False)
        wasted = 0
        for attempt in OTHER_ATTEMPTS:
            if result.info.status not in ("maximum iterations reached", "solved inaccurate"):
                break
            wasted += int(result.info.iter)
            self._solver = self._set_up(data, *attempt)
            result = self._solver.solve(raise_error=False)
        return self._answer(result, wasted)

    def _set_up(self, data: Array, rho: float = 1.0, scaling: int = 0) -> osqp.OSQP:
        self._p.data = data
        solver = osqp.OSQP(algebra="builtin")
        solver.setup(
            self._p,
            self._q,
            self._a,
            self._low,
            self._high,
            verbose=False,
            eps_abs=self._settings.accuracy,
            eps_rel=self._settings.accuracy,
            max_iter=self._settings.max_iter,
            polishing=True,
            polish_refine_iter=5,
            check_termination=25,
            # the data are of order one already; OSQP's own scaling makes a third more iterations
            scaling=scaling,
            rho=rho,
            adaptive_rho=1,  # after a number of iterations; 2 would be after a time
            adaptive_rho_interval=25,
        )
        return solver

    def _answer(self, result: SimpleNamespace, wasted: int) -> QuadraticAnswer:
        n, k = self._program.factors.shape
        start = n + (k if self._factored else 0)
        dual = np.asarray(result.y, dtype=np.float64) * self._scale
        rows = np.zeros(len(self._rows.names))
        for (up, down), y in zip(self._sums, dual[start : start + len(self._sums)], strict=True):
            if up >= 0:
                rows[up] = max(0.0, y)
            if down >= 0:
                rows[down] = max(0.0, -y)
        return QuadraticAnswer(
            weights=np.array(result.x[:n], dtype=np.float64),
            box=dual[:n],
            rows=rows,
            turnover=max(0.0, float(dual[self._turnover_row])) if self._capped else 0.0,
            status=str(result.info.status).replace(" ", "_"),
            polished=int(result.info.status_polish) == 1,
            iterations=int(result.info.iter) + wasted,
        )

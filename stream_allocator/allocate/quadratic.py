"""One quadratic programme for OSQP, with every limit but the two that are roots.

    min  1/2 a w'Sigma w + 1/2 sum_i b_i w_i^2 - m'w + sum_i c_i |w_i - w0_i|   within the limits on sums

Factor form y = F'w where k < n, so that the curvature is diagonal.  An asset that can only be bought (or only
be sold) needs no epigraph row: its |w - w0| is linear; so does one that can only be long (or short) none for
|w|.  That pruning, an objective of order one and an accuracy of 1e-5 are what makes OSQP's polishing succeed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stream_allocator.allocate.limits import Rows, rows_of, trade_interval
from stream_allocator.allocate.program import Array, Program
from stream_allocator.allocate.robust import covariance

if TYPE_CHECKING:
    from scipy.sparse import csc_matrix

__all__ = ["QuadraticAnswer", "SolverSettings", "solve_quadratic"]

# First step size (rho) and scaling: from 1 it takes a fifth more iterations with 50 assets, thrice with 500.
FIRST_ATTEMPT = (10.0, 0)
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
        Iterations of one attempt.
    cross_check : bool
        Whether OSQP is asked at all; without it Newton's certificate alone must do.
    """

    accuracy: float = 1e-5
    max_iter: int = 4_000
    cross_check: bool = True

    def sharper(self) -> SolverSettings:
        """A thousand times more accurate: near a degenerate vertex a crude answer may be another vertex's."""
        return replace(self, accuracy=1e-3 * self.accuracy, max_iter=10 * self.max_iter)


@dataclass(frozen=True, slots=True, eq=False)
class QuadraticAnswer:
    """OSQP's answer.

    Attributes
    ----------
    weights : (n,) array
    status : str
        OSQP's word; ``solved`` where it is.
    polished : bool
    iterations : int
        Of all attempts.
    """

    weights: Array
    status: str
    polished: bool
    iterations: int


def solve_quadratic(
    program: Program,
    risk: float,
    diagonal: Array,
    linear: Array,
    settings: SolverSettings,
) -> QuadraticAnswer:
    """Solve the quadratic programme within the limits of ``program``, always from a cold start.

    Parameters
    ----------
    program : Program
        Gives Sigma, the linear cost and the limits; the rest of its objective is not read.
    risk : float
        a of the formula above.
    diagonal : (n,) array
        b of the formula above.
    linear : (n,) array
        m of the formula above.
    settings : SolverSettings

    Raises
    ------
    RuntimeError
        If OSQP refuses the programme.
    """
    return _Assembly(program, risk, diagonal, linear).solve(settings)


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

    def rows(self, low: Array, high: Array) -> None:
        """Close the block with its bounds."""
        self._low.append(np.asarray(low, dtype=np.float64))
        self._high.append(np.asarray(high, dtype=np.float64))
        self.count += len(low)

    def epigraph(self, of: NDArray[np.intp], at: Array, first: int) -> None:
        """|w_i - at_i| <= u_i for the assets ``of``, u from column ``first`` on."""
        u = np.arange(len(of))
        infinite = np.full(len(of), np.inf)
        for side, low, high in ((-1.0, -infinite, at), (1.0, at, infinite)):
            self.add(u, of, np.ones(len(of)))
            self.add(u, first + u, np.full(len(of), side))
            self.rows(low, high)

    def matrix(self, columns: int) -> tuple[csc_matrix, Array, Array]:
        """The matrix and its bounds."""
        row, column, value = (np.concatenate(x) for x in zip(*self._triplets, strict=True))
        return (
            _sparse(row, column, value, (self.count, columns)),
            np.concatenate(self._low),
            np.concatenate(self._high),
        )


def _sparse(
    row: NDArray[np.intp], column: NDArray[np.intp], value: Array, shape: tuple[int, int]
) -> csc_matrix:
    """A matrix by its entries, each given once."""
    from scipy.sparse import csc_matrix  # not with the package, as OSQP: checking a decision needs neither

    order = np.argsort(column * shape[0] + row)
    pointer = np.zeros(shape[1] + 1, dtype=np.int32)
    np.cumsum(np.bincount(column, minlength=shape[1]), out=pointer[1:])
    return csc_matrix((value[order], row[order].astype(np.int32), pointer), shape)


#: Kinds of limits that are the two sides of one sum.
SIDES = (("cash_lower", "cash_upper"), ("group_lower", "group_upper"))


def _pairs(rows: Rows) -> tuple[NDArray[np.intp], Array]:
    """Two bounds on one sum as one row: which rows stay, and their lower bounds."""
    stay: list[int] = []
    low: list[float] = []
    before = ("", "")
    for j, (name, kind) in enumerate(zip(rows.names, rows.kinds, strict=True)):
        scope = name.removeprefix(kind)
        if (before[0], kind) in SIDES and before[1] == scope:
            low[-1] = -float(rows.bounds[j])
        else:
            stay.append(j)
            low.append(-np.inf)
        before = (kind, scope)
    return np.array(stay, dtype=np.intp), np.array(low)


class _Assembly:
    """The programme's matrices.  Variables: w, y = F'w, u >= |w - w0| and v >= |w| where they are needed."""

    def __init__(self, program: Program, risk: float, diagonal: Array, linear: Array) -> None:
        self._program = program
        n, k = program.factors.shape
        w0, cost = program.current, program.linear_cost
        lower, upper = trade_interval(program)
        upper = np.maximum(lower, upper)  # crossed by rounding at most: the pre-check has been passed
        only_up, only_down = lower >= w0, upper <= w0
        capped = program.turnover < float(np.maximum(upper - w0, w0 - lower).sum())
        traded: NDArray[np.intp] = np.flatnonzero(~only_up & ~only_down & ((cost > 0.0) | capped))
        direction = np.where(only_up, 1.0, np.where(only_down, -1.0, 0.0))

        rows = rows_of(program)
        sign = np.where(lower >= 0.0, 1.0, np.where(upper <= 0.0, -1.0, 0.0))
        both: NDArray[np.intp] = np.flatnonzero((sign == 0.0) & (rows.magnitudes != 0.0).any(axis=0))
        normals = rows.normals + rows.magnitudes * sign

        y = k if 0 < k < n else 0
        at_u = n + y
        at_v = at_u + len(traded)
        self._size = at_v + len(both)
        every = np.arange(n)
        entries = _Entries()
        entries.add(every, every, np.ones(n))
        entries.rows(lower, upper)
        if y:
            row, column = np.divmod(np.arange(y * n), n)
            entries.add(row, column, program.factors.T.ravel())
            entries.add(np.arange(y), n + np.arange(y), -np.ones(y))
            entries.rows(np.zeros(y), np.zeros(y))
        which, low = _pairs(rows)
        row, column = np.nonzero(normals[which])
        entries.add(row, column, normals[which][row, column])
        magnitudes = rows.magnitudes[np.ix_(which, both)]
        row, column = np.nonzero(magnitudes)
        entries.add(row, at_v + column, magnitudes[row, column])
        entries.rows(low, rows.bounds[which])
        entries.epigraph(traded, w0[traded], at_u)
        entries.epigraph(both, np.zeros(len(both)), at_v)
        if capped:
            one_sided = np.flatnonzero(direction)
            entries.add(np.zeros(len(one_sided), dtype=np.intp), one_sided, direction[one_sided])
            entries.add(
                np.zeros(len(traded), dtype=np.intp), at_u + np.arange(len(traded)), np.ones(len(traded))
            )
            entries.rows(np.array([-np.inf]), np.array([program.turnover + float(direction @ w0)]))
        if not y:
            # one more variable, fixed at 0: with no limit active OSQP's polishing would write to stdout
            entries.add(np.zeros(1, dtype=np.intp), np.array([self._size]), np.ones(1))
            entries.rows(np.zeros(1), np.zeros(1))
            self._size += 1
        self._a, self._low, self._high = entries.matrix(self._size)
        gradient = np.zeros(self._size)
        gradient[:n] = cost * direction - linear
        gradient[at_u:at_v] = cost[traded]
        curvature = self._curvature(risk, diagonal, y)
        start = np.minimum(np.maximum(w0, lower), upper)
        slope = risk * (program.factors @ (program.factors.T @ start) + program.idiosyncratic * start)
        slope += diagonal * start - linear
        variances = np.einsum("ij,ij->i", program.factors, program.factors) + program.idiosyncratic
        typical = float(np.mean(variances))
        scale = max(float(np.abs(slope).max()), float(cost.max()), 1e-3 * risk * typical, 1e-12)
        self._q = gradient / scale
        self._p = curvature / scale

    def _curvature(self, risk: float, diagonal: Array, y: int) -> csc_matrix:
        program = self._program
        n = len(program.assets)
        if y:
            data = np.concatenate([risk * program.idiosyncratic + diagonal, np.full(y, risk)])
            at = np.arange(n + y)
            return _sparse(at, at, data, (self._size, self._size))
        dense = risk * covariance(program)
        dense.flat[:: n + 1] += diagonal
        row, column = np.triu_indices(n)
        return _sparse(row, column, dense[row, column], (self._size, self._size))

    def solve(self, settings: SolverSettings) -> QuadraticAnswer:
        """Solve; again with other step sizes where that gets nowhere."""
        iterations = 0
        for rho, scaling in (FIRST_ATTEMPT, *OTHER_ATTEMPTS):
            # the data are of order one already; OSQP's own scaling makes a third more iterations
            result = self._run(settings, rho, scaling)
            iterations += int(result.info.iter)
            if result.info.status not in ("maximum iterations reached", "solved inaccurate"):
                break
        return QuadraticAnswer(
            weights=np.array(result.x[: len(self._program.assets)], dtype=np.float64),
            status=str(result.info.status).replace(" ", "_"),
            polished=int(result.info.status_polish) == 1,
            iterations=iterations,
        )

    def _run(self, settings: SolverSettings, rho: float, scaling: int) -> SimpleNamespace:
        import osqp

        solver = osqp.OSQP(algebra="builtin")
        try:
            solver.setup(
                self._p,
                self._q,
                self._a,
                self._low,
                self._high,
                verbose=False,
                eps_abs=settings.accuracy,
                eps_rel=settings.accuracy,
                max_iter=settings.max_iter,
                polishing=True,
                polish_refine_iter=5,
                check_termination=25,
                scaling=scaling,
                rho=rho,
                adaptive_rho=1,  # after a number of iterations; 2 would be after a time
                adaptive_rho_interval=25,
            )
        except osqp.OSQPException as error:  # of no common kind, and importing it would import OSQP
            raise RuntimeError(f"osqp refused the programme: error {error}") from error
        result: SimpleNamespace = solver.solve(raise_error=False)
        return result

"""One quadratic programme for OSQP, with every limit but the two that are roots.

    min  1/2 a w'Sigma w + 1/2 sum_i b_i w_i^2 - m'w + sum_i c_i |w_i - w0_i|   within the limits on sums

Factor form y = F'w where k < n, so that the curvature is diagonal.  An asset that can only be bought (or only
be sold) needs no epigraph row: its |w - w0| is linear; so does one that can only be long (or short) none for
|w|.  That pruning, an objective of order one and an accuracy of 1e-5 are what makes OSQP's polishing succeed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_allocator.allocate.limits import Rows, rows_of, trade_interval
from stream_allocator.allocate.program import Array, Program
from stream_allocator.allocate.robust import covariance

if TYPE_CHECKING:
    from stream_allocator.allocate.quadratic_kernel import Matrix

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


class Columns(NamedTuple):
    """A sparse matrix by its columns: what OSQP's binding reads of one."""

    data: Array
    indices: NDArray[np.int32]
    indptr: NDArray[np.int32]
    shape: tuple[int, int]

    @property
    def nnz(self) -> int:
        """Number of entries."""
        return len(self.data)


#: Kinds of limits that are the two sides of one sum.
SIDES = (("cash_lower", "cash_upper"), ("group_lower", "group_upper"))


@lru_cache(maxsize=64)
def _pairs(rows: Rows) -> tuple[Array, Array, Array, Array]:
    """Two bounds on one sum as one row: normals, magnitudes, lower and upper bounds of the rows that stay."""
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
    which = np.array(stay, dtype=np.intp)
    return rows.normals[which], rows.magnitudes[which], np.array(low), rows.bounds[which]


def _dense(program: Program, risk: float, diagonal: Array, size: int, scale: float) -> Matrix:
    """The curvature's upper triangle, over ``scale``, where it is not written with the factors."""
    n = len(diagonal)
    whole = risk * covariance(program)
    whole.flat[:: n + 1] += diagonal
    column, row = np.tril_indices(n)
    pointer = np.empty(size + 1, dtype=np.int32)
    pointer[:n] = np.arange(n) * np.arange(1, n + 1) // 2
    pointer[n:] = len(row)
    return whole[row, column] / scale, row.astype(np.int32), pointer


class _Assembly:
    """The programme's matrices.  Variables: w, y = F'w, u >= |w - w0| and v >= |w| where they are needed."""

    def __init__(self, program: Program, risk: float, diagonal: Array, linear: Array) -> None:
        # not with the package, as OSQP: checking a decision needs neither
        from stream_allocator.allocate.quadratic_kernel import programme

        n, k = program.factors.shape
        dense = k == 0 or k >= n
        p, self._q, scale, a, self._low, self._high = programme(
            program.factors, dense, program.idiosyncratic, program.current, program.linear_cost,
            *trade_interval(program), *_pairs(rows_of(program)), program.turnover, risk, diagonal, linear,
        )  # fmt: skip
        self._assets, size = n, len(self._q)
        self._a = Columns(*a, (len(self._low), size))
        if dense:
            p = _dense(program, risk, diagonal, size, scale)
        self._p = Columns(*p, (size, size))

    def solve(self, settings: SolverSettings) -> QuadraticAnswer:
        """Solve; again with other step sizes where that gets nowhere."""
        iterations = 0
        for rho, scaling in (FIRST_ATTEMPT, *OTHER_ATTEMPTS):
            # the data are of order one already; OSQP's own scaling makes a third more iterations
            solver = self._run(settings, rho, scaling)
            found = solver.info
            iterations += int(found.iter)
            if found.status not in ("maximum iterations reached", "solved inaccurate"):
                break
        return QuadraticAnswer(
            weights=np.array(solver.solution.x[: self._assets], dtype=np.float64),
            status=str(found.status).replace(" ", "_"),
            polished=int(found.status_polish) == 1,
            iterations=iterations,
        )

    def _run(self, settings: SolverSettings, rho: float, scaling: int) -> Any:
        """OSQP's compiled solver, run.

        Not through the checks and copies of its Python class, which take as long as half of the iterations.
        """
        binding = _binding()
        endless = binding.OSQP_INFTY
        try:
            solver = binding.OSQPSolver(
                binding.CSC(self._p),
                self._q,
                binding.CSC(self._a),
                np.maximum(self._low, -endless),
                np.minimum(self._high, endless),
                *self._a.shape,
                _asked(settings, rho, scaling),
            )
        except ValueError as error:  # its argument is OSQP's number of the error
            raise RuntimeError(f"osqp refused the programme: error {error}") from error
        solver.solve()
        return solver


@cache
def _binding() -> Any:
    """OSQP's compiled module."""
    import osqp

    return osqp.OSQP(algebra="builtin").ext


@cache
def _asked(settings: SolverSettings, rho: float, scaling: int) -> Any:
    """OSQP's settings, of which it makes a copy."""
    binding = _binding()
    asked = binding.OSQPSettings()
    binding.osqp_set_default_settings(asked)
    for name, value in {
        "verbose": 0,
        "eps_abs": settings.accuracy,
        "eps_rel": settings.accuracy,
        "max_iter": settings.max_iter,
        "polishing": 1,
        "polish_refine_iter": 5,
        "check_termination": 25,
        "scaling": scaling,
        "rho": rho,
        "adaptive_rho": 1,  # after a number of iterations; 2 would be after a time
        "adaptive_rho_interval": 25,
    }.items():
        setattr(asked, name, value)
    return asked

"""General solvers on the same programmes: OSQP and PIQP keep their workspace, Clarabel starts anew."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp

from benchmarks.allocators.cone import ConeForm
from benchmarks.allocators.factor_form import FactorForm
from stream_allocator.allocate import Program

__all__ = ["Run", "clarabel_run", "osqp_run", "piqp_run"]

# Programmes that are not counted: the first ones are cold and fill the caches.
WARM_UP = 3


@dataclass
class Run:
    """What a solver did with consecutive programmes.

    Attributes
    ----------
    seconds : list of float
        Of each solve after the warm-up, from the programme's arrays to the weights.
    weights : list of (n,) arrays
        Of every programme.
    failed : int
        How often the solver said that it had not solved.
    """

    seconds: list[float] = field(default_factory=list)
    weights: list[np.ndarray] = field(default_factory=list)
    failed: int = 0

    @property
    def milliseconds(self) -> float:
        """Median; NaN where nothing ran."""
        return 1e3 * float(np.median(self.seconds)) if self.seconds else float("nan")

    def watch(self, programs: Sequence[Program], solve: Callable[[Program], tuple[np.ndarray, bool]]) -> Run:
        """Solve them in order."""
        for i, program in enumerate(programs):
            start = time.perf_counter()
            weights, solved = solve(program)
            elapsed = time.perf_counter() - start
            if i >= min(WARM_UP, len(programs) - 1):
                self.seconds.append(elapsed)
            self.weights.append(weights)
            self.failed += not solved
        return self


def osqp_run(programs: Sequence[Program], polish: bool) -> Run:
    """OSQP in factor form: eps 1e-6, one workspace, vectors and values updated, started where it ended."""
    import osqp

    form = FactorForm(programs[0])
    diagonal, linear, entries, low, high = form.numbers(programs[0], prune=True)
    curvature, matrix = form.curvature.copy(), form.matrix.copy()
    curvature.data[:], matrix.data[:] = diagonal, entries
    solver = osqp.OSQP(algebra="builtin")
    solver.setup(
        curvature, linear, matrix, low, high,
        verbose=False, eps_abs=1e-6, eps_rel=1e-6, max_iter=50_000, polishing=polish, polish_refine_iter=5,
    )  # fmt: skip

    def solve(program: Program) -> tuple[np.ndarray, bool]:
        diagonal, linear, entries, low, high = form.numbers(program, prune=True)
        solver.update(q=linear, l=low, u=high, Ax=entries, Px=diagonal)
        result = solver.solve(raise_error=False)
        return np.array(result.x[: form.n]), result.info.status == "solved"

    return Run().watch(programs, solve)


def piqp_run(programs: Sequence[Program]) -> Run:
    """PIQP's sparse solver in factor form, its default accuracy of 1e-8, numbers updated in place."""
    import piqp

    form = FactorForm(programs[0])
    n, k, sums = form.n, form.k, form.sums
    exact = np.arange(sums, sums + k)
    ranged = np.concatenate([np.arange(sums), np.arange(sums + k + n, sums + k + 3 * n)])
    boxed = slice(sums + k, sums + k + n)
    numbering = form.matrix.copy()
    numbering.data = np.arange(1.0, len(numbering.data) + 1.0)
    parts = [sp.csc_matrix(sp.csr_matrix(numbering)[rows]) for rows in (exact, ranged)]
    places = [part.data.astype(np.int64) - 1 for part in parts]
    curvature = form.curvature.copy()
    solver = piqp.SparseSolver()
    solver.settings.verbose = False
    ready = False

    def solve(program: Program) -> tuple[np.ndarray, bool]:
        nonlocal ready
        diagonal, linear, entries, low, high = form.numbers(program, prune=False)
        curvature.data[:] = diagonal
        for part, at in zip(parts, places, strict=True):
            part.data[:] = entries[at]
        bounds = (
            np.zeros(k), parts[1], low[ranged], high[ranged],
            np.concatenate([low[boxed], np.full(n + k, -np.inf)]),
            np.concatenate([high[boxed], np.full(n + k, np.inf)]),
        )  # fmt: skip
        if ready:
            solver.update(curvature, linear, parts[0], *bounds)
        else:
            solver.setup(curvature, linear, parts[0], *bounds)
            ready = True
        status = solver.solve()
        return np.array(solver.result.x[:n]), status == piqp.PIQP_SOLVED

    return Run().watch(programs, solve)


def clarabel_run(programs: Sequence[Program], accuracy: float = 1e-8) -> Run:
    """Clarabel in factor form with every limit and root term, its default accuracy of 1e-8."""

    def solve(program: Program) -> tuple[np.ndarray, bool]:
        answer = ConeForm(program).solve(accuracy)
        return answer.weights, answer.solved

    return Run().watch(programs, solve)

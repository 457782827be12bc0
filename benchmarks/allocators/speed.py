"""What a solve costs: ours on every kind of programme, and the peers on the plain one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.allocators.cone import ConeForm
from benchmarks.allocators.libraries import Cvxportfolio, Skfolio, installed, quiet
from benchmarks.allocators.solvers import Run, clarabel_run, osqp_run, piqp_run
from stream_allocator.allocate import Certificate, Infeasible, Program, certificate, objective, passes, solve
from stream_allocator.allocate.dual import NewtonAnswer, NewtonSolver
from stream_allocator.allocate.limits import worst_violation

__all__ = ["Ours", "Peer", "Tally", "against_cone", "confirm", "libraries_run", "measure", "peers_run"]

# Clarabel's optimum is compared with where its two objectives are this near, relative to them.
SHARP = 1e-10


@dataclass
class Tally:
    """How often Newton alone sufficed: converged, its certificate passed, and OSQP confirmed it."""

    asked: int = 0
    proven: int = 0
    confirmed: int = 0

    def add(self, proven: bool, confirmed: bool) -> None:
        self.asked += 1
        self.proven += proven
        self.confirmed += proven and confirmed

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.asked + other.asked, self.proven + other.proven, self.confirmed + other.confirmed)

    @property
    def share(self) -> float:
        return self.confirmed / self.asked if self.asked else float("nan")


@dataclass
class Ours:
    """Newton on consecutive programmes, each from where the last one ended.

    Attributes
    ----------
    seconds : (rounds, programmes) list of lists of float
        Of each solve, the compiled proof included.
    answers : list of NewtonAnswer
        Of each programme once.
    proofs : list of Certificate
        The same recomputed in plain NumPy.
    proven : int
        Proofs that suffice to publish.
    """

    seconds: list[list[float]] = field(default_factory=list)
    answers: list[NewtonAnswer] = field(default_factory=list)
    proofs: list[Certificate] = field(default_factory=list)
    proven: int = 0

    def milliseconds(self, quantile: float = 0.5) -> float:
        return 1e3 * float(np.quantile(self.seconds, quantile))

    @property
    def undisturbed(self) -> float:
        """Median over the programmes of the least time of any round: without what else the machine does."""
        return 1e3 * float(np.median(np.min(self.seconds, axis=0)))

    @property
    def violation(self) -> float:
        """Worst of any programme."""
        return max(proof.primal for proof in self.proofs)

    @property
    def gap(self) -> float:
        """Worst relative to the objective; at least the rounding of one number."""
        return max(relative_gap(proof) for proof in self.proofs)

    @property
    def steps(self) -> float:
        return float(np.median([answer.steps for answer in self.answers]))


def relative_gap(proof: Certificate) -> float:
    """The gap relative to the objective; what is below one rounding counts as that."""
    return max(proof.gap / abs(proof.objective), float(np.finfo(np.float64).eps))


def measure(programs: Sequence[Program], seconds: float) -> Ours:
    """Solve the sequence again and again for about so long; the first bars of a round are not counted."""
    found, solver = Ours(), NewtonSolver()
    skip = min(3, len(programs) - 1)
    until = time.perf_counter() + seconds
    while not found.seconds or time.perf_counter() < until:
        answers, round_ = [], []
        for i, program in enumerate(programs):
            start = time.perf_counter()
            answer = solver.solve(program)
            elapsed = time.perf_counter() - start
            if i >= skip:
                round_.append(elapsed)
            answers.append(answer)
        found.seconds.append(round_)
        found.answers = answers
    for program, answer in zip(programs, found.answers, strict=True):
        proof = certificate(program, answer.weights, answer.multipliers)
        found.proofs.append(proof)
        found.proven += answer.converged and passes(program, answer.weights, proof)
    return found


def confirm(programs: Sequence[Program]) -> tuple[Tally, float]:
    """Programmes solved as in a live decision, Newton confirmed by OSQP, from a cold start; median ms."""
    tally, seconds = Tally(), []
    for program in programs:
        start = time.perf_counter()
        try:
            solution = solve(program)
        except Infeasible:
            tally.add(False, False)  # every programme asked here has an answer
            continue
        seconds.append(time.perf_counter() - start)
        proof = certificate(program, solution.weights, solution.multipliers)
        tally.add(solution.converged and passes(program, solution.weights, proof), solution.agreed)
    return tally, 1e3 * float(np.median(seconds))


def against_cone(programs: Sequence[Program], answers: Sequence[NewtonAnswer]) -> tuple[float, int]:
    """Largest difference of our objective and Clarabel's, relative to it; and on how many programmes.

    Clarabel is asked for 1e-13 and stops where rounding stops it, with n = 500 as far as 1e-8 away.
    Only where its own primal and dual objectives are within ``SHARP`` does it know better than that.
    """
    differences = []
    for program, answer in zip(programs, answers, strict=False):
        cone = ConeForm(program).solve(1e-13)
        if abs(cone.objective - cone.bound) <= SHARP * abs(cone.objective):
            apart = objective(program, answer.weights) - cone.objective
            differences.append(abs(apart / cone.objective))
    return max(differences, default=float("nan")), len(differences)


@dataclass
class Peer:
    """A peer's row: median, and the worst violation and distance from our proven bound of its answers."""

    name: str
    milliseconds: float
    violation: float
    gap: float
    failed: int


def _row(name: str, programs: Sequence[Program], run: Run, ours: Ours) -> Peer:
    gaps, violations = [], []
    for program, weights, proof in zip(programs, run.weights, ours.proofs, strict=False):
        gaps.append(abs(objective(program, weights) - proof.bound) / abs(proof.bound))
        violations.append(worst_violation(program, weights))
    return Peer(name, run.milliseconds, max(violations), max(gaps), run.failed)


def peers_run(programs: Sequence[Program], ours: Ours) -> list[Peer]:
    """The general solvers on the same programmes."""
    runs: dict[str, Callable[[Sequence[Program]], Run]] = {
        "OSQP": lambda p: osqp_run(p, polish=False),
        "OSQP, polished": lambda p: osqp_run(p, polish=True),
    }
    if installed("piqp"):
        runs["PIQP"] = piqp_run
    runs["Clarabel"] = clarabel_run
    return [_row(name, programs, run(programs), ours) for name, run in runs.items()]


def libraries_run(programs: Sequence[Program], ours: Ours) -> list[Peer]:
    """skfolio and cvxportfolio with the same limits."""
    rows = []
    if installed("skfolio"):
        rows.append(_row("skfolio", programs, _watch(programs, Skfolio().solve), ours))
    if installed("cvxportfolio"):
        library = Cvxportfolio()
        rows.append(_row("cvxportfolio", programs, _watch(programs, library.solve), ours))
        loop = library.loop(programs)
        rows.append(_row("cvxportfolio, compiled once", programs, _watch(programs, loop), ours))
    return rows


def _watch(programs: Sequence[Program], solve_one: Callable[[Program], np.ndarray | None]) -> Run:
    def answer(program: Program) -> tuple[np.ndarray, bool]:
        weights = solve_one(program)
        return (program.current, False) if weights is None else (weights, True)

    with quiet():
        return Run().watch(programs, answer)

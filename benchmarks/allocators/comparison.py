"""The same problems to every library: who solves them, who answers wrongly and says nothing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.allocators.cases import Case
from benchmarks.allocators.cone import ConeForm
from benchmarks.allocators.libraries import LIBRARIES, Library, installed, quiet
from stream_allocator.allocate import (
    SolverSettings,
    certificate,
    objective,
    objective_scale,
    passes,
    solve,
)
from stream_allocator.allocate.limits import worst_violation

__all__ = ["ANSWERS", "Reference", "Score", "ask", "compare", "judge", "reference"]

# An answer is wrong where it breaks a limit by more than this, in weights,
VIOLATION = 1e-6
# or costs more than this above the optimum, relative to the sizes of the objective's terms.
LOSS = 1e-4

#: What may come of a problem.  ``gave up``: no weights though there are some; ``silent wrong``: weights that
#: break a limit or are not best, or any weights at all where the limits contradict each other.
ANSWERS = ("solved", "refused", "silent wrong", "gave up", "cannot say")


@dataclass(frozen=True, slots=True)
class Reference:
    """What is known of a case.

    Attributes
    ----------
    feasible : bool
    best, scale : float
        A lower bound of the objective, and the sizes of its terms at the optimum.
    """

    feasible: bool
    best: float = 0.0
    scale: float = 1.0


def reference(case: Case) -> Reference:
    """The optimum by Clarabel at 1e-11, a solver that is not ours; feasible as the case is made."""
    if not case.feasible:
        return Reference(False)
    answer = ConeForm(case.program).solve(1e-11)
    return Reference(True, answer.bound, max(objective_scale(case.program, answer.weights), 1e-9))


@dataclass
class Score:
    """What one contender did.

    Attributes
    ----------
    verdicts : Counter of str
        By ``ANSWERS``.
    by_family : dict of str to Counter
        The same for each family of cases.
    refusals : Counter of str
        The names of the exceptions that it raised; ``None`` where it returned without weights.
    violation, loss : float
        The worst of the answers to problems that have one.
    seconds : list of float
        Of each call that answered.
    """

    verdicts: Counter[str] = field(default_factory=Counter)
    by_family: dict[str, Counter[str]] = field(default_factory=dict)
    refusals: Counter[str] = field(default_factory=Counter)
    violation: float = 0.0
    loss: float = 0.0
    seconds: list[float] = field(default_factory=list)

    @property
    def milliseconds(self) -> float:
        return 1e3 * float(np.median(self.seconds)) if self.seconds else float("nan")


def judge(case: Case, known: Reference, weights: np.ndarray | None) -> tuple[str, float, float]:
    """The verdict on an answer, its worst violation and its loss; NaN where there is nothing to judge."""
    if weights is None:
        return ("gave up" if known.feasible else "refused"), np.nan, np.nan
    if not known.feasible or not np.isfinite(weights).all():
        return "silent wrong", np.nan, np.nan
    violation = worst_violation(case.program, weights)
    loss = (objective(case.program, weights) - known.best) / known.scale
    return ("silent wrong" if violation > VIOLATION or loss > LOSS else "solved"), violation, loss


def ask(
    cases: Sequence[Case],
    known: Sequence[Reference],
    answer: Callable[[Case], np.ndarray | None],
    lacks: Callable[[Case], str] = lambda case: "",
) -> Score:
    """Put every case to a contender.  An exception counts as its word that there is no answer."""
    score = Score()
    for case, truth in zip(cases, known, strict=True):
        family = score.by_family.setdefault(case.family, Counter())
        verdict = "cannot say"
        if not lacks(case):
            start, weights, refusal = time.perf_counter(), None, "None"
            try:
                weights = answer(case)
            except Exception as raised:  # whatever a peer raises is its refusal
                refusal = type(raised).__name__
            elapsed = time.perf_counter() - start
            verdict, violation, loss = judge(case, truth, weights)
            if weights is not None:
                score.seconds.append(elapsed)
            else:
                score.refusals[refusal] += 1
            score.violation = float(np.fmax(score.violation, violation))
            score.loss = float(np.fmax(score.loss, loss))
        score.verdicts[verdict] += 1
        family[verdict] += 1
    return score


def compare(cases: Sequence[Case]) -> dict[str, Score | None]:
    """Every contender's score; None for a library that is not installed."""
    known = [reference(case) for case in cases]
    scores: dict[str, Score | None] = {
        "this package": ask(cases, known, _ours(SolverSettings())),
        "this package, Newton alone": ask(cases, known, _ours(SolverSettings(cross_check=False))),
    }
    for library in LIBRARIES:
        scores[library.name] = _score(library, cases, known) if installed(library.module) else None
    return scores


def _score(library: Library, cases: Sequence[Case], known: Sequence[Reference]) -> Score:
    with quiet():
        first = next(case for case in cases if not library.lacks(case.program))
        ask([first], [Reference(True)], lambda case: library.solve(case.program))  # imports, caches
        return ask(
            cases,
            known,
            lambda case: library.solve(case.program),
            lambda case: library.lacks(case.program),
        )


def _ours(settings: SolverSettings) -> Callable[[Case], np.ndarray | None]:
    """The first rung of the ladder: solved, agreed and proven, or nothing."""

    def answer(case: Case) -> np.ndarray | None:
        solution = solve(case.program, settings)
        proof = certificate(case.program, solution.weights, solution.multipliers)
        good = solution.agreed and passes(case.program, solution.weights, proof)
        return solution.weights if good else None

    return answer

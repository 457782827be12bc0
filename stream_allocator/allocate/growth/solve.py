"""Rows and columns are made until the bracket is as narrow as asked."""

from __future__ import annotations

from dataclasses import dataclass

from stream_allocator.allocate.feasibility import Infeasible, check_limits, least_violation
from stream_allocator.allocate.growth.begin import begin, leave
from stream_allocator.allocate.growth.bound import Bound, bound_of
from stream_allocator.allocate.growth.finish import onto_limits, violation
from stream_allocator.allocate.growth.moves import moves_of, sums_of
from stream_allocator.allocate.growth.problem import GrowthProgram
from stream_allocator.allocate.growth.proof import GrowthProof
from stream_allocator.allocate.growth.separate import Separation, separate
from stream_allocator.allocate.growth.simplex import optimise, solver
from stream_allocator.allocate.growth.start import GrowthStart
from stream_allocator.allocate.growth.worst import robust_growth
from stream_allocator.allocate.program import Array

__all__ = ["GrowthAnswer", "GrowthSettings", "solve_growth"]

# Weights obey the limits to this.
EXACT = 1e-12


@dataclass(frozen=True, slots=True)
class GrowthSettings:
    """How far to go.

    Attributes
    ----------
    tolerance : float
        eta: the width of the bracket that is asked for, in log growth of a bar.
    rounds : int
        At most so many linear programmes.
    """

    tolerance: float = 1e-6
    rounds: int = 100


@dataclass(frozen=True, slots=True, eq=False)
class GrowthAnswer:
    """Weights and a bracket around the best growth: value <= best <= bound.

    Attributes
    ----------
    weights : (n,) array
        Within all linear limits to 1e-12; on a bound, at the current weight or at 0 bit for bit.
    value : float
        U(w), the exact robust growth of a bar at these weights, costs included.
    bound : float
        No weights within the limits have more: rigorous, and not the solver's word.
    gap : float
        bound - value.
    status : str
        ``optimal`` where the gap is not above the tolerance; ``rounds`` where they ran out, ``stalled``
        where nothing was left to add, ``outside`` where the weights break a limit by more than 1e-12: the
        bracket holds for ``rounds`` and ``stalled`` as well.
    price : float
        How much U falls per unit of radius.
    rounds, pivots : int
        Linear programmes, and steps of the simplex method in all of them.
    cuts : int
        Tangents in the last of them.
    proof : GrowthProof
        Of the bound, up to pieces of quadratic cost: see
        :func:`~stream_allocator.allocate.growth.proof.growth_certificate`.
    multipliers : dict of str to float
        Shadow prices of the limits on sums by name, growth of a bar.
    start : GrowthStart
        For the next bar's solution.
    """

    weights: Array
    value: float
    bound: float
    gap: float
    status: str
    price: float
    rounds: int
    pivots: int
    cuts: int
    proof: GrowthProof
    multipliers: dict[str, float]
    start: GrowthStart


def solve_growth(
    problem: GrowthProgram, start: GrowthStart | None = None, settings: GrowthSettings | None = None
) -> GrowthAnswer:
    """Maximise robust log growth within the limits.

    The answer's bits depend on the arguments alone; with another start the weights may differ within the
    tolerance.

    Parameters
    ----------
    problem : GrowthProgram
    start : GrowthStart, optional
        Of an answer to a similar problem, often the bar before.
    settings : GrowthSettings, optional

    Returns
    -------
    GrowthAnswer
        Look at ``status`` before use.

    Raises
    ------
    Infeasible
        If the linear limits cannot all hold; names those that clash.  ``survival`` is one of them here.
    RuntimeError
        If the simplex method fails.
    """
    settings = settings or GrowthSettings()
    check_limits(problem.program)
    moves = moves_of(problem, settings.tolerance)
    model = begin(problem, moves, sums_of(problem, moves), start)
    highs = solver()
    care = Separation(settings.tolerance)
    pivots, rounds, status = 0, 0, "rounds"
    answer, worst = moves.anchor, None
    lowest: Bound | None = None
    while rounds < settings.rounds:
        optimum = optimise(highs, model)
        if not optimum.feasible:
            raise _infeasible(problem)
        rounds, pivots = rounds + 1, pivots + optimum.pivots
        weights = onto_limits(model, optimum.amounts)
        here = robust_growth(problem, weights)
        bound = bound_of(model, optimum)
        if lowest is None or bound.value < lowest.value:
            lowest = bound
        if worst is None or here.value > worst.value:
            answer, worst = weights, here
        gap = lowest.value - worst.value
        if gap <= settings.tolerance:
            status = "optimal"
            break
        if not separate(model, optimum, bound, weights, here, gap, care):
            status = "stalled"
            break
    assert worst is not None
    assert lowest is not None
    if violation(problem, answer) > EXACT:
        status = "outside"
    answer.setflags(write=False)
    return GrowthAnswer(
        weights=answer,
        value=worst.value,
        bound=lowest.value,
        gap=lowest.value - worst.value,
        status=status,
        price=worst.price,
        rounds=rounds,
        pivots=pivots,
        cuts=len(model.cut_sample),
        proof=lowest.proof,
        multipliers=lowest.multipliers,
        start=leave(model, optimum, bound, answer),
    )


def _infeasible(problem: GrowthProgram) -> Infeasible:
    """Which limits clash, where they do so in sums that no closed form sees."""
    _, _, broken = least_violation(problem.program)
    names = broken or ("survival",)
    return Infeasible(names, f"the limits cannot all hold; broken least: {', '.join(names)}")

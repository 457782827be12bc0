"""Least-violation restoration: limits that drift has broken come back as fast as the trade limits allow."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from stream_allocator.allocate import dual
from stream_allocator.allocate.feasibility import Infeasible, check_limits, least_violation
from stream_allocator.allocate.limits import violations
from stream_allocator.allocate.program import Array, Group, Program
from stream_allocator.allocate.quadratic import SolverSettings
from stream_allocator.allocate.robust import volatility
from stream_allocator.allocate.solve import Solution, solve
from stream_allocator.allocate.terms import objective

__all__ = ["Restoration", "restore", "total_violation"]

# Violations smaller than this are rounding.
ROUNDING = 1e-12
# Limits broken by more than this are named.
REPORTED = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Restoration:
    """Weights that break the limits as little as one trade can.

    Attributes
    ----------
    weights : (n,) array
    solution : Solution
        Of the widened programme; without shadow prices where only the variance was minimised.
    broken : tuple of str
        Names of the limits that are still broken.
    """

    weights: Array
    solution: Solution
    broken: tuple[str, ...]


def total_violation(program: Program, weights: Array) -> float:
    """Sum of the violations of box, cash, groups and volatility: all but the hard limits on the trade."""
    broken = violations(program, weights)
    return sum(
        x for name, x in broken.items() if not name.startswith(("turnover", "liquidity")) and x > ROUNDING
    )


def restore(program: Program, settings: SolverSettings | None = None) -> Restoration | None:
    """Restore as much as one trade can, and only then follow the objective.

    First the least total violation of box, cash and groups within turnover and liquidity.  Those limits are
    widened to what it attains, and no further.  Then, if the volatility cap is still out of reach, the least
    volatility; otherwise the robust objective.  If that order would break more in total than holding does
    (a mandate that needs risk, say), nothing but volatility is restored.

    Parameters
    ----------
    program : Program
    settings : SolverSettings, optional

    Returns
    -------
    Restoration or None
        None where the total violation cannot be made less, or the solver fails.
    """
    settings = settings or SolverSettings()
    before = total_violation(program, program.current)
    for wide in _widenings(program):
        answer = _within(program, wide, settings)
        if answer is not None and total_violation(program, answer.weights) <= before + ROUNDING:
            return answer
    return None


def _widenings(program: Program) -> Iterator[Program]:
    """The programmes to try: as it is, then widened to the least violation, then to what is held."""
    try:
        check_limits(program)
        yield program
    except Infeasible:
        pass
    yield widened(program, _least(program))
    yield widened(program, program.current)


def _least(program: Program) -> Array:
    """Weights of least violation, brought exactly inside turnover and liquidity."""
    _, weights, _ = least_violation(program)
    w0 = program.current
    move = np.clip(weights - w0, -program.trade, program.trade)
    traded = math.fsum(np.abs(move))
    if traded > program.turnover:
        move *= program.turnover / traded
    found: Array = w0 + move
    return found


def widened(program: Program, weights: Array) -> Program:
    """The programme with box, cash and groups widened just so much that ``weights`` obey them."""
    cash = 1.0 - float(weights.sum())
    groups = []
    for group in program.groups:
        total = float(weights[list(group.members)].sum())
        groups.append(Group(group.name, group.members, min(group.lower, total), max(group.upper, total)))
    return replace(
        program,
        lower=np.minimum(program.lower, weights),
        upper=np.maximum(program.upper, weights),
        cash_lower=min(program.cash_lower, cash),
        cash_upper=max(program.cash_upper, cash),
        groups=tuple(groups),
    )


def _within(program: Program, wide: Program, settings: SolverSettings) -> Restoration | None:
    """The answer within the limits as widened; None where they still contradict each other."""
    try:
        if math.isfinite(program.volatility):
            calm = solve(dual.minimum_variance(wide), settings)
            if volatility(program, calm.weights) > program.volatility:
                # its shadow prices are those of the variance, not of the objective
                mixed = replace(calm, multipliers={}, objective=objective(program, calm.weights))
                return _taken(program, mixed)
        return _taken(program, solve(wide, settings))
    except Infeasible:
        return None


def _taken(program: Program, solution: Solution) -> Restoration | None:
    if not solution.agreed:
        return None
    broken = tuple(name for name, x in violations(program, solution.weights).items() if x > REPORTED)
    return Restoration(solution.weights, solution, broken)

"""Weights within the limits to rounding: the simplex method's are so to its tolerance."""

from __future__ import annotations

import numpy as np

from stream_allocator.allocate.growth.model import Model
from stream_allocator.allocate.growth.problem import GrowthProgram
from stream_allocator.allocate.limits import rows_of, trade_interval
from stream_allocator.allocate.program import Array

__all__ = ["onto_limits", "violation"]

# A sum that is over its bound by no more than this is at it.
ROUNDING = 1e-15
STEPS = 5


def onto_limits(model: Model, amounts: Array) -> Array:
    """The weights of these amounts, moved onto the sums that they overstep.

    Amounts on an end of their interval stay; the others take the least change that meets the sums which bind,
    a step far below any of them.
    """
    moves, sums, pieces = model.moves, model.sums, model.pieces
    length = moves.length[pieces]
    matrix = sums.matrix[:-1, pieces]  # the last is survival, which is no limit of the programme
    least, most = sums.least[:-1], sums.most[:-1]
    inside = np.flatnonzero((amounts > 1e-9) & (amounts < length - 1e-9))
    for _ in range(STEPS):
        at = matrix @ amounts
        off = at - np.clip(at, least, most)
        if np.abs(off).max(initial=0.0) <= ROUNDING or not inside.size:
            break
        tight = np.flatnonzero((at >= most - 1e-8) | (at <= least + 1e-8))
        change = np.linalg.lstsq(matrix[np.ix_(tight, inside)], -off[tight], rcond=None)[0]
        amounts = amounts.copy()
        amounts[inside] = np.clip(amounts[inside] + change, 0.0, length[inside])
    return moves.weights(pieces, amounts)


def violation(problem: GrowthProgram, weights: Array) -> float:
    """The worst violation of a linear limit."""
    program = problem.program
    lower, upper = trade_interval(program)
    rows = rows_of(program)
    over = [
        float((lower - weights).max()),
        float((weights - upper).max()),
        float((rows.values(weights) - rows.bounds).max(initial=0.0)),
        float(np.abs(weights - program.current).sum()) - program.turnover,
    ]
    return max(0.0, *over)

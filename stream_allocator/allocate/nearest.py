"""The nearest weights inside every limit, trades and caps included."""

from __future__ import annotations

import numpy as np

from stream_allocator.allocate.program import Array, Program, other_objective
from stream_allocator.allocate.robust import typical_variance

__all__ = ["nearest"]

# Aversion to risk, beside a curvature of 1: a programme must have some.
LITTLE = 1e-6


def nearest(program: Program, target: Array) -> Array:
    """The weights inside every limit of a programme that are nearest to ``target``.

    Unlike :func:`~stream_allocator.allocate.projection.project` it keeps to turnover, liquidity and the caps
    on volatility and tracking error, and unlike :func:`~stream_allocator.allocate.projection.towards` what is
    held may break a limit.

    Parameters
    ----------
    program : Program
    target : (n,) array

    Returns
    -------
    (n,) array
        Look at its violations before use.

    Raises
    ------
    Infeasible
        If the limits cannot all hold; names those that clash.
    """
    from stream_allocator.allocate.dual import solve_cold  # compiled code, when it is needed

    return solve_cold(_least_squares(program, target)).weights


def _least_squares(program: Program, target: Array) -> Program:
    """The programme with the same limits whose answer is the nearest to ``target``.

    min |w - target|^2 / 2 in units of a variance, as the caps' prices are; and beside it LITTLE times the
    variance of w - target, which is 0 at the target as well.
    """
    n = len(target)
    factors, own = program.factors, program.idiosyncratic
    unit = typical_variance(program) or 1.0
    return other_objective(
        program,
        # |w - target|^2 = |w - w0|^2 - 2 (target - w0)'w + ...
        mean=unit * (target - program.current) + LITTLE * (factors @ (factors.T @ target) + own * target),
        linear_cost=np.zeros(n),
        quadratic_cost=np.full(n, 0.5 * unit),
        risk_aversion=LITTLE,
    )

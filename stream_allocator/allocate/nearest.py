"""The nearest weights inside every limit, trades and caps included."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stream_allocator.allocate.program import Array, Program

__all__ = ["nearest"]

# What a unit of trade costs here: enough to leave at w0, bit for bit, what a rounding would move.
COST = 1e-9
# A programme must have some aversion to risk; this much is lost in every rounding.
NO_RISK = 1e-300


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

    n = len(target)
    # min |w - target|^2 / 2, as (w - w0)^2 / 2 - (target - w0)'w
    least_squares = replace(
        program,
        mean=target - program.current,
        linear_cost=np.full(n, COST),
        quadratic_cost=np.full(n, 0.5),
        risk_aversion=NO_RISK,
        radius=0.0,
        mean_ambiguity=0.0,
        deviation_aversion=0.0,
    )
    return solve_cold(least_squares).weights

"""The post-step of the minimum trade: too small ones are not made, and the rest is solved again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, TypeVar

import numpy as np

from stream_allocator.allocate.limits import holding_interval
from stream_allocator.allocate.program import Array, Program

__all__ = ["without_small_trades"]

# Programmes to try before all trades are made as they are.
TRIES = 32
# A trade is not below the minimum by rounding.
ROUNDING = 1e-12


class Answer(Protocol):
    """What solves a programme."""

    @property
    def weights(self) -> Array:
        """Shape (n,)."""
        ...


A = TypeVar("A", bound=Answer)


def without_small_trades(
    program: Program, answer: A, minimum: float, solve: Callable[[Program], A | None]
) -> tuple[Program, A]:
    """Leave out the trades that are smaller than ``minimum``, as far as the limits allow.

    Assets whose trade would be smaller rest at what is held, and the programme is solved again, until every
    trade is 0 or large enough.  Where the limits do not let them rest, the quarter of them that would trade
    most is let go for good.  So each programme has more assets at rest, or more that never rest: it ends.

    Parameters
    ----------
    program : Program
    answer : object with ``weights``
        To ``program``.
    minimum : float
        In units of NAV.
    solve : callable
        The answer to a programme, or None where it has none.

    Returns
    -------
    program : Program
        With ``resting`` set: its certificate is exact, and the shadow prices of its ``minimum_trade`` limits
        tell what a small trade would have been worth.
    answer
        To that programme.  The ones given where nothing has to rest, or nothing can.
    """
    lower, upper = holding_interval(program)
    w0 = program.current
    free = (w0 < lower) | (w0 > upper)  # what is held breaks a limit: it must trade
    resting = np.zeros(len(w0), dtype=bool)
    wanted = np.abs(answer.weights - w0)
    tried, found, trade = program, answer, wanted
    for _ in range(TRIES):
        small = (trade > 0.0) & (trade < minimum - ROUNDING) & ~free & ~resting
        if not small.any():
            return tried, found
        resting |= small
        wanted = np.maximum(wanted, trade)
        better: A | None = None
        while resting.any() and better is None:
            tried = replace(program, resting=tuple(np.flatnonzero(resting).tolist()))
            better = solve(tried)
            if better is None:
                largest = np.flatnonzero(resting)[np.argsort(-wanted[resting], kind="stable")]
                released = largest[: max(1, len(largest) // 4)]
                resting[released], free[released] = False, True
        if better is None:
            break
        found, trade = better, np.abs(better.weights - w0)
    return program, answer

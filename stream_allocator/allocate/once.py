"""What a decision's weights come to is asked again and again: to solve, to compare, to prove and to tell."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from stream_allocator.allocate.program import Array, Program
from stream_allocator.remembered import remembered

__all__ = ["worked_out_once"]

Result = TypeVar("Result")

# Programmes and weights whose results are kept, of each function.
RECENT = 4


def worked_out_once(function: Callable[[Program, Array], Result]) -> Callable[[Program, Array], Result]:
    """Remember what a function makes of a programme and weights, where the weights are read-only.

    What others may still write to is worked out anew, and so are views, whose base they may write to.
    """
    known = remembered(RECENT)(function)

    @wraps(function)
    def call(program: Program, weights: Array) -> Result:
        may_change = weights.flags.writeable or weights.base is not None
        return function(program, weights) if may_change else known(program, weights)

    return call

"""Dual semismooth Newton for the whole programme, in compiled code.

It knows no other solver: weights, shadow prices and a rigorous lower bound in well under a millisecond.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream_allocator.allocate.dual.solver import (
        NewtonAnswer,
        NewtonSolver,
        minimum_variance,
        solve_cold,
    )

__all__ = ["NewtonAnswer", "NewtonSolver", "minimum_variance", "solve_cold"]


def __getattr__(name: str) -> Any:
    """Loads the compiled code when it is first asked for: checking a decision does without."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.solver"), name)

"""Distributionally robust log-optimal growth: the second allocator, tagged ``growth-v1``.

Supporting hyperplanes of the logarithm turn it into linear programmes, of which only the rows and columns
that matter are ever made; the answer carries a rigorous bracket around the best growth there is.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from stream_allocator.allocate.growth.problem import GrowthProgram, Plane
from stream_allocator.allocate.growth.start import GrowthStart
from stream_allocator.allocate.growth.worst import WorstCase, robust_growth

if TYPE_CHECKING:
    from stream_allocator.allocate.growth.caps import grow
    from stream_allocator.allocate.growth.solve import GrowthAnswer, GrowthSettings, solve_growth

__all__ = [
    "GrowthAnswer",
    "GrowthProgram",
    "GrowthSettings",
    "GrowthStart",
    "Plane",
    "WorstCase",
    "grow",
    "robust_growth",
    "solve_growth",
]


def __getattr__(name: str) -> Any:
    """Loads the solver when it is first asked for: checking an answer does without."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{'caps' if name == 'grow' else 'solve'}"), name)

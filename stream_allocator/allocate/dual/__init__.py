"""Dual semismooth Newton for the whole programme, in compiled code.

It knows no other solver: weights, shadow prices and a rigorous lower bound in well under a millisecond.
"""

from stream_allocator.allocate.dual.solver import NewtonAnswer, NewtonSolver, minimum_variance, solve_cold

__all__ = ["NewtonAnswer", "NewtonSolver", "minimum_variance", "solve_cold"]

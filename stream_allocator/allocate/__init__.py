"""The robust programme: its data, its solvers, its proof, and what happens when it cannot be solved.

The package is pure: arrays in, arrays out, and the same programme always gives the same bits.
"""

from stream_allocator.allocate.baseline import (
    BaselineKind,
    equal_risk_contribution,
    inverse_volatility,
    static_weights,
)
from stream_allocator.allocate.certificate import Certificate, certificate, shadow_prices
from stream_allocator.allocate.feasibility import Infeasible
from stream_allocator.allocate.ladder import GAP, PRIMAL, RUNGS, Decision, decide, passes
from stream_allocator.allocate.limits import Limit, limit_states, limits_of, violations
from stream_allocator.allocate.program import Group, Program, ProgramError
from stream_allocator.allocate.projection import project, towards
from stream_allocator.allocate.quadratic import SolverSettings
from stream_allocator.allocate.restore import Restoration, restore, total_violation
from stream_allocator.allocate.robust import covariance, volatility
from stream_allocator.allocate.solve import Solution, objective_scale, solve
from stream_allocator.allocate.terms import objective, objective_terms

__all__ = [
    "GAP",
    "PRIMAL",
    "RUNGS",
    "BaselineKind",
    "Certificate",
    "Decision",
    "Group",
    "Infeasible",
    "Limit",
    "Program",
    "ProgramError",
    "Restoration",
    "Solution",
    "SolverSettings",
    "certificate",
    "covariance",
    "decide",
    "equal_risk_contribution",
    "inverse_volatility",
    "limit_states",
    "limits_of",
    "objective",
    "objective_scale",
    "objective_terms",
    "passes",
    "project",
    "restore",
    "shadow_prices",
    "solve",
    "static_weights",
    "total_violation",
    "towards",
    "violations",
    "volatility",
]

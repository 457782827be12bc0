"""The robust programme: its data, its solvers, its proof, and what happens when it cannot be solved.

The package is pure: arrays in, arrays out, and the same programme always gives the same bits.  Importing it
loads no solver and compiles nothing: whoever checks a decision needs neither.
"""

from stream_allocator.allocate.baseline import (
    BaselineKind,
    equal_risk_contribution,
    inverse_volatility,
    static_weights,
)
from stream_allocator.allocate.certificate import (
    GAP,
    PRIMAL,
    Certificate,
    certificate,
    passes,
    shadow_prices,
)
from stream_allocator.allocate.feasibility import Infeasible
from stream_allocator.allocate.ladder import RUNGS, Decision, decide
from stream_allocator.allocate.limits import Limit, limit_states, limits_of, total_violation, violations
from stream_allocator.allocate.program import Group, Program, ProgramError
from stream_allocator.allocate.projection import project, towards
from stream_allocator.allocate.quadratic import SolverSettings
from stream_allocator.allocate.restore import Restoration, restore
from stream_allocator.allocate.robust import covariance, volatility
from stream_allocator.allocate.smallest import without_small_trades
from stream_allocator.allocate.solve import Solution, solve
from stream_allocator.allocate.terms import objective, objective_scale, objective_terms

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
    "without_small_trades",
]

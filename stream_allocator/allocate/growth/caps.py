"""Growth under caps on volatility and tracking error: they too are met by supporting hyperplanes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stream_allocator.allocate.feasibility import Infeasible
from stream_allocator.allocate.growth.problem import GrowthProgram, Plane
from stream_allocator.allocate.growth.solve import GrowthAnswer, GrowthSettings, solve_growth
from stream_allocator.allocate.growth.start import GrowthStart
from stream_allocator.allocate.growth.worst import robust_growth
from stream_allocator.allocate.limits import trade_interval
from stream_allocator.allocate.nearest import nearest
from stream_allocator.allocate.program import Array
from stream_allocator.allocate.robust import root_terms

__all__ = ["grow"]

# A cap is met where it is broken by no more than this, relatively; the nearest weights inside are taken then.
MET = 1e-8
# More planes than this are not made.
PLANES = 100


def grow(
    problem: GrowthProgram, start: GrowthStart | None = None, settings: GrowthSettings | None = None
) -> GrowthAnswer:
    """Maximise robust log growth within all limits, the caps on volatility and tracking error among them.

    As :func:`~stream_allocator.allocate.growth.solve.solve_growth`, whose answers give the planes: where one
    breaks a cap, (Sigma w)'v <= cap sigma(w) holds for all v that keep it, and cuts the answer off.

    Raises
    ------
    Infeasible
        If the limits cannot all hold; names those that clash.
    RuntimeError
        If the simplex method fails.
    """
    settings = settings or GrowthSettings()
    rounds = pivots = 0
    while True:
        answer = solve_growth(problem, start, settings)
        rounds, pivots = rounds + answer.rounds, pivots + answer.pivots
        planes = _planes(problem, answer.weights, MET)
        if not planes or len(problem.planes) >= PLANES:
            break
        problem, start = replace(problem, planes=problem.planes + planes), answer.start
    if _planes(problem, answer.weights, 0.0):
        answer = _inside(problem, answer, settings.tolerance)
    return replace(answer, rounds=rounds, pivots=pivots)


def _planes(problem: GrowthProgram, weights: Array, tolerance: float) -> tuple[Plane, ...]:
    """Those of the caps that some weights break."""
    p = problem.program
    found = []
    for name, cap, center in (
        ("volatility", p.volatility, np.zeros_like(weights)),
        ("tracking", p.tracking, p.benchmark),
    ):
        at = root_terms(p, weights - center)
        if at.sigma > cap * (1.0 + tolerance):
            normal = at.marginal / at.sigma
            found.append(Plane(name, normal, cap + float(normal @ center)))
    return tuple(found)


def _inside(problem: GrowthProgram, answer: GrowthAnswer, tolerance: float) -> GrowthAnswer:
    """The answer with the nearest weights that break no cap at all.

    Assets at an end of their interval, at what is held or at 0 stay there, if the others can do it alone.
    """
    p, at = problem.program, answer.weights
    lower, upper = trade_interval(p)
    fixed = (at == lower) | (at == upper) | (at == p.current) | (at == 0.0)
    some = replace(p, lower=np.where(fixed, at, p.lower), upper=np.where(fixed, at, p.upper))
    try:
        weights = nearest(some, at)
    except Infeasible:
        weights = nearest(p, at)
    value = robust_growth(problem, weights).value
    gap = answer.bound - value
    status = answer.status if gap <= tolerance or answer.status != "optimal" else "rounds"
    weights.setflags(write=False)
    return replace(answer, weights=weights, value=value, gap=gap, status=status)

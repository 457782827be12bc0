"""Whether the limits can hold together, which of them clash, and the least that they must be broken."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog

from stream_allocator.allocate.limits import rows_of, trade_interval
from stream_allocator.allocate.program import Array, Program

__all__ = ["Infeasible", "check_limits", "least_violation"]

TOLERANCE = 1e-12


class Infeasible(ValueError):
    """The limits of a programme cannot all hold.

    Attributes
    ----------
    limits : tuple of str
        Names of the limits that clash, or that must be broken.
    """

    def __init__(self, limits: tuple[str, ...], message: str) -> None:
        super().__init__(message)
        self.limits = limits


def check_limits(program: Program) -> None:
    """Find a contradiction between a few limits, in closed form.

    Complete without groups and volatility, since cash is then the only sum; groups are each checked with the
    box and cash, but not all together.

    Raises
    ------
    Infeasible
        With the names of the limits that clash.
    """
    lower, upper = trade_interval(program)
    crossed = np.flatnonzero(lower > upper + TOLERANCE)
    if crossed.size:
        i = int(crossed[0])
        asset = program.assets[i]
        side = "lower" if program.current[i] < program.lower[i] else "upper"
        raise Infeasible(
            (f"{side}[{asset}]", f"liquidity[{asset}]"),
            f"{asset} is held at {program.current[i]:.6g}, {side} is {getattr(program, side)[i]:.6g}, "
            f"and liquidity allows a trade of {program.trade[i]:.6g}",
        )
    upper = np.maximum(lower, upper)
    start = np.clip(program.current, lower, upper)
    needed = float(np.abs(start - program.current).sum())
    if needed > program.turnover + TOLERANCE:
        outside = np.flatnonzero(start != program.current)
        names = [
            f"{'lower' if program.current[i] < program.lower[i] else 'upper'}[{program.assets[i]}]"
            for i in outside
        ]
        raise Infeasible(
            ("turnover", *names),
            f"coming back into the box needs turnover {needed:.6g}, allowed is {program.turnover:.6g}",
        )
    rows = rows_of(program)
    for name, normal, bound in zip(rows.names, rows.normals, rows.bounds, strict=True):
        least = float(np.where(normal > 0.0, lower, upper) @ normal)
        if least > bound + TOLERANCE:
            members = np.flatnonzero(normal)
            ends = tuple(_end_name(program, int(i), bool(normal[i] < 0.0)) for i in members)
            raise Infeasible(
                (name, *ends),
                f"{name} and the box with liquidity exclude each other by {least - bound:.6g}",
            )
        # from the nearest point of the box, each unit of the sum takes a unit of turnover
        total = needed + max(0.0, float(normal @ start) - bound)
        if total > program.turnover + TOLERANCE:
            raise Infeasible(
                ("turnover", name),
                f"meeting {name} needs turnover {total:.6g}, allowed is {program.turnover:.6g}",
            )


def _end_name(program: Program, i: int, is_upper: bool) -> str:
    """The limit that ends asset i's interval on one side."""
    asset = program.assets[i]
    if is_upper:
        bound = program.upper[i] <= program.current[i] + program.trade[i]
        return f"upper[{asset}]" if bound else f"liquidity[{asset}]"
    bound = program.lower[i] >= program.current[i] - program.trade[i]
    return f"lower[{asset}]" if bound else f"liquidity[{asset}]"


def least_violation(program: Program) -> tuple[float, Array, tuple[str, ...]]:
    """The least total violation of box, cash and groups that turnover and liquidity leave room for.

    One linear programme: w = w0 + up - down with 0 <= up, down <= trade, sum(up + down) <= turnover, and a
    slack for each bound.

    Returns
    -------
    total : float
        Sum of the violations.
    weights : (n,) array
        Weights that attain it.
    broken : tuple of str
        Names of the limits that they break.

    Raises
    ------
    RuntimeError
        If the linear programme cannot be solved; holding is always one of its solutions, so that would be
        a fault of the solver.
    """
    n = len(program.assets)
    rows = rows_of(program)
    m = len(rows.names)
    w0, eye = program.current, np.eye(n)
    # variables: up, down, slack of lower, of upper, of rows
    zero = np.zeros((n, n + m))
    to_lower = np.hstack([-eye, eye, -eye, zero])
    to_upper = np.hstack([eye, -eye, np.zeros((n, n)), -eye, np.zeros((n, m))])
    to_rows = np.hstack([rows.normals, -rows.normals, np.zeros((m, 2 * n)), -np.eye(m)])
    matrix = [to_lower, to_upper, to_rows]
    bound = [w0 - program.lower, program.upper - w0, rows.bounds - rows.normals @ w0]
    if np.isfinite(program.turnover):
        matrix.append(np.concatenate([np.ones(2 * n), np.zeros(2 * n + m)])[None, :])
        bound.append(np.array([program.turnover]))
    cost = np.concatenate([np.zeros(2 * n), np.ones(2 * n + m)])
    cost[: 2 * n] = 1e-9  # of equal answers the one that trades least
    most = np.concatenate([program.trade, program.trade, np.full(2 * n + m, np.inf)])
    result = linprog(
        cost,
        A_ub=np.vstack(matrix),
        b_ub=np.concatenate(bound),
        bounds=np.column_stack([np.zeros_like(most), most]),
        method="highs-ds",
    )
    if result.x is None:
        raise RuntimeError(f"least violation: {result.message}")
    weights = w0 + np.asarray(result.x[:n]) - np.asarray(result.x[n : 2 * n])
    slack = np.asarray(result.x[2 * n :])
    names = (
        *(f"lower[{a}]" for a in program.assets),
        *(f"upper[{a}]" for a in program.assets),
        *rows.names,
    )
    broken = tuple(name for name, s in zip(names, slack, strict=True) if s > 1e-9)
    return float(slack.sum()), weights, broken

"""Whether the limits can hold together, which of them clash, and the least that they must be broken."""

from __future__ import annotations

import math

import numpy as np

from stream_allocator.allocate.limits import holding_interval, rows_of, trade_interval
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
        over = program.current[i] > upper[i]
        clash = tuple(dict.fromkeys(_end_name(program, i, is_upper=side) for side in (over, not over)))
        raise Infeasible(
            clash,
            f"{program.assets[i]} is held at {program.current[i]:.6g} and may trade {program.trade[i]:.6g}; "
            f"its limits ask for {lower[i]:.6g} to {upper[i]:.6g}",
        )
    upper = np.maximum(lower, upper)
    start = np.clip(program.current, lower, upper)
    needed = float(np.abs(start - program.current).sum())
    if needed > program.turnover + TOLERANCE:
        outside = np.flatnonzero(start != program.current)
        names = [_end_name(program, int(i), bool(start[i] < program.current[i]), held=True) for i in outside]
        raise Infeasible(
            ("turnover", *names),
            f"coming back into the box needs turnover {needed:.6g}, allowed is {program.turnover:.6g}",
        )
    rows = rows_of(program)
    nearest_zero = np.minimum(np.maximum(0.0, lower), upper)
    ends = np.stack([lower, upper, nearest_zero])
    values = rows.values(start)
    for name, normal, magnitude, bound, value in zip(
        rows.names, rows.normals, rows.magnitudes, rows.bounds, values, strict=True
    ):
        shares = normal * ends + magnitude * np.abs(ends)
        least = float(shares.min(axis=0).sum())
        if least > bound + TOLERANCE:
            members = np.flatnonzero((normal != 0.0) | (magnitude != 0.0))
            blocking = tuple(_end_name(program, int(i), bool(shares[1, i] < shares[0, i])) for i in members)
            raise Infeasible(
                (name, *blocking),
                f"{name} and the limits on its assets exclude each other by {least - bound:.6g}",
            )
        # from the nearest point of the box, each unit of the sum takes a unit of turnover
        total = needed + max(0.0, float(value) - bound)
        if total > program.turnover + TOLERANCE:
            raise Infeasible(
                ("turnover", name),
                f"meeting {name} needs turnover {total:.6g}, allowed is {program.turnover:.6g}",
            )


def _end_name(program: Program, i: int, is_upper: bool, held: bool = False) -> str:
    """The limit that ends asset i's interval on one side; of its holding alone where ``held``."""
    p, sign = program, 1.0 if is_upper else -1.0
    ends = {
        "upper" if is_upper else "lower": sign * (p.upper[i] if is_upper else p.lower[i]),
        "exit": p.holding[i],
        "active": sign * p.benchmark[i] + p.active[i],
        "liquidity": math.inf if held else sign * p.current[i] + p.trade[i],
    }
    return f"{min(ends, key=lambda name: ends[name])}[{p.assets[i]}]"


def least_violation(program: Program) -> tuple[float, Array, tuple[str, ...]]:
    """The least total violation of holdings and sums that turnover and liquidity leave room for.

    One linear programme: w = w0 + up - down with 0 <= up, down <= trade, sum(up + down) <= turnover,
    s >= |w|, and a slack for each bound.

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
    from scipy.optimize import linprog  # not with the package: checking a decision needs no solver

    n = len(program.assets)
    rows = rows_of(program)
    m = len(rows.names)
    w0, eye = program.current, np.eye(n)
    lower, upper = holding_interval(program)
    # variables: up, down, s, slack of lower, of upper, of rows
    none, slacks = np.zeros((n, n)), 2 * n + m
    to_lower = np.hstack([-eye, eye, none, -eye, np.zeros((n, n + m))])
    to_upper = np.hstack([eye, -eye, none, none, -eye, np.zeros((n, m))])
    to_rows = np.hstack([rows.normals, -rows.normals, rows.magnitudes, np.zeros((m, 2 * n)), -np.eye(m)])
    matrix = [to_lower, to_upper, to_rows]
    bound = [w0 - lower, upper - w0, rows.bounds - rows.normals @ w0]
    if rows.magnitudes.any():
        matrix += [np.hstack([side * eye, -side * eye, -eye, np.zeros((n, slacks))]) for side in (1.0, -1.0)]
        bound += [-w0, w0]
    if np.isfinite(program.turnover):
        matrix.append(np.concatenate([np.ones(2 * n), np.zeros(n + slacks)])[None, :])
        bound.append(np.array([program.turnover]))
    cost = np.concatenate([np.zeros(3 * n), np.ones(slacks)])
    cost[: 2 * n] = 1e-9  # of equal answers the one that trades least
    most = np.concatenate([program.trade, program.trade, np.full(n + slacks, np.inf)])
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
    slack = np.asarray(result.x[3 * n :])
    names = (
        *(_end_name(program, i, is_upper=False, held=True) for i in range(n)),
        *(_end_name(program, i, is_upper=True, held=True) for i in range(n)),
        *rows.names,
    )
    broken = tuple(name for name, s in zip(names, slack, strict=True) if s > 1e-9)
    return float(slack.sum()), weights, broken

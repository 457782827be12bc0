"""Whether the limits can hold together, which of them clash, how soon they can, and the least to break."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from stream_allocator.allocate.limits import ends, rows_of, trade_interval
from stream_allocator.allocate.program import Array, Program

__all__ = ["FAULTS", "Infeasible", "check_limits", "fewest_trades", "least_violation"]

TOLERANCE = 1e-12
# Of equal answers of a linear programme the one that trades least: the price of a trade beside a violation.
TRADE = 1e-9
# A trade smaller than this is none.
NOTHING = 1e-12
# The smallest tolerances that HiGHS takes: they must be below the price of a trade.
HIGHS = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}


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


#: What a solver raises where there is no answer, or where numbers defeat it: overflow and division by zero,
#: a singular matrix (LinAlgError is a ValueError), HiGHS or OSQP giving up.  Anything else is a programming
#: error and is not caught.
FAULTS = (ArithmeticError, RuntimeError, ValueError)


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
    sign = 1.0 if is_upper else -1.0
    far = {name: sign * float(bound[i]) for name, bound in ends(program, is_upper=is_upper)}
    if held:
        far.pop("liquidity")
    return f"{min(far, key=lambda name: far[name])}[{program.assets[i]}]"


def least_violation(program: Program, after: int = 0) -> tuple[float, Array, tuple[str, ...]]:
    """The least total violation of holdings and sums that turnover and liquidity leave room for.

    One linear programme: w = w0 + up - down with 0 <= up, down <= trade, sum(up + down) <= turnover,
    s >= |w|, and a slack for each bound.

    Parameters
    ----------
    program : Program
    after : int
        Where not 0, only weights from which so many more trades like this one can meet all these limits.

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
        If the linear programme cannot be solved, as where ``after`` trades are too few; without ``after``
        holding is always one of its solutions, so that would be a fault of the solver.
    """
    from scipy.sparse import eye_array  # not with the package: checking a decision needs no solver

    n, linear = len(program.assets), _linear_limits(program)
    k, endless = len(linear.names), np.full(n, np.inf)
    blocks: list[list[Any]] = []
    bounds: list[Array] = []
    most: list[Array] = []
    # the trades after this one count as one that is so many times larger: see fewest_trades
    stages = (1, after) if after else (1,)
    for j, trades in enumerate(stages):
        later = [None] * (2 * (len(stages) - 1 - j))
        slack = -eye_array(k) if j == 0 else None
        for move, size, bound in ((linear.moves, linear.magnitudes, linear.bounds), *linear.sizes):
            blocks.append([*[move, None] * j, move, size, *later, slack])
            bounds.append(bound)
            slack = None
        if math.isfinite(program.turnover):
            blocks.append([*[None] * (2 * j), np.ones((1, 2 * n)), None, *later, None])
            bounds.append(np.array([trades * program.turnover]))
        most += [trades * program.trade, trades * program.trade, endless]
    cost = [np.repeat([TRADE, 0.0], [2 * n, n])] * len(stages)
    found = _solved([*cost, np.ones(k)], blocks, bounds, [*most, np.full(k, np.inf)])
    if found is None:
        raise RuntimeError("least violation: no trade meets the linear programme")
    slacks = found[-k:]
    broken = tuple(name for name, x in zip(linear.names, slacks, strict=True) if x > 1e-9)
    return float(slacks.sum()), program.current + found[:n] - found[n : 2 * n], broken


def fewest_trades(program: Program) -> float:
    """How many trades like this one it takes until holdings and sums can meet their limits.

    The least x for which some w within those limits has sum |w - w0| <= x turnover and |w - w0|_i <= x
    trade_i.  Fewer than x trades cannot do: what N trades move in all is no more than N times what one may.
    The next whole number N can: each of them moves by (w - w0) / N.

    Parameters
    ----------
    program : Program
        Its turnover and liquidity are taken to be the same at every trade.

    Returns
    -------
    float
        x: not above 1 where one trade is enough; infinite where no number is, since the limits contradict
        each other or what breaks them cannot be traded.

    Raises
    ------
    RuntimeError
        If the linear programme cannot be solved.
    """
    from scipy.sparse import diags_array, hstack

    n, linear = len(program.assets), _linear_limits(program)
    can_trade = (program.trade > NOTHING) & (program.turnover > NOTHING)
    pace = diags_array(np.divide(1.0, program.trade, out=np.zeros(n), where=can_trade))
    of_turnover = 1.0 / program.turnover if program.turnover > NOTHING else 0.0
    blocks: list[list[Any]] = [[linear.moves, linear.magnitudes, None]]
    blocks += [[move, size, None] for move, size, _ in linear.sizes]
    blocks += [
        [hstack([pace, pace]), None, -np.ones((n, 1))],
        [np.full((1, 2 * n), of_turnover), None, [[-1.0]]],
    ]
    bounds = [linear.bounds, *(bound for _, _, bound in linear.sizes), np.zeros(n + 1)]
    most = np.where(can_trade, np.inf, 0.0)
    cost = np.repeat([0.0, 1.0], [3 * n, 1])
    found = _solved([cost], blocks, bounds, [most, most, np.full(n + 1, np.inf)])
    return math.inf if found is None else float(found[-1])


class _Linear(NamedTuple):
    """The limits on holdings and sums for a linear programme in up, down and s, all of shape (n,).

    They are ``moves @ (up, down) + magnitudes @ s <= bounds``; ``sizes`` are further rows of that kind, which
    make s at least |w|.
    """

    names: tuple[str, ...]
    moves: Any
    magnitudes: Any
    bounds: Array
    sizes: tuple[tuple[Any, Any, Array], ...]


def _linear_limits(program: Program) -> _Linear:
    """Each limit a row of its own, as the total violation counts them."""
    from scipy.sparse import csr_array, eye_array, hstack, vstack

    p, eye, w0 = program, eye_array(len(program.assets), format="csr"), program.current
    names: list[str] = []
    normals, bounds = [], []
    for kind, sign, bound in (
        ("lower", -1.0, -p.lower),
        ("upper", 1.0, p.upper),
        ("exit", 1.0, p.holding),
        ("exit", -1.0, p.holding),
        ("active", 1.0, p.active + p.benchmark),
        ("active", -1.0, p.active - p.benchmark),
    ):
        there = np.flatnonzero(np.isfinite(bound))
        names += [f"{kind}[{p.assets[i]}]" for i in there]
        normals.append(sign * eye[there])
        bounds.append(bound[there])
    rows = rows_of(program)
    matrix = vstack([*normals, csr_array(rows.normals)])
    magnitudes = vstack([csr_array((len(names), len(w0))), csr_array(rows.magnitudes)])
    move = hstack([eye, -eye])
    return _Linear(
        names=(*names, *rows.names),
        moves=matrix @ move,
        magnitudes=magnitudes,
        bounds=np.concatenate([*bounds, rows.bounds]) - matrix @ w0,
        sizes=((move, -eye, -w0), (-move, -eye, w0)),
    )


def _solved(
    cost: list[Array], blocks: list[list[Any]], bounds: list[Array], most: list[Array]
) -> Array | None:
    """argmin cost'x over blocks @ x <= bounds, 0 <= x <= most; None where there is no such x.

    Raises
    ------
    RuntimeError
        If HiGHS does not say so either.
    """
    from scipy.optimize import linprog
    from scipy.sparse import block_array

    upper = np.concatenate(most)
    result = linprog(
        np.concatenate(cost),
        A_ub=block_array(blocks, format="csr"),
        b_ub=np.concatenate(bounds),
        bounds=np.column_stack([np.zeros_like(upper), upper]),
        method="highs-ds",
        options=HIGHS,
    )
    if result.status == 2:
        return None
    if result.x is None or result.status != 0:
        raise RuntimeError(f"linear programme of the limits: {result.message}")
    found: Array = np.asarray(result.x, dtype=np.float64)
    return found

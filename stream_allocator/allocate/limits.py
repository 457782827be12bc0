"""Every limit, defined once: the rows, the checker and the published list all derive from here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stream_allocator.allocate.program import Array, Program
from stream_allocator.allocate.robust import volatility
from stream_allocator.events import LimitState

__all__ = [
    "Limit",
    "Rows",
    "limit_states",
    "limits_of",
    "linear_rows",
    "trade_interval",
    "values",
    "violations",
    "worst_violation",
]

Kind = Literal[
    "box_lower",
    "box_upper",
    "liquidity",
    "cash_lower",
    "cash_upper",
    "group_lower",
    "group_upper",
    "turnover",
    "volatility",
]

# A limit binds where its value is this near to its bound; published answers are exact to 1e-12.
BINDING = 1e-9


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit.

    Attributes
    ----------
    name : str
        As published: ``upper[AAPL]``, ``group_upper[tech]``, ``turnover``.
    kind : str
        Of an asset ``box_lower``, ``box_upper``, ``liquidity``; of a group ``group_lower``, ``group_upper``;
        of the portfolio ``cash_lower``, ``cash_upper``, ``turnover``, ``volatility``.
    scope : str
        The asset or group; empty for the portfolio.
    bound : float
        Finite.
    sense : float
        +1 where the value must not be above the bound, -1 where it must not be below.
    index : int
        Position of the asset or group; -1 for the portfolio.
    width : float
        What a slack is compared with: the distance between the two bounds of a pair, else the bound.
    """

    name: str
    kind: Kind
    scope: str
    bound: float
    sense: float
    index: int
    width: float


@lru_cache(maxsize=16)
def limits_of(program: Program) -> tuple[Limit, ...]:
    """All limits with a finite bound, in their one fixed order.

    Box (lower then upper, by asset), liquidity, cash, groups, turnover, volatility.
    """
    found: list[Limit] = []

    def add(kind: Kind, scope: str, bound: float, sense: float, index: int, width: float) -> None:
        if math.isfinite(bound):
            name = f"{kind.removeprefix('box_')}[{scope}]" if scope else kind
            scale = width if math.isfinite(width) and width > 0.0 else 1.0
            found.append(Limit(name, kind, scope, float(bound), sense, index, float(scale)))

    lower, upper, trade = program.lower.tolist(), program.upper.tolist(), program.trade.tolist()
    for i, a in enumerate(program.assets):
        add("box_lower", a, lower[i], -1.0, i, upper[i] - lower[i])
    for i, a in enumerate(program.assets):
        add("box_upper", a, upper[i], 1.0, i, upper[i] - lower[i])
    for i, a in enumerate(program.assets):
        add("liquidity", a, trade[i], 1.0, i, trade[i])
    cash = program.cash_upper - program.cash_lower
    add("cash_lower", "", program.cash_lower, -1.0, -1, cash)
    add("cash_upper", "", program.cash_upper, 1.0, -1, cash)
    for j, g in enumerate(program.groups):
        add("group_lower", g.name, g.lower, -1.0, j, g.upper - g.lower)
        add("group_upper", g.name, g.upper, 1.0, j, g.upper - g.lower)
    add("turnover", "", program.turnover, 1.0, -1, program.turnover)
    add("volatility", "", program.volatility, 1.0, -1, program.volatility)
    return tuple(found)


def values(program: Program, weights: Array, which: tuple[Limit, ...]) -> Array:
    """The value of each limit at ``weights``, in the order of ``which``."""
    trade = np.abs(weights - program.current)
    portfolio = {
        "cash": 1.0 - float(weights.sum()),
        "turnover": float(trade.sum()),
        "volatility": volatility(program, weights),
    }
    sums = [float(weights[list(g.members)].sum()) for g in program.groups]

    def value(limit: Limit) -> float:
        match limit.kind:
            case "box_lower" | "box_upper":
                return float(weights[limit.index])
            case "liquidity":
                return float(trade[limit.index])
            case "group_lower" | "group_upper":
                return sums[limit.index]
            case "cash_lower" | "cash_upper":
                return portfolio["cash"]
            case _:
                return portfolio[limit.kind]

    return np.array([value(limit) for limit in which])


def violations(program: Program, weights: Array) -> dict[str, float]:
    """By how much each broken limit is broken, in its own unit (weights, or volatility a year)."""
    which = limits_of(program)
    excess = _excess(which, values(program, weights, which))
    return {limit.name: float(x) for limit, x in zip(which, excess, strict=True) if x > 0.0}


def worst_violation(program: Program, weights: Array) -> float:
    """The largest violation of any limit; 0 where all hold."""
    which = limits_of(program)
    return max(0.0, float(_excess(which, values(program, weights, which)).max()))


def _excess(which: tuple[Limit, ...], value: Array) -> Array:
    sense = np.array([limit.sense for limit in which])
    excess: Array = sense * (value - np.array([limit.bound for limit in which]))
    return excess


def trade_interval(program: Program) -> tuple[Array, Array]:
    """Box and liquidity together, as one interval for every weight; crossed where the two clash."""
    lower = np.maximum(program.lower, program.current - program.trade)
    upper = np.minimum(program.upper, program.current + program.trade)
    return lower, upper


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The linear limits on sums of weights, as rows ``normals @ w <= bounds``.

    Attributes
    ----------
    names : tuple of str
        Of the limits.
    normals : (m, n) array
        Entries -1, 0 and 1.
    bounds : (m,) array
        Signed like the normals.
    """

    names: tuple[str, ...]
    normals: Array
    bounds: Array


@lru_cache(maxsize=16)
def linear_rows(program: Program) -> Rows:
    """Cash and groups as rows; a pair of bounds on one sum stands next to each other."""
    rows = [limit for limit in limits_of(program) if limit.kind.startswith(("cash", "group"))]
    normals = np.zeros((len(rows), len(program.assets)))
    bounds = np.empty(len(rows))
    for j, limit in enumerate(rows):
        if limit.kind.startswith("cash"):  # cash = 1 - sum(w)
            normals[j] = -limit.sense
            bounds[j] = limit.sense * (limit.bound - 1.0)
        else:
            normals[j, list(program.groups[limit.index].members)] = limit.sense
            bounds[j] = limit.sense * limit.bound
    normals.setflags(write=False)
    bounds.setflags(write=False)
    return Rows(tuple(limit.name for limit in rows), normals, bounds)


def limit_states(
    program: Program, weights: Array, multipliers: Mapping[str, float], nearest: int = 5
) -> tuple[LimitState, ...]:
    """The limits worth telling: all that bind or are broken, and the nearest that do not.

    Parameters
    ----------
    program : Program
    weights : (n,) array
    multipliers : mapping of str to float
        Shadow price by the limit's name; 0 where absent.
    nearest : int
        How many more, by slack relative to the limit's width.

    Returns
    -------
    tuple of LimitState
        In the fixed order of :func:`limits_of`.
    """
    which = limits_of(program)
    value = values(program, weights, which)
    slack = -_excess(which, value)
    binding = slack <= BINDING
    relative = np.where(binding, np.inf, slack / np.array([limit.width for limit in which]))
    order: NDArray[np.intp] = np.argsort(relative, kind="stable")
    told = binding.copy()
    told[order[: max(0, min(nearest, int((~binding).sum())))]] = True
    return tuple(
        LimitState(
            name=limit.name,
            kind=limit.kind,
            scope=limit.scope,
            bound=limit.bound,
            value=float(v),
            shadow_price=float(multipliers.get(limit.name, 0.0)),
            binding=bool(b),
        )
        for limit, v, b, t in zip(which, value, binding, told, strict=True)
        if t
    )

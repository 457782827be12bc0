"""Every limit, defined once: the rows, the checker and the published list all derive from here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stream_allocator.allocate.program import Array, Program
from stream_allocator.allocate.robust import tracking_error, volatility
from stream_allocator.events import LimitState

__all__ = [
    "Limit",
    "Rows",
    "holding_interval",
    "limit_states",
    "limits_of",
    "rows_of",
    "trade_interval",
    "values",
    "violations",
    "worst_violation",
]

Kind = Literal[
    "box_lower",
    "box_upper",
    "liquidity",
    "minimum_trade",
    "exit",
    "active",
    "cash_lower",
    "cash_upper",
    "group_lower",
    "group_upper",
    "group_long",
    "group_gross",
    "gross",
    "turnover",
    "volatility",
    "tracking",
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
        Of an asset ``box_lower``, ``box_upper``, ``liquidity`` (its trade), ``minimum_trade`` (in its place
        where the trade would be too small), ``exit`` (its holding), ``active`` (its distance from the
        benchmark); of a group ``group_lower``, ``group_upper``,
        ``group_long``, ``group_gross``; of the portfolio ``cash_lower``, ``cash_upper``, ``gross``,
        ``turnover``, ``volatility``, ``tracking``.  Net exposure is 1 - cash.
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

    Box (lower then upper, by asset), liquidity or minimum trade, exit, active, cash, groups, gross, turnover,
    volatility, tracking.
    """
    found: list[Limit] = []
    add = _adder(found)
    lower, upper = program.lower.tolist(), program.upper.tolist()
    for i, a in enumerate(program.assets):
        add("box_lower", a, lower[i], -1.0, i, upper[i] - lower[i])
    for i, a in enumerate(program.assets):
        add("box_upper", a, upper[i], 1.0, i, upper[i] - lower[i])
    resting = set(program.resting)
    for i, (a, bound) in enumerate(zip(program.assets, program.trade.tolist(), strict=True)):
        add("minimum_trade" if i in resting else "liquidity", a, bound, 1.0, i, bound)
    of_assets: tuple[tuple[Kind, Array], ...] = (("exit", program.holding), ("active", program.active))
    for kind, bounds in of_assets:
        for i, (a, bound) in enumerate(zip(program.assets, bounds.tolist(), strict=True)):
            add(kind, a, bound, 1.0, i, bound)
    found += _sums(program)
    of_portfolio: tuple[tuple[Kind, float], ...] = (
        ("turnover", program.turnover),
        ("volatility", program.volatility),
        ("tracking", program.tracking),
    )
    for kind, bound in of_portfolio:
        add(kind, "", bound, 1.0, -1, bound)
    return tuple(found)


def _adder(found: list[Limit]) -> Callable[[Kind, str, float, float, int, float], None]:
    """What appends a limit to ``found``, if its bound is finite."""

    def add(kind: Kind, scope: str, bound: float, sense: float, index: int, width: float) -> None:
        if math.isfinite(bound):
            name = f"{kind.removeprefix('box_')}[{scope}]" if scope else kind
            scale = width if math.isfinite(width) and width > 0.0 else 1.0
            found.append(Limit(name, kind, scope, float(bound), sense, index, float(scale)))

    return add


def _sums(program: Program) -> list[Limit]:
    """The limits on sums of weights: cash, groups and gross."""
    found: list[Limit] = []
    add = _adder(found)
    cash = program.cash_upper - program.cash_lower
    add("cash_lower", "", program.cash_lower, -1.0, -1, cash)
    add("cash_upper", "", program.cash_upper, 1.0, -1, cash)
    for j, g in enumerate(program.groups):
        add("group_lower", g.name, g.lower, -1.0, j, g.upper - g.lower)
        add("group_upper", g.name, g.upper, 1.0, j, g.upper - g.lower)
        add("group_long", g.name, g.long, 1.0, j, g.long)
        add("group_gross", g.name, g.gross, 1.0, j, g.gross)
    add("gross", "", program.gross, 1.0, -1, program.gross)
    return found


def values(program: Program, weights: Array, which: tuple[Limit, ...]) -> Array:
    """The value of each limit at ``weights``, in the order of ``which``."""
    trade = np.abs(weights - program.current)
    of_assets = {
        "box_lower": weights,
        "box_upper": weights,
        "liquidity": trade,
        "minimum_trade": trade,
        "exit": np.abs(weights),
        "active": np.abs(weights - program.benchmark),
    }
    cash = 1.0 - float(weights.sum())
    of_portfolio = {
        "cash_lower": cash,
        "cash_upper": cash,
        "gross": float(np.abs(weights).sum()),
        "turnover": float(trade.sum()),
        "volatility": volatility(program, weights),
        "tracking": tracking_error(program, weights),
    }
    members = [weights[list(g.members)] for g in program.groups]

    def value(limit: Limit) -> float:
        if limit.kind in of_assets:
            return float(of_assets[limit.kind][limit.index])
        match limit.kind:
            case "group_lower" | "group_upper":
                return float(members[limit.index].sum())
            case "group_long":
                return float(np.maximum(members[limit.index], 0.0).sum())
            case "group_gross":
                return float(np.abs(members[limit.index]).sum())
            case _:
                return of_portfolio[limit.kind]

    return np.array([value(limit) for limit in which])


def violations(program: Program, weights: Array) -> dict[str, float]:
    """By how much each broken limit is broken, in its own unit (weights, or volatility a year)."""
    which = limits_of(program)
    excess = _excess(which, values(program, weights, which))
    return {limit.name: float(x) for limit, x in zip(which, excess, strict=True) if x > 0.0}


def worst_violation(program: Program, weights: Array) -> float:
    """The largest violation of any limit; 0 where all hold, NaN where a weight is NaN."""
    which = limits_of(program)
    return float(np.maximum(_excess(which, values(program, weights, which)), 0.0).max())


def _excess(which: tuple[Limit, ...], value: Array) -> Array:
    sense = np.array([limit.sense for limit in which])
    excess: Array = sense * (value - np.array([limit.bound for limit in which]))
    return excess


def trade_interval(program: Program) -> tuple[Array, Array]:
    """Every limit on a single asset together, as one interval for its weight; crossed where they clash."""
    lower, upper = holding_interval(program)
    return (
        np.maximum(lower, program.current - program.trade),
        np.minimum(upper, program.current + program.trade),
    )


def holding_interval(program: Program) -> tuple[Array, Array]:
    """Box, exit and active limits: what an asset's weight may be, however it gets there."""
    lower = np.maximum(np.maximum(program.lower, -program.holding), program.benchmark - program.active)
    upper = np.minimum(np.minimum(program.upper, program.holding), program.benchmark + program.active)
    return lower, upper


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The limits on sums, as rows ``normals @ w + magnitudes @ |w| <= bounds``.

    Attributes
    ----------
    names : tuple of str
        Of the limits.
    kinds : tuple of str
        Of the limits.
    normals : (m, n) array
        Entries -1, 0, 1, and 1/2 where only what is long counts: max(w, 0) = (w + |w|)/2.
    magnitudes : (m, n) array
        Entries 0, 1/2 and 1.
    bounds : (m,) array
        Signed like the normals.
    """

    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    normals: Array
    magnitudes: Array
    bounds: Array

    def values(self, weights: Array) -> Array:
        """The left sides at ``weights``, shape (m,)."""
        value: Array = self.normals @ weights + self.magnitudes @ np.abs(weights)
        return value


@lru_cache(maxsize=16)
def rows_of(program: Program) -> Rows:
    """Cash, groups and gross as rows; a pair of bounds on one sum stands next to each other."""
    rows = _sums(program)
    n = len(program.assets)
    normals, magnitudes, bounds = np.zeros((len(rows), n)), np.zeros((len(rows), n)), np.empty(len(rows))
    for j, limit in enumerate(rows):
        bounds[j] = limit.sense * limit.bound
        members = list(program.groups[limit.index].members) if limit.index >= 0 else list(range(n))
        match limit.kind:
            case "cash_lower" | "cash_upper":  # cash = 1 - sum(w)
                normals[j] = -limit.sense
                bounds[j] -= limit.sense
            case "group_long":
                normals[j, members] = magnitudes[j, members] = 0.5
            case "group_gross" | "gross":
                magnitudes[j, members] = 1.0
            case _:
                normals[j, members] = limit.sense
    for array in (normals, magnitudes, bounds):
        array.setflags(write=False)
    names, kinds = tuple(limit.name for limit in rows), tuple(limit.kind for limit in rows)
    return Rows(names, kinds, normals, magnitudes, bounds)


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

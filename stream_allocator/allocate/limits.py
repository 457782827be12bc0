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
    "total_violation",
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
# Violations smaller than this are rounding.
ROUNDING = 1e-12


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


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """All limits with a finite bound, in their one fixed order: those of assets as columns, then the others.

    A block is a kind, the assets that have such a limit, and the place of its first in the order.  All but
    the limits on the trade itself are lasting.
    """

    assets: tuple[str, ...]
    resting: frozenset[int]
    blocks: tuple[tuple[Kind, NDArray[np.intp], int], ...]
    few: tuple[Limit, ...]
    members: tuple[NDArray[np.intp], ...]
    bound: Array
    sense: Array
    width: Array
    lasting: NDArray[np.bool_]

    def limit(self, row: int) -> Limit:
        """One limit."""
        before = len(self.bound) - len(self.few)
        if row >= before:
            return self.few[row - before]
        kind, which, first = next(block for block in reversed(self.blocks) if row >= block[2])
        i = int(which[row - first])
        if kind == "liquidity" and i in self.resting:
            kind = "minimum_trade"
        name = f"{kind.removeprefix('box_')}[{self.assets[i]}]"
        bound, sense, width = float(self.bound[row]), float(self.sense[row]), float(self.width[row])
        return Limit(name, kind, self.assets[i], bound, sense, i, width)


@lru_cache(maxsize=16)
def _table(program: Program) -> _Table:
    box = program.upper - program.lower
    of_assets: tuple[tuple[Kind, Array, float, Array], ...] = (
        ("box_lower", program.lower, -1.0, box),
        ("box_upper", program.upper, 1.0, box),
        ("liquidity", program.trade, 1.0, program.trade),
        ("exit", program.holding, 1.0, program.holding),
        ("active", program.active, 1.0, program.active),
    )
    blocks: list[tuple[Kind, NDArray[np.intp], int]] = []
    bounds, senses, widths, lasting, first = [], [], [], [], 0
    for kind, bound, sense, width in of_assets:
        which = np.flatnonzero(np.isfinite(bound))
        if which.size:
            blocks.append((kind, which, first))
            bounds.append(bound[which])
            senses.append(np.full(which.size, sense))
            widths.append(width[which])
            lasting.append(np.full(which.size, kind != "liquidity"))
            first += which.size
    few = _sums(program)
    add = _adder(few)
    of_portfolio: tuple[tuple[Kind, float], ...] = (
        ("turnover", program.turnover),
        ("volatility", program.volatility),
        ("tracking", program.tracking),
    )
    for kind, cap in of_portfolio:
        add(kind, "", cap, 1.0, -1, cap)
    width = np.concatenate([*widths, [limit.width for limit in few]])
    return _Table(
        assets=program.assets,
        resting=frozenset(program.resting),
        blocks=tuple(blocks),
        few=tuple(few),
        members=tuple([np.array(group.members, dtype=np.intp) for group in program.groups]),
        bound=np.concatenate([*bounds, [limit.bound for limit in few]]),
        sense=np.concatenate([*senses, [limit.sense for limit in few]]),
        width=np.where(np.isfinite(width) & (width > 0.0), width, 1.0),
        lasting=np.concatenate([*lasting, [limit.kind != "turnover" for limit in few]]).astype(np.bool_),
    )


@lru_cache(maxsize=16)
def limits_of(program: Program) -> tuple[Limit, ...]:
    """All limits with a finite bound, in their one fixed order.

    Box (lower then upper, by asset), liquidity or minimum trade, exit, active, cash, groups, gross, turnover,
    volatility, tracking.
    """
    table = _table(program)
    return tuple(table.limit(row) for row in range(len(table.bound)))


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


def values(program: Program, weights: Array) -> Array:
    """The value of each limit at ``weights``, in the order of :func:`limits_of`."""
    table = _table(program)
    trade = np.abs(weights - program.current)
    of_assets: dict[Kind, Callable[[], Array]] = {
        "box_lower": lambda: weights,
        "box_upper": lambda: weights,
        "liquidity": lambda: trade,
        "exit": lambda: np.abs(weights),
        "active": lambda: np.abs(weights - program.benchmark),
    }
    of_portfolio: dict[Kind, Callable[[], float]] = {
        "cash_lower": lambda: 1.0 - float(weights.sum()),
        "cash_upper": lambda: 1.0 - float(weights.sum()),
        "gross": lambda: float(np.abs(weights).sum()),
        "turnover": lambda: float(trade.sum()),
        "volatility": lambda: volatility(program, weights),
        "tracking": lambda: tracking_error(program, weights),
    }

    def value(limit: Limit) -> float:
        if limit.index < 0:
            return of_portfolio[limit.kind]()
        held = weights[table.members[limit.index]]
        match limit.kind:
            case "group_long":
                held = np.maximum(held, 0.0)
            case "group_gross":
                held = np.abs(held)
        return float(held.sum())

    of_blocks = [of_assets[kind]()[which] for kind, which, _ in table.blocks]
    return np.concatenate([*of_blocks, [value(limit) for limit in table.few]])


def violations(program: Program, weights: Array) -> dict[str, float]:
    """By how much each broken limit is broken, in its own unit (weights, or volatility a year)."""
    table, excess = _table(program), _excess(program, values(program, weights))
    return {table.limit(int(row)).name: float(excess[row]) for row in np.flatnonzero(excess > 0.0)}


def total_violation(program: Program, weights: Array) -> float:
    """Sum of the violations of all limits but the hard ones on the trade: turnover and liquidity."""
    table, excess = _table(program), _excess(program, values(program, weights))
    return float(excess[table.lasting & (excess > ROUNDING)].sum())


def worst_violation(program: Program, weights: Array) -> float:
    """The largest violation of any limit; 0 where all hold, NaN where a weight is NaN."""
    return float(np.maximum(_excess(program, values(program, weights)), 0.0).max())


def _excess(program: Program, value: Array) -> Array:
    table = _table(program)
    excess: Array = table.sense * (value - table.bound)
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
    table, value = _table(program), values(program, weights)
    slack = -_excess(program, value)
    binding = slack <= BINDING
    relative = np.where(binding, np.inf, slack / table.width)
    order: NDArray[np.intp] = np.argsort(relative, kind="stable")
    told = binding.copy()
    told[order[: max(0, min(nearest, int((~binding).sum())))]] = True
    states = []
    for row in np.flatnonzero(told).tolist():
        limit = table.limit(row)
        states.append(
            LimitState(
                name=limit.name,
                kind=limit.kind,
                scope=limit.scope,
                bound=limit.bound,
                value=float(value[row]),
                shadow_price=float(multipliers.get(limit.name, 0.0)),
                binding=bool(binding[row]),
            )
        )
    return tuple(states)

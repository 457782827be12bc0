"""Every limit, defined once: the rows, the checker and the published list all derive from here."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, reduce
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_allocator.allocate.limit import Kind, Limit, LimitsOnSums, adder, limits_on_sums
from stream_allocator.allocate.once import worked_out_once
from stream_allocator.allocate.program import Array, Group, Program
from stream_allocator.allocate.robust import root_terms, tracking_error
from stream_allocator.events import LimitState

__all__ = [
    "Limit",
    "Rows",
    "ends",
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

# A limit binds where its value is this near to its bound; published answers are exact to 1e-12.
BINDING = 1e-9
# Violations smaller than this are rounding.
ROUNDING = 1e-12


class _Block(NamedTuple):
    """The limits of one kind on assets: which have one, the row of the first, and what they are called."""

    kind: Kind
    which: NDArray[np.intp]
    first: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """All limits with a finite bound, in their one fixed order: those of assets as columns, then the others.

    All but the limits on the trade itself are lasting.
    """

    assets: tuple[str, ...]
    resting: frozenset[int]
    blocks: tuple[_Block, ...]
    firsts: tuple[int, ...]
    sums: LimitsOnSums
    few: tuple[Limit, ...]
    bound: Array
    sense: Array
    width: Array
    lasting: NDArray[np.bool_]

    def called(self, row: int) -> tuple[str, Kind, str, int]:
        """Name, kind, scope and index of one limit."""
        before = len(self.bound) - len(self.few)
        if row >= before:
            limit = self.few[row - before]
            return limit.name, limit.kind, limit.scope, limit.index
        block = self.blocks[bisect_right(self.firsts, row) - 1]
        i = int(block.which[row - block.first])
        if block.kind == "liquidity" and i in self.resting:
            return f"minimum_trade[{self.assets[i]}]", "minimum_trade", self.assets[i], i
        return block.names[i], block.kind, self.assets[i], i

    def limit(self, row: int) -> Limit:
        """One limit."""
        name, kind, scope, index = self.called(row)
        bound, sense, width = float(self.bound[row]), float(self.sense[row]), float(self.width[row])
        return Limit(name, kind, scope, bound, sense, index, width)


@lru_cache(maxsize=256)
def _names(kind: Kind, assets: tuple[str, ...]) -> tuple[str, ...]:
    """What limits of one kind are called, an asset each."""
    return tuple([f"{kind.removeprefix('box_')}[{asset}]" for asset in assets])


@lru_cache(maxsize=256)
def _signs(of_assets: tuple[tuple[Kind, int], ...], few: tuple[Kind, ...]) -> tuple[Array, NDArray[np.bool_]]:
    """Senses of the limits, and which are lasting, from their kinds and how many there are of each."""
    kinds = [kind for kind, count in (*of_assets, *[(kind, 1) for kind in few]) for _ in range(count)]
    sense = np.array([-1.0 if kind.endswith("_lower") else 1.0 for kind in kinds])
    return sense, np.array([kind not in ("liquidity", "turnover") for kind in kinds], dtype=np.bool_)


@lru_cache(maxsize=16)
def _table(program: Program) -> _Table:
    box = program.upper - program.lower
    of_assets: tuple[tuple[Kind, Array, Array], ...] = (
        ("box_lower", program.lower, box),
        ("box_upper", program.upper, box),
        ("liquidity", program.trade, program.trade),
        ("exit", program.holding, program.holding),
        ("active", program.active, program.active),
    )
    blocks: list[_Block] = []
    bounds, widths, first = [], [], 0
    for kind, bound, width in of_assets:
        (which,) = np.isfinite(bound).nonzero()
        if which.size:
            blocks.append(_Block(kind, which, first, _names(kind, program.assets)))
            bounds.append(bound[which])
            widths.append(width[which])
            first += which.size
    sums = limits_on_sums(program.cash_lower, program.cash_upper, program.groups, program.gross)
    of_portfolio: tuple[tuple[Kind, float], ...] = (
        ("turnover", program.turnover),
        ("volatility", program.volatility),
        ("tracking", program.tracking),
    )
    caps: list[Limit] = []
    add = adder(caps)
    for kind, cap in of_portfolio:
        add(kind, "", cap, 1.0, -1, cap)
    few = (*sums.limits, *caps)
    sense, lasting = _signs(
        tuple([(block.kind, len(block.which)) for block in blocks]), tuple([limit.kind for limit in few])
    )
    width = np.concatenate([*widths, sums.width, [cap.width for cap in caps]])
    return _Table(
        assets=program.assets,
        resting=frozenset(program.resting),
        blocks=tuple(blocks),
        firsts=tuple([block.first for block in blocks]),
        sums=sums,
        few=few,
        bound=np.concatenate([*bounds, sums.bound, [cap.bound for cap in caps]]),
        sense=sense,
        width=np.where(np.isfinite(width) & (width > 0.0), width, 1.0),
        lasting=lasting,
    )


@lru_cache(maxsize=16)
def limits_of(program: Program) -> tuple[Limit, ...]:
    """All limits with a finite bound, in their one fixed order.

    Box (lower then upper, by asset), liquidity or minimum trade, exit, active, cash, groups, gross, turnover,
    volatility, tracking.
    """
    table = _table(program)
    return tuple(table.limit(row) for row in range(len(table.bound)))


@worked_out_once
def values(program: Program, weights: Array) -> Array:
    """The value of each limit at ``weights``, in the order of :func:`limits_of`; read-only."""
    table = _table(program)
    add = np.add.reduce  # what an array's sum comes to, without the detours on the way there
    size, trade = np.abs(weights), np.abs(weights - program.current)
    of_assets = []
    for kind, which, _, _ in table.blocks:
        match kind:
            case "liquidity":
                column = trade
            case "exit":
                column = size
            case "active":
                column = np.abs(weights - program.benchmark)
            case _:
                column = weights
        of_assets.append(column if which.size == column.size else column[which])
    cash = 1.0 - add(weights)
    nets: dict[int, float] = {}
    of_few: list[float] = []
    for limit in table.few:
        kind, j = limit.kind, limit.index
        match kind:
            case "group_lower" | "group_upper":
                if j not in nets:
                    nets[j] = add(weights[table.sums.members[j]])
                of_few.append(nets[j])
            case "group_long":
                of_few.append(add(np.maximum(weights[table.sums.members[j]], 0.0)))
            case "group_gross":
                of_few.append(add(size[table.sums.members[j]]))
            case "gross":
                of_few.append(add(size))
            case "turnover":
                of_few.append(add(trade))
            case "volatility":
                of_few.append(root_terms(program, weights).sigma)
            case "tracking":
                of_few.append(tracking_error(program, weights))
            case _:
                of_few.append(cash)
    value: Array = np.concatenate([*of_assets, of_few])
    value.setflags(write=False)
    return value


def violations(program: Program, weights: Array) -> dict[str, float]:
    """By how much each broken limit is broken, in its own unit (weights, or volatility a year)."""
    table, excess = _table(program), _excess(program, values(program, weights))
    return {table.called(row)[0]: float(excess[row]) for row in (excess > 0.0).nonzero()[0].tolist()}


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


def ends(program: Program, *, is_upper: bool) -> Iterator[tuple[str, Array]]:
    """What ends the interval of each weight on one side, by name: box, exit, active, and last liquidity."""
    p = program
    yield ("upper", p.upper) if is_upper else ("lower", p.lower)
    yield "exit", p.holding if is_upper else -p.holding
    yield "active", p.benchmark + p.active if is_upper else p.benchmark - p.active
    yield "liquidity", p.current + p.trade if is_upper else p.current - p.trade


@lru_cache(maxsize=16)
def trade_interval(program: Program) -> tuple[Array, Array]:
    """Every limit on a single asset together, as one interval for its weight; crossed where they clash.

    Asked for in every step of a decision, so kept for the last programmes: read-only.
    """
    lower = _nearest(np.maximum, ends(program, is_upper=False))
    upper = _nearest(np.minimum, ends(program, is_upper=True))
    for end in (lower, upper):
        end.setflags(write=False)
    return lower, upper


def holding_interval(program: Program) -> tuple[Array, Array]:
    """Box, exit and active limits: what an asset's weight may be, however it gets there."""
    return (
        _nearest(np.maximum, islice(ends(program, is_upper=False), 3)),
        _nearest(np.minimum, islice(ends(program, is_upper=True), 3)),
    )


def _nearest(which: np.ufunc, of: Iterable[tuple[str, Array]]) -> Array:
    """The end that comes first, for each asset."""
    nearest: Array = reduce(which, [bound for _, bound in of])
    return nearest


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
    cash = program.cash_lower, program.cash_upper
    return _rows(len(program.assets), *cash, program.groups, program.gross)


@lru_cache(maxsize=64)
def _rows(n: int, cash_lower: float, cash_upper: float, groups: tuple[Group, ...], gross: float) -> Rows:
    rows = limits_on_sums(cash_lower, cash_upper, groups, gross).limits
    normals, magnitudes, bounds = np.zeros((len(rows), n)), np.zeros((len(rows), n)), np.empty(len(rows))
    for j, limit in enumerate(rows):
        bounds[j] = limit.sense * limit.bound
        members = list(groups[limit.index].members) if limit.index >= 0 else list(range(n))
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
    (free,) = (~binding).nonzero()
    order = np.argsort(slack[free] / table.width[free], kind="stable")
    told = binding.copy()
    told[free[order[:nearest]]] = True
    states = []
    (rows,) = told.nonzero()
    columns = rows, table.bound[rows], value[rows], binding[rows]
    for row, bound, at, binds in zip(*[column.tolist() for column in columns], strict=True):
        name, kind, scope, _ = table.called(row)
        states.append(LimitState(name, kind, scope, bound, at, float(multipliers.get(name, 0.0)), binds))
    return tuple(states)

"""One limit, and those on sums of weights, which a policy alone decides."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stream_allocator.allocate.program import Array, Group

__all__ = ["Kind", "Limit", "LimitsOnSums", "adder", "limits_on_sums"]

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
class LimitsOnSums:
    """The limits on sums of weights, also as columns.

    Attributes
    ----------
    limits : tuple of Limit
    members : tuple of arrays
        Positions of each group's assets.
    bound, width : (m,) arrays
        Of the limits.
    """

    limits: tuple[Limit, ...]
    members: tuple[NDArray[np.intp], ...]
    bound: Array
    width: Array


def adder(found: list[Limit]) -> Callable[[Kind, str, float, float, int, float], None]:
    """What appends a limit to ``found``, if its bound is finite."""

    def add(kind: Kind, scope: str, bound: float, sense: float, index: int, width: float) -> None:
        if math.isfinite(bound):
            name = f"{kind.removeprefix('box_')}[{scope}]" if scope else kind
            scale = width if math.isfinite(width) and width > 0.0 else 1.0
            found.append(Limit(name, kind, scope, float(bound), sense, index, float(scale)))

    return add


@lru_cache(maxsize=256)
def limits_on_sums(
    cash_lower: float, cash_upper: float, groups: tuple[Group, ...], gross: float
) -> LimitsOnSums:
    """The limits on sums of weights, cash, groups and gross: made once for as long as a policy stays."""
    found: list[Limit] = []
    add = adder(found)
    cash = cash_upper - cash_lower
    add("cash_lower", "", cash_lower, -1.0, -1, cash)
    add("cash_upper", "", cash_upper, 1.0, -1, cash)
    for j, g in enumerate(groups):
        add("group_lower", g.name, g.lower, -1.0, j, g.upper - g.lower)
        add("group_upper", g.name, g.upper, 1.0, j, g.upper - g.lower)
        add("group_long", g.name, g.long, 1.0, j, g.long)
        add("group_gross", g.name, g.gross, 1.0, j, g.gross)
    add("gross", "", gross, 1.0, -1, gross)
    return LimitsOnSums(
        limits=tuple(found),
        members=tuple([np.array(group.members, dtype=np.intp) for group in groups]),
        bound=np.array([limit.bound for limit in found]),
        width=np.array([limit.width for limit in found]),
    )

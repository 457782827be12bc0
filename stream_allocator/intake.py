"""What an engine refuses before it moves: each function says why, or None."""

import math

import numpy as np
from numpy.typing import NDArray

from stream_allocator.events import (
    ControlEvent,
    Input,
    PackedReturnEvent,
    PositionEvent,
    Rejection,
    ReturnEvent,
)
from stream_allocator.packed import asset_order, unpacked
from stream_allocator.topology import Universe

__all__ = ["numbers", "refuse_control", "refuse_positions", "refuse_returns"]

Array = NDArray[np.float64]

#: Cash and market values must add up to NAV to this, relative: feeds round to cents, not to bits.
NAV_TOLERANCE = 1e-6
#: A holding of more than so many times NAV is a mistake of units, and no arithmetic on weights survives it.
LARGEST_WEIGHT = 1e6
#: A return of more than 100,000% in a bar is a mistake of units, and would be remembered for years.
LARGEST_RETURN = 1e3
#: Money, in whatever currency: beyond this it is a mistake, and ratios of it leave floating point.
LARGEST_MONEY = 1e20
SMALLEST_NAV = 1e-9
#: The last microsecond of the year 9999: readers of the logical type go no further.
LAST_TIME = 253_402_300_799_999_999
#: Characters: names and words go into the audit trail and the engine's state, whoever sent them.
LONGEST_NAME = 200
LONGEST_REASON = 2000


def refuse_returns(event: ReturnEvent | PackedReturnEvent, universe: Universe) -> Rejection | None:
    """Whether returns name known assets once each, with possible numbers."""
    if isinstance(event, PackedReturnEvent):
        assets, refusal = universe.assets, _refuse_packing(event, universe)
    else:
        assets, refusal = event.assets, _refuse_assets(event.assets, universe) or _refuse_lengths(event)
    return refusal or _refuse_numbers(assets, *numbers(event)) or _refuse_origin(event)


def numbers(event: ReturnEvent | PackedReturnEvent) -> tuple[Array, Array | None]:
    """Returns and dollar volumes of an event, whichever form it has."""
    if isinstance(event, PackedReturnEvent):
        packed = event.dollar_volumes
        return unpacked(event.returns), None if packed is None else unpacked(packed)
    volumes = event.dollar_volumes
    return (
        np.array(event.returns, dtype=np.float64),
        None if volumes is None else np.array(volumes, dtype=np.float64),
    )


def _refuse_lengths(event: ReturnEvent) -> Rejection | None:
    n, volumes = len(event.assets), event.dollar_volumes
    if n == 0:
        return Rejection("invalid", "no assets are named")
    if len(event.returns) != n or (volumes is not None and len(volumes) != n):
        return Rejection("invalid", f"{n} assets, but other numbers of returns or dollar volumes")
    return None


def _refuse_packing(event: PackedReturnEvent, universe: Universe) -> Rejection | None:
    n, volumes = len(universe.assets), event.dollar_volumes
    expected = asset_order(universe.assets)
    if event.asset_order != expected:
        return Rejection(
            "invalid",
            f"packed for assets or an order with fingerprint {event.asset_order.hex()[:32]}; universe "
            f"{universe.name} has {expected.hex()}; pack in the order of the universe's assets",
        )
    if len(event.returns) != 8 * n or (volumes is not None and len(volumes) != 8 * n):
        return Rejection("invalid", f"{n} assets, but other numbers of packed returns or dollar volumes")
    return None


def _refuse_numbers(assets: tuple[str, ...], returns: Array, volumes: Array | None) -> Rejection | None:
    bad = np.flatnonzero((returns < -1.0) | (returns > LARGEST_RETURN))
    if bad.size:
        i = int(bad[0])
        what = f"return of {assets[i]} is {float(returns[i])}"
        return Rejection("invalid", f"{what}; a bar's simple return lies in [-1, {LARGEST_RETURN:g}]")
    bad = np.flatnonzero((volumes < 0.0) | (volumes > LARGEST_MONEY)) if volumes is not None else bad
    if volumes is not None and bad.size:
        i = int(bad[0])
        what = f"dollar volume of {assets[i]} is {float(volumes[i])}"
        return Rejection("invalid", f"{what}; it must lie in [0, {LARGEST_MONEY:g}]")
    return None


def refuse_positions(event: PositionEvent, universe: Universe) -> Rejection | None:
    """Whether a snapshot is of a known portfolio and adds up."""
    refusal = _refuse_portfolio(event.portfolio, universe) or _refuse_assets(event.assets, universe)
    if refusal is not None:
        return refusal
    if len(event.market_values) != len(event.assets):
        return Rejection("invalid", f"{len(event.assets)} assets, {len(event.market_values)} market values")
    if not SMALLEST_NAV <= event.nav <= LARGEST_MONEY:
        bounds = f"{SMALLEST_NAV:g} to {LARGEST_MONEY:g}"
        return Rejection("invalid", f"nav is {event.nav}; it must be positive ({bounds})")
    if not all(map(math.isfinite, (event.cash, *event.market_values))):
        return Rejection("invalid", "cash and market values must be finite")
    largest = max(map(abs, event.market_values), default=0.0)
    if largest > LARGEST_WEIGHT * event.nav:
        return Rejection("invalid", f"a market value of {largest!r} is too large for a nav of {event.nav!r}")
    total = event.cash + sum(event.market_values)
    if abs(total - event.nav) > NAV_TOLERANCE * event.nav:
        return Rejection("invalid", f"cash and market values add up to {total!r}, but nav is {event.nav!r}")
    return _refuse_origin(event)


def refuse_control(event: ControlEvent, universe: Universe) -> Rejection | None:
    """Whether a change of mode is for a known portfolio."""
    refusal = _refuse_portfolio(event.portfolio, universe)
    if refusal is None and (len(event.operator) > LONGEST_NAME or len(event.reason) > LONGEST_REASON):
        most = f"{LONGEST_NAME} and {LONGEST_REASON} characters"
        refusal = Rejection("invalid", f"operator or reason is too long; they may have {most}")
    return refusal or _refuse_origin(event)


def _refuse_assets(assets: tuple[str, ...], universe: Universe) -> Rejection | None:
    named = set(assets)
    unknown = named.difference(universe.assets)
    if unknown:
        some = ", ".join(sorted(unknown)[:10]) + (f" and {len(unknown) - 10} more" * (len(unknown) > 10))
        return Rejection("unknown_asset", f"universe {universe.name} lacks {some}")
    if len(named) != len(assets):
        return Rejection("invalid", "an asset is named twice")
    return None


def _refuse_portfolio(name: str, universe: Universe) -> Rejection | None:
    known = [p.name for p in universe.portfolios]
    if name in known:
        return None
    return Rejection(
        "unknown_portfolio", f"universe {universe.name} has no portfolio {name}; known: {', '.join(known)}"
    )


def _refuse_origin(event: Input) -> Rejection | None:
    if event.event_time < 0:
        return Rejection("invalid", f"event time {event.event_time} lies before 1970")
    if event.event_time > LAST_TIME:
        return Rejection("invalid", f"event time {event.event_time} lies after 9999; microseconds are wanted")
    if len(event.source) > LONGEST_NAME:
        return Rejection("invalid", f"source has {len(event.source)} characters; it may have {LONGEST_NAME}")
    return None

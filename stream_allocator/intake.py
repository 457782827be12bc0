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


def refuse_returns(event: ReturnEvent | PackedReturnEvent, universe: Universe) -> Rejection | None:
    """Whether returns name known assets once each, with possible numbers."""
    if isinstance(event, PackedReturnEvent):
        assets, refusal = universe.assets, _refuse_packing(event, universe)
    else:
        assets, refusal = event.assets, _refuse_assets(event.assets, universe) or _refuse_lengths(event)
    return refusal or _refuse_numbers(assets, *numbers(event)) or _refuse_time(event)


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
    bad = np.flatnonzero((returns < -1.0) | (returns == np.inf))
    if bad.size:
        i = int(bad[0])
        return Rejection(
            "invalid", f"return of {assets[i]} is {float(returns[i])}; simple returns lie in [-1, inf)"
        )
    bad = np.flatnonzero((volumes < 0.0) | (volumes == np.inf)) if volumes is not None else bad
    if volumes is not None and bad.size:
        i = int(bad[0])
        what = f"dollar volume of {assets[i]} is {float(volumes[i])}"
        return Rejection("invalid", f"{what}; it must be finite and not negative")
    return None


def refuse_positions(event: PositionEvent, universe: Universe) -> Rejection | None:
    """Whether a snapshot is of a known portfolio and adds up."""
    refusal = _refuse_portfolio(event.portfolio, universe) or _refuse_assets(event.assets, universe)
    if refusal is not None:
        return refusal
    if len(event.market_values) != len(event.assets):
        return Rejection("invalid", f"{len(event.assets)} assets, {len(event.market_values)} market values")
    if not (math.isfinite(event.nav) and event.nav > 0.0):
        return Rejection("invalid", f"nav is {event.nav}; it must be positive")
    if not all(map(math.isfinite, (event.cash, *event.market_values))):
        return Rejection("invalid", "cash and market values must be finite")
    largest = max(map(abs, event.market_values), default=0.0)
    if largest > LARGEST_WEIGHT * event.nav:
        return Rejection("invalid", f"a market value of {largest!r} is too large for a nav of {event.nav!r}")
    total = event.cash + sum(event.market_values)
    if abs(total - event.nav) > NAV_TOLERANCE * event.nav:
        return Rejection("invalid", f"cash and market values add up to {total!r}, but nav is {event.nav!r}")
    return _refuse_time(event)


def refuse_control(event: ControlEvent, universe: Universe) -> Rejection | None:
    """Whether a change of mode is for a known portfolio."""
    return _refuse_portfolio(event.portfolio, universe) or _refuse_time(event)


def _refuse_assets(assets: tuple[str, ...], universe: Universe) -> Rejection | None:
    named = set(assets)
    unknown = named.difference(universe.assets)
    if unknown:
        return Rejection("unknown_asset", f"universe {universe.name} lacks {', '.join(sorted(unknown))}")
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


def _refuse_time(event: Input) -> Rejection | None:
    if event.event_time < 0:
        return Rejection("invalid", f"event time {event.event_time} lies before 1970")
    return None

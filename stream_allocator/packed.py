"""The packed form of a cross-section: numbers without names, and a fingerprint of the order they are in.

A reader that knows the universe knows the names. The fingerprint holds it to that: numbers in another
order, or of a universe that has changed since, are refused, and never taken for one another's.
"""

import functools
import hashlib

import numpy as np
from numpy.typing import NDArray

from stream_allocator.errors import DataError
from stream_allocator.events import PackedReturnEvent, ReturnEvent

__all__ = ["ORDER_BYTES", "asset_order", "pack", "unpacked"]

#: Long enough that no two universes that ever meet have the same by chance.
ORDER_BYTES = 8


@functools.lru_cache(maxsize=4096)
def asset_order(assets: tuple[str, ...]) -> bytes:
    """Fingerprint of names in their order: the first bytes of the SHA-256 of "name, line feed" for each."""
    return hashlib.sha256("".join(f"{a}\n" for a in assets).encode()).digest()[:ORDER_BYTES]


def pack(event: ReturnEvent, assets: tuple[str, ...]) -> PackedReturnEvent:
    """The packed form of a cross-section.

    Parameters
    ----------
    event : ReturnEvent
    assets : tuple of str
        Of the universe, in its order.

    Raises
    ------
    DataError
        For an event that does not name exactly these assets in this order.
    """
    if event.assets != assets:
        raise DataError(
            f"event {event.sequence} of {event.source}: only a whole cross-section of universe "
            f"{event.universe}, in the order of its assets, can be packed"
        )
    volumes = event.dollar_volumes
    return PackedReturnEvent(
        universe=event.universe,
        source=event.source,
        sequence=event.sequence,
        event_time=event.event_time,
        asset_order=asset_order(assets),
        returns=np.array(event.returns, dtype="<f8").tobytes(),
        dollar_volumes=None if volumes is None else np.array(volumes, dtype="<f8").tobytes(),
    )


def unpacked(numbers: bytes) -> NDArray[np.float64]:
    """Packed numbers as an array that can be written to; their length is a multiple of 8."""
    return np.frombuffer(numbers, dtype="<f8").astype(np.float64)
